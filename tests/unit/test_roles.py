"""What all roles have in common: the same files, and defaults that their documentation agrees with."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
#: a role that only others use -> the scenarios that run it
WITHIN: dict[str, set[str]] = {}
#: what all stages share carries the collection's name
PREFIXES = {"plan": "webstack_"}
TYPES = {"str": str, "path": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


def load(role, name):
    return yaml.safe_load((ROOT / "roles" / role / name).read_text(encoding="utf-8"))


def defaults_of(role):
    """Return the defaults; a role without variables needs no such file."""
    if not options_of(role):
        return {}
    return load(role, "defaults/main.yml") or {}


def options_of(role):
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})


def walk(options, path=""):
    """Yield (path, spec) of all options, nested ones too."""
    for name, spec in options.items():
        yield f"{path}{name}", spec
        yield from walk(spec.get("options") or {}, f"{path}{name}.")


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_in_the_specification(role):
    assert (ROOT / "roles" / role / "defaults" / "main.yml").exists() == bool(options_of(role))
    assert defaults_of(role).keys() <= options_of(role).keys()


@pytest.mark.parametrize("role", ROLES)
def test_every_default_of_the_specification_is_the_roles(role):
    specified = {name: spec["default"] for name, spec in options_of(role).items() if "default" in spec}
    # As text too: 1, 1.0 and true are equal in Python, and so are not compared.
    assert {name: (value, repr(value)) for name, value in specified.items()} == {
        name: (value, repr(value)) for name, value in defaults_of(role).items()}


@pytest.mark.parametrize("role", ROLES)
def test_an_option_is_required_or_has_a_default(role):
    for name, spec in options_of(role).items():
        assert spec.get("required", False) != ("default" in spec), name


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_of_their_type_and_among_the_choices(role):
    for path, spec in walk(options_of(role)):
        if spec.get("default") is None:
            continue
        wanted = TYPES[spec.get("type", "str")]
        assert type(spec["default"]) in ((int, float) if wanted is float else (wanted,)), path
        if "choices" in spec:
            assert spec["default"] in spec["choices"], path


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described(role):
    for path, spec in walk(options_of(role)):
        assert spec.get("description"), path
        assert spec.get("type"), path
        assert (spec["type"] == "list") == ("elements" in spec), path


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_roles_name(role):
    for name in options_of(role):
        assert name.startswith(PREFIXES.get(role, f"{role}_")), name


@pytest.mark.parametrize("role", ROLES)
def test_readme_names_the_role_and_every_variable(role):
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert f"frontdesk.webstack.{role}" in text.splitlines()[0]
    assert "argument_specs.yml" in text or all(name in text for name in defaults_of(role))


@pytest.mark.parametrize("role", ROLES)
def test_tasks_begin_with_what_goes_in_and_what_comes_out(role):
    lines = (ROOT / "roles" / role / "tasks" / "main.yml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "---"
    head = [line for line in lines[1:] if not line.startswith("#  ")]
    assert head[0].startswith("# In:  ")
    assert head[1].startswith("# Out: ")


@pytest.mark.parametrize("role", ROLES)
def test_role_has_a_scenario(role):
    for scenario in WITHIN.get(role, {role}):
        folder = ROOT / "molecule" / scenario
        for name in ("molecule.yml", "converge.yml", "inventory.yml", f"tests/test_{scenario}.py"):
            assert (folder / name).is_file(), f"{scenario}/{name}"
        if scenario == role:
            assert f"frontdesk.webstack.{role}" in (folder / "converge.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "molecule").glob("*/molecule.yml")), ids=lambda path: path.parent.name)
def test_scenario_is_named_like_its_folder(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["scenario"]["name"] == path.parent.name
