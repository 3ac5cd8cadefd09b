"""Every plugin that users call has a page that ansible-doc can read; what it cannot read it only warns of."""

import ast
from pathlib import Path

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted((PLUGINS / "modules").glob("[!_]*.py"))
PAGES = {"DOCUMENTATION", "EXAMPLES", "RETURN"}


def pages(path):
    """Return the documentation strings of a plugin by their name."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in PAGES:
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_has_its_pages(path):
    found = pages(path)
    assert found.keys() == PAGES
    assert yaml.safe_load(found["DOCUMENTATION"])["module"] == path.stem


@pytest.mark.parametrize("path", [*MODULES, *sorted((PLUGINS / "filter").glob("[!_]*.py"))],
                         ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_pages_are_yaml(path):
    for name, text in pages(path).items():
        yaml.safe_load(text)
        assert text.strip(), name
