"""The mask that Keras leaves on an output, computed from the inputs."""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._batches import as_fed
from keras_concepts.instruments.data.rows import take_rows

_ROWS = 4096  # at a time


class OutputMask:
    """Which entries of an output count in its loss.

    Create it with `OutputMask.of`.
    """

    def __init__(self, model: Any, mask: Any) -> None:
        self._names = [each.name for each in model.inputs]
        self._function: Any = None
        with contextlib.suppress(Exception):  # it depends on more than them
            self._function = keras.Model(model.inputs, mask)

    @classmethod
    def of(cls, model: Any, output: Any) -> "OutputMask | None":
        """The mask of a symbolic output of a graph, or `None` without one."""
        mask = None if output is None else _backend.keras_mask(output)
        return None if mask is None else cls(model, mask)

    def __call__(self, x: Any) -> np.ndarray | None:
        """The mask for inputs as given to `fit`; `None` if it is not known."""
        if self._function is None:
            return None
        leaves = keras.tree.flatten(x)
        if isinstance(x, dict) and set(self._names) <= set(x):
            leaves = [x[name] for name in self._names]
        if len(leaves) != len(self._names) or any(e is None for e in leaves):
            return None
        parts = []
        try:
            for start in range(0, len(leaves[0]), _ROWS):
                rows = np.arange(start, min(start + _ROWS, len(leaves[0])))
                fed = as_fed([take_rows(leaf, rows) for leaf in leaves])
                with _backend.without_gradients():
                    part = self._function(fed if len(fed) > 1 else fed[0])
                parts.append(_backend.on_host(part))
        except Exception:  # a layer may raise anything for such inputs
            return None
        return np.concatenate(parts).astype(bool) if parts else None
