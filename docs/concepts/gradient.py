"""What the gradient of each layer does while a network learns."""

from typing import Any

import keras
import numpy as np

from digits import digits, stack
from keras_concepts.callbacks import GradientMonitor
from measured import Measured

EPOCHS, TIMES = 20, 1000


class Scaled(keras.losses.SparseCategoricalCrossentropy):
    """The same objective in other units."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return TIMES * super().call(y_true, y_pred)


def train(optimizer: Any, loss: Any = None, epochs: int = EPOCHS) -> Any:
    x, y, _, _ = digits()
    model = stack("relu", 3)
    model.compile(optimizer, loss or "sparse_categorical_crossentropy")
    monitor = GradientMonitor(max_samples=None)
    history = model.fit(
        x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=[monitor]
    )
    return monitor.recording, history.history["loss"]


def measure() -> Measured:
    recording, losses = train(keras.optimizers.Adam(1e-3))
    norm = recording.select("", "gradient_norm")
    first, last = (
        np.median(norm.value[norm.epoch == epoch]) for epoch in (0, EPOCHS - 1)
    )
    in_last = norm.value[norm.epoch == EPOCHS - 1]
    sizes = {}
    for name, optimizer in (
        ("sgd", lambda: keras.optimizers.SGD(1e-3)),
        ("adam", lambda: keras.optimizers.Adam(1e-3)),
    ):
        rows = [train(optimizer(), loss, 1)[0] for loss in (None, Scaled())]
        for quantity in ("gradient_rms", "update_rms"):
            plain, scaled = (
                each.select("*/head/kernel", quantity).value[0] for each in rows
            )
            sizes[name, quantity] = scaled / plain
    numbers = {
        "loss_first": f"{losses[0]:.2f}",
        "loss_last": f"{losses[-1]:.3f}",
        "loss_ratio": f"{losses[0] / losses[-1]:.0f}",
        "norm_growth": f"{last / first:.1f}",
        "spread": f"{in_last.max() / in_last.min():.0f}",
        "gradient_times": f"{sizes['adam', 'gradient_rms']:,.0f}",
        "sgd_update_times": f"{sizes['sgd', 'update_rms']:,.0f}",
        "adam_update_times": f"{sizes['adam', 'update_rms']:.2f}",
    }
    layers = ("hidden_1", "hidden_2", "hidden_3", "head")
    series: dict[str, Any] = {
        layer: recording.select(f"*/{layer}/kernel", "gradient_rms")
        for layer in layers
    }
    return Measured(numbers, {"rows": series, "losses": losses})


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for name, rows in series["rows"].items():
        left.plot(rows.step, rows.value, lw=0.8, label=name)
    left.set(yscale="log", xlabel="step", title="RMS gradient of each kernel")
    left.legend(ncols=2, fontsize=9)
    epochs = range(1, len(series["losses"]) + 1)
    right.plot(epochs, series["losses"])
    right.set(yscale="log", xlabel="epoch", title="training loss")
