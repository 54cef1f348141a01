"""What is private to Keras and the same on every backend."""

import contextlib
import dataclasses
import inspect
import random
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from keras.src.backend import compute_output_spec
from keras.src.backend.common import global_state, masking
from keras.src.backend.common.stateless_scope import (
    get_stateless_scope,
    in_stateless_scope,
)
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as _in_symbolic_scope,
)
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.models.functional import Functional
from keras.src.trainers.compile_utils import CompileLoss, CompileMetrics
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.generator_data_adapter import (
    GeneratorDataAdapter,
)
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter

from keras_concepts._shadow import shadow, shadow_in_thread
from keras_concepts._types import Tensor

# Which `fit` calls after the steps of an epoch, before the validation.
AFTER_STEPS = "_get_metrics_result_or_logs"


def keras_mask(tensor: Tensor) -> Tensor | None:
    """The mask that Keras' layers left on a tensor, or `None`."""
    # Not always an attribute: where tensors take none, Keras keeps a table.
    return masking.get_keras_mask(tensor)


def set_keras_mask(tensor: Tensor, mask: Tensor) -> None:
    """Leaves a mask on a tensor, as Keras' layers do."""
    masking.set_keras_mask(tensor, mask)


def in_symbolic_scope() -> bool:
    """Whether Keras only asks a model for the shapes of its outputs."""
    return _in_symbolic_scope()


def own_value(variable: Any) -> Tensor | None:
    """What a Keras variable holds itself, to be changed in place.

    `None` where another value stands in for it.
    """
    return None if in_stateless_scope() else variable._value


def running_optimizer() -> Any | None:
    """The optimizer whose `apply` is running here, if any."""
    # Keras hands a constraint the variable and nothing else. But while `apply`
    # runs, the optimizer is the caller on top of the stack of name scopes, of
    # which each thread has its own.
    scopes = global_state.get_global_attribute("name_scope_stack")
    caller = scopes[-1].caller if scopes else None
    return caller if isinstance(caller, keras.optimizers.Optimizer) else None


def cell_of_bias() -> Any | None:
    """Keras' recurrent cell whose bias is asked of the calling initializer.

    `None` if it is not known. To be called in `__call__` itself.
    """
    # A layer whose `build` runs is on top of the stack of name scopes. But a
    # variable that is made in a trace gets its value later. Then only the
    # function is left that an LSTM has wrapped around its initializer.
    scopes = global_state.get_global_attribute("name_scope_stack")
    caller = scopes[-1].caller if scopes else None
    wrapper = sys._getframe(2).f_locals.get("self")
    for owner in (caller, wrapper):
        gated = hasattr(owner, "unit_forget_bias") or hasattr(
            owner, "reset_after"
        )
        if gated or isinstance(owner, keras.layers.SimpleRNNCell):
            return owner
    return None


def name_in_logs(metric: Any) -> str | None:
    """How Keras calls the result of a compiled metric that it asks for.

    `None` if somebody else asks. To be called while the metric's `result` runs.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, CompileMetrics):
            names = [each.name for each in caller.metrics]
            shared = names.count(metric.name) > 1
            name = frame.f_locals.get("name") if shared else None
            return name if isinstance(name, str) else metric.name
        if caller is not metric:
            return None
        frame = frame.f_back
    return None


def learning_rate_of_update(optimizer: Any) -> Tensor:
    """The learning rate of the update that `apply` has just made.

    0 if it made none, but accumulated gradients.
    """
    rate = ops.convert_to_tensor(optimizer.learning_rate)
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return rate
    # `iterations` counts updates, `_iterations` the calls of `apply`.
    updates = ops.equal((optimizer._iterations + 1) % steps, 0)
    return ops.where(updates, rate, ops.zeros_like(rate))


def call_as_trainer(model: Any, x: Any, training: bool) -> Any:
    """`model(x)` in the mode in which Keras' `fit` or `predict` calls it.

    A model whose `call` takes no `training` is given none, and the layers in it
    then decide by their defaults: `fit` and `predict` do the same.
    """
    mode = {"training": training} if model._call_has_training_arg else {}
    return model(x, **mode)


def has_call(model: Any) -> bool:
    """Whether a model defines what it does when it is called."""
    return type(model).call is not keras.Model.call


def has_loss(model: Any) -> bool:
    """Whether `compile` was given a loss, or the model computes its own."""
    return (
        model._compile_loss is not None
        or "compute_loss" in vars(model)
        or type(model).compute_loss is not keras.Model.compute_loss
    )


def capture_batch_moments(
    layer: Any, record: Callable[[Tensor, Tensor | None], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(inputs, mask)` where a layer takes a batch's statistics.

    What the `training` of its `call` is does not say so: a subclass may set its
    own, and an outer layer may give none.
    """
    original = layer._moments

    def moments(inputs: Tensor, mask: Tensor | None = None) -> Any:
        record(inputs, mask)
        return original(inputs, mask)

    return shadow_in_thread(layer, "_moments", moments)


