"""Healthy programs on images."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, data
from benchmarks.doctor.nets import (
    autoencoder,
    cnn,
    deep,
    image_autoencoder,
    mlp,
    residual_cnn,
    rnn,
    separable,
    sequential,
    text_cnn,
    transformer,
)
from benchmarks.doctor.recipe import Recipe
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


healthy("digits-cnn", "cnn", Recipe(data.digit_images, cnn(8, 16), epochs=8))
healthy("mnist-cnn", "cnn", Recipe(data.mnist_images, cnn(8, 16), epochs=8))
healthy("mnist-mlp", "mlp", Recipe(data.mnist, mlp(64, 32), epochs=8))
healthy("patches-cnn", "cnn", Recipe(data.patches, cnn(8, 8), epochs=8))

# Convolutional networks.
variant(
    "digits-cnn-tanh", "cnn", "digits-cnn", net=cnn(8, 8, activation="tanh")
)
variant(
    "digits-cnn-average", "cnn", "digits-cnn", net=cnn(8, 16, pool="average")
)
variant(
    "digits-cnn-stride", "cnn", "digits-cnn", net=cnn(16, 16, pool="stride")
)
variant(
    "digits-cnn-global", "cnn", "digits-cnn", net=cnn(16, 24, pool="global"),
    epochs=14, optimizer=adam(5e-3),
)
variant("digits-cnn-dense", "cnn", "digits-cnn", net=cnn(8, dense=32))
variant("digits-cnn-large-kernel", "cnn", "digits-cnn", net=cnn(8, kernel=5))
variant("mnist-cnn-elu", "cnn", "mnist-cnn", net=cnn(8, 8, activation="elu"))
variant("mnist-cnn-stride", "cnn", "mnist-cnn", net=cnn(12, 16, pool="stride"))
variant("mnist-cnn-dense", "cnn", "mnist-cnn", net=cnn(8, 16, dense=32))
variant("mnist-cnn-three", "cnn", "mnist-cnn", net=cnn(8, 16, 16), epochs=8)
variant("mnist-cnn-small-batch", "cnn", "mnist-cnn", batch=8, epochs=4,
        optimizer=adam(1e-3))
variant("mnist-cnn-large-batch", "cnn", "mnist-cnn", batch=128, epochs=16,
        optimizer=adam(5e-3))
variant(
    "patches-cnn-stride", "cnn", "patches-cnn", net=cnn(8, 16, pool="stride")
)
variant("patches-cnn-tanh", "cnn", "patches-cnn", net=cnn(8, activation="tanh"))
variant("patches-mlp", "mlp", "patches-cnn", net=mlp(64, 32), epochs=16,
        optimizer=adam(1e-3))
variant("mnist-lenet", "cnn", "mnist-cnn", net=sequential(
    lambda: layers.Conv2D(6, 5, activation="tanh", padding="same"),
    lambda: layers.AveragePooling2D(2),
    lambda: layers.Conv2D(16, 3, activation="tanh"),
    lambda: layers.AveragePooling2D(2),
    layers.Flatten,
    lambda: layers.Dense(60, "tanh"),
    lambda: layers.Dense(40, "tanh"),
))

# Normalization, dropout, penalties.
variant("digits-cnn-batch-norm", "normalization", "digits-cnn",
        net=cnn(8, 16, norm=True, momentum=0.9))
variant("mnist-cnn-batch-norm", "normalization", "mnist-cnn",
        net=cnn(8, 16, norm=True, momentum=0.9))
variant("mnist-cnn-batch-norm-99", "normalization", "mnist-cnn", batch=16,
        net=cnn(8, 16, norm=True), epochs=10)
variant("patches-cnn-batch-norm", "normalization", "patches-cnn",
        net=cnn(8, 16, norm=True, momentum=0.9), epochs=10)
variant("mnist-separable", "normalization", "mnist-cnn",
        net=separable(12, 24, 24), epochs=10, optimizer=adam(1e-2))
variant("digits-batch-norm", "normalization", "digits-mlp",
        net=mlp(48, 48, norm="batch", momentum=0.9))
variant("digits-batch-norm-99", "normalization", "digits-mlp",
        net=mlp(48, 48, norm="batch"), epochs=20)
variant("digits-batch-norm-after", "normalization", "digits-mlp",
        net=mlp(48, 48, norm="after", momentum=0.9))
variant("digits-layer-norm", "normalization", "digits-mlp",
        net=mlp(48, 48, norm="layer"))
variant("cancer-batch-norm", "normalization", "cancer-mlp",
        net=mlp(32, norm="batch", momentum=0.8))
variant("boston-batch-norm", "normalization", "boston-mlp",
        net=mlp(48, 24, norm="batch", momentum=0.9), epochs=40)
variant("friedman-layer-norm", "normalization", "friedman-mlp",
        net=mlp(48, 48, norm="layer"))
variant("wine-batch-norm", "normalization", "wine-mlp",
        net=mlp(24, norm="batch", momentum=0.8))
variant("mnist-group-norm", "normalization", "mnist-cnn", net=sequential(
    lambda: layers.Conv2D(8, 3),
    lambda: layers.GroupNormalization(4),
    layers.ReLU,
    layers.MaxPooling2D,
    lambda: layers.Conv2D(16, 3, activation="relu"),
    layers.Flatten,
))
for _rate in (0.2, 0.5, 0.7):
    variant(f"digits-dropout-{_rate}", "dropout", "digits-mlp",
            net=mlp(128, 64, dropout=_rate), epochs=14)
variant("digits-dropout-batch-norm", "dropout", "digits-mlp", epochs=12,
        net=mlp(96, 48, norm="batch", momentum=0.9, dropout=0.3))
variant("mnist-cnn-dropout", "dropout", "mnist-cnn",
        net=cnn(12, 16, dense=48, dropout=0.5), epochs=10)
variant("mnist-dropout", "dropout", "mnist-mlp",
        net=mlp(128, dropout=0.5), epochs=10)
variant("cancer-dropout", "dropout", "cancer-mlp",
        net=mlp(48, 24, dropout=0.4), epochs=20)
variant("boston-dropout", "dropout", "boston-mlp",
        net=mlp(96, 48, dropout=0.2), epochs=40)
variant("digits-gaussian-noise", "dropout", "digits-mlp", net=sequential(
    lambda: layers.GaussianNoise(0.2), lambda: layers.Dense(64, "relu"),
))
variant("digits-spatial-dropout", "dropout", "digits-cnn", net=sequential(
    lambda: layers.Conv2D(16, 3, activation="relu"),
    lambda: layers.SpatialDropout2D(0.2),
    layers.Flatten,
), epochs=10)
for _name, _penalty in (
    ("l2-1e-4", keras.regularizers.L2(1e-4)),
    ("l2-1e-3", keras.regularizers.L2(1e-3)),
    ("l1-1e-5", keras.regularizers.L1(1e-5)),
    ("l1-l2", keras.regularizers.L1L2(1e-5, 1e-4)),
    ("orthogonal", keras.regularizers.OrthogonalRegularizer(1e-3)),
):
    variant(f"digits-{_name}", "penalty", "digits-mlp", epochs=12,
            net=mlp(64, 32, penalty=_penalty))
variant("boston-l2", "penalty", "boston-mlp",
        net=mlp(64, 32, penalty="l2"), epochs=40)
variant("mnist-cnn-l2", "penalty", "mnist-cnn",
        net=cnn(8, 16, penalty=keras.regularizers.L2(1e-3)))
variant("digits-activity", "penalty", "digits-mlp",
        net=mlp(64, activity=keras.regularizers.L1(1e-6)))
variant("digits-max-norm", "penalty", "digits-mlp", net=sequential(
    lambda: layers.Dense(64, "relu", kernel_constraint="max_norm"),
    lambda: layers.Dense(32, "relu", kernel_constraint="max_norm"),
), epochs=12)

# Residual, recurrent and attention on images.
variant("mnist-resnet", "residual", "mnist-cnn",
        net=residual_cnn(2, 12), epochs=12, optimizer=adam(1e-2))
variant("digits-resnet", "residual", "digits-cnn",
        net=residual_cnn(2, 16), epochs=12, optimizer=adam(1e-2))
variant("patches-resnet", "residual", "patches-cnn",
        net=residual_cnn(1, 8), epochs=10)
variant("digits-resnet-no-norm", "residual", "digits-cnn", epochs=14,
        net=residual_cnn(2, 16, norm=False), optimizer=adam(5e-3))
for _cell in ("GRU", "LSTM", "SimpleRNN"):
    variant(f"digit-rows-{_cell.lower()}", "recurrent", "digits-mlp",
            change=changes.rows_as_steps, net=rnn(_cell, 32),
            optimizer=adam(5e-3), epochs=8)
variant("digit-rows-transformer", "attention", "digits-mlp", epochs=10,
        change=changes.rows_as_steps, net=transformer(1, 32))
variant("digit-rows-conv", "text", "digits-mlp", epochs=14,
        change=changes.rows_as_steps, net=text_cnn(48))


# Autoencoders.
def _itself(name: str) -> Any:
    return lambda: data.to_itself(name)


healthy("digits-autoencoder", "autoencoder",
        Recipe(_itself("digits"), autoencoder(48, 16), epochs=16))
variant("digits-autoencoder-sigmoid-head", "autoencoder", "digits-autoencoder",
        head="sigmoid", loss="binary_crossentropy", epochs=20)
variant("digits-autoencoder-tanh", "autoencoder", "digits-autoencoder",
        net=autoencoder(32, 12, activation="tanh"), epochs=20)
variant("digits-autoencoder-wide", "autoencoder", "digits-autoencoder",
        net=autoencoder(128), epochs=10)
variant("digits-denoising", "autoencoder", "digits-autoencoder",
        net=autoencoder(96, 48, dropout=0.2), epochs=20)
healthy("mnist-autoencoder", "autoencoder",
        Recipe(_itself("mnist"), autoencoder(96, 32), epochs=12))
healthy("patches-autoencoder", "autoencoder",
        Recipe(_itself("patches"), image_autoencoder(12), epochs=10))
variant("mnist-deep", "deep", "mnist-mlp", epochs=10,
        net=deep(6, 48, init="he_normal"), optimizer=adam(1e-3))
variant("mnist-tanh", "mlp", "mnist-mlp", net=mlp(48, activation="tanh"))
variant("mnist-sigmoid", "mlp", "mnist-mlp",
        net=mlp(64, activation="sigmoid"), optimizer=adam(1e-2))
