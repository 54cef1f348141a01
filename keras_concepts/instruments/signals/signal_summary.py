"""A forward probe as a few rows for each layer."""

from typing import Any

import numpy as np
from keras import ops, tree

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

_SCALARS = (
    "activation_mean",
    "activation_std",
    "activation_rms",
    "zero_share",
    "error_rms",
    "forget_gate_mean",
    "update_gate_mean",
)
# What is true of some of the units.
_OF_UNITS = ("dead", "saturated", "saturated_gate")


class SignalSummary:
    """Reduces signals on the device, and makes rows of them on the host.

    A layer is one that has weights or an activation function. Its calls count
    as samples of one layer where they are of one width and length.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def reduce(self, signals: Signals) -> Any:
        """What `rows` needs, as a structure of tensors."""
        layers: dict[Any, list[LayerSignal]] = {}
        for signal in signals.layers:
            if _is_measured(signal):
                layers.setdefault(_kind(signal), []).append(signal)
        self._names = [_name(kind, layers) for kind in layers]
        found = [_statistics(calls) for calls in layers.values()]
        return [signals.loss, found]

    def rows(self, reduced: Any) -> dict[str, dict[str, np.ndarray]]:
        """Quantity to values, for the model (`""`) and then for each layer.

        Args:
            reduced: What `reduce` returned, computed.
        """
        loss, found = tree.map_structure(
            lambda x: None if x is None else ops.convert_to_numpy(x), reduced
        )
        rows = {} if loss is None else {"": {"loss": np.atleast_1d(loss)}}
        layers = [_quantities(statistics) for statistics in found]
        _add_attenuation(layers)
        return rows | dict(zip(self._names, layers, strict=True))


def _is_measured(signal: LayerSignal) -> bool:
    has_units = len(signal.activation.shape) > 1
    return has_units and (signal.has_weights or signal.slope is not None)


def _kind(signal: LayerSignal) -> tuple[Any, ...]:
    units = signal.activation.shape[signal.unit_axis]
    time = None if signal.steps is None else signal.steps.states.shape[1]
    return signal.layer, units, time


def _name(kind: tuple[Any, ...], kinds: Any) -> str:
    same = [other for other in kinds if other[0] == kind[0]]
    place = same.index(kind)
    return kind[0] if place == 0 else f"{kind[0]} ({place + 1})"


def _statistics(calls: list[LayerSignal]) -> dict[str, Any]:
    steps = [call.steps for call in calls if call.steps is not None]
    return layer_statistics(calls) | (step_statistics(steps) if steps else {})


def _quantities(statistics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rows = {
        name: np.atleast_1d(statistics[name])
        for name in _SCALARS
        if name in statistics
    }
    rows["units"] = np.array([len(statistics["dead"])])
    for name in _OF_UNITS:
        if name in statistics:
            units = np.flatnonzero(statistics[name])
            rows[f"{name}_units"] = np.array([len(units)])
            rows[f"{name}_unit"] = units
    if "state_error" in statistics:
        by_lag = error_by_lag(statistics["state_error"], statistics["kept"])
        rows["state_error_rms"] = by_lag
        rows["memory_horizon"] = np.array([memory_horizon(by_lag)])
    if "hidden_error" in statistics:
        rows["hidden_error_rms"] = error_by_lag(
            statistics["hidden_error"], statistics["kept"]
        )
    return rows


def _add_attenuation(layers: list[dict[str, np.ndarray]]) -> None:
    if not layers or "error_rms" not in layers[-1]:
        return
    last = layers[-1]["error_rms"]
    for layer in layers:
        with np.errstate(divide="ignore", invalid="ignore"):
            layer["error_attenuation"] = layer["error_rms"] / last