def flatten_layers(model: Any) -> list[Any]:
    """The model and all layers and cells in it, at any depth, each once.

    A model before its layers, these in their order: Keras' own list has those
    of a model in a model the other way round.
    """
    found: dict[int, Any] = {}
    ahead = [model]
    while ahead:
        layer = ahead.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            ahead += reversed(layer._layers)
    return [*found.values()]


def own_variables(layer: Any) -> list[Any]:
    """Weights and random seeds of the layer itself, not of layers in it."""
    return [
        *layer._trainable_variables,
        *layer._non_trainable_variables,
        *(generator.state for generator in layer._seed_generators),
    ]


def make_train_function(model: Any) -> None:
    """Makes the train function of a model again."""
    if "force" in inspect.signature(model.make_train_function).parameters:
        model.make_train_function(force=True)
        return
    model.train_function = None  # a method of the model's author
    model.make_train_function()


def optimizers_of(model: Any) -> list[Any]:
    """The optimizer of the model, and others that it or a layer in it keeps.

    In attributes, and in lists, tuples and dicts there.
    """
    kept = [model.optimizer]
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            kept += _leaves(value)
    kind = keras.optimizers.Optimizer
    return list({id(o): o for o in kept if isinstance(o, kind)}.values())


def _leaves(value: Any, depth: int = 4) -> list[Any]:
    """What is in a container, and in those in it; the value itself if none."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple) or not depth:
        return [value]
    return [leaf for each in value for leaf in _leaves(each, depth - 1)]


def optimizer_variables(model: Any) -> list[Any]:
    """All that the optimizers of a model keep."""
    return [v for each in optimizers_of(model) for v in each.variables]


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for, in its order."""
    return list(optimizer._trainable_variables)


def trained_variables(layer: Any) -> list[Any]:
    """Weights of the layer itself that were made to be trained.

    Also of a frozen layer. Not its statistics and seeds.
    """
    return list(layer._trainable_variables)


def is_of_keras(layer: Any) -> bool:
    """Whether Keras itself has the class of the layer."""
    return type(layer).__module__.split(".")[0] == "keras"


def previous_layers(layer: Any) -> list[Any]:
    """What the layer reads in functional models, each once."""
    read = [
        parent.operation
        for node in layer._inbound_nodes
        for parent in node.parent_nodes
    ]
    return list({id(each): each for each in read}.values())


def next_layers(layer: Any) -> list[Any] | None:
    """What reads the layer in functional models; `None` if it is in none."""
    if not layer._inbound_nodes:
        return None
    return [node.operation for node in layer._outbound_nodes]


def changing_variables(model: Any) -> list[Any]:
    """Untrained variables that a step may assign: statistics, seeds.

    Not the weights of frozen layers.
    """
    weights = {id(variable) for variable in model.weights}
    found = {id(v): v for v in model.variables if id(v) not in weights}
    for layer in model._flatten_layers():
        # Those that the layer has made so, whether it is frozen or not.
        found |= {id(v): v for v in layer._non_trainable_variables}
    return list(found.values())


def batch_size_of_fit(model: Any) -> int | None:
    """Samples in a batch of the `fit` that is running, `None` if not known."""
    fit = running_fit(model)
    return None if fit is None else fit.iterator.data_adapter.batch_size


