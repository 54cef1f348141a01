"""JAX: state is passed into the compiled step and comes back out of it."""

import contextlib
import functools
import inspect
import math
import pickle
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax._src import core  # which trace is open: no public name tells
from jax.experimental import multihost_utils

from keras_concepts._backend import alone
from keras_concepts._backend.keras_internals import (
    flatten_layers,
    kept_common_randomness,
    make_train_function,
    replace_state_sharding,
    state_sharding,
    watch_next_pass,
)
from keras_concepts._shadow import (
    shadow,
    shadow_methods_in_thread,
)
from keras_concepts._types import Observe, Tensor

COMPILES = True
COMPILES_FEW = True
# Code that runs several times as slowly, and compiles in a quarter of the time.
_QUICKLY_COMPILED = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}
# Operations in all calls together for which fast code is worth compiling.
_MANY_OPERATIONS = 1.2e10
CLASS_NUMBERS = "int32"
END_OF_DATA = (StopIteration,)
shadow_in_step = shadow
shadow_methods_in_step = shadow_methods_in_thread
gathered_from_ranks = alone.gathered_from_ranks
framework_updates = alone.framework_updates
is_framework_optimizer = alone.is_framework_optimizer
summed_over_ranks = alone.summed_over_ranks


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable)


def copied(gradient: Any) -> Any:
    return gradient  # never changes


def version(tensor: Any) -> int:
    del tensor  # never changes
    return 0


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    if isinstance(tensor, jax.core.Tracer):
        return None
    is_near = all(device.platform == "cpu" for device in tensor.devices())
    return on_host(tensor) if is_near or wait else None


def on_host(tensor: Any) -> np.ndarray:
    if isinstance(tensor, keras.Variable):  # of which NumPy warns
        tensor = keras.ops.convert_to_tensor(tensor)
    if isinstance(tensor, jax.Array) and not (
        tensor.is_fully_addressable or tensor.is_fully_replicated
    ):
        tensor = multihost_utils.process_allgather(tensor, tiled=True)
    return keras.ops.convert_to_numpy(tensor)


def is_dense(value: Any) -> bool:
    # Whoever has such a tensor has imported this.
    sparse = sys.modules.get("jax.experimental.sparse")
    return sparse is None or not isinstance(value, sparse.JAXSparse)


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    return jax.value_and_grad(function, has_aux=has_aux)(list(tensors))


def compiled_pass(
    function: Callable[..., Any],
    variables: Sequence[Any],
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    def run(values: list[Tensor], *tensors: Tensor) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True):
            return function(*tensors)

    if eager:
        step = run
    elif few is None:
        step = jax.jit(run)
    else:
        step = _compiled_for(run, few)
    return lambda *tensors: step([v.value for v in variables], *tensors)


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    return _quickly_compiled(function) if once else jax.jit(function)


def _compiled_for(
    function: Callable[..., Any], calls: int
) -> Callable[..., Any]:
    """Compiled so that compiling and so many calls take little time."""
    step: Callable[..., Any] | None = None

    def run(*arguments: Any) -> Any:
        nonlocal step
        if step is None:
            chosen = jax.jit(function)
            if _compiler_options():
                # The trace is made once, for both.
                cost = chosen.lower(*arguments).cost_analysis() or {}
                if calls * cost.get("flops", 0.0) < _MANY_OPERATIONS:
                    chosen = _quickly_compiled(function)
            step = chosen
        return step(*arguments)

    return run


def _quickly_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    options = _compiler_options()
    if not options:
        return jax.jit(function)
    return jax.jit(function, compiler_options=options)


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """Those of the options for quick compilation that this compiler has."""
    if "compiler_options" not in inspect.signature(jax.jit).parameters:
        return {}
    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, Any] = {}
    for name, value in _QUICKLY_COMPILED.items():
        try:
            _ = jax.jit(lambda: 0, compiler_options={name: value})()
        except RuntimeError:  # there is no such option
            continue
        options[name] = value
    return options


def replica_count(model: Any) -> int:
    del model  # a batch is never cut up before the step
    return 1


def has_other_workers(model: Any) -> bool:
    del model
    return False


def current_trace() -> Any:
    return core.trace_ctx.trace


