"""Dropout that stays on at inference."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_number, checked_seed


@serializable
class MonteCarloDropout(keras.layers.Dropout):
    """Dropout that stays on in `predict` and `evaluate`.

    Each call draws one member of the ensemble that dropout trains, and the
    spread of many calls is the model's uncertainty (Gal & Ghahramani 2016). For
    a model that was trained with `keras.layers.Dropout`, or for mean and spread
    in one call, use `mc_predict`.

    Args:
        rate: Share of the units to drop, between 0 and 1. The remaining units
            are multiplied by `1 / (1 - rate)`, so the expected output is the
            input.
        noise_shape: Shape of the mask: 1 along axes whose units are dropped
            together, `None` where each is dropped on its own.
        seed: Integer, or `None` for a random one.
        kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        Any.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `rate` is not between 0 and 1.

    Example:

    >>> import numpy as np
    >>> y = MonteCarloDropout(0.5, seed=0)(np.ones((1, 1000), "float32"))
    >>> sorted({float(unit) for unit in keras.ops.convert_to_numpy(y)[0]})
    [0.0, 2.0]
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        rate = checked_number("MonteCarloDropout", "rate", rate, low=0, high=1)
        if noise_shape is not None:
            _check_noise_shape(noise_shape)
        if seed is not None:
            seed = checked_seed("MonteCarloDropout", seed)
        super().__init__(rate, noise_shape=noise_shape, seed=seed, **kwargs)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Drops units, whatever `training` says."""
        return super().call(inputs, training=True)


def _check_noise_shape(noise_shape: Any) -> None:
    if not isinstance(noise_shape, list | tuple) or not all(
        size is None or (isinstance(size, int) and size > 0)
        for size in noise_shape
    ):
        raise ValueError(
            "`noise_shape` of `MonteCarloDropout` must hold a positive "
            "integer, or None for the size of the inputs, for each of their "
            f"axes. Received: noise_shape={noise_shape!r}."
        )
