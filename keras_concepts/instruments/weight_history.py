"""How far the weights of a model have moved, computed on the host."""

from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.instruments.owners import OwnerNames
from keras_concepts.instruments.predictions import equal_columns
from keras_concepts.instruments.roles import roles_of
from keras_concepts.quantities import Quantity

# Maximum entries read from a variable; larger ones are sampled. And the maximum
# for a model, where each larger variable gets an equal share.
_MOST_ENTRIES, _MOST_IN_ALL = 2**16, 2**25
# Number of a kernel's weights that are compared between units.
_MOST_INPUTS = 64
_MOST_UNITS = 256


class WeightHistory:
    """Remembers the weights of a model at its first and last measurement.

    From a variable with more than 65,536 entries, this many are sampled, evenly
    spaced, so that memory stays small, at 8 bytes each. In a model with more
    than 512 variables they are fewer.

    Args:
        model: A built model; no reference to it is kept.
        names: Names of its variables.
        variables: Variables to read.
    """

    def __init__(
        self, model: Any, names: OwnerNames, variables: list[Any]
    ) -> None:
        self._variables = variables
        self.paths = [names.of(variable) for variable in variables]
        self._is_kernel = [
            role in (q.WEIGHT, q.SCORE)
            for role in roles_of(variables, names, model)
        ]
        share = _MOST_IN_ALL // max(1, len(variables))
        self._entries = max(1, min(_MOST_ENTRIES, share))
        self._first = self._samples()
        self._last = self._first

    def _samples(self) -> list[np.ndarray]:
        return [_sample(each, self._entries) for each in self._variables]

    # Weights of a diverging run are infinite.
    @np.errstate(invalid="ignore", over="ignore")
    def rows(self) -> dict[str, dict[Quantity, float]]:
        """The quantities to record for each variable now."""
        rows: dict[str, dict[Quantity, float]] = {}
        variables = self._variables
        now = self._samples()
        for i, path in enumerate(self.paths):
            values = now[i].astype(np.float64)
            rows[path] = {
                q.EPOCH_WEIGHT_RMS: _rms(values),
                q.EPOCH_UPDATE_RMS: _rms(values - self._last[i]),
                q.DISTANCE_RMS: _rms(values - self._first[i]),
            }
            if self._is_kernel[i] and len(variables[i].shape) == 2:
                rows[path][q.EQUAL_COLUMNS] = _equal_columns(variables[i])
        self._last = now
        return rows


def _sample(variable: Any, most: int) -> np.ndarray:
    entries = _on_host(variable)
    if entries is None:
        entries = keras.ops.reshape(variable, (-1,))
    else:
        entries = entries.reshape(-1)
    stride = -(-entries.shape[0] // most)
    return _float32(entries[::stride] if stride > 1 else entries)


def _equal_columns(kernel: Any) -> float:
    """Share of units with the same weights as the first, in a kernel slice."""
    entries = _on_host(kernel)
    if entries is None:
        entries = kernel
    few = _float32(entries[:_MOST_INPUTS, :_MOST_UNITS])
    return equal_columns(few.astype(np.float64))


def _on_host(variable: Any) -> np.ndarray | None:
    """All values, if they need not be copied from an accelerator."""
    return _backend.known_value(keras.ops.convert_to_tensor(variable))


def _float32(values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        values = keras.ops.cast(values, "float32")
        values = _backend.on_host(values)
    # A copy, since some share memory with the variable.
    return values.astype(np.float32)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
