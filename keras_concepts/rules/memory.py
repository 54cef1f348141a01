"""Rules on sequences: how far back a layer sees, and padding."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# Of the steps of a sequence. Source: chosen by this project.
SHORT = 0.1
_LONG = 20


@rule(
    "short_memory",
    severity="info",
    why="What lies further back than that cannot be learned.",
    page="signals.md",
    needs="a recurrent layer, and a probe batch with labels",
    known=lambda t: bool(t.curves(q.MEMORY_HORIZON)),
)
def short_memory(t: Training) -> Iterator[Evidence]:
    """Almost no gradient gets further back than a tenth of the steps.

    The memory horizon of a recurrent layer is below a tenth of the sequence, of
    20 steps or more. Only under harm, and only to inform: what lag a task has,
    only its user knows.
    """
    lags = t.curves(q.STATE_ERROR_RMS)
    for owner, curve in t.curves(q.MEMORY_HORIZON).items():
        steps = int(np.max(lags[owner].index, initial=0)) + 1
        horizon = float(curve.values[-1])
        if steps < _LONG or horizon >= SHORT * steps:
            continue
        if harm(t, 0.3) is None:
            continue
        yield Evidence(
            owner,
            curve.at(0),
            (Measured("memory horizon", horizon, SHORT * steps, "steps"),),
            "Open the gates at the start, or shorten the sequences.",
            f"keras.layers.LSTM(units, bias_initializer=kc.initializers.Chrono"
            f"({steps}))",
        )
        return
