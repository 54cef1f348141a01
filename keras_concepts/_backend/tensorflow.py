"""TensorFlow: state lives in `tf.Variable`s that the step captures."""

import concurrent.futures
import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python.xla import optimization_barrier
from tensorflow.python.eager import context
from tensorflow.python.ops import control_flow_util

from keras_concepts._backend import alone
from keras_concepts._backend.keras_internals import (
    capture_reduced_gradients,
    data_of_pass,
    in_stateless_scope,
    kept_common_randomness,
    make_train_function,
    optimizer_variables,
    other_threads_train,
    own_value,
    replace_next_pass,
    strategy_of_optimizer,
)
from keras_concepts._shadow import (
    shadow,
    shadow_in_thread,
    shadow_methods_in_thread,
)
from keras_concepts._types import Observe, Tensor

COMPILES = True
COMPILES_FEW = False
_OTHER_SEEDS = 987_654_321
CLASS_NUMBERS = "int32"
END_OF_DATA = (StopIteration, tf.errors.OutOfRangeError)
shadow_in_step = shadow_in_thread
shadow_methods_in_step = shadow_methods_in_thread
gathered = alone.gathered
gathered_from_ranks = alone.gathered_from_ranks
framework_updates = alone.framework_updates
is_framework_optimizer = alone.is_framework_optimizer
process_count = alone.process_count
summed_over_ranks = alone.summed_over_ranks


def snapshot(variable: Any) -> Tensor:
    # Resource variables copy on write: the tensor read here keeps its value.
    return tf.identity(keras.ops.convert_to_tensor(variable))


def copied(gradient: Any) -> Any:
    return gradient  # never changes


def version(tensor: Any) -> int:
    del tensor  # never changes
    return 0


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    tensor = tf.convert_to_tensor(tensor)  # which may be a variable
    eager = isinstance(tensor, tf.__internal__.EagerTensor)
    if not eager or ("GPU" in tensor.device and not wait):
        return None
    return tensor.numpy()


def is_dense(value: Any) -> bool:
    composite = tf.SparseTensor | tf.RaggedTensor | tf.IndexedSlices
    return not isinstance(value, composite)