@dataclasses.dataclass
class RunningFit:
    """A `fit` that is running.

    Attributes:
        iterator: Keras' iterator over the batches of an epoch.
        arguments: What `fit` was called with, by name: `class_weight`,
            `sample_weight`, `validation_split`, `validation_data` (after a
            split, the part split off) and `initial_epoch`.
        arrays: `(x, y, sample_weight)` if they are arrays, as they were given
            and without what was split off; class weights are sample weights
            here. Else `None`.
        shuffles: Whether Keras itself shuffles the samples of the whole run;
            `None` if the order is the data set's own affair.
    """

    iterator: Any
    arguments: dict[str, Any]
    arrays: tuple[Any, Any, Any] | None
    shuffles: bool | None


_OF_FIT = (
    "class_weight",
    "initial_epoch",
    "sample_weight",
    "validation_data",
    "validation_split",
)


def running_fit(model: Any) -> RunningFit | None:
    """The innermost running `fit` of a model that is Keras' own, or `None`."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        # Looking at the variables of a frame keeps them alive as long as it
        # runs, so nobody looks into the user's.
        is_fit = "epoch_iterator" in frame.f_code.co_varnames
        found = frame.f_locals if is_fit else {}
        iterator = found.get("epoch_iterator")
        if found.get("self") is model and iterator is not None:
            arguments = {name: found.get(name) for name in _OF_FIT}
            return _running_fit(iterator, arguments)
        frame = frame.f_back
    return None


def _running_fit(iterator: Any, arguments: dict[str, Any]) -> RunningFit:
    adapter = iterator.data_adapter
    arrays, shuffles = None, None
    if isinstance(adapter, ArrayDataAdapter):
        arrays = keras.utils.unpack_x_y_sample_weight(adapter._inputs)
        shuffles = bool(adapter._shuffle) and adapter._shuffle != "batch"
    elif isinstance(adapter, PyDatasetAdapter):
        # It shuffles the order of the batches.
        shuffles = bool(adapter.shuffle) or None
    return RunningFit(iterator, arguments, arrays, shuffles)


@contextlib.contextmanager
def failures_of_data(model: Any, then: Callable[[], Any]) -> Iterator[None]:
    """Calls `then()` when an exception leaves the data of a running `fit`.

    Args:
        model: In `fit`.
        then: Called before the exception goes on its way.
    """
    fit = running_fit(model)
    iterator: Any = None if fit is None else fit.iterator
    if not hasattr(iterator, "_enumerate_iterator"):
        yield
        return
    enumerated = iterator._enumerate_iterator
    caught = iterator.catch_stop_iteration

    def enumerate_iterator() -> Iterator[Any]:
        with _failures(then):
            yield from enumerated()

    @contextlib.contextmanager
    def catch_stop_iteration() -> Iterator[None]:
        with _failures(then), caught():
            yield

    with (
        shadow(iterator, "_enumerate_iterator", enumerate_iterator),
        shadow(iterator, "catch_stop_iteration", catch_stop_iteration),
    ):
        yield


@contextlib.contextmanager
def _failures(then: Callable[[], Any]) -> Iterator[None]:
    try:
        yield
    except (GeneratorExit, StopIteration):
        raise
    except BaseException:
        then()
        raise


class Generator(NamedTuple):
    """One that the whole process draws random numbers from.

    Attributes:
        get: Gives its state.
        set: Puts it into a state.
        same: Whether two states are the same.
    """

    get: Callable[[], Any]
    set: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]


def _same_states(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@contextlib.contextmanager
def kept_common_randomness(*more: Generator) -> Iterator[None]:
    """Puts the generators that no backend owns back to where they were.

    Python's, NumPy's, Keras' global one, and PyTorch's, whose loaders may feed
    any backend. All but Keras' are of the whole process: where other threads
    may have drawn from one in the meantime, it stays as it is, since nobody
    shall draw the same numbers twice.

    Args:
        *more: Generators of the backend.
    """
    name = "global_seed_generator"
    generator = global_state.get_global_attribute(name)  # of this thread
    seed = None
    if generator is not None:
        # A copy: the variable's own memory may be written to.
        seed = ops.convert_to_numpy(generator.state.value).copy()
    of_process = [
        Generator(random.getstate, random.setstate, lambda a, b: a == b),
        Generator(np.random.get_state, np.random.set_state, _same_states),
        *more,
    ]
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        own = torch.random
        of_process.append(
            Generator(own.get_rng_state, own.set_rng_state, torch.equal)
        )
    before = [each.get() for each in of_process]
    try:
        yield
    finally:
        drawn = [
            (each, state)
            for each, state in zip(of_process, before, strict=True)
            if not each.same(state, each.get())
        ]
        if drawn and not others_may_draw():
            for each, state in drawn:
                each.set(state)
        # One that was made inside is gone: its seed was drawn from Python's.
        global_state.set_global_attribute(name, generator)
        if generator is not None:
            generator.state.assign(seed)


def others_may_draw() -> bool:
    """Whether other threads train, or make the batches of the running `fit`.

    The whole process draws random numbers from the same generators.
    """
    return other_threads_train() or any(
        _is_fed_by_threads(fit.f_locals["epoch_iterator"].data_adapter)
        for fit in _fits(sys._getframe(1))
    )


def other_threads_train() -> bool:
    """Whether a `fit` of Keras runs in another thread."""
    here = threading.get_ident()
    return any(
        thread != here and next(_fits(frame), None) is not None
        for thread, frame in sys._current_frames().items()
    )


def _fits(frame: Any) -> Iterator[Any]:
    """Frames of each `fit` of Keras' own that runs below a frame."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "fit" and "epoch_iterator" in code.co_varnames:
            yield frame
        frame = frame.f_back


