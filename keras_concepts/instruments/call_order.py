"""In which order a model calls its layers."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from keras_concepts import _backend


class CallOrder:
    """The order in which a training step first calls some layers.

    A functional model keeps its layers in that order. In a model or layer of
    somebody's own they stand as they were made, which may be the other way
    round: there one step is watched, or the trace of one.

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
        """Places in `layers` of what was called first, and so on.

        Args:
            layers: May hold a layer several times, and `None`. What was never
                called stays behind the one before it.
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
    """Whether a container may call its layers in another order."""
    if _backend.is_functional(layer) or _backend.is_of_keras(layer):
        return False
    return len(_backend.flatten_layers(layer)) > 2
