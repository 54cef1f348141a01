"""A model's predictions for a fixed batch, reduced to a few numbers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._batches import as_fed
from keras_concepts.instruments.model_loss import NoLossError, model_loss
from keras_concepts.instruments.predictions import prediction_rows
from keras_concepts.quantities import Quantity

# Number of predictions in a run above which compiling pays off.
LOOKS = 6
Rows = dict[str, dict[Quantity, np.ndarray]]


class PredictionProbe:
    """Predicts a batch at inference, without changing the model.

    Args:
        model: A built model.
        x: Inputs as for `fit`, in arrays.
        y: Targets, or `None`.
        sample_weight: Weights, or `None`.
        heads: Facts of the model's outputs; see `instruments.heads`.

    Attributes:
        masked: Names of the outputs that had a mask in the last prediction.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any,
        sample_weight: Any,
        heads: list[dict[str, Any]],
    ) -> None:
        self.masked: list[str] = []
        self._model = model
        self._targets = y
        self._heads = {head["output"]: head for head in heads}
        self._batch = as_fed([x, y, sample_weight])
        self._has_loss = y is not None
        self._pass = _backend.compiled_pass(
            self._run,
            model,
            getattr(model, "run_eagerly", False),
            few=LOOKS,
        )

    def __call__(self) -> Rows:
        """Quantities of the run (`""`) and of each output, by its name.

        A model with one output has them under `""`, with those of the run.
        """
        with _backend.without_gradients(), _backend.fixed_randomness(0):
            try:
                loss, added, masks, outputs = self._pass(*self._batch)
            except NoLossError:
                self._has_loss = False
                loss, added, masks, outputs = self._pass(*self._batch)
        names = outputs_by_name(self._model, outputs)
        targets = outputs_by_name(self._model, self._targets)
        rows: Rows = {"": {}}
        self.masked = list(masks)
        for name, output in names.items():
            target, mask = targets.get(name), masks.get(name)
            found = prediction_rows(
                _array(output),
                None if target is None else _array(target),
                self._heads.get(name, {}),
                None if mask is None else _array(mask),
            )
            rows.setdefault(name, {}).update(found)
        if loss is not None:
            rows[""][q.PROBE_INFERENCE_LOSS] = np.atleast_1d(_array(loss))
        if added is not None:
            rows[""][q.PROBE_ADDED_LOSS] = np.atleast_1d(_array(added))
        return rows

    def order_error(self) -> float | None:
        """How much the order of the steps in a sequence matters to the model.

        RMS change of the predictions if the steps come in another order (their
        own order aside), over the predictions' standard deviation. `None`
        without exactly one input and one output, or if there are no steps.
        """
        x, y, weight = self._batch
        if keras.tree.is_nested(x) or len(x.shape) < 2 or x.shape[1] < 3:
            return None
        order = np.random.default_rng(0).permutation(x.shape[1])
        with _backend.without_gradients(), _backend.fixed_randomness(0):
            *_, plain = self._pass(x, y, weight)
            *_, other = self._pass(ops.take(x, order, axis=1), y, weight)
        if keras.tree.is_nested(plain):
            return None
        plain, other = (_array(e).astype("float64") for e in (plain, other))
        if plain.ndim > 2 and plain.shape[1] == len(order):
            plain = plain[:, order]
        spread = plain.std()
        if not spread > 0.0:
            return None
        return float(np.sqrt(np.mean((other - plain) ** 2)) / spread)

    def _run(self, x: Any, y: Any, weight: Any) -> tuple[Any, Any, Any, Any]:
        outputs = _backend.call_as_trainer(self._model, x, training=False)
        found = outputs_by_name(self._model, outputs)
        masks = {
            name: _backend.keras_mask(output)
            for name, output in found.items()
            if ops.is_tensor(output)
        }
        masks = {name: e for name, e in masks.items() if e is not None}
        loss = None
        if self._has_loss:
            loss = model_loss(self._model, x, y, outputs, weight, False)
            loss = ops.cast(loss, "float32")
        return loss, self._added(), masks, outputs

    def _added(self) -> Any:
        """What layers have added to the loss, without penalties of weights."""
        penalties = [
            variable.regularizer(variable)
            for variable in self._model.trainable_variables
            if variable.regularizer is not None
        ]
        losses = self._model.losses
        if len(losses) <= len(penalties):
            return None
        return ops.cast(
            sum(map(ops.sum, losses)) - sum(map(ops.sum, penalties)), "float32"
        )


def outputs_by_name(model: Any, outputs: Any) -> dict[str, Any]:
    """Each output under its name, the only one under `""`.

    Args:
        model: The model whose outputs they are.
        outputs: One, a list or a dict; also targets in the same structure.
    """
    if outputs is None:
        return {}
    if isinstance(outputs, dict):
        found = {str(name): output for name, output in outputs.items()}
    elif isinstance(outputs, list | tuple):
        names = getattr(model, "output_names", None) or []
        if len(names) != len(outputs):
            names = [f"output_{i}" for i in range(len(outputs))]
        found = dict(zip(names, outputs, strict=True))
    else:
        return {"": outputs}
    return found if len(found) != 1 else {"": next(iter(found.values()))}


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(_backend.on_host(tensor))