def _is_fed_by_threads(adapter: Any) -> bool:
    """Whether somebody's Python may run in another thread to make a batch."""
    if isinstance(adapter, TFDatasetAdapter):
        return True
    prefetches = keras.backend.backend() == "tensorflow"
    if isinstance(adapter, PyDatasetAdapter):
        return prefetches or adapter.enqueuer is not None
    return prefetches and isinstance(adapter, GeneratorDataAdapter)


def looked_at(
    batches: Iterator[Any], look: Callable[[Any], None]
) -> Iterator[Any]:
    """The same batches, each shown to `look` before it is handed on."""
    for batch in batches:
        look(batch)
        yield batch


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """What is made inside the with-block takes no name from what comes later.

    Keras numbers the names that it gives.
    """
    counts = global_state.get_global_attribute("object_name_uids")
    before = {} if counts is None else dict(counts)
    try:
        yield
    finally:
        counts = global_state.get_global_attribute("object_name_uids")
        if counts is not None:
            counts.clear()
            counts.update(before)


def made_by(tensor: Any) -> tuple[Any, list[Any], int] | None:
    """What made a symbolic tensor: the operation, its inputs, which output.

    `None` for what no operation has made.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors), history.tensor_index


def output_structure(model: Any) -> Any:
    """Symbolic outputs of a built graph of layers, as the model returns them.

    `None` for other models.
    """
    graph = getattr(model, "_functional", None) or model  # of a `Sequential`
    if not isinstance(graph, Functional):
        return None
    return keras.tree.pack_sequence_as(graph._outputs_struct, graph.outputs)


def symbolic_outputs(model: Any, x: Any) -> Any:
    """Shapes and dtypes of a built model's outputs for `x`, computed by `call`.

    Nothing is assigned. To be called where the variables have their values.
    """
    return compute_output_spec(model, x, training=False)


def losses_of_outputs(model: Any, y_true: Any, y_pred: Any) -> list[Any]:
    """The losses that `compile` was given, as Keras resolves them.

    Args:
        model: A model.
        y_true: Labels or their shapes, `None` if not known.
        y_pred: Outputs of the model or their shapes.

    Returns:
        For each output with a loss an object with `path`, the keys that lead
        to it in the outputs; `loss`, `loss_weights` and `name`.
    """
    compiled = model._compile_loss
    if compiled is None:
        return []
    if not compiled.built:
        # Not the model's own, which must be built by the step.
        compiled = CompileLoss(
            compiled._user_loss,
            compiled._user_loss_weights,
            output_names=compiled.output_names,
        )
        compiled._tracker = types.SimpleNamespace(add_to_store=lambda *_: None)
        compiled.build(y_pred if y_true is None else y_true, y_pred)
    return list(compiled._flat_losses or [])


def compile_arguments(model: Any) -> dict[str, Any]:
    """What `compile` was given, as it was given; empty before."""
    arguments = getattr(model, "_compile_config", None)
    return {} if arguments is None else dict(arguments.config)


def is_functional(model: Any) -> bool:
    """Whether the model is a graph of layers that Keras can rebuild."""
    return isinstance(model, Functional)


def output_names(model: Any) -> list[str]:
    """Name of each output that has a loss of its own, if there are several."""
    compiled = model._compile_loss
    if compiled is None or not compiled.built or len(compiled.metrics) < 2:
        return []
    return [metric.name.removesuffix("_loss") for metric in compiled.metrics]


@contextlib.contextmanager
def capture_compiled_losses(
    model: Any, record: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Calls `record(name, value)` with what each loss adds to the objective.

    All of them together have the name `""`.
    """
    compiled = model._compile_loss
    if compiled is None:
        yield
        return
    original_call, original_build = compiled.call, compiled.build
    stack = contextlib.ExitStack()

    def call(*args: Any, **kwargs: Any) -> Any:
        with stack:
            if compiled.built:
                capture_outputs()
            else:  # it is built by its first call
                stack.enter_context(shadow_in_thread(compiled, "build", build))
            value = original_call(*args, **kwargs)
        if value is not None:
            record("", unscale_loss_for_distribution(value))
        return value

    def build(*args: Any) -> None:
        original_build(*args)
        capture_outputs()

    def capture_outputs() -> None:
        for i, name in enumerate(output_names(model)):
            weight = compiled._flat_losses[i].loss_weights
            stack.enter_context(
                _capture_updates_of(
                    compiled.metrics[i],
                    lambda value, name=name, weight=weight: record(
                        name, value if weight is None else value * weight
                    ),
                )
            )

    with shadow_in_thread(compiled, "call", call):
        yield


