"""The parts of which the loss of a training step is the sum."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.instruments.step.step_record import StepRecord

DATA_LOSS = q.DATA_LOSS
ACTIVITY_PENALTY = q.ACTIVITY_PENALTY
ADDED_LOSS = q.ADDED_LOSS

# By kind, and name of an output or `id` of a layer.
LossParts: TypeAlias = dict[tuple[str, Any], Any]


@contextlib.contextmanager
def capture_loss_parts(step: StepRecord) -> Iterator[LossParts]:
    """Captures the parts of the loss of a step inside the with-block.

    The keys are `("data_loss", "")` for the compiled loss, with several outputs
    also `("data_loss", name)`, weighted; and `(kind, id(layer))` for each layer
    that adds an `"activity_penalty"` or, by `add_loss`, an `"added_loss"`.
    Penalties of weights are not captured: they can be computed from the
    weights.

    Args:
        step: The step, whose `model` is known.

    Yields:
        The parts, complete after the with-block.
    """
    model = step.model
    parts: LossParts = {}
    # Loss of a layer, key of its part, value.
    added: list[tuple[Any, tuple[str, Any], Any]] = []

    def add(kind: str, owner: Any, value: Any) -> None:
        if is_usable(value := _detached(value)):
            parts[kind, owner] = parts.get((kind, owner), 0.0) + value

    def add_of_layer(kind: str, owner: Any, loss: Any) -> None:
        if is_usable(value := _detached(loss)):
            added.append((loss, (kind, owner), value))
            add(kind, owner, loss)

    def is_usable(value: Any) -> bool:
        if _backend.in_symbolic_scope():  # the first step builds a model
            return False
        here = _backend.is_in_trace(value, step.trace)
        step.has_hidden_values |= not here
        return here

    def drop(losses: list[Any]) -> None:
        dropped = set(map(id, losses))
        changed = {key for loss, key, _ in added if id(loss) in dropped}
        added[:] = [each for each in added if id(each[0]) not in dropped]
        for key in changed:
            parts[key] = sum(value for _, its, value in added if its == key)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _backend.capture_compiled_losses(
                model, lambda name, value: add(DATA_LOSS, name, value)
            )
        )
        for layer in _backend.flatten_layers(model):
            stack.enter_context(capture_added_losses(layer, add_of_layer))
            stack.enter_context(_backend.capture_dropped_losses(layer, drop))
        yield parts
    step.drop_hidden(parts)
    if parts:
        values = _backend.isolate(list(parts.values()))
        parts.update(zip(parts, values, strict=True))


def _detached(value: Any) -> Any:
    return ops.stop_gradient(ops.sum(ops.cast(value, "float32")))


@contextlib.contextmanager
def capture_added_losses(
    layer: Any, add: Callable[[str, Any, Any], None]
) -> Iterator[None]:
    """Calls `add(kind, id(layer), loss)` with each loss that a layer adds.

    Args:
        layer: Keras layer.
        add: Function. The kind is `ACTIVITY_PENALTY` or `ADDED_LOSS`.
    """
    add_loss, regularize = layer.add_loss, layer.activity_regularizer
    regularized = False

    def captured_regularizer(outputs: Any) -> Any:
        nonlocal regularized
        regularized = True  # Keras adds the result by `add_loss`
        return regularize(outputs)

    def captured_add_loss(loss: Any) -> None:
        nonlocal regularized
        kind = ACTIVITY_PENALTY if regularized else ADDED_LOSS
        regularized = False
        for each in keras.tree.flatten(loss):
            add(kind, id(layer), each)
        add_loss(loss)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _backend.shadow_in_step(layer, "add_loss", captured_add_loss)
        )
        if regularize is not None:
            stack.enter_context(
                _backend.shadow_in_step(
                    layer, "activity_regularizer", captured_regularizer
                )
            )
        yield
