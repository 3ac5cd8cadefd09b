# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants of an inventory are refused on the controller, each under its own variable."""

from __future__ import annotations

import mutants
import pytest

from ansible_collections.frontdesk.webstack.plugins.plugin_utils.schema import InventoryError

MUTANTS = mutants.inventory_mutants()


def test_what_is_right_is_taken():
    """The negative control: what the mutants are made of."""
    mutants.plan(mutants.inventory())


def test_there_are_enough():
    files, _origins = mutants.base()
    tree = mutants.tree_mutants(files)
    assert len(MUTANTS) >= 100
    assert len(tree) >= 150
    assert len({name for name, _variables in MUTANTS}) == len(MUTANTS)
    assert len({mutant.name for mutant in tree}) == len(tree)
    assert [mutant.name for mutant in tree] == [mutant.name for mutant in mutants.tree_mutants(files)]


@pytest.mark.parametrize("variables", [variables for _name, variables in MUTANTS], ids=[name for name, _ in MUTANTS])
def test_refused(variables, request):
    with pytest.raises(InventoryError) as caught:
        mutants.plan(variables)
    site = request.node.callspec.id.split(".")[0].split(" ")[0]
    paths = [problem.path for problem in caught.value.problems]
    # Of two that are the same the second one is named.
    assert any(path.startswith(site) or "twice" in request.node.callspec.id and path.startswith("nginx_sites")
               for path in paths), paths
