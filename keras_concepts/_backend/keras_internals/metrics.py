"""Metrics given to `compile`."""

import sys
from typing import Any

from keras.src.trainers.compile_utils import CompileMetrics


def name_in_logs(metric: Any) -> str | None:
    """A name for the result of a compiled metric, different from all others.

    If two metrics have one name, it is what Keras calls their results. `None`
    if the caller is not Keras. To be called while the metric's `result` runs.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, CompileMetrics):
            names = [each.name for each in caller.metrics]
            shared = names.count(metric.name) > 1
            name = frame.f_locals.get("name") if shared else None
            return name if isinstance(name, str) else metric.name
        if caller is not metric:
            return None
        frame = frame.f_back
    return None


def say_direction(metric: Any, direction: str) -> None:
    """Sets whether higher ("up") or lower ("down") values are better.

    For `mode="auto"` of `EarlyStopping`, `ModelCheckpoint` and similar ones.
    """
    metric._direction = direction