def is_in_trace(tensor: Any, trace: Any) -> bool:
    return not isinstance(tensor, jax.core.Tracer) or tensor._trace is trace


def kept_randomness() -> contextlib.AbstractContextManager[None]:
    return kept_common_randomness()


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


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    # Scalars and not entries of vectors: XLA takes ten times as long to compile
    # a product with an element that it must cut out first.
    peaks = [jnp.max(jnp.abs(x)) for x in tensors]
    units = [
        jnp.where(jnp.isfinite(p) & (p > 0.0), jnp.maximum(p, 1e-37), 1.0)
        for p in peaks
    ]
    scaled = [x / unit for x, unit in zip(tensors, units, strict=True)]
    norms = jnp.stack(units) * jnp.sqrt(sums_of_squares(scaled))
    return norms, jnp.stack(peaks)


# Compiled by itself, for calls that are eager.
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
    # The last block may overlap the one before, which then comes first, as it
    # should.
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
    # A sum is several times as fast, and hardly ever not finite if no entry is
    # so: where infinities of both signs meet.
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


def has_float64() -> bool:
    return bool(jax.config.jax_enable_x64)


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    totals = variable.value
    if places:
        entries = jnp.concatenate(places, axis=1)
        entries = jnp.clip(entries, 0, totals.shape[0] - 1)
        addends: Any = 1.0
        if amounts is not None:
            each = [
                jnp.ones(place.shape) if amount is None else amount
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = jnp.concatenate(each, axis=1)
        totals = totals.at[entries].add(addends)
    for start, values in columns:
        part = totals.at[start : start + values.shape[1]]
        totals = part.add(values.sum(axis=0, dtype=totals.dtype))
    variable.assign(totals)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    return _scattered(jnp.ones((), dtype), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    values, segments = values.reshape(-1), segments.reshape(-1)
    if jnp.issubdtype(values.dtype, jnp.integer):
        return _scattered(values, segments, count)
    if values.size * count <= _FEW:
        mine = segments[:, None] == jnp.arange(count)
        return column_sums(jnp.where(mine, values[:, None], 0))
    return _digit_by_digit(values, segments, count)


# Up to here the sums of all segments in one table are the faster way.
_FEW = 2**16


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    zeros = jnp.zeros((count,), entries.dtype)
    return zeros.at[segments.reshape(-1)].add(entries)


def column_sums(values: Tensor) -> Any:
    if jnp.issubdtype(values.dtype, jnp.integer):
        return values.sum(axis=0)
    # There is no float64. So add halves of the rows, and halves of those, and
    # beside each sum keep what rounding takes from it (`_numerics.words`).
    high, low = values, None
    while high.shape[0] > 1:
        # Eight parts at once: each step is a pass of its own.
        parts = min(8, high.shape[0])
        highs = _divided(high, parts)
        lows = [0.0] * parts if low is None else _divided(low, parts)
        high, low = highs[0], lows[0]
        for part, rest in zip(highs[1:], lows[1:], strict=True):
            before, high = high, high + part
            shift = high - before
            low += (before - (high - shift)) + (part - shift)
            low += rest
    if low is None:  # one row, or none
        low = jnp.zeros_like(high)
    return high.sum(axis=0), low.sum(axis=0)


def _divided(rows: Tensor, parts: int) -> list[Tensor]:
    """Rows in so many parts, of which the last may end in zeros."""
    length = -(-rows.shape[0] // parts)
    missing = parts * length - rows.shape[0]
    padded = jnp.pad(rows, ((0, missing), *[(0, 0)] * (rows.ndim - 1)))
    return [padded[i * length : (i + 1) * length] for i in range(parts)]


def _digit_by_digit(values: Tensor, segments: Tensor, count: int) -> Any:
    # Write the values as integers: in units of a power of two, `bits` binary
    # places at a time, so few that no sum can overflow.
    bits = 30 - max(values.shape[0], 1).bit_length()
    if bits < 1:
        sums = _scattered(values, segments, count)
        return sums, jnp.zeros_like(sums)
    largest = jnp.zeros((count,), values.dtype).at[segments]
    largest = largest.max(jnp.abs(values))
    _, unit = jnp.frexp(largest)
    _, unit_of_each = jnp.frexp(largest[segments])
    rest = jnp.ldexp(values, -unit_of_each)
    high, low = 0.0, 0.0
    for _ in range(-(-40 // bits)):
        unit, rest = unit - bits, jnp.ldexp(rest, bits)
        digits = jnp.round(rest)
        rest = rest - digits
        total = _scattered(digits.astype(jnp.int32), segments, count)
        # An integer of 31 bits makes two exact floats.
        for part in (total >> 15 << 15, total & 0x7FFF):
            addend = jnp.ldexp(part.astype(jnp.float32), unit)
            before, high = high, high + addend
            shift = high - before
            low += (before - (high - shift)) + (addend - shift)
    # None of these steps keeps a NaN.
    unknown = jnp.logical_not(jnp.isfinite(values)).astype(jnp.int32)
    unknown = _scattered(unknown, segments, count)
    return jnp.where(unknown > 0, jnp.nan, high), low


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


def all_reduced(gradients: Sequence[Any]) -> list[Any]:
    return list(gradients)


def of_all_replicas(tensors: Sequence[Tensor]) -> list[Tensor] | None:
    del tensors
    return None


def values_of_replicas(variable: Any) -> list[np.ndarray]:
    return [on_host(variable)]


def assign_to_first_replica(variable: Any, value: Any) -> None:
    variable.assign(value)


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
            _check_one_device()
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

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        jax.effects_barrier()
        rows, peaks, count = self.state
        return [(on_host(rows), on_host(peaks), int(count))]

    def clear(self) -> None:
        self.state = self._empty()


def _check_one_device() -> None:
    distribution = keras.distribution.distribution()
    if distribution is None:
        return
    devices = distribution.device_mesh.devices.size
    if devices > 1:
        raise ValueError(
            "`GradientTap` cannot measure a step that `jax.jit` compiles for "
            "several devices: from there JAX sends no rows in order. Train "
            "with `model.fit` and `callbacks.GradientMonitor`, which measures "
            "under every distribution. Received: a distribution over "
            f"{devices} devices."
        )


class Switches:
    """See the package docstring. Carried as a `StepBuffer` is."""

    def __init__(self, count: int) -> None:
        self.state = jnp.zeros((count,), bool)

    def set(self, flags: Sequence[bool]) -> None:
        self.state = jnp.asarray(flags, bool)

    def values(self) -> list[Tensor]:
        return list(self.state)


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    if not isinstance(flag, jax.core.Tracer):
        if flag:
            function()
        return
    before = buffer.state

    def run(state: Any) -> Any:
        buffer.state = state
        function()
        return buffer.state

    try:
        after = jax.lax.cond(flag, run, lambda state: state, before)
    finally:
        buffer.state = before
    buffer.state = after


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
        sharding = state_sharding(model)
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
            with observe(data, list(state[0]), list(untrained)) as after:
                logs, state = original(tuple(state), data)
                after.extend(state[0])
            stores = tuple(buffer.state for buffer in buffers)
        return logs, (*state, stores)

    previous = model.train_function
    with contextlib.ExitStack() as stack:
        stack.enter_context(shadow(model, "train_step", train_step))
        if sharding is not None:
            # It names a sharding for each part of the state. The buffers are a
            # part more, and XLA may choose theirs.
            stack.enter_context(
                replace_state_sharding(model, (*sharding, None))
            )
        make_train_function(model)
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


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    watch_next_pass(iterator, look)
    return True


def is_main_process(model: Any) -> bool:
    del model
    return jax.process_index() == 0


def process_count(model: Any) -> int:
    if jax.process_count() == 1:
        return 1
    # Of a training run; the variables have no values while an epoch runs.
    distribution = keras.distribution.distribution()
    if distribution is not None:
        mesh = distribution.device_mesh.backend_mesh
        return len({each.process_index for each in mesh.devices.flat})
    processes = {
        device.process_index
        for variable in model.variables[:1]
        for device in variable.value.devices()
    }
    return max(len(processes), 1)


def gathered(model: Any, value: Any) -> list[Any]:
    if process_count(model) == 1:
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    # What is sent must have one shape everywhere.
    lengths = multihost_utils.process_allgather(np.int32(len(own)))
    padded = np.resize(own, int(np.max(lengths)))
    every = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [pickle.loads(each.tobytes()) for each in every]
