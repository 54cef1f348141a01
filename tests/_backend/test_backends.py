"""Every backend keeps the contract, and the contract is documented."""

import ast
import pathlib
import re
import sys

import keras
import pytest

from keras_concepts import _backend

FOLDER = pathlib.Path(_backend.__file__).parent
BACKENDS = ("jax", "tensorflow", "torch")


def offered():
    """Names of the contract, and where they are, as `module.name`."""
    tree = ast.parse((FOLDER / "__init__.py").read_text("utf-8"))
    return {
        node.targets[0].id: ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
    }


def defined(path):
    """Public names that a module defines, without those it imports."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign([ast.Name(name)]):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


def test_every_name_is_described():
    """In the docstring, each once."""
    described = re.findall(r"(?m)^`(\w+).*`$", _backend.__doc__)
    more = re.findall(r"(?m)^`.*`, `(\w+).*`$", _backend.__doc__)
    assert sorted([*described, *more]) == sorted(offered())


def test_every_name_has_its_name_behind_the_door():
    assert all(value.split(".")[1] == name for name, value in offered().items())


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_every_name(backend):
    """In the module that the contract says."""
    expected = {
        value
        for value in offered().values()
        if not value.startswith("keras_internals.")
    }
    modules = [p for p in (FOLDER / backend).glob("*.py") if p.stem[0] != "_"]
    found = {f"{p.stem}.{name}" for p in modules for name in defined(p)}
    assert expected - found == set()
    assert {p.stem for p in modules} == {e.split(".")[0] for e in expected}


def test_only_the_backend_of_keras_is_imported():
    own = keras.backend.backend()
    assert {
        name.split(".")[2]
        for name in sys.modules
        if name.startswith(f"{_backend.__name__}.")
    } & set(BACKENDS) == {own}
