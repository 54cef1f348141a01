"""Did a run learn? Measured, not intended.

`gain` is 0 for the best constant prediction and 1 for a perfect one
(`recipe.gain`), on rows that `fit` never saw, in inference mode. A run has
failed

- if its gain is less than `SHARE` of that of its sane variant, which is the
  same data and mostly the same network without the fault (for a program that is
  its own yardstick: less than `SHARE` of its mean gain over the seeds in
  `reference_gains.json`, or less than `LEAST`);
- or if it has validation data and lost `OVERFITTED` of what a constant
  prediction costs since its best epoch (criterion of every program);
- or if what its author reads in the logs is `TOO_GOOD` better than the truth
  (only of programs that say which number that is).
"""

import json
import math
import pathlib
from typing import Any

import numpy as np

from benchmarks.doctor.registry import Program

SHARE = 0.8
LEAST = 0.1
OVERFITTED = 0.25
TOO_GOOD = 0.15
GAINS = pathlib.Path(__file__).with_name("reference_gains.json")


def reference_gains() -> dict[str, list[float]]:
    """Gains of the sane programs, one for each seed."""
    return json.loads(GAINS.read_text()) if GAINS.exists() else {}


def verdict(
    program: Program,
    gain: float,
    reported: float | None,
    history: dict[str, list[float]],
    constant_loss: float | None,
    gains: dict[str, list[float]],
) -> dict[str, Any]:
    """Whether the run failed, and by which criterion."""
    known = gains.get(program.sane or program.name, [gain])
    yardstick = float(np.mean(known))
    reasons = []
    if not math.isfinite(gain) or gain < max(SHARE * yardstick, LEAST):
        reasons.append("learned less")
    lost = lost_since_best(history, constant_loss)
    if lost is not None and lost > OVERFITTED:
        reasons.append("overfitted")
    if reported is not None and reported - gain > TOO_GOOD:
        reasons.append("reported too much")
    return {
        "yardstick": yardstick,
        "failed": bool(reasons),
        "reasons": reasons,
    }


def lost_since_best(
    history: dict[str, list[float]], constant_loss: float | None
) -> float | None:
    """Validation loss now over that of the best epoch, in constant losses."""
    losses = history.get("val_loss", [])
    if constant_loss is None or not losses or not np.isfinite(losses).all():
        return None
    return (losses[-1] - min(losses)) / constant_loss
