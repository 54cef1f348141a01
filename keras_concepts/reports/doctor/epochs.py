"""Steps of a training run as epochs, for the shared axis of all panels."""

from typing import Any, NamedTuple, Self

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.rules import Training
from keras_concepts.rules.training import Curve


class Epochs(NamedTuple):
    """The number of epochs that had ended after a number of steps.

    Attributes:
        steps: Steps before the run, and at the end of each epoch.
        ends: Epochs that had ended then; the fourth ends at 4.
    """

    steps: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, t: Training) -> Self:
        """For a whole run; an aborted epoch ends where it was aborted."""
        ends = {
            int(epoch) + 1: int(step)
            for log in t.curves(q.LOG).values()
            for epoch, step in zip(log.epochs, log.steps, strict=True)
        }
        first = t.facts.get("first_epoch")
        if first is None:
            first = min(ends, default=1) - 1
        epoch, step = t.position
        _ = ends.setdefault(epoch + 1, step)
        steps, numbers = [int(t.facts.get("first_step") or 0)], [int(first)]
        for number, at in sorted(ends.items()):
            if at > steps[-1] and number > numbers[-1]:
                steps.append(at)
                numbers.append(number)
        return cls(np.array(steps, float), np.array(numbers, float))

    def after(self, steps: np.ndarray | float) -> Any:
        """Epochs of training after these steps, with fractions."""
        return np.interp(steps, self.steps, self.ends)

    def at_ends(self, curve: Curve) -> Curve:
        """A value per epoch, placed where the epoch ends."""
        steps = np.interp(curve.epochs + 1.0, self.ends, self.steps)
        return curve._replace(steps=steps)

    def label(self, axes: Any, *, named: bool = True) -> None:
        """Limits and ticks of an axis of epochs.

        Args:
            axes: `matplotlib.axes.Axes`.
            named: Whether the axis has a label.
        """
        first, last = self.ends[0], max(self.ends[-1], self.ends[0] + 1.0)
        room = 0.02 * (last - first)
        axes.set_xlim(first - room, last + room)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.tick_params(labelsize=TICK_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
        if named:
            axes.set_xlabel("epochs of training", size=LABEL_SIZE)
