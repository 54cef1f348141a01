"""Activations and error signals of every layer on a fixed batch."""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batches import as_fed, check_model
from keras_concepts._types import Tensor
from keras_concepts.instruments.model_loss import model_loss
from keras_concepts.instruments.signals.flatten import flatten, unflatten
from keras_concepts.instruments.signals.forward_pass import (
    ForwardPass,
    LayerCall,
    watched_layers,
)
from keras_concepts.instruments.signals.recurrent_pass import RecurrentSteps
from keras_concepts.instruments.step.capture_updates import loss_scale

_SEED = 0


@dataclasses.dataclass
class LayerSignal:
    """What one call of a layer computed from the batch.

    Attributes:
        layer: Path of the layer.
        call: 0, or higher for further calls of a shared layer.
        activation: Output of the layer, `(batch, ..., units)`; the first if
            there are several.
        error: Gradient of the loss with respect to the activation, dL/da, in
            the same shape; `None` without a loss. At an output of the model
            with an activation function, and at every softmax, it is the
            gradient with respect to the argument of the function, dL/dz: the
            familiar δ.
        slope: Slope of the layer's activation function, as a share of its
            steepest slope, from 0 to 1; `None` without an elementwise function.
        mask: False where the activation belongs to padding, in the shape of its
            first axes; or `None`.
        unit_axis: Axis of the units or channels in the activation.
        has_weights: Whether the layer has weights of its own.
        steps: For a SimpleRNN, LSTM or GRU, what happened at each time step.
        other_errors: dL/da of the layer's other outputs, such as the last
            states of a recurrent layer with `return_state`; empty without a
            loss.
        other_masks: The mask of each of these outputs, or `None`.
        unit_axes: All unit axes, if there are several: in attention, the heads
            and their entries.
    """

    layer: str
    call: int
    activation: Tensor
    error: Tensor | None
    slope: Tensor | None
    mask: Tensor | None
    unit_axis: int
    has_weights: bool
    steps: RecurrentSteps | None
    other_errors: list[Tensor] = dataclasses.field(default_factory=list)
    other_masks: list[Tensor | None] = dataclasses.field(default_factory=list)
    unit_axes: tuple[int, ...] = ()


@dataclasses.dataclass
class Signals:
    """The results of a pass forward and back.

    Attributes:
        loss: Loss of the batch, penalties included; `None` without labels.
        layers: One entry per call of a layer, in the order in which calls
            ended.
    """

    loss: Tensor | None
    layers: list[LayerSignal]


def forward_probe(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    training: bool = True,
) -> Signals:
    """Activations and error signals of every layer, from one pass.

    The error signal is what back-propagation carries: the gradient of the loss
    with respect to each layer's output. It is computed by adding zeros to every
    output and differentiating with respect to them. Inside a SimpleRNN, LSTM or
    GRU, zeros are also added to the state of every time step.

    Layers at any depth are covered, in nested and subclassed models and inside
    `Bidirectional` and `TimeDistributed`. Models and wrappers themselves are
    not, since their outputs are those of the layers in them. Cells belong to
    their recurrent layer.

    The model stays unchanged: weights, statistics of batch normalization,
    random states, metrics, optimizer and compiled functions.

    Args:
        model: The model. It must be compiled if `y` is given.
        x: Inputs as for `model.fit`, arrays of `(batch, ...)` or a structure.
        y: Labels. Without them there is no loss and no error signal.
        sample_weight: As for `model.fit`.
        training: Whether layers behave as in training: batch normalization uses
            the statistics of the batch, and dropout drops units.

    Returns:
        `Signals`, whose tensors are the backend's.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `y` is given for a model without a loss.

    Example:

    >>> import keras
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, "relu", name="hidden")]
    ... )
    >>> model.compile(loss="mse")
    >>> signals = forward_probe(model, np.ones((8, 4)), np.zeros((8, 3)))
    >>> hidden = signals.layers[0]
    >>> hidden.layer.split("/")[-1], tuple(hidden.activation.shape)
    ('hidden', (8, 3))
    """
    check_model("forward_probe", model)
    probe = ForwardProbe(model, x, y, sample_weight, training=training)
    return probe()


class _UnknownShapesError(Exception):
    """Raised where shapes are only known when the pass runs."""


