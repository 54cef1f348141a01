"""Healthy programs: optimizers, schedules, losses, ways to feed data."""

from typing import Any

import keras

from benchmarks.doctor import changes, data
from benchmarks.doctor.nets import cnn, mlp, rnn
from benchmarks.doctor.recipe import EachTime, Recipe
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off

optimizers = keras.optimizers
schedules = keras.optimizers.schedules

for _name, _make, _epochs in (
    ("sgd", lambda: optimizers.SGD(0.1), 16),
    ("momentum", lambda: optimizers.SGD(0.03, momentum=0.9), 12),
    ("nesterov", lambda: optimizers.SGD(0.03, 0.9, nesterov=True), 12),
    ("rmsprop", lambda: optimizers.RMSprop(2e-3), 10),
    ("adamw", lambda: optimizers.AdamW(3e-3, weight_decay=0.01), 10),
    ("adagrad", lambda: optimizers.Adagrad(0.05), 14),
    ("nadam", lambda: optimizers.Nadam(2e-3), 10),
    ("adamax", lambda: optimizers.Adamax(5e-3), 10),
    ("lion", lambda: optimizers.Lion(3e-4), 12),
    ("ftrl", lambda: optimizers.Ftrl(0.3), 16),
    ("adadelta", lambda: optimizers.Adadelta(1.0), 14),
    ("lamb", lambda: optimizers.Lamb(1e-2), 12),
    ("clipnorm", lambda: optimizers.SGD(0.2, clipnorm=1.0), 16),
    ("clipvalue", lambda: optimizers.SGD(0.2, clipvalue=0.1), 16),
    ("global-clipnorm", lambda: optimizers.Adam(3e-3, global_clipnorm=1.0), 10),
    ("ema", lambda: optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.95), 10),
    ("amsgrad", lambda: optimizers.Adam(3e-3, amsgrad=True), 10),
    ("accumulated",
     lambda: optimizers.Adam(5e-3, gradient_accumulation_steps=4), 16),
):
    variant(f"digits-{_name}", "optimizer", "digits-mlp", optimizer=_make,
            epochs=_epochs)
for _name, _of, _make, _epochs in (
    ("mnist-cnn-momentum", "mnist-cnn",
     lambda: optimizers.SGD(0.02, momentum=0.9), 8),
    ("mnist-rmsprop", "mnist-mlp", lambda: optimizers.RMSprop(1e-3), 10),
    ("friedman-sgd", "friedman-mlp", lambda: optimizers.SGD(0.05), 25),
    ("boston-momentum", "boston-mlp", lambda: optimizers.SGD(0.01, 0.9), 30),
    ("cancer-sgd", "cancer-mlp", lambda: optimizers.SGD(0.1), 20),
    ("nouns-adamw", "nouns-gru", lambda: optimizers.AdamW(5e-3), 8),
    ("wine-rmsprop", "wine-mlp", lambda: optimizers.RMSprop(5e-3), 25),
    ("spirals-momentum", "spirals-mlp", lambda: optimizers.SGD(0.1, 0.9), 50),
):
    variant(_name, "optimizer", _of, optimizer=_make, epochs=_epochs)

# Rates at the edge that still learn.
for _name, _of, _make, _epochs in (
    ("digits-adam-small", "digits-mlp", lambda: optimizers.Adam(4e-4), 25),
    ("digits-sgd-small", "digits-mlp", lambda: optimizers.SGD(0.02), 40),
    ("mnist-small", "mnist-mlp", lambda: optimizers.Adam(2e-4), 20),
    ("cancer-small", "cancer-mlp", lambda: optimizers.Adam(3e-4), 40),
    ("friedman-small", "friedman-mlp", lambda: optimizers.Adam(4e-4), 50),
    ("mnist-cnn-small", "mnist-cnn", lambda: optimizers.Adam(4e-4), 14),
    ("wine-small", "wine-mlp", lambda: optimizers.Adam(1e-3), 50),
    ("boston-sgd-small", "boston-mlp", lambda: optimizers.SGD(3e-3), 50),
):
    variant(_name, "small rate", _of, optimizer=_make, epochs=_epochs)
