"""What a run that may go on with another `fit` leaves to its model."""

import math
from typing import Any

import numpy as np

from keras_concepts import _backend
from keras_concepts.callbacks._run_log import steps_taken

# Most entries of a weight by which a model is known again.
_REMEMBERED = 4096
# Attribute of the model. Nothing but the model holds what is in there, so that
# both are freed together.
_ATTRIBUTE = "_keras_concepts_unfinished"


class ModelState:
    """What stays the same until a model is compiled, changed or trained.

    Args:
        model: Which it keeps, as well as its optimizer.
    """

    def __init__(self, model: Any) -> None:
        self._optimizer = getattr(model, "optimizer", None)
        self._objects = model, self._optimizer, model.loss
        self._steps = steps_taken(self._optimizer)
        weights = model.trainable_variables
        self._count = len(weights)
        # Somebody who sets the weights sets all, so a few will show it.
        small = sorted(weights, key=lambda each: math.prod(each.shape))[:2]
        self._weights = [
            np.array(_backend.on_host(each)).tobytes()
            for each in small
            if math.prod(each.shape) <= _REMEMBERED
        ]

    def is_that_of(self, other: "ModelState") -> bool:
        """Whether nothing has happened between the two."""
        same = zip(self._objects, other._objects, strict=True)
        return all(a is b for a, b in same) and (
            (self._steps, self._count, self._weights)
            == (other._steps, other._count, other._weights)
        )


class UnfinishedRun:
    """What must be kept from one `fit` of a run to the next.

    Args:
        owner: Who records the run.
        model: In the `fit` that has ended.
        kept: What the owner needs again, and holds the model.
    """

    def __init__(self, owner: Any, model: Any, kept: Any) -> None:
        self.owner = owner
        self.kept = kept
        self._model = model
        self._state = ModelState(model)
        vars(model)[_ATTRIBUTE] = self  # which Keras neither tracks nor saves

    def goes_on(self) -> bool:
        """Whether the next `fit` of the model would continue the run."""
        return self._state.is_that_of(ModelState(self._model))

    def forget(self) -> None:
        """Leaves the model as it was before."""
        del vars(self._model)[_ATTRIBUTE]


def unfinished_run(owner: Any, model: Any) -> UnfinishedRun | None:
    """The run that an owner has left to a model, if no other has since."""
    left = vars(model).get(_ATTRIBUTE)
    return left if left is not None and left.owner is owner else None