def _capture_updates_of(
    metric: Any, record: Callable[[Tensor], None]
) -> contextlib.AbstractContextManager[None]:
    original = metric.update_state

    def update_state(value: Any, *args: Any, **kwargs: Any) -> Any:
        record(value)
        return original(value, *args, **kwargs)

    return shadow_in_thread(metric, "update_state", update_state)


def capture_dropped_losses(
    layer: Any, record: Callable[[list[Tensor]], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(losses)` with added losses that Keras drops again.

    Keras clears the losses of a layer that is called from outside any other. In
    a stateless scope these are all layers of the model, and the losses are
    identified by `id`, of which the layer keeps those of the step before: where
    Python has given one of them to the loss of another layer since, that one is
    dropped.
    """
    original = layer._clear_losses

    def clear() -> None:
        before = _losses_held(layer)
        original()
        left = {id(loss) for loss in _losses_held(layer)}
        record([loss for loss in before if id(loss) not in left])

    return shadow_in_thread(layer, "_clear_losses", clear)


def _losses_held(layer: Any) -> list[Tensor]:
    if in_stateless_scope():
        return list(get_stateless_scope().losses)
    return list(layer._losses)


def weight_decay(optimizer: Any, variable: Any) -> float:
    """What an update takes off, as a share of `learning_rate * variable`."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    share = optimizer.weight_decay
    # Muon leaves some variables to the Adam inside it.
    muon = isinstance(optimizer, keras.optimizers.Muon)
    if muon and optimizer._should_use_adamw(variable):
        share = optimizer.adam_weight_decay
    return share if share and optimizer._use_weight_decay(variable) else 0.0


@contextlib.contextmanager
def built_loss(model: Any, y_true: Any, y_pred: Any) -> Iterator[Any]:
    """Gives the compiled loss, built for labels and outputs of these shapes.

    Another object than the model's own, in whose place it is inside the
    with-block: what it adds to its metrics, nobody sees.
    """
    compiled = model._compile_loss
    if compiled is None:
        yield None
        return
    other = CompileLoss(
        compiled._user_loss,
        compiled._user_loss_weights,
        reduction=compiled.reduction,
        output_names=compiled.output_names,
    )
    other.build(y_true, y_pred)
    with shadow(model, "_compile_loss", other):
        yield other
