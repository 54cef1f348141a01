"""What a run that another `fit` may continue stores on its model."""

import math
from typing import Any

import numpy as np

from keras_concepts import _backend
from keras_concepts.callbacks._run_log import steps_taken

# Most entries of a weight that is used to recognise a model.
_REMEMBERED = 4096
# Attribute of the model. Nothing else refers to its value, so that both are
# freed together.
_ATTRIBUTE = "_keras_concepts_unfinished"


class ModelState:
    """What stays the same until a model is compiled, changed or trained.

    Args:
        model: The model, kept alive together with its optimizer.
    """

    def __init__(self, model: Any) -> None:
        self._optimizer = getattr(model, "optimizer", None)
        self._objects = model, self._optimizer, model.loss
        self._steps = steps_taken(self._optimizer)
        weights = model.trainable_variables
        self._count = len(weights)
        # Code that sets the weights sets all of them, so a few show the change.
        small = sorted(weights, key=lambda each: math.prod(each.shape))[:2]
        self._weights = [
            np.array(_backend.on_host(each)).tobytes()
            for each in small
            if math.prod(each.shape) <= _REMEMBERED
        ]

    def is_that_of(self, other: "ModelState") -> bool:
        """Whether nothing has happened between the two states."""
        same = zip(self._objects, other._objects, strict=True)
        return all(a is b for a, b in same) and (
            (self._steps, self._count, self._weights)
            == (other._steps, other._count, other._weights)
        )


class UnfinishedRun:
    """What must be kept from one `fit` of a run to the next.

    Args:
        owner: The monitor that records the run.
        model: The model in the `fit` that has ended.
        kept: What the owner needs again; it holds the model.
    """

    def __init__(self, owner: Any, model: Any, kept: Any) -> None:
        self.owner = owner
        self.kept = kept
        self._model = model
        self._state = ModelState(model)
        vars(model)[_ATTRIBUTE] = self  # Keras neither tracks nor saves it

    def goes_on(self) -> bool:
        """Whether the next `fit` of the model would continue the run."""
        return self._state.is_that_of(ModelState(self._model))

    def forget(self) -> None:
        """Leaves the model as it was before."""
        del vars(self._model)[_ATTRIBUTE]


def unfinished_run(owner: Any, model: Any) -> UnfinishedRun | None:
    """The run that an owner stored on a model, unless another has since."""
    left = vars(model).get(_ATTRIBUTE)
    return left if left is not None and left.owner is owner else None
