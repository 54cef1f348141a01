"""The losses given to `compile`, and those that layers add."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common.stateless_scope import (
    get_stateless_scope,
    in_stateless_scope,
)
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.trainers.compile_utils import CompileLoss

from keras_concepts._shadow import shadow, shadow_in_thread
from keras_concepts._types import Tensor


def has_loss(model: Any) -> bool:
    """Whether `compile` was given a loss, or the model computes its own."""
    return (
        model._compile_loss is not None
        or "compute_loss" in vars(model)
        or type(model).compute_loss is not keras.Model.compute_loss
    )


def losses_of_outputs(model: Any, y_true: Any, y_pred: Any) -> list[Any]:
    """The losses that `compile` was given, as Keras resolves them.

    Args:
        model: A model.
        y_true: Labels or their shapes, `None` if not known.
        y_pred: Outputs of the model or their shapes.

    Returns:
        For each output with a loss, an object with `path` (the keys that lead
        to it in the outputs), `loss`, `loss_weights` and `name`.
    """
    compiled = model._compile_loss
    if compiled is None:
        return []
    if not compiled.built:
        # Not the model's own, which the step must build.
        compiled = CompileLoss(
            compiled._user_loss,
            compiled._user_loss_weights,
            output_names=compiled.output_names,
        )
        compiled._tracker = types.SimpleNamespace(add_to_store=lambda *_: None)
        compiled.build(y_pred if y_true is None else y_true, y_pred)
    return list(compiled._flat_losses or [])


def output_names(model: Any) -> list[str]:
    """Name of each output that has its own loss, if there are several."""
    compiled = model._compile_loss
    if compiled is None or not compiled.built or len(compiled.metrics) < 2:
        return []
    return [metric.name.removesuffix("_loss") for metric in compiled.metrics]


def options_of_loss(loss: Any) -> dict[str, Any]:
    """The arguments that a loss passes to the function it wraps; else empty."""
    return dict(getattr(loss, "_fn_kwargs", {}))


@contextlib.contextmanager
def capture_compiled_losses(
    model: Any, record: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Calls `record(name, value)` with what each loss adds to the objective.

    Their total has the name `""`.
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
            else:  # its first call builds it
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

    Keras clears the losses of a layer that is not called by another layer. In a
    stateless scope it clears those of all layers of the model. There losses are
    identified by `id`, and a layer keeps the ids of the step before: if Python
    has since given one of them to another layer's loss, that loss is dropped.
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


@contextlib.contextmanager
def built_loss(model: Any, y_true: Any, y_pred: Any) -> Iterator[Any]:
    """Gives a compiled loss, built for labels and outputs of these shapes.

    It is not the model's own but replaces it inside the with-block, so that
    nothing is added to the model's metrics.
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
