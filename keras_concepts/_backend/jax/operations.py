"""Operations on scores and labels, each done the fastest way."""

import functools
import math

import jax
import jax.numpy as jnp

from keras_concepts._backend.jax.tracing import choose_rarely
from keras_concepts._types import Tensor

CLASS_NUMBERS = "int32"


# Compiled separately, for eager calls.
@functools.partial(jax.jit, static_argnames="if_nan")
def argmax(tensor: Tensor, if_nan: int) -> Tensor:
    classes = tensor.shape[-1]
    numbers = _first_largest(tensor) if classes < 512 else _in_blocks(tensor)
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        return numbers
    return numbers + if_nan * has_nan(tensor)


def _first_largest(tensor: Tensor) -> Tensor:
    # XLA's CPU compiler vectorizes a maximum of floats, but not an argmax.
    largest = jnp.max(tensor, axis=-1, keepdims=True)
    backwards = -jnp.arange(tensor.shape[-1], dtype="float32")
    places = jnp.where(tensor < largest, -jnp.inf, backwards)
    return -jnp.max(places, axis=-1, keepdims=True).astype("int32")


def _in_blocks(tensor: Tensor) -> Tensor:
    # The last block may overlap the block before, which then comes first, as
    # it should.
    classes = tensor.shape[-1]
    rows = tensor.reshape(-1, classes)
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    blocks = rows[:, : whole * width].reshape(-1, whole, width)
    last = rows[:, -width:].max(axis=-1, keepdims=True)
    highest = jnp.concatenate([blocks.max(axis=-1), last], axis=1)
    start = _first_largest(highest) * width
    start = jnp.minimum(start, classes - width)
    winners = jax.vmap(
        lambda row, at: jax.lax.dynamic_slice(row, at, (width,))
    )(rows, start)
    numbers = start + _first_largest(winners)
    return numbers.reshape((*tensor.shape[:-1], 1))


def fill(tensor: Tensor, where: Tensor, number: float) -> Tensor:
    return jnp.where(where, number, tensor)


@functools.partial(jax.jit, static_argnames="or_infinity")
def has_nan(tensor: Tensor, or_infinity: bool = False) -> Tensor:
    # A sum is several times as fast, and rarely bad if no entry is: only if
    # infinities of both signs meet.
    total = jnp.sum(tensor)

    def is_bad(x: Tensor) -> Tensor:
        return ~jnp.isfinite(x) if or_infinity else jnp.isnan(x)

    return choose_rarely(
        is_bad(total),
        lambda: jnp.any(is_bad(tensor), axis=-1, keepdims=True),
        lambda: jnp.zeros((*tensor.shape[:-1], 1), bool),
    )


@jax.jit
def at_columns(tensor: Tensor, numbers: Tensor) -> Tensor:
    numbers = jnp.clip(numbers, 0, tensor.shape[1] - 1)
    return jnp.take_along_axis(tensor, numbers, axis=1)