def on_host(value: Any) -> np.ndarray:
    if isinstance(value, keras.Variable):  # of which NumPy warns
        value = tf.convert_to_tensor(value.value)
    return keras.ops.convert_to_numpy(value)


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(tensors)
    gradients = tape.gradient(
        value[0] if has_aux else value,
        tensors,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return value, [tf.convert_to_tensor(gradient) for gradient in gradients]


def compiled_pass(
    function: Callable[..., Any],
    variables: Sequence[Any],
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    def run(*tensors: Tensor) -> Any:
        # Keras asks the scope alone for the weights that it regularizes.
        # As tensors: a regularizer may ask one for what a variable has not.
        mapping = [(v, tf.convert_to_tensor(v.value)) for v in variables]
        with keras.StatelessScope(mapping, collect_losses=True):
            return function(*tensors)

    step = (
        run if eager or few is not None else tf.function(run, autograph=False)
    )
    return functools.partial(_outside_of_strategy, step)


def _outside_of_strategy(function: Callable[..., Any], *tensors: Tensor) -> Any:
    # Inside a strategy's scope Keras divides losses by the number of replicas,
    # as if each had a share of the batch. A scope cannot be left, but it is one
    # thread's.
    if not tf.distribute.has_strategy():
        return function(*tensors)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *tensors).result()


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    del once
    return function


@contextlib.contextmanager
def kept_randomness() -> Iterator[None]:
    # `tf.random.normal` and the like take their seeds from this generator
    # where they are called eagerly, after `tf.random.set_seed`.
    seeds = getattr(context.context(), "_rng", None)
    with kept_common_randomness():
        if seeds is None or other_threads_train():  # who draw from it too
            yield
            return
        state = seeds.getstate()
        # Other ones, since the kernel of a seed goes on where it stands.
        seeds.seed(_OTHER_SEEDS)
        try:
            yield
        finally:
            seeds.setstate(state)


def fixed_randomness(seed: int) -> contextlib.AbstractContextManager[None]:
    del seed  # Keras calls the stateless operations, each with its seed
    return contextlib.nullcontext()


def replica_count(model: Any) -> int:
    if isinstance(model, keras.optimizers.Optimizer):
        strategy = strategy_of_optimizer(model)
    else:
        strategy = model.distribute_strategy
    return int(strategy.num_replicas_in_sync)


def has_other_workers(model: Any) -> bool:
    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    cluster = strategy.cluster_resolver.cluster_spec().as_dict()
    # A chief trains, too.
    trains = [*cluster.get("worker", []), *cluster.get("chief", [])]
    return len(trains) > 1


def current_trace() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def is_in_trace(tensor: Any, trace: Any) -> bool:
    return not tf.is_symbolic_tensor(tensor) or tensor.graph is trace


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()  # no tape is open


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(
        gradient.values, gradient.indices, shape[0]
    )


def dense_rows(gradient: Any) -> Tensor:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    # tf.unique has no static shape, which XLA needs: sort, then number the
    # runs of equal indices. Unused segments stay zero.
    order = tf.argsort(gradient.indices)
    indices = tf.gather(gradient.indices, order)
    starts = tf.cast(indices[1:] != indices[:-1], tf.int32)
    segments = tf.concat([[0], tf.cumsum(starts)], axis=0)
    return tf.math.unsorted_segment_sum(
        tf.gather(gradient.values, order), segments, tf.size(indices)
    )


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    return 2.0 * tf.stack([tf.nn.l2_loss(x) for x in tensors])


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    peaks = [tf.reduce_max(tf.abs(x)) for x in tensors]
    stacked = tf.stack(peaks)
    usable = tf.math.is_finite(stacked) & (stacked > 0.0)
    unit = tf.where(usable, tf.maximum(stacked, 1e-37), tf.ones_like(stacked))
    units = tf.unstack(unit, len(tensors))
    scaled = [x / unit for x, unit in zip(tensors, units, strict=True)]
    return unit * tf.sqrt(sums_of_squares(scaled)), stacked


def argmax(tensor: Tensor, if_nan: int) -> Tensor:
    many = tensor.shape[-1] >= 400 and _traced_for_xla()
    numbers = _in_blocks(tensor) if many else _first(tensor)
    if not tensor.dtype.is_floating:
        return numbers
    return numbers + if_nan * tf.cast(has_nan(tensor), tf.int32)


def _first(tensor: Tensor) -> Tensor:
    if not _traced_for_xla():
        return tf.argmax(tensor, axis=-1, output_type=tf.int32)[..., None]
    # XLA's CPU compiler vectorizes a maximum of floats, but not an argmax.
    largest = tf.reduce_max(tensor, axis=-1, keepdims=True)
    backwards = -tf.range(tensor.shape[-1], dtype=tf.float32)
    places = tf.where(tensor < largest, -np.inf, backwards)
    first = tf.reduce_max(places, axis=-1, keepdims=True)
    return tf.cast(-first, tf.int32)


def _in_blocks(tensor: Tensor) -> Tensor:
    # The last block may overlap the one before, which then comes first, as it
    # should.
    classes = tensor.shape[-1]
    rows = tf.reshape(tensor, (-1, classes))
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    blocks = tf.reshape(rows[:, : whole * width], (-1, whole, width))
    last = tf.reduce_max(rows[:, -width:], axis=-1, keepdims=True)
    highest = tf.concat([tf.reduce_max(blocks, axis=-1), last], axis=1)
    start = tf.minimum(_first(highest) * width, classes - width)
    columns = start + tf.range(width)
    winners = tf.gather(rows, columns, axis=1, batch_dims=1)
    shape = tf.concat([tf.shape(tensor)[:-1], [1]], axis=0)
    numbers = tf.reshape(start + _first(winners), shape)
    return tf.ensure_shape(numbers, (*tensor.shape[:-1], 1))


def fill(tensor: Tensor, where: Tensor, number: float) -> Tensor:
    return tf.where(where, tf.constant(number, tensor.dtype), tensor)


def has_nan(tensor: Tensor, or_infinity: bool = False) -> Tensor:
    if tensor.shape[-1] == 1:
        return _is_bad(tensor, or_infinity)
    if not _traced_for_xla():
        # On a CPU a maximum and a sum keep NaN.
        if or_infinity:
            tensor = tf.reduce_sum(tensor, axis=-1, keepdims=True)
        elif _ON_CPU:
            tensor = tf.reduce_max(tensor, axis=-1, keepdims=True)
        bad = _is_bad(tensor, or_infinity)
        return tf.reduce_any(bad, axis=-1, keepdims=True)
    # A sum is several times as fast, and hardly ever not finite if no entry is
    # so: where infinities of both signs meet.
    return choose_rarely(
        _is_bad(tf.reduce_sum(tensor), or_infinity),
        lambda: tf.reduce_any(
            _is_bad(tensor, or_infinity), axis=-1, keepdims=True
        ),
        lambda: tf.zeros_like(tensor[..., :1], tf.bool),
    )


def _is_bad(tensor: Tensor, or_infinity: bool) -> Tensor:
    if or_infinity:
        return tf.logical_not(tf.math.is_finite(tensor))
    return tf.math.is_nan(tensor)


_ON_CPU = not tf.config.list_physical_devices("GPU")


def at_columns(tensor: Tensor, numbers: Tensor) -> Tensor:
    numbers = tf.clip_by_value(numbers, 0, tensor.shape[1] - 1)
    return tf.gather(tensor, numbers, axis=1, batch_dims=1)


def has_float64() -> bool:
    return True


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    size = variable.shape[0]
    sums = []
    if places:
        entries = tf.clip_by_value(tf.concat(places, axis=1), 0, size - 1)
        if amounts is None:
            addends = tf.ones_like(entries, tf.float64)
        else:
            each = [
                tf.ones_like(place, tf.float64)
                if amount is None
                else tf.cast(amount, tf.float64)
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = tf.concat(each, axis=1)
        sums.append(tf.math.unsorted_segment_sum(addends, entries, size))
    for start, values in columns:
        total = tf.reduce_sum(tf.cast(values, tf.float64), axis=0)
        rest = size - start - values.shape[1]
        sums.append(tf.pad(total, [[start, rest]]))
    total = sums[0] if len(sums) == 1 else tf.add_n(sums)
    totals = own_value(variable)
    if totals is None:
        variable.assign(variable.value + total)
    else:
        totals.assign_add(total)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    ones = tf.ones_like(segments, dtype)
    return tf.math.unsorted_segment_sum(ones, segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    if values.dtype.is_integer:
        return tf.math.unsorted_segment_sum(values, segments, count)
    exact = tf.cast(values, tf.float64)
    return _halves(tf.math.unsorted_segment_sum(exact, segments, count))


def column_sums(values: Tensor) -> Any:
    if values.dtype.is_integer:
        return tf.reduce_sum(values, axis=0)
    return _halves(tf.reduce_sum(tf.cast(values, tf.float64), axis=0))


def _halves(sums: Tensor) -> tuple[Tensor, Tensor]:
    high = tf.cast(sums, tf.float32)
    return high, tf.cast(sums - tf.cast(high, tf.float64), tf.float32)


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    return tf.cond(predicate, if_true, if_false)


choose_rarely = choose


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    if tf.executing_eagerly():
        return tensors
    # A second reader of a gradient changes what XLA and Grappler fuse and
    # regroup, and with it the rounding of the training step. What is computed
    # by a product, a sum or a reduction over many entries stands in memory
    # anyway; so the elementwise operations after it are made again, from those
    # tensors, for the second reader alone.
    leaves: dict[Any, Tensor] = {}
    for tensor in tensors:
        _collect_leaves(tensor, leaves)
    if _traced_for_xla():  # the barrier exists nowhere else
        # Not the integers among them: XLA must know the shape of a Reshape.
        floats = {ref: x for ref, x in leaves.items() if x.dtype.is_floating}
        walled = optimization_barrier(*floats.values())
        leaves |= dict(zip(floats, walled, strict=True))
    return [_made_again(tensor, leaves) for tensor in tensors]


def _traced_for_xla() -> bool:
    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def _is_elementwise(tensor: Tensor) -> bool:
    operation = tensor.op
    here = operation.graph is tf.compat.v1.get_default_graph()
    return here and operation.type in _ELEMENTWISE


def _collect_leaves(tensor: Tensor, leaves: dict[Any, Tensor]) -> None:
    if not _is_elementwise(tensor):
        leaves[tensor.ref()] = tensor
        return
    for operand in tensor.op.inputs:
        _collect_leaves(operand, leaves)


def _made_again(tensor: Tensor, made: dict[Any, Tensor]) -> Tensor:
    if tensor.ref() not in made:
        operation = tensor.op
        attributes = dict(operation.node_def.attr)
        # Without a difference Grappler would merge copy and original.
        attributes["_keras_concepts_copy"] = tf.compat.v1.AttrValue(b=True)
        made[tensor.ref()] = operation.graph.create_op(
            operation.type,
            [_made_again(operand, made) for operand in operation.inputs],
            [output.dtype for output in operation.outputs],
            attrs=attributes,
        ).outputs[0]
    return made[tensor.ref()]


# Not `Tanh` and `Sigmoid`: Grappler makes one operation of a product and the
# activation after it, unless something else reads what is between them.
# fmt: off
_ELEMENTWISE = frozenset([
    "Add", "AddN", "AddV2", "Cast", "Div", "DivNoNan", "Exp", "ExpandDims",
    "Identity", "Maximum", "Minimum", "Mul", "MulNoNan", "Neg", "RealDiv",
    "Reciprocal", "Reshape", "Rsqrt", "RsqrtGrad", "Select", "SelectV2",
    "SigmoidGrad", "Sqrt", "SqrtGrad", "Square", "Squeeze",
    "SquaredDifference", "StopGradient", "Sub", "TanhGrad", "Transpose",
])
# fmt: on


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    reduced: list[Any] = []
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        yield reduced
        return
    # Keras sums over the replicas there, after clipping, and only there.
    with capture_reduced_gradients(optimizer, reduced.extend):
        yield reduced


def all_reduced(gradients: Sequence[Any]) -> list[Any]:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(gradients)
    present = [gradient for gradient in gradients if gradient is not None]
    total = tf.distribute.ReduceOp.SUM
    sums = iter(context.all_reduce(total, present) if present else [])
    return [None if gradient is None else next(sums) for gradient in gradients]


def of_all_replicas(tensors: Sequence[Tensor]) -> list[Tensor] | None:
    context = tf.distribute.get_replica_context()
    alone = context is None or context.num_replicas_in_sync == 1
    # A stateless scope may be in a conditional, where replicas cannot meet.
    if alone or in_stateless_scope():
        return None
    flat = [tf.reshape(tensor, (1, -1)) for tensor in tensors]
    gathered: dict[int, Tensor] = {}
    for dtype in {x.dtype for x in flat}:  # one message for each
        places = [i for i, x in enumerate(flat) if x.dtype == dtype]
        together = context.all_gather(
            tf.concat([flat[i] for i in places], axis=1), axis=0
        )
        sizes = [tf.size(flat[i]) for i in places]
        parts = tf.split(together, sizes, axis=1)
        gathered |= dict(zip(places, parts, strict=True))
    return [
        tf.ensure_shape(
            tf.reshape(gathered[i], tf.concat([[-1], tf.shape(x)], axis=0)),
            (context.num_replicas_in_sync, *x.shape),
        )
        for i, x in enumerate(tensors)
    ]


def values_of_replicas(variable: Any) -> list[np.ndarray]:
    parts = getattr(variable.value, "values", [variable.value])
    return [part.numpy() for part in parts]


def assign_to_first_replica(variable: Any, value: Any) -> None:
    variable.assign(value)
    for part in getattr(variable.value, "values", [])[1:]:
        part.assign(tf.zeros_like(part))


class StepBuffer:
    """See the package docstring.

    Each replica of a distribution strategy writes rows of its own.
    """

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._rows = _OfReplicas(tf.float32, (capacity, columns))
        self._peaks = _OfReplicas(tf.float32, (units,))
        self._count = _OfReplicas(tf.int32, ())

    def append(self, row: Tensor, peaks: Tensor) -> None:
        # A step that finds no more data must not count: nothing here may run
        # before the row is there.
        with tf.control_dependencies([row, peaks]):
            count, highest = self._count.here, self._peaks.here
            position = [[count % self.capacity]]
            self._rows.here.scatter_nd_update(position, [row])
            highest.assign(tf.maximum(highest, peaks))
            count.assign_add(1)

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        parts = [
            each.arrays() for each in (self._count, self._peaks, self._rows)
        ]
        # One message between machines, where several train.
        own = [
            np.concatenate([part.ravel() for part in replica])
            for replica in zip(*parts, strict=True)
        ]
        units, shape = parts[1][0].size, parts[2][0].shape
        return [
            (
                row[1 + units :].reshape(shape),
                row[1 : 1 + units],
                int(row[0]),
            )
            for row in self._rows.of_all_machines(own)
        ]

    def clear(self) -> None:
        self._peaks.assign(0.0)
        self._count.assign(0)


class Switches:
    """See the package docstring."""

    def __init__(self, count: int) -> None:
        self._flags = _OfReplicas(tf.bool, (count,))
        self._count = count
        self._last: list[bool] = [False] * count

    def set(self, flags: Sequence[bool]) -> None:
        if list(flags) != self._last:
            self._last = list(flags)
            self._flags.assign(self._last)

    def values(self) -> list[Tensor]:
        return tf.unstack(self._flags.here, self._count)


class _OfReplicas:
    """A variable of zeros for each replica that this process trains.

    Not one of the strategy's, which cannot be written in part, and on several
    machines not be made without all of them.
    """

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        self._strategy = tf.distribute.get_strategy()
        self._variables: list[tf.Variable] = []
        devices = [None]
        if tf.distribute.has_strategy():
            devices = list(self._strategy.extended.worker_devices)

        def make() -> None:
            for device in devices:
                with tf.init_scope(), tf.device(device):
                    self._variables.append(
                        tf.Variable(tf.zeros(shape, dtype), trainable=False)
                    )

        _outside_of_strategy(make)

    @property
    def here(self) -> tf.Variable:
        """The variable of the replica that runs."""
        context = tf.distribute.get_replica_context()
        # A number, not a tensor: each replica has a trace of its own. Those of
        # one machine are numbered in a row.
        number = tf.get_static_value(context.replica_id_in_sync_group) or 0
        return self._variables[number % len(self._variables)]

    def assign(self, value: Any) -> None:
        """Gives all of them one value, or entries of one value."""
        for each in self._variables:
            each.assign(tf.broadcast_to(value, each.shape))

    def arrays(self) -> list[np.ndarray]:
        """Their values on the host."""
        return [each.numpy() for each in self._variables]

    def of_all_machines(self, own: list[np.ndarray]) -> list[np.ndarray]:
        """Arrays of the replicas of all machines, of those of this one."""
        if len(own) == self._strategy.num_replicas_in_sync:
            return own
        rest = iter(own)
        values = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(next(rest))[tf.newaxis]
        )
        return list(self._strategy.gather(values, axis=0).numpy())


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    del buffer  # a variable, which the branch writes to

    def run() -> Tensor:
        function()
        return tf.constant(0)

    tf.cond(flag, run, lambda: tf.constant(0))


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del arguments
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer_variables(model)
    values = [snapshot(variable) for variable in variables]

    def restore(result: Any) -> Any:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        known = set(map(id, variables))
        for variable in optimizer_variables(model):
            if id(variable) not in known:  # the step has built the optimizer
                variable.assign(keras.ops.zeros_like(variable))
        return result

    return restore


def observed_train_functions(
    model: Any,
) -> Callable[[Observe, Iterable[Any]], Callable[..., Any]]:
    return functools.partial(_observed_train_function, model)


def _observed_train_function(
    model: Any, observe: Observe, buffers: Iterable[Any]
) -> Callable[..., Any]:
    del buffers  # tf.Variables: the traced step holds them
    original = model.train_step

    def train_step(data: Any) -> Any:
        with observe(data, None, None):
            return original(data)

    previous = model.train_function
    with shadow(model, "train_step", train_step):
        make_train_function(model)
    observed, model.train_function = model.train_function, previous
    return observed


def quick_dropout(rate: float) -> Callable[[Tensor], Tensor] | None:
    del rate  # the compiler makes Keras' own quick
    return None


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    if model.distribute_strategy.num_replicas_in_sync > 1:
        # Keras' function would give each replica the whole batch.
        def step(batch: Any) -> Any:
            return model.predict_step((batch,))

        if not model.run_eagerly:
            jit = model.jit_compile
            step = tf.function(step, autograph=False, jit_compile=jit)
        yield functools.partial(_outside_of_strategy, step)
        return
    previous = model.predict_function
    model.make_predict_function(force=True)
    step, model.predict_function = model.predict_function, previous
    yield lambda batch: step([(batch,)])


# Each call back from a pipeline takes a third of a millisecond.
_WATCHED_BATCHES = 256


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    if not isinstance(data_of_pass(iterator), tf.data.Dataset):
        return False  # one of a distribution strategy
    replace_next_pass(iterator, lambda dataset: _looked_at(dataset, look))
    return True


def _looked_at(
    dataset: tf.data.Dataset, look: Callable[[Any], None]
) -> tf.data.Dataset:
    """The same elements in the same order, each looked at when it is drawn."""

    @tf.autograph.experimental.do_not_convert
    def passed_on(index: Tensor, batch: Any) -> Any:
        leaves = tf.nest.flatten(batch)
        is_dense = [isinstance(leaf, tf.Tensor) for leaf in leaves]
        skeleton = tf.nest.map_structure(lambda _: None, batch)
        dense = [x for x, is_it in zip(leaves, is_dense, strict=True) if is_it]

        def look_at(*arrays: np.ndarray) -> np.bool_:
            rest = iter(arrays)
            flat = [next(rest) if is_it else None for is_it in is_dense]
            look(tf.nest.pack_sequence_as(skeleton, flat))
            return np.bool_(True)

        seen = tf.cond(
            index < _WATCHED_BATCHES,
            lambda: tf.numpy_function(look_at, dense, tf.bool),
            lambda: tf.constant(False),
        )
        with tf.control_dependencies([seen]):
            leaves = [
                tf.identity(leaf) if is_it else leaf
                for leaf, is_it in zip(leaves, is_dense, strict=True)
            ]
        return tf.nest.pack_sequence_as(batch, leaves)

    return dataset.enumerate().map(passed_on)


def is_main_process(model: Any) -> bool:
    strategy = getattr(model, "distribute_strategy", None)
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or resolver.task_type is None:
        return True
    if resolver.task_type == "chief":
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return not has_chief and resolver.task_id == 0
