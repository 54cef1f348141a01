"""Where F1 of Keras is another number than the F1 of the data."""

from typing import Any

import keras
import numpy as np

import keras_concepts as kc
from measured import Measured

CLASSES = np.arange(6) % 3
EYE = np.eye(3, dtype="float32")
FIVE = np.eye(5, dtype="float32")[[0, 1, 2, 2]]
UNIT = np.array([[0], [1], [0], [0]]), np.array([[0.2], [0.9], [0.1], [0.3]])
TWO = np.array([[0], [1], [0], [1]]), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
STEPS = EYE[np.array([[0, 1, 2], [2, 1, 0]])]


def number(metric: Any, *batches: Any) -> str:
    """The result, or `error`."""
    try:
        for batch in batches:
            metric.update_state(*batch)
    except (TypeError, ValueError):
        return "error"
    return f"{float(metric.result()):.3g}"


def row(case: str, *batches: Any, average: str = "macro", **ours: Any) -> Any:
    """A case, Keras' F1 and ours."""
    return [
        case,
        number(keras.metrics.F1Score(average), *batches),
        number(kc.metrics.F1Score(average, **ours), *batches),
    ]


def measure() -> Measured:
    absent = "perfect, 3 of 5 classes present"
    rows = [
        row("perfect, class numbers `(n, 1)`, two classes", TWO),
        row("perfect, class numbers `(n,)`", (CLASSES, EYE[CLASSES])),
        row("perfect, one sigmoid unit, one positive in four", UNIT),
        row(absent, (FIVE, FIVE)),
        row(
            f'{absent}; ours with `absent="skip"`', (FIVE, FIVE), absent="skip"
        ),
        row("perfect, outputs `(batch, time, classes)`", (STEPS, STEPS)),
    ]
    return Measured({"predictions": rows})
