"""tools/testhosts.py touches the hosts of its own checkout alone."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools/testhosts.py"


@pytest.fixture
def checkout(tmp_path):
    """A checkout that has brought up hosts."""
    root = tmp_path / "first"
    (root / "tools").mkdir(parents=True)
    shutil.copy(TOOL, root / "tools")
    (root / ".cache/hosts").mkdir(parents=True)
    (root / ".cache/hosts/checkout").write_text(tool(root).CHECKOUT + "\n")
    return root


def tool(root: Path):
    specification = importlib.util.spec_from_file_location("testhosts", root / "tools/testhosts.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_its_own_hosts_are_taken(checkout):
    tool(checkout).see_whose()


def test_a_checkout_without_hosts_is_taken(checkout):
    shutil.rmtree(checkout / ".cache")
    tool(checkout).see_whose()


@pytest.mark.parametrize("name", [".cache", ".cache/hosts"])
def test_a_link_to_those_of_another_is_refused(checkout, name):
    other = checkout.with_name("other")
    shutil.copytree(checkout, other)
    shutil.rmtree(other / name)
    (other / name).symlink_to(checkout / name)
    for moved in (False, True):
        with pytest.raises(Exception, match=f"{name} is a symbolic link.* Remove it: rm {name}$"):
            tool(other).see_whose(moved)


@pytest.mark.parametrize("make", [shutil.copytree, shutil.move])
def test_a_checkout_that_was_copied_or_moved_is_refused(checkout, make):
    first = tool(checkout).CHECKOUT
    other = checkout.with_name("other")
    make(checkout, other)
    with pytest.raises(Exception, match=rf"another checkout's \({first}\).* make clean, or rm -r .cache/hosts"):
        tool(other).see_whose()
    tool(other).see_whose(moved=True)  # `clean` may take it away