class ForwardProbe:
    """`forward_probe` for repeated use on the same batch, compiled once.

    Random states start each pass from their values when this is created, so
    dropout drops the same units each time.

    Args:
        model: See `forward_probe`, also for `x`, `y` and `sample_weight`.
        x: Inputs.
        y: Labels or `None`.
        sample_weight: Weights or `None`.
        training: Mode of the layers.
        reduce: From `Signals` to a structure of tensors, computed in the same
            compiled function: what it does not use need not be kept.
        few: Number of uses, if they are too few for compilation to pay off.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        training: bool = True,
        reduce: Callable[[Signals], Any] | None = None,
        few: int | None = None,
    ) -> None:
        if y is not None and not getattr(model, "compiled", False):
            raise ValueError(
                "With `y`, `forward_probe` needs a model with a loss: call "
                f"`model.compile`. Received: model {model.name!r}, which has "
                "not been compiled."
            )
        self._model = model
        self._training = training
        self._reduce = reduce
        self._batch = as_fed([x, y, sample_weight])
        if not model.built:
            with _backend.kept_state(model):
                _ = _backend.call_as_trainer(model, self._batch[0], False)
        self._watched = watched_layers(model)
        weights = {id(variable) for variable in model.weights}
        self._seeds = [v for v in model.variables if id(v) not in weights]
        # Copies on the host, since JAX donates the memory of the variables.
        self._states = [np.array(_backend.on_host(v)) for v in self._seeds]
        self._is_scaled = self._scale() > 1.0
        # Known once the first pass was run or traced.
        self._sites: list[tuple[tuple[int, ...], str]] | None = None
        self._outputs: frozenset[int] = frozenset()
        self._template: Any = None
        self._few = few
        self._pass = self._made_pass(getattr(model, "run_eagerly", False))

    def _made_pass(self, eager: bool) -> Any:
        return _backend.compiled_pass(self._run, self._model, eager, self._few)

    def __call__(self) -> Any:
        """`Signals` at the model's current weights, or `reduce` of them."""
        scale = self._scale()
        states = [ops.convert_to_tensor(state) for state in self._states]
        while True:
            scale_now = ops.convert_to_tensor(scale, "float32")
            try:
                result, finite = self._pass(states, scale_now, *self._batch)
            except _UnknownShapesError:
                # For example after a `TextVectorization`, in TensorFlow graphs.
                self._pass = self._made_pass(eager=True)
                continue
            # The optimizer finds a scale that fits; until then it skips steps.
            if scale <= 1.0 or bool(finite):
                break
            scale /= 16.0
        if self._reduce is not None:
            return result
        return unflatten(self._template, result)

    def _scale(self) -> float:
        optimizer = getattr(self._model, "optimizer", None)
        return 1.0 if optimizer is None else float(loss_scale(optimizer))

    def _run(self, states: Any, scale: Any, x: Any, y: Any, weight: Any) -> Any:
        if self._sites is None:
            self._explore(states, x)
        zeros = [ops.zeros(*site) for site in self._sites or ()]
        if y is None:
            forward, _ = self._forward(states, x)
            signals = Signals(None, self._layers(forward.calls))
            return self._reduced(signals), ops.ones((), "bool")
        template = None

        def scaled_loss(zeros: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            nonlocal template
            forward, y_pred = self._forward(states, x, zeros)
            loss = model_loss(self._model, x, y, y_pred, weight, self._training)
            loss = ops.cast(loss, "float32")
            template, tensors = flatten([loss, forward.calls])
            return loss * scale, tensors

        (_, tensors), errors = _backend.value_and_grad(
            scaled_loss, zeros, has_aux=True
        )
        loss, calls = unflatten(template, tensors)
        errors = [ops.cast(error, "float32") / scale for error in errors]
        finite = ops.ones((), "bool")
        for error in errors if self._is_scaled else []:
            finite = ops.logical_and(finite, ops.all(ops.isfinite(error)))
        return self._reduced(Signals(loss, self._layers(calls, errors))), finite

    def _explore(self, states: Any, x: Any) -> None:
        """Finds where to add zeros, which requires the outputs."""
        forward, y = self._forward(states, x)
        self._outputs = forward.numbers_of(y)
        if forward.has_other_sites(self._outputs):
            forward, _ = self._forward(states, x)
        if any(None in shape for shape, _ in forward.sites):
            raise _UnknownShapesError
        self._sites = forward.sites

    def _forward(
        self, states: Any, x: Any, zeros: Any = None
    ) -> tuple[ForwardPass, Any]:
        for seed, state in zip(self._seeds, states, strict=True):
            seed.assign(state)  # discarded, like all assignments
        forward = ForwardPass(self._watched, self._outputs, zeros)
        with _backend.fixed_randomness(_SEED):
            return forward, forward.run(self._model, x, self._training)

    def _layers(
        self, calls: list[LayerCall], errors: list[Tensor] | None = None
    ) -> list[LayerSignal]:
        signals = []
        counts = collections.Counter()
        for call in calls:
            watched = self._watched[call.layer]
            layer, steps = watched.layer, call.steps
            if steps is not None and errors is not None:
                steps.error, *carry = (errors[i] for i in call.state_zeros)
                steps.carry_error = carry[0] if carry else None
            signals.append(
                LayerSignal(
                    layer=watched.name,
                    call=counts[call.layer],
                    activation=call.activation,
                    error=_at(errors, call.zeros),
                    slope=call.slope,
                    mask=call.mask,
                    unit_axis=watched.unit_axis_at(len(call.activation.shape)),
                    has_weights=bool(layer.weights),
                    steps=steps,
                    other_errors=[]
                    if errors is None
                    else [errors[i] for i in call.other_zeros],
                    other_masks=call.other_masks,
                    unit_axes=watched.unit_axes,
                )
            )
            counts[call.layer] += 1
        return signals

    def _reduced(self, signals: Signals) -> Any:
        if self._reduce is not None:
            return self._reduce(signals)
        self._template, tensors = flatten(signals)
        return tensors


def _at(errors: list[Tensor] | None, place: int | None) -> Tensor | None:
    return None if errors is None or place is None else errors[place]
