"""Hearing what the loss of a training step is the sum of."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend

DATA_LOSS = "data_loss"
ACTIVITY_PENALTY = "activity_penalty"
ADDED_LOSS = "added_loss"


@contextlib.contextmanager
def hear_loss_parts(
    model: Any, loss_tracker: Any, parts: dict[tuple[str, Any], Any]
) -> Iterator[None]:
    """Gathers in `parts` what a step inside the with-block adds to its loss.

    The keys are `("data_loss", "")` for what `compile` was given, of several
    outputs also `("data_loss", name)`, weighted; and `(kind, id(layer))` for
    each layer that adds an `"activity_penalty"` or, by `add_loss`, an
    `"added_loss"`. Penalties of weights are not heard: they can be computed
    from the weights.

    Args:
        model: A compiled model.
        loss_tracker: Metric that receives the loss, or `None`.
        parts: Dictionary to fill. Read it after the step.
    """
    # Loss of a layer, key of its part, value.
    added: list[tuple[Any, tuple[str, Any], Any]] = []

    def hear(kind: str, owner: Any, value: Any) -> None:
        parts[kind, owner] = parts.get((kind, owner), 0.0) + _detached(value)

    def hear_added(kind: str, owner: Any, loss: Any) -> None:
        added.append((loss, (kind, owner), _detached(loss)))
        hear(kind, owner, loss)

    def drop(losses: list[Any]) -> None:
        dropped = set(map(id, losses))
        changed = {key for loss, key, _ in added if id(loss) in dropped}
        added[:] = [each for each in added if id(each[0]) not in dropped]
        for key in changed:
            parts[key] = sum(value for _, its, value in added if its == key)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _backend.out_of_gradient(model, loss_tracker, parts)
        )
        stack.enter_context(
            _backend.hear_compiled_losses(
                model, lambda name, value: hear(DATA_LOSS, name, value)
            )
        )
        for layer in _backend.flatten_layers(model):
            stack.enter_context(_hear_layer(layer, hear_added))
            stack.enter_context(_backend.hear_dropped_losses(layer, drop))
        yield


def _detached(value: Any) -> Any:
    return ops.stop_gradient(ops.sum(ops.cast(value, "float32")))


@contextlib.contextmanager
def _hear_layer(
    layer: Any, hear: Callable[[str, Any, Any], None]
) -> Iterator[None]:
    add_loss, regularize = layer.add_loss, layer.activity_regularizer
    regularized = False

    def heard_regularizer(outputs: Any) -> Any:
        nonlocal regularized
        regularized = True  # Keras adds the result by `add_loss`
        return regularize(outputs)

    def heard_add_loss(loss: Any) -> None:
        nonlocal regularized
        kind = ACTIVITY_PENALTY if regularized else ADDED_LOSS
        regularized = False
        for each in keras.tree.flatten(loss):
            hear(kind, id(layer), each)
        add_loss(loss)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _backend.shadow_in_step(layer, "add_loss", heard_add_loss)
        )
        if regularize is not None:
            stack.enter_context(
                _backend.shadow_in_step(
                    layer, "activity_regularizer", heard_regularizer
                )
            )
        yield
