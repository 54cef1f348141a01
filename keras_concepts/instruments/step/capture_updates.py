"""What a training step passes to optimizers and to its loss metric."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.step.step_record import StepRecord, Update


@contextlib.contextmanager
def capture_updates(
    step: StepRecord,
    optimizer: Any = None,
    then: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Fills in `step` from the optimizers' work inside the with-block.

    `apply` and `stateless_apply` are shadowed there, and so is `update_state`
    of `step.loss_tracker`. Where an optimizer delegates to others
    (`LossScaleOptimizer`, `MultiOptimizer`), the outer one counts.

    Args:
        step: The record to fill in.
        optimizer: The Keras optimizer to watch; by default all that are used.
        then: Called after each use of an optimizer.
    """
    capture = _Capture(step, then)
    with contextlib.ExitStack() as stack:
        for name in ("apply", "stateless_apply"):
            handler = getattr(capture, name)
            stack.enter_context(
                _backend.shadow_methods_in_step(
                    keras.optimizers.Optimizer, name, handler
                )
                if optimizer is None
                else _shadow_of_one(optimizer, name, handler)
            )
        if step.loss_tracker is not None:
            stack.enter_context(_capture_loss(step))
        yield


def _shadow_of_one(
    optimizer: Any, name: str, handler: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    original = getattr(optimizer, name)

    def method(*args: Any, **kwargs: Any) -> Any:
        return handler(optimizer, original, *args, **kwargs)

    return _backend.shadow_in_step(optimizer, name, method)


class _Capture:
    """Replaces the methods of optimizers, and adds to a record."""

    def __init__(
        self, step: StepRecord, then: Callable[[], None] | None
    ) -> None:
        self._step = step
        self._then = then
        self._inside = False

    def apply(
        self,
        optimizer: Any,
        original: Callable[..., Any],
        grads: Any,
        trainable_variables: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        original = functools.partial(_called, original, args, kwargs)
        if not self._may_capture():
            return self._run(original, grads, trainable_variables)
        gradients = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        variables = trainable_variables or list(
            _backend.optimized_variables(optimizer)
        )
        before = [_backend.snapshot(v) for v in variables]
        scale, rate = loss_scale(optimizer), _learning_rate(optimizer)
        count = _backend.snapshot(optimizer.iterations)
        with _backend.reduced_gradients(optimizer) as reduced:
            result = self._run(original, gradients, trainable_variables)
        if reduced and not _clips(optimizer):
            gradients, scale = _reduced_in_place_of(gradients, reduced), 1.0
        else:
            gradients = _backend.all_reduced(gradients)
        if self._step.copies_gradients:
            gradients = [
                None if g is None else _backend.copied(g) for g in gradients
            ]
        after = [ops.stop_gradient(ops.convert_to_tensor(v)) for v in variables]
        applied = optimizer.iterations - count
        self._add(
            optimizer, variables, gradients, before, after, scale, rate, applied
        )
        return result

    def stateless_apply(
        self,
        optimizer: Any,
        original: Callable[..., Any],
        optimizer_variables: Any,
        grads: Any,
        trainable_variables: Any,
    ) -> Any:
        if not self._may_capture():
            return self._run(
                original, optimizer_variables, grads, trainable_variables
            )
        mapping = zip(optimizer.variables, optimizer_variables, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            scale, rate = loss_scale(optimizer), _learning_rate(optimizer)
            count = ops.convert_to_tensor(optimizer.iterations)
        trained, state = self._run(
            original, optimizer_variables, grads, trainable_variables
        )
        mapping = zip(optimizer.variables, state, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            applied = optimizer.iterations - count
        variables = list(_backend.optimized_variables(optimizer))
        self._add(
            optimizer,
            variables,
            list(grads),
            list(trainable_variables),
            list(trained),
            scale,
            rate,
            applied,
        )
        return trained, state

    def _may_capture(self) -> bool:
        if self._inside:
            return False
        if self._then is not None:  # it reads at once, in the same trace
            return True
        here = self._step.in_its_trace
        self._step.has_hidden_updates |= not here
        return here

    def _run(self, original: Callable[..., Any], *args: Any) -> Any:
        outer, self._inside = self._inside, True
        try:
            return original(*args)
        finally:
            self._inside = outer

    def _add(
        self,
        optimizer: Any,
        variables: list[Any],
        gradients: list[Any],
        before: list[Tensor],
        after: list[Tensor],
        scale: Any,
        rate: Any,
        applied: Any,
    ) -> None:
        count = len(variables)
        self._step.updates.append(
            Update(
                variables,
                gradients,
                before,
                after,
                [scale] * count,
                [rate] * count,
                applied,
                [optimizer] * count,
                [0 if g is None else _backend.version(g) for g in gradients],
            )
        )
        if self._then is not None and variables:
            self._then()


def _called(
    function: Callable[..., Any],
    more: tuple[Any, ...],
    keywords: dict[str, Any],
    *args: Any,
) -> Any:
    """Calls a method with further arguments that its author has added."""
    return function(*args, *more, **keywords)


@contextlib.contextmanager
def _capture_loss(step: StepRecord) -> Iterator[None]:
    original = step.loss_tracker.update_state

    def update_state(
        values: Any, sample_weight: Any = None, **kwargs: Any
    ) -> Any:
        if step.in_its_trace:
            step.loss = values
            step.batch_size = 1 if sample_weight is None else sample_weight
        return original(values, sample_weight=sample_weight, **kwargs)

    with _backend.shadow_in_step(
        step.loss_tracker, "update_state", update_state
    ):
        yield


def loss_scale(optimizer: Any) -> Any:
    """The factor of the loss in the optimizer: a tensor or a number."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        if optimizer.built:
            return _backend.snapshot(optimizer.dynamic_scale)
        return optimizer.initial_scale
    return optimizer.loss_scale_factor or 1.0


def _clips(optimizer: Any) -> bool:
    names = ("clipnorm", "clipvalue", "global_clipnorm")
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return any(getattr(optimizer, name, None) is not None for name in names)


def _learning_rate(optimizer: Any) -> Tensor:
    # A MultiOptimizer has none; each of its optimizers has its own.
    rate = getattr(optimizer, "learning_rate", float("nan"))
    return _backend.snapshot(rate)


def _reduced_in_place_of(gradients: list[Any], reduced: list[Any]) -> list[Any]:
    """The sums over replicas, with `None` where the replica had no gradient."""
    sums = iter(reduced)
    return [None if gradient is None else next(sums) for gradient in gradients]
