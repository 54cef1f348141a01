"""The order in which a model calls its layers."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from keras_concepts import _backend


class CallOrder:
    """The order in which a training step first calls some layers.

    A functional model keeps its layers in that order. In a user's own model or
    layer they are in the order of creation, which may differ: there one step,
    or the trace of one, is watched.

    Args:
        model: A model, which may be built by that step.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._calls: dict[int, int] = {}
        self._is_known = False

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Watches the step inside the with-block, until one has been seen."""
        with contextlib.ExitStack() as stack:
            for layer in self._unknown():
                stack.enter_context(
                    _backend.shadow_in_step(layer, "call", self._counted(layer))
                )
            yield
        self._is_known |= bool(self._calls)

    def _unknown(self) -> list[Any]:
        if self._is_known:
            return []
        layers = _backend.flatten_layers(self._model)
        self._is_known = not any(map(_is_in_its_own_order, layers))
        return [] if self._is_known else layers[1:]

    def sorted(self, layers: Sequence[Any]) -> list[int]:
        """Indices into `layers`, in the order of their calls.

        Args:
            layers: May hold a layer several times, and `None`. A layer that was
                never called stays behind the one before it.
        """
        keys, last = [], -1
        for layer in layers:
            last = self._calls.get(id(layer), last)
            keys.append(last)
        return sorted(range(len(keys)), key=keys.__getitem__)

    def _counted(self, layer: Any) -> Any:
        original = layer.call

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            _ = self._calls.setdefault(id(layer), len(self._calls))
            return original(*args, **kwargs)

        return call


def _is_in_its_own_order(layer: Any) -> bool:
    """Whether a container may call its layers in a different order."""
    if _backend.is_functional(layer) or _backend.is_of_keras(layer):
        return False
    return len(_backend.flatten_layers(layer)) > 2
