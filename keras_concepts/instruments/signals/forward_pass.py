"""One forward pass of a model that captures the outputs of every layer."""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.activation_slopes import (
    activation_of,
    is_activation,
    is_elementwise,
    slope_of,
)
from keras_concepts._shadow import shadow
from keras_concepts._types import Tensor
from keras_concepts.instruments.gradients.units import einsum_unit_axes
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.signals.recurrent_pass import (
    RecurrentSteps,
    capture_steps,
    gates_of,
    step_slopes,
)

# A model or wrapper returns the outputs of the layers in it.
_CONTAINERS = (
    keras.Model,
    keras.layers.Bidirectional,
    keras.layers.InputLayer,
    keras.layers.Wrapper,
)
_NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
)


@dataclasses.dataclass
class LayerCall:
    """Results of one call of a layer.

    Attributes:
        layer: Index into the watched layers.
        number: Number of calls of layers that began before.
        activation: The (first) output.
        slope: Slope of the layer's activation function at this output.
        mask: True where the activation is not padding, or `None`.
        zeros: Index of the added tensor that belongs to the activation.
        steps: For a recurrent layer, what happened at its time steps.
        state_zeros: Indices of the added tensors that belong to its states.
        other_zeros: Indices of those that belong to its other outputs.
        other_masks: The mask of each of these outputs, or `None`.
    """

    layer: int
    number: int
    activation: Tensor = None
    slope: Tensor | None = None
    mask: Tensor | None = None
    zeros: int | None = None
    steps: RecurrentSteps | None = None
    state_zeros: list[int] = dataclasses.field(default_factory=list)
    other_zeros: list[int] = dataclasses.field(default_factory=list)
    other_masks: list[Tensor | None] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class _Time:
    """The current step of a `TimeDistributed`, and its mask."""

    mask: Tensor | None
    step: int = -1


class Watched:
    """A layer to capture, and what is known about it beforehand."""

    def __init__(
        self, layer: Any, name: str, channels_first: bool = False
    ) -> None:
        self.layer = layer
        self.name = name
        self.is_recurrent = gates_of(layer) is not None
        self.is_activation = is_activation(layer)
        # In a recurrent layer it belongs to its cell.
        self.function = None if self.is_recurrent else activation_of(layer)
        self.is_elementwise = self.function is None or is_elementwise(
            self.function
        )
        self.slope = None
        if self.function is not None and self.is_elementwise:
            self.slope = slope_of(self.function)
        self.step_slopes = step_slopes(layer) if self.is_recurrent else ()
        self.unit_axis = -1
        self.unit_axes: tuple[int, ...] = ()
        if isinstance(layer, _NORMALIZATIONS) and isinstance(layer.axis, int):
            self.unit_axis = layer.axis
        elif isinstance(layer, keras.layers.EinsumDense):
            self.unit_axes = einsum_unit_axes(layer)
        elif getattr(layer, "data_format", None) == "channels_first":
            self.unit_axis = 1
        self._is_beside_channels = channels_first and self.is_activation

    def unit_axis_at(self, rank: int) -> int:
        """The unit axis of an output with this many axes."""
        # An activation layer does not know this, but the layers around it do.
        if self._is_beside_channels and rank >= 4:
            return 1
        return self.unit_axis


def watched_layers(model: Any) -> list[Watched]:
    """Every layer that computes something itself, at any depth.

    Layers inside a recurrent layer are left out: its loop may be compiled.
    """
    layers = _backend.flatten_layers(model)
    inside = {
        id(part)
        for layer in layers
        if isinstance(layer, keras.layers.RNN)
        for part in _backend.flatten_layers(layer)
        if part is not layer
    }
    names = owner_names(model)
    channels_first = any(
        getattr(layer, "data_format", None) == "channels_first"
        for layer in layers
    )
    return [
        Watched(layer, names.of(layer), channels_first)
        for layer in layers
        if not isinstance(layer, _CONTAINERS) and id(layer) not in inside
    ]


