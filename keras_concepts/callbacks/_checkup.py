"""What the doctor itself measures between two epochs."""

from collections.abc import Callable
from typing import Any

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.callbacks.signal_monitor import record_signals
from keras_concepts.instruments.model_loss import NoLossError
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.prediction_probe import (
    LOOKS,
    PredictionProbe,
)
from keras_concepts.instruments.signals.forward_probe import ForwardProbe
from keras_concepts.instruments.signals.signal_summary import SignalSummary
from keras_concepts.instruments.weight_history import WeightHistory
from keras_concepts.recording import Recording

# Layers that ignore the order of the steps.
_ATTENTION = (
    "MultiHeadAttention",
    "GroupedQueryAttention",
    "Attention",
    "AdditiveAttention",
)
Batch = tuple[Any, Any, Any]


class Checkup:
    """Looks at the weights, and at the signals and predictions of a batch.

    Args:
        model: A built model.
        heads: Facts about its outputs.
        signals: Monitor name under which signals are recorded.
    """

    def __init__(
        self, model: Any, heads: list[dict[str, Any]], signals: str
    ) -> None:
        self._name = signals
        self._weights: list[WeightHistory] = []
        self._weighed: set[int] = set()
        self._heads = heads
        self._summary = SignalSummary()
        self._signals: ForwardProbe | None = None
        self._without_labels: Callable[[], ForwardProbe | None] = lambda: None
        self._predictions: PredictionProbe | None = None
        self._asks_for_order = False

    @property
    def has_probe(self) -> bool:
        """Whether there is a batch to look at."""
        return self._predictions is not None

    def use_probe(self, model: Any, batch: Batch) -> None:
        """Takes the batch to look at from now on.

        Args:
            model: The same model.
            batch: `(x, y, sample_weight)`.
        """
        self._predictions = PredictionProbe(model, *batch, self._heads)
        self._asks_for_order = any(
            type(layer).__name__ in _ATTENTION
            for layer in _backend.flatten_layers(model)
        )
        x, _, _ = batch
        self._without_labels = lambda: self._made(model, (x, None, None))
        try:
            self._signals = self._made(model, batch)
        except (NoLossError, ValueError):
            self._signals = self._without_labels()

    def _made(self, model: Any, batch: Batch) -> ForwardProbe:
        return ForwardProbe(
            model,
            *batch,
            training=True,
            reduce=self._summary.reduce,
            few=LOOKS,
        )

    def record_weights(
        self, recording: Recording, epoch: int, step: int, model: Any
    ) -> None:
        """Records how far the weights have moved, and their penalty.

        Weights that a callback freezes in the meantime are still recorded, and
        weights that it unfreezes are added.
        """
        variables = model.trainable_variables
        new = [v for v in variables if id(v) not in self._weighed]
        if new:
            self._weighed |= set(map(id, new))
            names = owner_names(model)
            self._weights.append(WeightHistory(model, names, new))
        for history in self._weights:
            for path, quantities in history.rows().items():
                for quantity, value in quantities.items():
                    recording.append(epoch, path, quantity, step, value)
        self.record_penalty(recording, epoch, step, model)

    @staticmethod
    def record_penalty(
        recording: Recording, epoch: int, step: int, model: Any
    ) -> None:
        """Records what the regularizers of the weights add to the loss."""
        penalties = [
            float(_backend.on_host(variable.regularizer(variable)))
            for variable in model.trainable_variables
            if variable.regularizer is not None
        ]
        if penalties:
            recording.append(epoch, "", q.WEIGHT_PENALTY, step, sum(penalties))

    def record_probe(self, recording: Recording, epoch: int, step: int) -> None:
        """Records what the batch shows, if there is one."""
        if self._predictions is None:
            return
        found = self._predictions()
        masked = self._predictions.masked
        if masked != (recording.facts.get("masked_outputs") or []):
            recording.record_facts({"masked_outputs": masked})
        for owner, quantities in found.items():
            for quantity, values in quantities.items():
                index = None
                if quantity.indexed_by:
                    index = range(len(values))
                recording.append(
                    epoch, owner, quantity, step, values, index=index
                )
        if self._asks_for_order:
            self._asks_for_order = False
            error = self._predictions.order_error()
            if error is not None:
                recording.append(epoch, "", q.ORDER_ERROR, step, error)
        if self._signals is None:
            return
        try:
            signals = self._signals()
        except NoLossError:  # a `train_step` that computes its own loss
            self._signals = self._without_labels()
            if self._signals is None:
                return
            signals = self._signals()
        rows = self._summary.rows(signals)
        record_signals(recording, epoch, step, rows, self._name)
