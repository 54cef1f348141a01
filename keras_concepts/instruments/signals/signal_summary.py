"""A forward probe as a few rows for each layer."""

from typing import Any

import numpy as np
from keras import tree

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.instruments.owners import unique_name
from keras_concepts.instruments.signals.forward_probe import (
    LayerSignal,
    Signals,
)
from keras_concepts.instruments.signals.signal_statistics import (
    error_by_lag,
    layer_statistics,
    memory_horizon,
    step_statistics,
)
from keras_concepts.quantities import Quantity

_SCALARS = (
    q.ACTIVATION_MEAN,
    q.ACTIVATION_STD,
    q.ACTIVATION_RMS,
    q.ZERO_SHARE,
    q.ERROR_RMS,
    q.FORGET_GATE_MEAN,
    q.UPDATE_GATE_MEAN,
)
# Properties of single units: how many units, and which.
_OF_UNITS = {
    "dead": (q.ZERO_ACTIVATION_UNITS, q.ZERO_ACTIVATION_UNIT),
    "saturated": (q.SATURATED_UNITS, q.SATURATED_UNIT),
    "saturated_gate": (q.SATURATED_GATE_UNITS, q.SATURATED_GATE_UNIT),
}


class SignalSummary:
    """Reduces signals on the device, and turns them into rows on the host.

    Only layers with weights or an activation function count. Calls of a layer
    count as its samples if they have the same width and length.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def reduce(self, signals: Signals) -> Any:
        """The input of `rows`, as a structure of tensors."""
        layers: dict[Any, list[LayerSignal]] = {}
        for signal in signals.layers:
            if _is_measured(signal):
                layers.setdefault(_kind(signal), []).append(signal)
        # A second width of a layer must not get another layer's name.
        taken = {kind[0] for kind in layers}
        seen: set[str] = set()
        self._names = []
        for name, *_ in layers:
            self._names.append(
                unique_name(name, taken) if name in seen else name
            )
            seen.add(name)
        found = [_statistics(calls) for calls in layers.values()]
        return [signals.loss, found]

    def rows(self, reduced: Any) -> dict[str, dict[Quantity, np.ndarray]]:
        """From quantity to values, for the model (`""`) and then each layer.

        For a quantity with an index, the values are in its order; for one that
        is 1 for some units, they are the numbers of these units.

        Args:
            reduced: The computed result of `reduce`.
        """
        loss, found = tree.map_structure(
            lambda x: None if x is None else _backend.on_host(x), reduced
        )
        rows = {} if loss is None else {"": {q.PROBE_LOSS: np.atleast_1d(loss)}}
        layers = [_quantities(statistics) for statistics in found]
        _add_attenuation(layers)
        return rows | dict(zip(self._names, layers, strict=True))


def _is_measured(signal: LayerSignal) -> bool:
    has_units = len(signal.activation.shape) > 1
    return has_units and (signal.has_weights or signal.slope is not None)


def _kind(signal: LayerSignal) -> tuple[Any, ...]:
    shape = signal.activation.shape
    axes = signal.unit_axes or (signal.unit_axis,)
    units = tuple(shape[axis] for axis in axes)
    time = None if signal.steps is None else signal.steps.states.shape[1]
    return signal.layer, units, time


def _statistics(calls: list[LayerSignal]) -> dict[str, Any]:
    steps = [call.steps for call in calls if call.steps is not None]
    return layer_statistics(calls) | (step_statistics(steps) if steps else {})


def _quantities(
    statistics: dict[str, np.ndarray],
) -> dict[Quantity, np.ndarray]:
    rows = {
        name: np.atleast_1d(statistics[name])
        for name in _SCALARS
        if name in statistics
    }
    rows[q.UNITS] = np.array([len(statistics["dead"])])
    for name, (count, unit) in _OF_UNITS.items():
        if name in statistics:
            units = np.flatnonzero(statistics[name])
            rows[count] = np.array([len(units)])
            rows[unit] = units
    if "state_error" in statistics:
        by_lag = error_by_lag(statistics["state_error"], statistics["kept"])
        rows[q.STATE_ERROR_RMS] = by_lag
        rows[q.MEMORY_HORIZON] = np.array([memory_horizon(by_lag)])
    if "hidden_error" in statistics:
        rows[q.HIDDEN_ERROR_RMS] = error_by_lag(
            statistics["hidden_error"], statistics["kept"]
        )
    return rows


def _add_attenuation(layers: list[dict[Quantity, np.ndarray]]) -> None:
    if not layers or q.ERROR_RMS not in layers[-1]:
        return
    last = layers[-1][q.ERROR_RMS]
    for layer in layers:
        with np.errstate(divide="ignore", invalid="ignore"):
            layer[q.ERROR_ATTENUATION] = layer[q.ERROR_RMS] / last