class ForwardPass:
    """A forward pass of a model that captures its layers.

    Args:
        watched: Layers to capture.
        outputs: Numbers of the calls that make the outputs of the model, from
            an earlier pass.
        zeros: Tensors to add, one for each of `sites` of an earlier pass with
            these `outputs`; or `None` to add nothing.

    Attributes:
        calls: Each call of a layer, in the order in which they ended.
        sites: Shape and dtype of each place for zeros.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        outputs: frozenset[int] = frozenset(),
        zeros: Sequence[Tensor] | None = None,
    ) -> None:
        self.calls: list[LayerCall] = []
        self.sites: list[tuple[tuple[int, ...], str]] = []
        self._watched = watched
        self._outputs = outputs
        self._zeros = zeros
        self._begun = 0
        # One for each running `TimeDistributed`, the outermost first.
        self._times: list[_Time] = []

    def run(self, model: Any, x: Any, training: bool) -> Any:
        """The outputs of the model."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(_backend.without_cudnn(model))
            for index in range(len(self._watched)):
                stack.enter_context(self._capture(index))
            for layer in _backend.flatten_layers(model):
                if isinstance(layer, keras.layers.TimeDistributed):
                    stack.enter_context(self._capture_time(layer))
            return _backend.call_as_trainer(model, x, training)

    def numbers_of(self, outputs: Any) -> frozenset[int]:
        """Numbers of the calls that made these tensors."""
        ids = {id(output) for output in keras.tree.flatten(outputs)}
        return frozenset(
            call.number for call in self.calls if id(call.activation) in ids
        )

    def has_other_sites(self, outputs: frozenset[int]) -> bool:
        """Whether a pass with these `outputs` would add zeros elsewhere.

        Args:
            outputs: Numbers of calls in this pass, to which it added none.
        """
        return any(
            call.number in outputs and call.slope is not None
            for call in self.calls
        )

    @contextlib.contextmanager
    def _capture(self, index: int) -> Iterator[None]:
        watched = self._watched[index]
        layer, original = watched.layer, watched.layer.call
        first = next(iter(inspect.signature(original).parameters), "")
        function: Any = watched.function
        running: list[LayerCall] = []

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            running.append(LayerCall(index, self._begun))
            self._begun += 1
            inputs = args[0] if args else kwargs.get(first)
            # Read here because attention removes them from its inputs.
            masks = kwargs.get("mask")
            if masks is None:
                masks = keras.tree.map_structure(_backend.keras_mask, inputs)
            if watched.is_activation:
                inputs = argument(inputs)
                args, kwargs = (inputs, *args[1:]), _without(first, kwargs)
            outputs = original(*args, **kwargs)
            return self._ended(running.pop(), outputs, inputs, masks)

        def argument(z: Tensor) -> Tensor:
            if not running:  # called by other code
                return z
            at = running[-1]
            if at.number in self._outputs or not watched.is_elementwise:
                z, at.zeros = self._with_zeros(z)
            if watched.slope is not None:
                at.slope = watched.slope(z)
            return z

        def activation(z: Tensor) -> Tensor:
            return function(argument(z))

        def zeros_of(shape: tuple[int, ...], dtype: str) -> Tensor | None:
            running[-1].state_zeros.append(len(self.sites))
            return self._zeros_at(shape, dtype)

        def record(steps: RecurrentSteps) -> None:
            running[-1].steps = steps

        with contextlib.ExitStack() as stack:
            stack.enter_context(shadow(layer, "call", call))
            if watched.is_recurrent:
                stack.enter_context(
                    capture_steps(layer, watched.step_slopes, zeros_of, record)
                )
            elif function is not None and not watched.is_activation:
                stack.enter_context(shadow(layer, "activation", activation))
            yield

    @contextlib.contextmanager
    def _capture_time(self, wrapper: Any) -> Iterator[None]:
        """Keeps the mask of each time step: Keras passes it to few layers."""
        original, original_inner = wrapper.call, wrapper.layer.call
        running: list[_Time] = []

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            running.append(_Time(kwargs.get("mask")))
            self._times.append(running[-1])
            outputs = original(*args, **kwargs)
            self._times.remove(running.pop())
            return outputs

        @functools.wraps(original_inner)
        def inner(*args: Any, **kwargs: Any) -> Any:
            if running:  # otherwise the layer is called without the wrapper
                running[-1].step += 1
            return original_inner(*args, **kwargs)

        with (
            shadow(wrapper, "call", call),
            shadow(wrapper.layer, "call", inner),
        ):
            yield

    def _mask_of_time(self) -> Tensor | None:
        # A nested one gets its share of the outer one's mask.
        for time in reversed(self._times):
            if time.mask is not None:
                return time.mask[:, time.step]
        return None

    def _ended(
        self, call: LayerCall, outputs: Any, inputs: Any, masks: Any
    ) -> Any:
        tensors = keras.tree.flatten(outputs)
        places = [i for i, x in enumerate(tensors) if _is_float(x)]
        if not places:
            return outputs
        place, *others = places
        mask = _backend.keras_mask(tensors[place])
        if call.zeros is None:
            tensors[place], call.zeros = self._with_zeros(tensors[place])
        call.activation = tensors[place]
        layer = self._watched[call.layer].layer
        if mask is not None:  # some layers set it themselves
            _backend.set_keras_mask(call.activation, mask)
        elif inputs is not None and layer.supports_masking:
            mask = layer.compute_mask(inputs, masks)
        call.mask = _fitting(mask, call.activation)
        if call.mask is None:
            call.mask = self._mask_of_time()
        for i in others:  # only the states of an encoder may be used
            tensors[i], zeros = self._with_zeros(tensors[i])
            call.other_zeros.append(zeros)
            like = tensors[i].shape[:-1] == call.activation.shape[:-1]
            call.other_masks.append(call.mask if like else None)
        self.calls.append(call)
        if self._zeros is None:
            return outputs
        return keras.tree.pack_sequence_as(outputs, tensors)

    def _with_zeros(self, tensor: Tensor) -> tuple[Tensor, int]:
        place = len(self.sites)
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        zeros = self._zeros_at(tuple(tensor.shape), dtype)
        return (tensor if zeros is None else tensor + zeros), place

    def _zeros_at(self, shape: tuple[int, ...], dtype: str) -> Tensor | None:
        self.sites.append((shape, dtype))
        return None if self._zeros is None else self._zeros[len(self.sites) - 1]


def _is_float(tensor: Any) -> bool:
    if not ops.is_tensor(tensor):
        return False
    return keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(tensor.dtype)
    )


def _fitting(masks: Any, activation: Tensor) -> Tensor | None:
    """The first mask, if it has the shape of the activation's first axes."""
    for mask in keras.tree.flatten(masks):
        if mask is not None:
            shape = tuple(mask.shape)
            return mask if shape == activation.shape[: len(shape)] else None
    return None


def _without(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key != name}
