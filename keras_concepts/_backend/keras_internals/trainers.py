"""`fit` and the functions that it makes and calls."""

import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

from keras_concepts._shadow import shadow

# Method that `fit` calls after the steps of an epoch, before the validation.
AFTER_STEPS = "_get_metrics_result_or_logs"


def call_as_trainer(model: Any, x: Any, training: bool) -> Any:
    """`model(x)` in the mode in which Keras' `fit` or `predict` calls it.

    A model whose `call` has no `training` argument is given none, and its
    layers then decide by their defaults: `fit` and `predict` do the same.
    """
    mode = {"training": training} if model._call_has_training_arg else {}
    return model(x, **mode)


def has_call(model: Any) -> bool:
    """Whether a model defines a `call`."""
    return type(model).call is not keras.Model.call


def has_own_train_step(model: Any) -> bool:
    """Whether a model defines its training step, instead of Keras."""
    own = type(model).train_step is not keras.Model.train_step
    return own or "train_step" in vars(model)


def compile_arguments(model: Any) -> dict[str, Any]:
    """The arguments of `compile`, as they were given; empty before."""
    arguments = getattr(model, "_compile_config", None)
    return {} if arguments is None else dict(arguments.config)


def make_train_function(model: Any) -> None:
    """Makes the train function of a model again."""
    if "force" in inspect.signature(model.make_train_function).parameters:
        model.make_train_function(force=True)
        return
    model.train_function = None  # a method that the model's author wrote
    model.make_train_function()


def was_restored(model: Any) -> bool:
    """Whether `BackupAndRestore` has restored the model, now or earlier.

    It stores the epoch to begin with on the model: 0 if the model was saved
    within the first epoch.
    """
    return getattr(model, "_initial_epoch", None) is not None


@contextlib.contextmanager
def failures_of_data(model: Any, then: Callable[[], Any]) -> Iterator[None]:
    """Calls `then()` when the data of a running `fit` raise an exception.

    Args:
        model: The model in `fit`.
        then: Called before the exception propagates.
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


def batch_size_of_fit(model: Any) -> int | None:
    """Samples per batch in the `fit` that is running, `None` if not known."""
    fit = running_fit(model)
    return None if fit is None else fit.iterator.data_adapter.batch_size


@dataclasses.dataclass
class RunningFit:
    """A `fit` that is running.

    Attributes:
        iterator: Keras' iterator over the batches of an epoch.
        arguments: Arguments of `fit`, by name: `class_weight`, `sample_weight`,
            `validation_split`, `validation_data` (after a split, the part split
            off) and `initial_epoch`.
        arrays: `(x, y, sample_weight)` as they were given, if they are arrays,
            without what was split off; class weights are sample weights here.
            Else `None`.
        shuffles: Whether Keras itself shuffles the samples of the whole run;
            `None` if the data set determines the order.
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
    """The innermost running `fit` of a model if it is Keras' own, or `None`."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        # Reading the variables of a frame keeps them alive as long as it runs,
        # so the user's frames are not read.
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
        # It shuffles the order of the batches, not the samples.
        shuffles = bool(adapter.shuffle) or None
    return RunningFit(iterator, arguments, arrays, shuffles)


def data_of_pass(iterator: Any) -> Any:
    """What Keras' iterator reads in an epoch: a loader or data set."""
    return iterator._get_iterator()


def replace_next_pass(iterator: Any, replace: Callable[[Any], Any]) -> None:
    """Makes Keras read `replace(data)` the next time that it begins to read.

    Only once: in later epochs it reads its own data again.

    Args:
        iterator: Keras' iterator over the batches of an epoch.
        replace: Maps what Keras would read to what it reads instead. On JAX
            these are batches that are not on an accelerator yet.
    """
    owner, name = iterator, "_get_iterator"
    if keras.backend.backend() == "jax":
        owner, name = iterator.data_adapter, "get_jax_iterator"

    def read(*args: Any, **kwargs: Any) -> Any:
        del vars(owner)[name]
        return replace(getattr(owner, name)(*args, **kwargs))

    vars(owner)[name] = read


def watch_next_pass(iterator: Any, look: Callable[[Any], None]) -> None:
    """Calls `look(batch)` with each batch when Keras next begins to read.

    Works where Keras' iterator reads batch by batch: not on TensorFlow.
    """

    def looked_at(data: Any) -> Iterator[Any]:
        for read in data:
            for batch in _batches(read) if stacks else [read]:
                look(batch)
            yield read

    stacks = (
        keras.backend.backend() == "jax"
        and iterator.steps_per_execution > 1
        and _stacks_batches(iterator.data_adapter)
    )
    replace_next_pass(iterator, looked_at)


def _stacks_batches(adapter: Any) -> bool:
    """Whether Keras stacks the batches of one execution: from 3.16 on."""
    reading = inspect.signature(adapter.get_jax_iterator)
    return "super_batch" in reading.parameters


def _batches(stacked: Any) -> list[Any]:
    if isinstance(stacked, list):  # the last batches, too few to stack
        return stacked
    arrays = [x for x in keras.tree.flatten(stacked) if x is not None]
    return [
        keras.tree.map_structure(
            lambda x, i=i: None if x is None else np.asarray(x[i]), stacked
        )
        for i in range(len(arrays[0]))
    ]


def state_sharding(model: Any) -> tuple[Any, ...]:
    """How each part of what a step carries is sharded over devices, on JAX."""
    return model._get_state_sharding_spec()


def replace_state_sharding(
    model: Any, sharding: tuple[Any, ...]
) -> contextlib.AbstractContextManager[None]:
    """Makes functions for a state with this sharding, on JAX."""
    return shadow(model, "_get_state_sharding_spec", lambda: sharding)
