"""What the units of a layer do over a whole training run."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.moments import (
    UnitTotals,
    counted,
    joined_totals,
    mean_and_variance,
    unit_moments,
)
from keras_concepts._numerics.saturation import FLAT, MOSTLY, SLOPE_OF_OUTPUT
from keras_concepts._numerics.words import add_to, as_words, total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice
from keras_concepts.layers._measured import measured_variable

_ZEROS, _FLATS = UnitTotals.rows, UnitTotals.rows + 2


class ActivationStatistics(NamedTuple):
    """Statistics of each unit, arrays of shape `(units,)`.

    All but `entries` and `dead` are NaN for a unit without entries.

    Attributes:
        entries: Number of entries.
        mean: Mean.
        std: Standard deviation of these entries (divisor n, not n - 1).
        rms: Root of the mean square.
        zero_share: Share of entries that were exactly 0, from 0 to 1.
        dead: Whether there were entries and all were exactly 0.
        flat_share: Share of entries where the activation's derivative was below
            5% of its maximum; `None` without a named activation.
        saturated: Whether `flat_share` is above 90%; `None` without a named
            activation.
    """

    entries: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    rms: np.ndarray
    zero_share: np.ndarray
    dead: np.ndarray
    flat_share: np.ndarray | None
    saturated: np.ndarray | None


@serializable
class ActivationProbe(keras.layers.Layer):
    r"""Passes its input on, and keeps statistics of it over a training run.

    For each unit or channel (last axis), over every entry of every training
    batch since the last `reset`: mean, standard deviation, RMS, share of zeros,
    and whether it is dead or saturated. Put it after the layer you want to
    watch:

    ```python
    hidden, probe = keras.layers.Dense(64, "relu"), ActivationProbe("relu")
    model = keras.Sequential([hidden, probe, keras.layers.Dense(10)])
    model.fit(x, y)
    probe.statistics().dead.sum()
    model = kc.strip_probes(model)
    ```

    A unit is dead if each of its outputs was exactly 0: for a ReLU, if none was
    ever above 0. It is saturated if $|\varphi'| < 0.05 \max |\varphi'|$ in more
    than 90% of its outputs, so that little gradient passes. The probe must know
    the activation to measure this. (On TensorFlow without XLA, put it after the
    activation, not before: TensorFlow fuses a product and a tanh or sigmoid
    unless a layer reads the value between them, and the fused operation rounds
    differently.)

    Only training counts: `evaluate`, `predict` and masked entries do not. The
    statistics are non-trainable weights, saved with the model; they are float32
    under every dtype policy, take the same time for each batch, and count
    exactly up to $2^{48}$. They change nothing: training ends with the same
    weights, to the last bit, with or without the probe. A NaN among the
    activations stays in the moments until `reset`.

    Under `tf.distribute` each replica counts its share of a batch, and
    `statistics` and saved files combine all replicas; on several machines,
    those of the calling machine. In PyTorch's `DistributedDataParallel` each
    process counts its own share. Under JAX's `keras.distribution` they cover
    the whole batch.

    Args:
        activation: Activation of the watched layer: `"elu"` (with alpha 1),
            `"relu"`, `"sigmoid"`, `"softplus"`, `"softsign"` or `"tanh"`.
            `None` for any other: saturation is then not measured.
        kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, ..., units)`. A mask is over the first axes.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `activation` is none of these; or the number of units is
            unknown when the layer is built.

    Source: 90% of outputs and 5% of the slope, as in SageMaker Debugger's rules
    for saturated activations (there for tanh and sigmoid).

    Example:

    >>> probe = ActivationProbe("relu")
    >>> x = np.array([[1.0, 0.0], [3.0, 0.0]], "float32")
    >>> y = probe(x, training=True)
    >>> statistics = probe.statistics()
    >>> statistics.mean.tolist(), statistics.std.tolist()
    ([2.0, 0.0], [1.0, 0.0])
    >>> statistics.dead.tolist()
    [False, True]
    """

    def __init__(self, activation: str | None = None, **kwargs: Any) -> None:
        check_choice(
            "ActivationProbe",
            "activation",
            activation,
            [None, *SLOPE_OF_OUTPUT],
        )
        # Otherwise a layer of another dtype before or after it would notice.
        super().__init__(autocast=False, **kwargs)
        self.activation = activation
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Creates the weight that holds the statistics."""
        units = input_shape[-1] if len(input_shape) > 1 else None
        if units is None:
            raise ValueError(
                "`ActivationProbe` needs an input `(batch, ..., units)` with a "
                f"known number of units. Received: shape {tuple(input_shape)}."
            )
        self.state = measured_variable(_FLATS + 2, units, "statistics")

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The inputs."""
        if training:
            [watched] = _backend.isolate([ops.stop_gradient(inputs)])
            state = ops.convert_to_tensor(self.state.value)
            self.state.assign(_added(state, watched, mask, self.activation))
        return inputs

    def statistics(self) -> ActivationStatistics:
        """The statistics since the last `reset`."""
        if not self.built:
            raise ValueError(
                "`ActivationProbe.statistics` needs a built layer. Received: "
                f"{self.name!r}, which has not been called yet."
            )
        state = self._state_of_all()
        count, zeros, flats = (
            total_of(state[row : row + 2], "float64")
            for row in (1, _ZEROS, _FLATS)
        )
        mean, variance = mean_and_variance(state)
        known = self.activation is not None
        with np.errstate(invalid="ignore"):  # 0 / 0
            zero_share, flat_share = zeros / count, flats / count
        return ActivationStatistics(
            count,
            mean,
            np.sqrt(variance),
            np.sqrt(mean**2 + variance),
            zero_share,
            zero_share == 1.0,
            flat_share if known else None,
            flat_share > MOSTLY if known else None,
        )

    def reset(self) -> None:
        """Clears the statistics."""
        if self.built:
            self.state.assign(ops.zeros_like(self.state.value))

    def save_own_variables(self, store: Any) -> None:
        """Saves the statistics of all replicas together."""
        store["0"] = self._state_of_all()

    def load_own_variables(self, store: Any) -> None:
        """Loads the statistics, as those of one replica."""
        if self.built and set(store.keys()) == {"0"}:
            _backend.assign_to_first_replica(self.state, store["0"])
        else:  # Keras raises its own error
            super().load_own_variables(store)

    def _state_of_all(self) -> np.ndarray:
        replicas = _backend.values_of_replicas(self.state)
        states = [_backend.on_host(state) for state in replicas]
        if len(states) == 1:
            return states[0]
        counts = [
            as_words(
                np.sum([total_of(s[i : i + 2], "float64") for s in states], 0)
            )
            for i in (_ZEROS, _FLATS)
        ]
        return np.concatenate([joined_totals(states), *counts])

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> Any:
        """Same as that of the input."""
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Same as that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": self.activation}


def _added(
    state: Tensor, x: Tensor, mask: Tensor | None, activation: str | None
) -> Tensor:
    """The state combined with a batch."""
    x = ops.cast(x, "float32")
    entries = counted(x, mask)

    def share(wanted: Tensor) -> Tensor:
        if entries is not None:
            wanted = ops.logical_and(wanted, entries)
        axes = list(range(len(x.shape) - 1))
        return ops.sum(ops.cast(wanted, "int32"), axes)

    totals = UnitTotals.unpacked(state).plus(unit_moments(x, mask))
    zeros = add_to(state[_ZEROS:_FLATS], share(ops.equal(x, 0.0)))
    flats = state[_FLATS:]
    if activation is not None:
        flats = add_to(flats, share(SLOPE_OF_OUTPUT[activation](x) < FLAT))
    return ops.concatenate([totals.packed(), zeros, flats], axis=0)
