"""How many steps the executions of an epoch took."""

import math
from typing import Any

from keras_concepts import _backend


class ExecutionCount:
    """Finds out where the data ended, if an execution has several steps.

    The last execution of an epoch may take fewer steps than the others, and
    Keras does not say how many. But each of Keras' own steps calls the
    optimizer once, and these calls are counted.

    Args:
        model: The model in `fit`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._calls: list[_Calls] | None = None

    def begin_epoch(self) -> None:
        """Begins to count, between epochs."""
        self._calls = None
        if self._model.steps_per_execution > 1:
            optimizers = _backend.optimizers_of(self._model)
            self._calls = [_Calls(each) for each in optimizers]

    def lose(self) -> None:
        """Notes that the optimizer may be used outside the steps of `fit`."""
        self._calls = None

    def taken(self, counted: int) -> int | None:
        """Steps taken in the epoch; `None` if that is not known.

        Args:
            counted: How many it would be if no execution was cut short.
        """
        most = self._model.steps_per_execution
        if not self._calls or not counted:
            return None
        if counted == most and _backend.has_own_train_step(self._model):
            # One execution does not show how often a step uses the optimizer.
            return None
        found = {each.number() for each in self._calls}
        # Any other optimizer is used less or more often than once in a step.
        possible = [n for n in found if n and counted - most < n <= counted]
        return possible[0] if len(possible) == 1 else None


class _Calls:
    """Counts the calls of an optimizer from now on."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._counter = _backend.calls_of_optimizer(optimizer)
        self._before = self._now()
        self._scaled = self._scaling()

    def number(self) -> int | None:
        """Calls until now, if that is known."""
        if self._counter is None:
            return None
        updates = self._now() - self._before
        if self._scaled is None:
            return updates
        # Where the gradients overflow, the scale is halved and the call is not
        # counted. After enough calls without that, the scale is doubled.
        scale, calm = self._scaled
        now = self._scaling()
        if now is None or not scale > 0.0 < now[0]:
            return None
        halved = math.log2(scale) - math.log2(now[0])
        doubled = (calm + updates) // self._optimizer.dynamic_growth_steps
        if not doubled:
            return updates + round(halved)
        return updates if round(halved) == -doubled else None

    def _now(self) -> int:
        if self._counter is None:
            return 0
        return int(_backend.on_host(self._counter))

    def _scaling(self) -> tuple[float, int] | None:
        """Scale of a `LossScaleOptimizer`, and calls since it changed."""
        optimizer = self._optimizer
        if not hasattr(optimizer, "dynamic_growth_steps"):
            return None
        if not optimizer.built:
            return float(optimizer.initial_scale), 0
        scale, calm = optimizer.dynamic_scale, optimizer.step_counter
        return float(_backend.on_host(scale)), int(_backend.on_host(calm))
