"""The replicas of `tf.distribute`: separate traces and variables."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_concepts._backend.keras_internals import (
    capture_reduced_gradients,
    in_stateless_scope,
    strategy_of_optimizer,
)
from keras_concepts._types import Tensor


def outside_of_strategy(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """Calls a function where no strategy's scope is open.

    Inside a scope, Keras divides losses by the number of replicas, as if each
    had a share of the batch. A scope cannot be left, but it belongs to one
    thread.
    """
    if not tf.distribute.has_strategy():
        return function(*tensors)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *tensors).result()


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


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    reduced: list[Any] = []
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        yield reduced
        return
    # Here, and only here, Keras sums over the replicas, after clipping.
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


def values_of_replicas(variable: Any) -> list[Tensor]:
    parts = getattr(variable.value, "values", [variable.value])
    return [tf.convert_to_tensor(part) for part in parts]


def assign_to_first_replica(variable: Any, value: Any) -> None:
    variable.assign(value)
    for part in getattr(variable.value, "values", [])[1:]:
        part.assign(tf.zeros_like(part))


class OfReplicas:
    """A variable of zeros for each replica that this process trains.

    Not a variable of the strategy: it cannot be written in part, and with
    several machines it can only be created by all of them together.
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

        outside_of_strategy(make)

    @property
    def here(self) -> tf.Variable:
        """The variable of the replica that is running."""
        context = tf.distribute.get_replica_context()
        # A number, not a tensor: each replica has its own trace. The replicas
        # of one machine are numbered consecutively.
        number = tf.get_static_value(context.replica_id_in_sync_group) or 0
        return self._variables[number % len(self._variables)]

    def assign(self, value: Any) -> None:
        """Assigns one value, or entries of one value, to all of them."""
        for each in self._variables:
            each.assign(tf.broadcast_to(value, each.shape))

    def arrays(self) -> list[np.ndarray]:
        """Their values on the host."""
        return [each.numpy() for each in self._variables]

    def of_all_machines(self, own: list[np.ndarray]) -> list[np.ndarray]:
        """Arrays of the replicas of all machines, given those of this one."""
        if len(own) == self._strategy.num_replicas_in_sync:
            return own
        rest = iter(own)
        values = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(next(rest))[tf.newaxis]
        )
        return list(self._strategy.gather(values, axis=0).numpy())
