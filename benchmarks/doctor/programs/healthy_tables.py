"""Healthy programs on tables: dense networks, classes and numbers."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, data
from benchmarks.doctor.nets import (
    deep,
    mixture,
    mlp,
    residual,
    sequential,
    wide_and_deep,
)
from benchmarks.doctor.recipe import Recipe
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# One ordinary program for each data set; the others are compared with it.
healthy("digits-mlp", "mlp", Recipe(data.digits, mlp(64, 64), epochs=10))
healthy("iris-mlp", "mlp", Recipe(data.iris, mlp(16, 16), epochs=40, batch=16))
healthy("wine-mlp", "mlp", Recipe(data.wine, mlp(24), epochs=25, batch=16))
healthy("cancer-mlp", "mlp", Recipe(data.cancer, mlp(32, 16), epochs=15))
healthy("moons-mlp", "mlp", Recipe(data.moons, mlp(32, 32), epochs=20))
healthy(
    "spirals-mlp",
    "mlp",
    Recipe(data.spirals, mlp(48, 48, 48), optimizer=adam(5e-3), epochs=30),
)
healthy("blobs-mlp", "mlp", Recipe(data.blobs, mlp(32), epochs=12))
healthy(
    "even-digits-mlp", "mlp", Recipe(data.even_digits, mlp(48, 24), epochs=10)
)
healthy(
    "diabetes-mlp",
    "regression",
    Recipe(data.diabetes, mlp(32, 16), epochs=20, optimizer=adam(2e-3)),
)
healthy("boston-mlp", "regression", Recipe(data.boston, mlp(64, 32), epochs=25))
healthy("cars-mlp", "regression", Recipe(data.cars, mlp(48, 24), epochs=25))
healthy(
    "friedman-mlp", "regression", Recipe(data.friedman, mlp(64, 32), epochs=20)
)
healthy(
    "terrain-mlp",
    "regression",
    Recipe(data.terrain, mlp(64, 64, 64), epochs=15),
)
healthy(
    "digit-columns-mlp",
    "multi-label",
    Recipe(data.digit_columns, mlp(64, 32), epochs=10),
)
healthy(
    "rare-digit-mlp",
    "imbalanced",
    Recipe(data.rare_digit, mlp(64, 32), epochs=12),
)

# Other activations and shapes.
for _activation, _rate, _epochs in (
    ("tanh", 3e-3, 10),
    ("sigmoid", 1e-2, 16),
    ("elu", 3e-3, 10),
    ("gelu", 3e-3, 8),
    ("silu", 3e-3, 9),
    ("softplus", 5e-3, 14),
    ("leaky_relu", 3e-3, 10),
    ("softsign", 5e-3, 12),
    ("relu6", 3e-3, 10),
):
    variant(
        f"digits-{_activation}",
        "mlp",
        "digits-mlp",
        net=mlp(48, 32, activation=_activation),
        optimizer=adam(_rate),
        epochs=_epochs,
    )
variant(
    "digits-selu",
    "mlp",
    "digits-mlp",
    net=deep(5, 32, "selu", init="lecun_normal"),
    optimizer=adam(1e-3),
)
variant("digits-linear", "mlp", "digits-mlp", net=mlp(), epochs=20)
variant("digits-wide", "mlp", "digits-mlp", net=mlp(256), epochs=8)
variant("digits-narrow", "mlp", "digits-mlp", net=mlp(12), epochs=25)
variant("digits-funnel", "mlp", "digits-mlp", net=mlp(128, 64, 32, 16))
variant(
    "digits-deep-relu",
    "deep",
    "digits-mlp",
    net=deep(7, 48, init="he_normal"),
    optimizer=adam(1e-3),
    epochs=14,
)
variant(
    "digits-deep-tanh",
    "deep",
    "digits-mlp",
    net=deep(8, 40, "tanh"),
    optimizer=adam(1e-3),
    epochs=14,
)
variant(
    "digits-three-sigmoids",
    "deep",
    "digits-mlp",
    net=deep(3, 48, "sigmoid"),
    optimizer=adam(1e-2),
    epochs=25,
)
variant(
    "digits-deep-batch-norm",
    "deep",
    "digits-mlp",
    net=deep(10, 32, norm="batch", momentum=0.9),
    epochs=12,
)
variant(
    "digits-deep-layer-norm",
    "deep",
    "digits-mlp",
    net=deep(8, 32, norm="layer"),
    epochs=12,
)
variant(
    "digits-wide-and-deep",
    "branches",
    "digits-mlp",
    net=wide_and_deep(48, 24),
)
variant("digits-mixture", "branches", "digits-mlp", net=mixture(), epochs=14)
for _blocks, _norm, _name in (
    (4, "", "plain"),
    (8, "layer", "layer-norm"),
    (6, "batch", "batch-norm"),
    (12, "layer", "deep"),
):
    variant(
        f"digits-residual-{_name}",
        "residual",
        "digits-mlp",
        net=residual(_blocks, 24, norm=_norm, momentum=0.9),
        optimizer=adam(1e-3),
        epochs=12,
    )
variant("wine-linear", "mlp", "wine-mlp", net=mlp(), epochs=40)
variant("wine-tanh", "mlp", "wine-mlp", net=mlp(16, 16, activation="tanh"))
variant(
    "wine-sigmoid",
    "mlp",
    "wine-mlp",
    net=mlp(32, activation="sigmoid"),
    optimizer=adam(1e-2),
)
variant("iris-tanh", "mlp", "iris-mlp", net=mlp(12, activation="tanh"))
variant("iris-deep", "deep", "iris-mlp", net=deep(5, 16), epochs=30)
variant("cancer-logistic", "mlp", "cancer-mlp", net=mlp(), epochs=25)
variant("cancer-gelu", "mlp", "cancer-mlp", net=mlp(64, activation="gelu"))
variant("cancer-residual", "residual", "cancer-mlp", net=residual(3, 16))
variant("blobs-tanh", "mlp", "blobs-mlp", net=mlp(24, activation="tanh"))
variant("moons-tanh", "mlp", "moons-mlp", net=mlp(16, 16, activation="tanh"))
variant("moons-swish", "mlp", "moons-mlp", net=mlp(24, 24, activation="swish"))
variant(
    "moons-prelu",
    "mlp",
    "moons-mlp",
    net=sequential(
        lambda: layers.Dense(24),
        layers.PReLU,
        lambda: layers.Dense(24),
        layers.PReLU,
    ),
)
variant(
    "spirals-tanh",
    "mlp",
    "spirals-mlp",
    net=mlp(32, 32, 32, activation="tanh"),
    optimizer=adam(1e-2),
    epochs=40,
)
variant(
    "spirals-residual",
    "residual",
    "spirals-mlp",
    net=residual(4, 32),
    epochs=30,
)

# Numbers.
variant("diabetes-linear", "regression", "diabetes-mlp", net=mlp(), epochs=30,
        optimizer=adam(1e-2))
variant(
    "diabetes-tanh",
    "regression",
    "diabetes-mlp",
    net=mlp(16, activation="tanh"),
    epochs=20,
)
variant("boston-elu", "regression", "boston-mlp", net=mlp(64, activation="elu"))
variant(
    "boston-deep",
    "deep",
    "boston-mlp",
    net=deep(5, 32, init="he_normal"),
    optimizer=adam(1e-3),
    epochs=30,
)
variant("boston-mae", "loss", "boston-mlp", loss="mae")
variant("cars-huber", "loss", "cars-mlp", loss="huber")
variant("cars-log-cosh", "loss", "cars-mlp", loss="log_cosh")
variant("cars-tanh", "regression", "cars-mlp", net=mlp(24, activation="tanh"))
variant("friedman-gelu", "regression", "friedman-mlp", net=mlp(48, 48,
        activation="gelu"), epochs=15)
variant(
    "friedman-sigmoid",
    "regression",
    "friedman-mlp",
    net=mlp(48, activation="sigmoid"),
    optimizer=adam(2e-2),
    epochs=25,
)
variant(
    "friedman-residual",
    "residual",
    "friedman-mlp",
    net=residual(4, 32),
    optimizer=adam(2e-3),
)
variant(
    "friedman-wide-and-deep",
    "branches",
    "friedman-mlp",
    net=wide_and_deep(64, 32),
)
variant(
    "terrain-tanh",
    "regression",
    "terrain-mlp",
    net=mlp(48, 48, activation="tanh"),
    epochs=25,
    optimizer=adam(5e-3),
)
variant("boston-positive", "head", "boston-mlp", head="softplus",
        change=changes.target_times(1.0, 2.5))
variant("cars-positive", "head", "cars-mlp", head="relu",
        change=changes.target_times(1.0, 3.0))
variant("cars-offset", "target scale", "cars-mlp",
        change=changes.target_times(8.0, 23.0), epochs=60)
variant("friedman-small-targets", "target scale", "friedman-mlp",
        change=changes.target_times(0.1), epochs=45)
