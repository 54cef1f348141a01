"""Networks, as people write them; each function gives a `Net` for a recipe."""

from benchmarks.doctor.nets.dense import (
    deep,
    mixture,
    mlp,
    residual,
    sequential,
    then,
    wide_and_deep,
)
from benchmarks.doctor.nets.images import (
    autoencoder,
    cnn,
    image_autoencoder,
    residual_cnn,
    separable,
)
from benchmarks.doctor.nets.sequences import (
    Positions,
    bag,
    causal_cnn,
    rnn,
    text_cnn,
    transformer,
)

__all__ = [
    "Positions",
    "autoencoder",
    "bag",
    "causal_cnn",
    "cnn",
    "deep",
    "image_autoencoder",
    "mixture",
    "mlp",
    "residual",
    "residual_cnn",
    "rnn",
    "separable",
    "sequential",
    "text_cnn",
    "then",
    "transformer",
    "wide_and_deep",
]
