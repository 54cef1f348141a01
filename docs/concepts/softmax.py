"""How far to trust softmax outputs, and what a temperature changes."""

from typing import Any

import keras
import numpy as np

import keras_concepts as kc
from digits import accuracy, compiled, digits, stack
from measured import Measured

ROWS, EPOCHS, BINS = 100, 150, 5


def logits_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Log-probabilities, which softmax turns into the probabilities again."""
    return np.log(np.maximum(model.predict(x, verbose=0), 1e-30))


def reliability(p: np.ndarray, y: np.ndarray) -> tuple[Any, Any, float, float]:
    """Confidence and accuracy by bin, the mean confidence and the error."""
    error = kc.metrics.CalibrationError(bins=15)
    error.update_state(y, p)
    confidence, hits = p.max(axis=1), p.argmax(axis=1) == y
    edges = np.quantile(confidence, np.linspace(0.0, 1.0, BINS + 1))[1:-1]
    bins = np.digitize(confidence, edges)
    means = [
        (confidence[bins == b].mean(), hits[bins == b].mean())
        for b in range(BINS)
        if np.any(bins == b)
    ]
    mean = float(confidence.mean())
    return *zip(*means, strict=True), mean, float(error.result())


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    model = compiled(stack("relu", 3, 128), keras.optimizers.Adam(0.003))
    model.fit(x[:ROWS], y[:ROWS], 32, epochs=EPOCHS, verbose=0)
    before = model.predict(x_test, verbose=0)
    scaling = kc.layers.TemperatureScaling()
    held_out = slice(ROWS, 600)
    scaling.fit(logits_of(model, x[held_out]), y[held_out])
    after = keras.ops.convert_to_numpy(scaling(logits_of(model, x_test)))
    after = keras.ops.convert_to_numpy(keras.ops.softmax(after))
    *first, confidence, error = reliability(before, y_test)
    *second, calmer, less = reliability(after, y_test)
    numbers = {
        "accuracy": f"{100 * accuracy(model, x_test, y_test):.0f}",
        "confidence": f"{100 * confidence:.0f}",
        "error": f"{error:.3f}",
        "confidence_after": f"{100 * calmer:.0f}",
        "error_after": f"{less:.3f}",
        "temperature": f"{float(scaling.temperature):.1f}",
    }
    return Measured(
        numbers, {"as trained": first, "with a temperature": second}
    )


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([0.3, 1], [0.3, 1], ":", color="gray", label="calibrated")
    for name, (confidence, hits) in series.items():
        axes.plot(confidence, hits, "o-", label=name)
    axes.set(
        xlabel="probability of the predicted class (fifths of the test digits)",
        ylabel="share that is right",
        title="what probabilities are worth",
    )
    axes.legend()