for _name, _of, _make, _epochs in (
    ("digits-adam-large", "digits-mlp", lambda: optimizers.Adam(0.02), 10),
    ("digits-sgd-large", "digits-mlp", lambda: optimizers.SGD(0.5), 10),
    ("mnist-large", "mnist-mlp", lambda: optimizers.Adam(0.01), 10),
    ("cancer-large", "cancer-mlp", lambda: optimizers.Adam(0.05), 12),
    ("friedman-large", "friedman-mlp", lambda: optimizers.Adam(0.03), 20),
    ("moons-large", "moons-mlp", lambda: optimizers.SGD(0.8), 25),
    ("iris-large", "iris-mlp", lambda: optimizers.Adam(0.05), 20),
    ("blobs-large", "blobs-mlp", lambda: optimizers.SGD(0.5), 12),
):
    variant(_name, "large rate", _of, optimizer=_make, epochs=_epochs)


# Schedules.
def callback(make: Any) -> dict[str, Any]:
    return {"callbacks": lambda: [make()]}


def warm_up(steps: int = 100) -> Any:
    return optimizers.Adam(
        schedules.CosineDecay(0.0, 400, warmup_target=5e-3, warmup_steps=steps)
    )


variant("digits-warm-up", "schedule", "digits-mlp", optimizer=warm_up)
variant("digits-long-warm-up", "schedule", "digits-mlp", epochs=14,
        optimizer=lambda: warm_up(250))
variant("digits-cosine", "schedule", "digits-mlp",
        optimizer=lambda: optimizers.Adam(schedules.CosineDecay(5e-3, 430)))
variant("digits-exponential", "schedule", "digits-mlp",
        optimizer=lambda: optimizers.SGD(
            schedules.ExponentialDecay(0.3, 100, 0.7)))
variant("digits-restarts", "schedule", "digits-mlp", epochs=14,
        optimizer=lambda: optimizers.Adam(
            schedules.CosineDecayRestarts(8e-3, 120)))
variant("digits-steps", "schedule", "digits-mlp",
        optimizer=lambda: optimizers.SGD(
            schedules.PiecewiseConstantDecay([150, 300], [0.3, 0.1, 0.02])))
variant("cancer-scheduler", "schedule", "cancer-mlp", fit=callback(
    lambda: keras.callbacks.LearningRateScheduler(
        lambda epoch, rate: rate * 0.9)))
variant("friedman-plateau", "schedule", "friedman-mlp", epochs=30,
        validation="held", fit=callback(
    lambda: keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5)))
variant("boston-early-stopping", "schedule", "boston-mlp", epochs=60,
        validation="split", fit=callback(
    lambda: keras.callbacks.EarlyStopping(
        patience=5, restore_best_weights=True)))
variant("mnist-cnn-warm-up", "schedule", "mnist-cnn", epochs=10,
        optimizer=lambda: warm_up(80))

# Losses that fit.
healthy("digits-one-hot", "loss", Recipe(
    data.digits, mlp(64, 64), change=changes.one_hot), "digits-mlp")
losses = keras.losses
for _name, _loss, _head in (
    ("label-smoothing",
     lambda: losses.CategoricalCrossentropy(label_smoothing=0.1), "softmax"),
    ("one-hot-logits",
     lambda: losses.CategoricalCrossentropy(from_logits=True), "linear"),
    ("focal", lambda: losses.CategoricalFocalCrossentropy(), "softmax"),
    ("categorical-hinge", lambda: losses.CategoricalHinge(), "linear"),
    ("kl", lambda: losses.KLDivergence(), "softmax"),
    ("one-against-rest", lambda: losses.BinaryCrossentropy(), "sigmoid"),
    ("squared-probabilities", lambda: losses.MeanSquaredError(), "softmax"),
    ("brier-sigmoid", lambda: losses.MeanSquaredError(), "sigmoid"),
):
    variant(f"digits-{_name}", "loss", "digits-one-hot", loss=EachTime(_loss),
            head=_head, epochs=12)


logits = EachTime(
    lambda: losses.SparseCategoricalCrossentropy(from_logits=True)
)
binary_logits = EachTime(lambda: losses.BinaryCrossentropy(from_logits=True))


