"""Private parts of Keras may change with any version.

So each function that leans on it has a test, here and by its name: its
docstring says on what. Run them first with a new Keras.
"""

import ast
import inspect
import pathlib

import pytest

from keras_concepts._backend import keras_internals

MODULES = {
    path.stem: path
    for path in pathlib.Path(keras_internals.__file__).parent.glob("*.py")
    if path.stem != "__init__"
}


def functions(path):
    """Functions of a file, and those in its classes, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("module", MODULES)
def test_each_function_has_a_test_of_its_name(module):
    public = {f for f in functions(MODULES[module]) if not f.startswith("_")}
    tests = functions(pathlib.Path(__file__).with_name(f"test_{module}.py"))
    assert {f"test_{name}" for name in public} - set(tests) == set()
    for name in public:
        assert ast.get_docstring(tests[f"test_{name}"]), name


def test_all_are_offered():
    offered = {
        name
        for name in keras_internals.__all__
        if inspect.isfunction(getattr(keras_internals, name))
    }
    public = {f for path in MODULES.values() for f in functions(path)}
    assert offered == {f for f in public if not f.startswith("_")}
