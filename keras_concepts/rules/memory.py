"""Rules about sequences: how far back a layer sees, padding and order."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# Share of the steps of a sequence. Source: this project.
SHORT = 0.1
_LONG = 20
# Below this, the effect of the order of steps is rounding. Source: float32.
_BLIND = 1e-3
# Share of the planned epochs.
_PATIENCE = 0.25
_RECURRENT = ("LSTM", "GRU", "RNN")


def _is_recurrent(layer: dict[str, Any]) -> bool:
    return any(kind in layer["class"] for kind in _RECURRENT)


def _with_open_gates(kind: str, steps: int) -> str:
    """A line of code. An LSTM's own forget gate would override the bias."""
    bias = f"bias_initializer=kc.initializers.Chrono({steps})"
    if "GRU" in kind:
        return f"keras.layers.GRU(units, {bias})"
    return f"keras.layers.LSTM(units, {bias}, unit_forget_bias=False)"


@rule(
    "short_memory",
    severity="info",
    why="What lies further back than the memory horizon cannot be learned.",
    page="monitors/signal_monitor.md",
    needs="a probe batch with labels",
    known=lambda t: bool(t.curves(q.MEMORY_HORIZON)),
    meant=lambda t: not t.layers or any(map(_is_recurrent, t.layers)),
)
def short_memory(t: Training) -> Iterator[Evidence]:
    """Almost no gradient reaches further back than a tenth of the steps.

    The memory horizon of a recurrent layer is below a tenth of the sequence,
    which has 20 steps or more. Reported only if there is harm, and only as
    information: only the user knows the lags of the task.
    """
    lags = t.curves(q.STATE_ERROR_RMS)
    for owner, curve in t.curves(q.MEMORY_HORIZON).items():
        if owner not in lags:
            continue
        steps = int(np.max(lags[owner].indices, initial=0)) + 1
        horizon = float(curve.values[-1])
        if steps < _LONG or horizon >= SHORT * steps:
            continue
        if harm(t, 0.3) is None:
            continue
        yield Evidence(
            owner,
            curve.at(0),
            (Measured("memory horizon", horizon, SHORT * steps, "steps"),),
            "Initialize the gates to be open, or shorten the sequences.",
            _with_open_gates(t.layer.get(owner, {}).get("class", ""), steps),
        )
        return


@rule(
    "lost_mask",
    severity="warning",
    why="Padding is read as data: the content of a sequence is diluted by "
    "steps without content.",
    page="text_classification.md",
    needs="what the inputs are",
    known=lambda t: bool(t.inputs),
    meant=lambda t: not t.inputs or any(x.get("padding") for x in t.inputs),
)
def lost_mask(t: Training) -> Iterator[Evidence]:
    """A mask is lost before a layer that needs it, or was never created.

    What `check_masks` finds on a few rows: padding that changes the outputs.
    Reported only if there is harm. Known false alarm: pooling and convolutions
    over padded texts, which often learn anyway; guard: harm, and a quarter of
    the planned epochs.
    """
    masks = t.facts.get("masks") or []
    is_early = t.ended_epochs < _PATIENCE * t.planned_epochs
    if not masks or is_early or harm(t, 0.2) is None:
        return
    first = masks[0]
    yield Evidence(
        first["layer"],
        (0, 0),
        (
            Measured("share of steps that are padding", first["padding"]),
            Measured("places where padding is read as data", str(len(masks))),
        ),
        first["advice"],
        "keras.layers.Embedding(words, units, mask_zero=True)"
        if first["problem"] == "no_mask"
        else "",
    )


@rule(
    "no_positions",
    severity="warning",
    why="Attention alone ignores the order of the steps: the model sees a bag "
    "of them.",
    page="doctor.md#no_positions",
    needs="a probe batch of sequences, and a model that can be called",
    known=lambda t: bool(t.curve(q.ORDER_ERROR)),
    meant=lambda t: any("Attention" in each["class"] for each in t.layers),
)
def no_positions(t: Training) -> Iterator[Evidence]:
    """The model has attention, but the order of the steps has no effect.

    Before training, the predictions of the probe with its steps in another
    order differ from those in the original order by less than a thousandth of
    their standard deviation. Reported only if there is harm. Known false alarm:
    sets, whose order does not matter; guard: harm.
    """
    error = t.curve(q.ORDER_ERROR)
    if not error or error.values[0] >= _BLIND or harm(t, 0.3) is None:
        return
    yield Evidence(
        "",
        (0, 0),
        (
            Measured(
                "effect of reordering the steps, over the std of the "
                "predictions",
                float(error.values[0]),
                _BLIND,
            ),
        ),
        "Add an embedding of the position to that of the token.",
        "positions = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1"
        "; x = x + keras.layers.Embedding(length, width)(positions)",
    )