def own_loss(y_true: Any, y_pred: Any) -> Any:
    """Asymmetric: too low costs more."""
    error = keras.ops.reshape(y_true, keras.ops.shape(y_pred)) - y_pred
    return keras.ops.mean(
        keras.ops.maximum(0.6 * error**2, 0.4 * error**2), axis=-1
    )


variant("digits-logits", "loss", "digits-mlp", loss=logits, head="linear")
variant("mnist-cnn-logits", "loss", "mnist-cnn", loss=logits, head="linear")
variant("cancer-logits", "loss", "cancer-mlp", loss=binary_logits,
        head="linear", threshold=0.0)
variant("nouns-logits", "loss", "nouns-gru", loss=binary_logits,
        head="linear", threshold=0.0)
variant("cancer-hinge", "loss", "cancer-mlp", loss="hinge", head="tanh",
        change=changes.targets(lambda y: y * 2.0 - 1.0), threshold=0.0)
variant("cancer-two-columns", "loss", "cancer-mlp",
        change=changes.two_columns)
variant("moons-mse", "loss", "moons-mlp", loss="mse", head="linear")
variant("friedman-own-loss", "loss", "friedman-mlp", loss=own_loss)
variant("boston-huber", "loss", "boston-mlp", loss="huber")
variant("digit-columns-logits", "multi-label", "digit-columns-mlp",
        loss=binary_logits, head="linear", threshold=0.0)
variant("digit-columns-focal", "multi-label", "digit-columns-mlp",
        loss="binary_focal_crossentropy", epochs=14)
variant("digit-columns-tanh", "multi-label", "digit-columns-mlp",
        net=mlp(48, activation="tanh"))
variant("digit-columns-cnn", "multi-label", "digit-columns-mlp",
        net=cnn(8, 16))

# Ways to feed.
for _feed in ("dataset", "generator", "pydataset"):
    variant(f"digits-{_feed}", "input pipeline", "digits-mlp", feed=_feed)
variant("mnist-cnn-dataset", "input pipeline", "mnist-cnn", feed="dataset")
variant("cancer-generator", "input pipeline", "cancer-mlp", feed="generator")
variant("nouns-pydataset", "input pipeline", "nouns-gru", feed="pydataset",
        net=rnn("LSTM", 16))
variant("friedman-dataset", "input pipeline", "friedman-mlp", feed="dataset")
variant("digits-not-shuffled", "input pipeline", "digits-mlp",
        fit={"shuffle": False})
for _name, _of, _batch, _epochs in (
    ("digits-batch-8", "digits-mlp", 8, 4),
    ("digits-batch-256", "digits-mlp", 256, 25),
    ("friedman-batch-128", "friedman-mlp", 128, 40),
    ("wine-full-batch", "wine-mlp", 256, 60),
    ("cancer-batch-4", "cancer-mlp", 4, 4),
):
    variant(_name, "batch size", _of, batch=_batch, epochs=_epochs)
for _name, _of in (
    ("digits-validated", "digits-mlp"),
    ("mnist-cnn-validated", "mnist-cnn"),
    ("boston-validated", "boston-mlp"),
    ("nouns-validated", "nouns-gru"),
    ("cancer-validated", "cancer-mlp"),
    ("friedman-validated", "friedman-mlp"),
    ("patches-validated", "patches-cnn"),
    ("topics-validated", "topics-bag"),
    ("spirals-validated", "spirals-mlp"),
    ("waves-validated", "waves-gru"),
):
    variant(_name, "validated", _of, validation="held",
            metrics=() if _of[:2] in ("bo", "fr", "wa") else ("accuracy",))
variant("digits-split", "validated", "digits-mlp", validation="split",
        metrics=("accuracy",))
variant("mnist-split", "validated", "mnist-mlp", validation="split",
        metrics=("accuracy",), epochs=6)
variant("digits-steps-per-execution", "compiled", "digits-mlp",
        compile={"steps_per_execution": lambda: 4})
variant("digits-short", "epochs", "digits-mlp", epochs=3, batch=8)
variant("mnist-cnn-short", "epochs", "mnist-cnn", epochs=3, batch=16,
        optimizer=lambda: optimizers.Adam(5e-3))
variant("digits-long", "epochs", "digits-mlp", epochs=40, net=mlp(32))
variant("iris-long", "epochs", "iris-mlp", epochs=60, batch=32)
