"""Whether a model can learn one batch, and its gradients."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._batches import as_fed
from keras_concepts._preflight.given import taken
from keras_concepts.instruments.data.rows import row_count, spread_rows
from keras_concepts.instruments.non_finite.fault import Fault
from keras_concepts.instruments.owners import OwnerNames
from keras_concepts.instruments.predictions import equal_columns
from keras_concepts.instruments.trial import Learned, Trial
from keras_concepts.recording import Recording
from keras_concepts.rules.start import LEARNED

LEARNED_ROWS = 16
# Rows that must have no gradient before a variable counts as unused. Source: of
# sixteen experts that share the rows equally, one is missed by chance in one
# case of 1e7.
MORE_ROWS = 256
# The batch has at most as many rows as the model has weights for.
_WEIGHTS_PER_ROW = 10
_RATES = (3e-3, 3e-4, 3e-2)
_STEPS = 40
# Without time for this many steps, none is taken.
_FEWEST = 4
# With more layers, compiling a step takes minutes.
_LAYERS = 120


class OneBatch:
    """A trial on one batch, of a copy of the model's weights.

    Args:
        model: A built model with a loss.
        names: Names of its variables.
        seconds: Time limit for learning.

    Attributes:
        checks: Results, under the names that the rules use.
        faults: Where numbers were not finite.
        unchecked: What could not be checked, and why.
    """

    def __init__(self, model: Any, names: OwnerNames, seconds: float) -> None:
        self.checks: dict[str, Any] = {}
        self.faults: list[Fault] = []
        self.unchecked: list[str] = []
        self._model = model
        self._names = names
        self._seconds = seconds

    def learn(
        self, recording: Recording, rows: Any, more: Callable[[], Any]
    ) -> None:
        """Runs the trial.

        Args:
            recording: Receives the loss in training mode.
            rows: `(x, y, sample_weight)` in arrays.
            more: Returns more of them, where these do not use every variable.
        """
        model = self._model
        weights = sum(math.prod(v.shape) for v in model.trainable_variables)
        most = min(LEARNED_ROWS, weights // _WEIGHTS_PER_ROW)
        if most < 2:
            self.unchecked.append(
                "gradients and learning one batch: the model has too few "
                "trainable weights."
            )
            return
        count = row_count(rows[0]) or 0
        batch = as_fed(taken(rows, spread_rows(count, most)))
        layers = len(_backend.flatten_layers(model))
        is_small = layers <= _LAYERS
        started = time.monotonic()
        try:
            trial = Trial(model, *batch, compiled=is_small, steps=_STEPS)
            loss, gradients = trial.gradients()
        except Exception as error:  # the model's: noted in `unchecked`
            self.unchecked.append(failure("gradients", error))
            return
        paths = [self._names.of(v) for v in trial.variables]
        recording.append(-1, "", q.PROBE_LOSS, 0, loss)
        bad = [
            (path, int((~np.isfinite(g)).sum()))
            for path, g in zip(paths, gradients, strict=True)
        ]
        bad = [(path, number) for path, number in bad if number]
        if not math.isfinite(loss):
            self.faults.append(
                Fault("loss", "", 1, "the loss, in training mode")
            )
            return
        if bad:
            path, number = bad[-1]  # back-propagation reaches it first
            where = f"the gradient of {path}, although the loss is finite"
            self.faults.append(Fault("gradient", path, number, where))
            return
        self.checks["equal_gradients"] = {
            path: g.ndim > 1 and equal_columns(g) == 1.0
            for path, g in zip(paths, gradients, strict=True)
        }
        # The first step does not show how long a compiled one takes.
        first = 0.0 if is_small else time.monotonic() - started
        learned = self._learned(trial, first)
        if learned is None:
            return
        self.checks["batch"] = {
            "before": learned.before,
            "after": learned.after,
            "steps": learned.steps,
            "rate": learned.rate,
            "rows": row_count(batch[0]),
        }
        moved = [
            bool(np.any(g)) or changed
            for g, changed in zip(gradients, learned.moved, strict=True)
        ]
        tried = most
        if not all(moved):
            tried = self._try_more(trial, learned, moved, more, most)
        self.checks["moved"] = dict(zip(paths, moved, strict=True))
        self.checks["moved_rows"] = tried

    def _try_more(
        self,
        trial: Trial,
        learned: Learned,
        moved: list[bool],
        more: Callable[[], Any],
        size: int,
    ) -> int:
        """Takes gradients of other rows: only a few may use some part.

        Args:
            trial: The trial.
            learned: What it has learned; its weights are tried as well.
            moved: Whether each variable has a gradient; is updated.
            more: Returns further rows, `(x, y, sample_weight)` in arrays.
            size: Rows of a batch.

        Returns:
            Number of rows that were tried.
        """
        rows = more()
        count = row_count(rows[0]) or 0
        started, tried = time.monotonic(), size
        for first in range(0, count - size + 1, size):
            if all(moved) or time.monotonic() - started > self._seconds:
                break
            batch = as_fed(taken(rows, np.arange(first, first + size)))
            for values in (None, learned.values):
                _, gradients = trial.gradients(values, batch)
                for i, gradient in enumerate(gradients):
                    moved[i] |= bool(np.any(np.nan_to_num(gradient)))
            tried = first + size
        return tried

    def _learned(self, trial: Trial, first: float) -> Learned | None:
        """The best of several rates; `None` if time ran out before."""
        started = time.monotonic()
        best = None
        for rate in _RATES:
            left = self._seconds - (time.monotonic() - started)
            if left <= 0 or first * _FEWEST > left:
                break
            found = trial.learn(_STEPS, rate, _is_learned, left)
            if _is_learned(found.before, found.after):
                return found
            if found.steps < _STEPS and math.isfinite(found.after):
                break
            if best is None or found.after < best.after:
                best = found
        else:
            return best
        self.unchecked.append(
            "learning one batch: a step of this model takes too long for "
            f"`seconds={self._seconds:g}`."
        )
        return None


def failure(what: str, error: Exception) -> str:
    """A sentence about something that failed."""
    text = str(error).strip().split("\n")[0][:200]
    return f"{what}: {type(error).__name__}: {text}"


def _is_learned(before: float, after: float) -> bool:
    limit = before - LEARNED * abs(before)
    return math.isfinite(after) and after <= limit
