"""JAX: state is passed into the compiled step and comes back out of it."""

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_concepts._backend.keras_internals import flatten_layers
from keras_concepts._shadow import shadow
from keras_concepts._types import Observe, Tensor

END_OF_DATA = (StopIteration,)
shadow_in_step = shadow


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable)


def known_value(tensor: Tensor) -> np.ndarray | None:
    if isinstance(tensor, jax.core.Tracer):
        return None
    on_host = all(device.platform == "cpu" for device in tensor.devices())
    return np.asarray(tensor) if on_host else None


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    return jax.value_and_grad(function, has_aux=has_aux)(list(tensors))


def compiled_pass(
    function: Callable[..., Any], variables: Sequence[Any], eager: bool
) -> Callable[..., Any]:
    def run(values: list[Tensor], *tensors: Tensor) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True):
            return function(*tensors)

    step = run if eager else jax.jit(run)
    return lambda *tensors: step([v.value for v in variables], *tensors)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function)


@contextlib.contextmanager
def out_of_gradient(
    model: Any, loss_tracker: Any, values: dict[Any, Tensor]
) -> Iterator[None]:
    # What is computed under `jax.value_and_grad` can leave it with the loss
    # alone. Keras hands that loss on to its tracker and to nothing else.
    carried: dict[Any, Tensor] = {}
    with contextlib.ExitStack() as stack:
        if loss_tracker is not None:
            original = model.compute_loss_and_updates
            original_update = loss_tracker.update_state

            def compute_loss_and_updates(*args: Any, **kwargs: Any) -> Any:
                values.clear()
                scaled, (loss, *rest) = original(*args, **kwargs)
                return scaled, (_Carrier(loss, dict(values)), *rest)

            def update_state(loss: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal carried
                if isinstance(loss, _Carrier):
                    loss, carried = loss
                return original_update(loss, *args, **kwargs)

            stack.enter_context(
                shadow(
                    model, "compute_loss_and_updates", compute_loss_and_updates
                )
            )
            stack.enter_context(
                shadow(loss_tracker, "update_state", update_state)
            )
        yield
    values.clear()
    values.update(carried)


class _Carrier(NamedTuple):
    loss: Tensor
    values: dict[Any, Tensor]


def fixed_randomness(seed: int) -> contextlib.AbstractContextManager[None]:
    del seed  # JAX has no generator: every draw is given its seed
    return contextlib.nullcontext()


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()  # they are taken of functions


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    del shape
    return gradient


def dense_rows(gradient: Any) -> Tensor:
    return gradient


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    # XLA's CPU compiler makes faster code of a product than of a sum.
    exact = jax.lax.Precision.HIGHEST
    return jnp.stack(
        [jnp.tensordot(x, x, axes=x.ndim, precision=exact) for x in tensors]
    )


def peaks(tensors: list[Tensor]) -> Tensor:
    return jnp.stack([jnp.max(jnp.abs(x)) for x in tensors])


def argmax(tensor: Tensor) -> Tensor:
    # XLA's CPU compiler vectorizes a maximum but not an argmax: find the
    # winning block first. The last block may overlap the one before, which
    # then comes first, as it should.
    classes = tensor.shape[-1]
    if classes < 128:
        return jnp.argmax(tensor, axis=-1)
    rows = tensor.reshape(-1, classes)
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    blocks = rows[:, : whole * width].reshape(-1, whole, width)
    last = rows[:, -width:].max(axis=-1, keepdims=True)
    highest = jnp.concatenate([blocks.max(axis=-1), last], axis=1)
    start = jnp.argmax(highest, axis=1) * width
    start = jnp.minimum(start, classes - width)
    winners = jax.vmap(
        lambda row, at: jax.lax.dynamic_slice(row, (at,), (width,))
    )(rows, start)
    return (start + jnp.argmax(winners, axis=1)).reshape(tensor.shape[:-1])


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    return _scattered(jnp.ones((), dtype), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    values, segments = values.reshape(-1), segments.reshape(-1)
    largest = jnp.zeros((count,), values.dtype).at[_places(segments, count)]
    largest = largest.max(jnp.abs(values), mode="drop")
    return _exact(
        lambda entries: _scattered(entries, segments, count),
        values,
        largest,
        largest[jnp.maximum(segments, 0)],
    )


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    zeros = jnp.zeros((count,), entries.dtype)
    places = _places(segments.reshape(-1), count)
    return zeros.at[places].add(entries, mode="drop")


def _places(segments: Tensor, count: int) -> Tensor:
    # JAX would count a negative segment from the end.
    return jnp.where(segments < 0, count, segments)


def column_sums(values: Tensor) -> Any:
    largest = jnp.max(jnp.abs(values), axis=0, initial=0)
    return _exact(lambda entries: entries.sum(axis=0), values, largest, largest)


def _exact(
    sums: Callable[[Tensor], Tensor],
    values: Tensor,
    largest: Tensor,
    largest_of_each: Tensor,
) -> Any:
    """What `sums`, a function of the first axis, should give.

    Args:
        sums: The function.
        values: What is summed.
        largest: For each sum, the largest size of what goes into it.
        largest_of_each: For each value, that of the sum that it goes into.
    """
    if jnp.issubdtype(values.dtype, jnp.integer):
        return sums(values)
    # There is no float64. So write the values as integers: in units of a power
    # of two, `bits` binary places at a time, so few that no sum can overflow.
    bits = 30 - max(values.shape[0], 1).bit_length()
    if bits < 1:
        return sums(values), jnp.zeros_like(sums(values))
    _, unit = jnp.frexp(largest)
    _, unit_of_each = jnp.frexp(largest_of_each)
    rest = jnp.ldexp(values, -unit_of_each)
    high, low = 0.0, 0.0
    for _ in range(-(-40 // bits)):
        unit, rest = unit - bits, jnp.ldexp(rest, bits)
        digits = jnp.round(rest)
        rest = rest - digits
        total = sums(digits.astype(jnp.int32))
        # An integer of 31 bits makes two exact floats.
        for part in (total >> 15 << 15, total & 0x7FFF):
            addend = jnp.ldexp(part.astype(jnp.float32), unit)
            before, high = high, high + addend
            shift = high - before
            low += (before - (high - shift)) + (addend - shift)
    return high, low


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    if isinstance(predicate, jax.core.Tracer):
        return jax.lax.cond(predicate, if_true, if_false)
    return if_true() if predicate else if_false()


choose_rarely = choose


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    # A second reader of the gradients changes what XLA fuses, and with it the
    # rounding of the training step. The barrier keeps it apart.
    return jax.lax.optimization_barrier(tensors)


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    del optimizer  # one program for all devices: gradients are global
    yield []


class StepBuffer:
    """See the package docstring.

    Inside a train function made by `observed_train_function`, `state` is a
    tracer that the function carries. Inside any other compiled function there
    is nobody to carry it, so rows are sent to the host as they are made.
    """

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._shape = (capacity, columns)
        self._units = units
        self.state = self._empty()

    def _empty(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            jnp.zeros(self._shape, jnp.float32),
            jnp.zeros((self._units,), jnp.float32),
            jnp.zeros((), jnp.int32),
        )

    def append(self, row: Tensor, peaks: Tensor) -> None:
        carried = isinstance(self.state[2], jax.core.Tracer)
        if isinstance(row, jax.core.Tracer) and not carried:
            jax.debug.callback(self._append, row, peaks, ordered=True)
        else:
            self._append(row, peaks)

    def _append(self, row: Tensor, peaks: Tensor) -> None:
        rows, highest, count = self.state
        self.state = (
            rows.at[count % self.capacity].set(row),
            jnp.maximum(highest, peaks),
            count + 1,
        )

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        jax.effects_barrier()
        rows, peaks, count = self.state
        return np.asarray(rows), np.asarray(peaks), int(count)

    def clear(self) -> None:
        self.state = self._empty()


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del model
    # Copies, for the step takes the memory of what it is given.
    kept = jax.tree.map(jnp.copy, arguments[0])

    def restore(result: Any) -> Any:
        logs, _ = result
        return logs, kept

    return restore


def observed_train_functions(
    model: Any,
) -> Callable[[Observe, Iterable[Any]], Callable[..., Any]]:
    sharding = None
    compiles = model.jit_compile and not model.run_eagerly
    if compiles and keras.distribution.distribution() is not None:
        # The trainer takes it from the values of the variables, which have none
        # during an epoch.
        sharding = model._get_state_sharding_spec()
    return functools.partial(_observed_train_function, model, sharding)


def _observed_train_function(
    model: Any, sharding: Any, observe: Observe, buffers: Iterable[Any]
) -> Callable[..., Any]:
    original = model.train_step
    buffers = list(buffers)

    def train_step(state: Any, data: Any) -> Any:
        *state, stores = state
        with _carried(buffers, stores):
            untrained = zip(
                model.non_trainable_variables, state[1], strict=True
            )
            with observe(data, list(untrained)):
                logs, state = original(tuple(state), data)
            stores = tuple(buffer.state for buffer in buffers)
        return logs, (*state, stores)

    previous = model.train_function
    with contextlib.ExitStack() as stack:
        stack.enter_context(shadow(model, "train_step", train_step))
        if sharding is not None:
            # It names a sharding for each part of the state. The buffers are a
            # part more, and XLA may choose theirs.
            stack.enter_context(
                shadow(
                    model, "_get_state_sharding_spec", lambda: (*sharding, None)
                )
            )
        model.make_train_function(force=True)
    step, model.train_function = model.train_function, previous

    def observed(state: Any, iterator: Any) -> Any:
        stores = tuple(buffer.state for buffer in buffers)
        logs, (*state, stores) = step((*state, stores), iterator)
        for buffer, store in zip(buffers, stores, strict=True):
            buffer.state = store
        return logs, tuple(state)

    return observed


@contextlib.contextmanager
def _carried(buffers: Sequence[Any], stores: Any) -> Iterator[None]:
    concrete = [buffer.state for buffer in buffers]
    for buffer, store in zip(buffers, stores, strict=True):
        buffer.state = store
    try:
        yield
    finally:
        for buffer, state in zip(buffers, concrete, strict=True):
            buffer.state = state


# The last function of each model, and what the layers were like.
_steps: weakref.WeakKeyDictionary[Any, tuple[list[str], Callable[..., Any]]]
_steps = weakref.WeakKeyDictionary()


def quick_dropout(rate: float) -> Callable[[Tensor], Tensor] | None:
    del rate  # the compiler makes Keras' own quick
    return None


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    # Not Keras' own predict function, which takes the variables' memory.
    step = model.predict_step
    if model.jit_compile and not model.run_eagerly:
        step = _compiled(model)
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def predict(batch: Any) -> Any:
        nonlocal others
        outputs, others = step((trainable, others), (batch,))
        return outputs

    yield predict


def _compiled(model: Any) -> Callable[..., Any]:
    """`predict_step`, compiled again only if a layer has changed.

    XLA takes longer to compile a small model than to run it a thousand times.
    """
    owner = weakref.ref(model)

    def predict_step(state: Any, data: Any) -> Any:
        # A strong reference would keep the model in the dictionary for ever.
        return owner().predict_step(state, data)

    try:
        layers = [
            repr(layer.get_config())
            for layer in flatten_layers(model)
            if not isinstance(layer, keras.Model)
        ]
    except NotImplementedError:  # a layer that cannot tell what it is like
        return jax.jit(predict_step)
    if model not in _steps or _steps[model][0] != layers:
        _steps[model] = layers, jax.jit(predict_step)
    return _steps[model][1]
