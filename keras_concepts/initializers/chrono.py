"""Gates that stay open for as long as a task needs memory."""

from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    check_choice,
    checked_number,
    checked_seed,
    plain,
)


@serializable
class Chrono(keras.initializers.Initializer):
    """Biases that give the units of an LSTM or GRU a long memory.

    ```python
    LSTM(64, bias_initializer=Chrono(100), unit_forget_bias=False)
    GRU(64, bias_initializer=Chrono(100))
    ```

    Each unit draws a lag `n` from the uniform distribution on
    `[1, max_lag - 1]`. Then, with `σ` the sigmoid,

    - LSTM: the forget gate's bias is `log n`, the input gate's `-log n`;
    - GRU: the update gate's bias is `log n` (Keras' update gate is the share
      of the old state that is kept: `h_t = z h_(t-1) + (1 - z) h̃_t`);
    - all other biases are 0.

    While input and state are small, a unit keeps the share
    `σ(log n) = 1 - 1/(n + 1)` of its state at each step, and so forgets in
    about `n + 1` steps: some units in 2 steps, others in `max_lag`. A gate with
    bias 0 forgets in 2 steps, one with bias 1 (`unit_forget_bias=True`) in 3.7.

    An LSTM also needs `unit_forget_bias=False`, since Keras would otherwise
    overwrite the bias of the forget gate; without it, an error is raised. A GRU
    with `reset_after=True` adds up two biases; that of the input is drawn and
    the recurrent one is 0. It works with all Keras layers that use these cells:
    `Bidirectional`, `RNN`, `StackedRNNCells`, `ConvLSTM1D` to `3D`.

    Source: Tallec & Ollivier 2018, *Can recurrent neural networks warp time?*,
    section 2.

    Args:
        max_lag: Number of steps that the task needs to remember, for example
            the length of the sequences; at least 2. It need not be an integer.
        seed: Integer, `keras.random.SeedGenerator` or `None`, as in Keras'
            initializers: with an integer or `None` each call of one
            initializer gives the same values.
        cell: `"lstm"` or `"gru"`, the order of the gates. Needed only where it
            cannot be inferred: in a cell of your own, or in a `GRU` with
            `reset_after=False` that is created inside another layer's `call`.

    Raises:
        ValueError: `max_lag` is below 2; or the shape it is called with is not
            that of a whole bias, the order of the gates is unknown, or there
            are no gates, as in a SimpleRNN.

    Example:

    >>> layer = keras.layers.GRU(4, bias_initializer=Chrono(100, seed=0))
    >>> layer.build((None, 20, 3))
    >>> keep = keras.ops.sigmoid(layer.cell.bias[0, :4])
    >>> lag = keras.ops.convert_to_numpy(1 / (1 - keep))
    >>> bool((lag >= 2).all() and (lag <= 100.1).all())
    True
    """

    def __init__(
        self, max_lag: float, seed: Any = None, *, cell: str | None = None
    ) -> None:
        check_choice("Chrono", "cell", cell, ["lstm", "gru", None])
        self.max_lag = checked_number("Chrono", "max_lag", max_lag, low=2)
        if isinstance(plain(seed), int):  # or a generator, or its config
            seed = checked_seed("Chrono", seed)
        self.seed = seed
        self.cell = cell
        # Keras' own initializer, for its handling of seeds.
        self._lags = keras.initializers.RandomUniform(1, self.max_lag - 1, seed)

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        shape = tuple(int(size) for size in shape)
        cell = _backend.cell_of_bias()
        if cell is not None and isinstance(cell, keras.layers.SimpleRNNCell):
            raise ValueError(
                "`Chrono` needs the gates of an LSTM or a GRU. Received: layer "
                f"{cell.name!r} of a SimpleRNN, which has none."
            )
        if cell is not None and getattr(cell, "unit_forget_bias", False):
            raise ValueError(
                "`Chrono` sets the forget gate of an LSTM, and with "
                "`unit_forget_bias=True`, Keras' default, Keras sets it to 1. "
                "Pass `unit_forget_bias=False` to the layer as well. Received: "
                f"layer {cell.name!r} with unit_forget_bias=True."
            )
        kind = self.cell or _kind(cell, shape)
        gates = 4 if kind == "lstm" else 3
        whole = (
            len(shape) == 1 or (kind == "gru" and shape[:-1] == (2,))
        ) and (shape[-1] % gates == 0)
        if not whole:
            raise ValueError(
                f"`Chrono` fills the whole bias of a recurrent cell: (4 * "
                "units,) of an LSTM, (3 * units,) or (2, 3 * units) of a GRU. "
                f"Received: shape={shape} for cell={kind!r}. Is it passed as "
                "`bias_initializer`?"
            )
        lags = self._lags((shape[-1] // gates,), dtype="float32")
        bias = (lstm_bias if kind == "lstm" else gru_bias)(lags)
        if len(shape) == 2:
            bias = ops.stack([bias, ops.zeros_like(bias)])
        return ops.cast(bias, dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {
            "max_lag": self.max_lag,
            "seed": self._lags.get_config()["seed"],
            "cell": self.cell,
        }


def lstm_bias(lags: Tensor) -> Tensor:
    """Bias of an LSTM whose units forget in `lags + 1` steps.

    Args:
        lags: Of shape `(units,)`, above 0.

    Returns:
        Of shape `(4 * units,)`: input, forget, cell and output gate.
    """
    bias, zeros = ops.log(lags), ops.zeros_like(lags)
    return ops.concatenate([-bias, bias, zeros, zeros])


def gru_bias(lags: Tensor) -> Tensor:
    """Bias of a GRU whose units forget in `lags + 1` steps.

    Args:
        lags: Of shape `(units,)`, above 0.

    Returns:
        Of shape `(3 * units,)`: update and reset gate, and candidate.
    """
    zeros = ops.zeros_like(lags)
    return ops.concatenate([ops.log(lags), zeros, zeros])


def _kind(cell: Any, shape: tuple[int, ...]) -> str:
    """Kind of cell, from the cell where it is known, else from the shape."""
    if cell is not None:
        return "lstm" if hasattr(cell, "unit_forget_bias") else "gru"
    if len(shape) == 2:
        return "gru"
    fitting = [
        kind
        for kind, gates in (("lstm", 4), ("gru", 3))
        if shape[-1] % gates == 0
    ]
    if len(fitting) == 1:
        return fitting[0]
    raise ValueError(
        "`Chrono` cannot tell from the shape of this bias whether it is an "
        f"LSTM's or a GRU's. Received: shape={shape}. Pass which: "
        '`Chrono(max_lag, cell="lstm")` or `cell="gru"`.'
    )
