"""Registers the parts of this package with Keras, as soon as Keras is there.

A saved model names its layers, losses and so on, and Keras finds them only if
they have been registered. So they must be imported with this package and Keras,
in whichever order; but not without Keras, which takes seconds to import.
"""

import contextlib
import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from typing import Any

_PARTS = (
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "regularizers",
)


def register_parts() -> None:
    """Registers all parts now, or when Keras is imported."""
    if "keras" in sys.modules:
        _import_parts()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds nothing, but looks on when Keras is imported."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader = None if spec is None else spec.loader
        if loader is None or not hasattr(loader, "__dict__"):
            return spec
        execute = loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            _import_parts()

        vars(loader)["exec_module"] = exec_module
        return spec


def _import_parts() -> None:
    # On a backend that is not supported, the part that is used will say so.
    with contextlib.suppress(ImportError):
        for name in _PARTS:
            _ = importlib.import_module(f"keras_concepts.{name}")
