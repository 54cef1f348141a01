"""Rule about NaN and infinity."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

_WHAT: dict[Quantity, str] = {
    q.NON_FINITE_INPUT: "entries of the input",
    q.NON_FINITE_ACTIVATION: "entries of the activation",
    q.NON_FINITE_PENALTY: "penalties",
    q.NON_FINITE_LOSS: "losses",
    q.NON_FINITE_GRADIENT: "entries of the gradient",
    q.NON_FINITE_WEIGHT: "entries of the weight",
}
_ADVICE: dict[Quantity, tuple[str, str]] = {
    q.NON_FINITE_INPUT: (
        "Remove or replace the values that are not finite.",
        "x = np.where(np.isfinite(x), x, 0.0)",
    ),
    q.NON_FINITE_ACTIVATION: (
        "Look for a division, logarithm or exponential in this layer, or lower "
        "the learning rate.",
        "y = keras.ops.log(keras.ops.maximum(x, 1e-7))",
    ),
    q.NON_FINITE_PENALTY: (
        "Check the regularizer for a division, logarithm, root or exponential, "
        "or lower the learning rate.",
        "kernel_regularizer=keras.regularizers.L2(1e-4)",
    ),
    q.NON_FINITE_LOSS: (
        "Compute a cross-entropy from logits, without an activation in the "
        "last layer, which is numerically stable; check a custom loss for a "
        "division, logarithm or root.",
        "loss=keras.losses.CategoricalCrossentropy(from_logits=True)",
    ),
    q.NON_FINITE_GRADIENT: (
        "Clip the norm of the gradients, or lower the learning rate. If it is "
        "NaN, look for a square root or norm, whose slope at 0 is infinite.",
        "keras.optimizers.Adam(global_clipnorm=1.0)",
    ),
    q.NON_FINITE_WEIGHT: (
        "Lower the learning rate, or clip the norm of the gradients.",
        "keras.optimizers.Adam(learning_rate=1e-4, global_clipnorm=1.0)",
    ),
}


@rule(
    "non_finite",
    severity="error",
    why="Nothing can be learned from NaN: every weight that it reaches is lost "
    "from then on.",
    page="monitors/non_finite_guard.md",
    needs="a loss in the logs, or checked steps",
    known=lambda t: any(
        (
            t.logs("loss"),
            t.curve(q.CHECKED_STEPS),
            t.curve(q.NON_FINITE_BATCH),  # in an epoch that has not ended
        )
    ),
)
def non_finite(t: Training) -> Iterator[Evidence]:
    """Something is NaN or infinite; a guard also reports where it began.

    Certain. Known false alarm: steps that loss scaling skips by design; guard:
    `NonFiniteGuard` reports them only after 40 in a row, and the loss in the
    logs stays finite.
    """
    for quantity, what in _WHAT.items():
        for owner, curve in t.curves(quantity).items():
            yield Evidence(
                owner,
                curve.at(0),
                (Measured(f"NaN or infinite {what}", float(curve.values[0])),),
                *_ADVICE[quantity],
            )
            return
    if t.broken_at is None:
        yield from _validation(t)
    loss = t.logs("loss")
    bad = np.flatnonzero(~np.isfinite(loss.values))
    if len(bad):
        i = int(bad[0])
        # After the last step of a finite epoch, or the very first step.
        first = int(t.facts.get("first_step") or 0) + 1
        since = loss.at(i)[0], loss.at(i - 1)[1] if i else first
        yield Evidence(
            "",
            since,
            (Measured("loss", str(loss.values[i])),),
            "Lower the learning rate, and look for NaN in the data; "
            "`NonFiniteGuard` names the step and the layer.",
            "callbacks=[kc.callbacks.NonFiniteGuard()]",
        )


def _validation(t: Training) -> Iterator[Evidence]:
    """Only the validation loss: its data, or the statistics at inference."""
    loss = t.logs("val_loss")
    bad = np.flatnonzero(~np.isfinite(loss.values))
    if len(bad):
        yield Evidence(
            "",
            loss.at(int(bad[0])),
            (Measured("validation loss", str(loss.values[bad[0]])),),
            "Look for NaN in the validation data, and in statistics used at "
            "inference, such as those of batch normalization.",
            "print(np.isfinite(x_val).all(), np.isfinite(y_val).all())",
            variant="validation",
        )
