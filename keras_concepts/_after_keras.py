"""Registers the parts of this package with Keras, once Keras is imported.

A saved model names its layers, losses and so on, and Keras finds them only if
they are registered. So they must be imported with this package and Keras, in
whichever order, but not without Keras, which takes seconds to import.
"""

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Callable
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


class UnsupportedBackendError(ImportError):
    """Keras runs on a backend that this package does not support."""


def register_parts() -> None:
    """Registers all parts now, or when Keras is imported."""
    if sys.modules.get("keras") is not None:
        _import_parts()
    else:
        sys.meta_path.insert(0, _AfterKeras())


# Functions to call once Keras has been imported.
_waiting: list[Callable[[], Any]] = []


def run(function: Callable[[], Any]) -> None:
    """Calls a function now, or when Keras has been imported."""
    if "keras" in sys.modules and not _is_importing("keras"):
        function()
    else:
        _waiting.append(function)


def _is_importing(name: str) -> bool:
    spec = getattr(sys.modules[name], "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Finds no module of its own; runs when Keras is imported."""

    def __init__(self) -> None:
        self._searching = False

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> ModuleSpec | None:
        # Code may look for Keras without importing it.
        if fullname != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        loader = None if spec is None else spec.loader
        if loader is None or not hasattr(loader, "__dict__"):
            return spec
        execute = loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            # If this package's own backend imported Keras, it registers the
            # parts once it is ready for them.
            if f"{__package__}._backend" not in sys.modules:
                _import_parts()
            while _waiting:
                _waiting.pop(0)()

        vars(loader)["exec_module"] = exec_module
        return spec


_begun = False


def _import_parts() -> None:
    global _begun
    if _begun:  # the parts import the backend, which asks for them
        return
    _begun = True
    try:
        for name in _PARTS:
            _ = importlib.import_module(f"{__package__}.{name}")
    except UnsupportedBackendError:
        return  # the part that is used will raise it
    except Exception as error:  # `import keras` must not fail because of us
        warnings.warn(
            f"The parts of {__package__} could not be registered with Keras, "
            f"so saved models that use them cannot be loaded: {error!r}",
            RuntimeWarning,
            stacklevel=2,
        )
