"""The variables of a layer that show the gradient of each of its units."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_concepts import _backend
from keras_concepts.instruments.owners import OwnerNames

# By `id` of the layer.
Widths: TypeAlias = dict[int, tuple[int, int]]

_k = keras.layers
_LAST: tuple[int, ...] = (-1,)
_NORMALIZATIONS = (
    _k.BatchNormalization,
    _k.GroupNormalization,
    _k.LayerNormalization,
    _k.RMSNormalization,
    _k.UnitNormalization,
)
# Axes of each variable that run over the output's units. The first kind that
# matches a layer decides.
_AXES: Sequence[tuple[tuple[type, ...], Mapping[str, tuple[int, ...]]]] = (
    (
        (_k.DepthwiseConv1D, _k.DepthwiseConv2D),
        {"bias": _LAST, "kernel": (-2, -1)},
    ),
    (
        (_k.SeparableConv1D, _k.SeparableConv2D),
        {"bias": _LAST, "pointwise_kernel": _LAST},
    ),
    (
        (_k.Conv1DTranspose, _k.Conv2DTranspose, _k.Conv3DTranspose),
        {"bias": _LAST, "kernel": (-2,)},
    ),
    (
        (_k.Dense, _k.Conv1D, _k.Conv2D, _k.Conv3D),
        {"bias": _LAST, "kernel": _LAST, "lora_kernel_b": _LAST},
    ),
    (
        (_k.Embedding,),
        {"embeddings": _LAST, "lora_embeddings_b": _LAST},
    ),
)


class UnitSource(NamedTuple):
    """A variable that shows which units of a layer have a gradient.

    Attributes:
        variable: Index into the measured variables.
        axes: Axes of it that run over the units, negative.
    """

    variable: int
    axes: tuple[int, ...]


def layer_widths(model: Any) -> Widths:
    """Units of the input and output of each layer that is not Keras' own.

    Args:
        model: A model, or `None`. Nothing is known about an unbuilt one.
    """
    layers = [] if model is None else _backend.flatten_layers(model)
    return {
        id(layer): widths
        for layer in layers
        if layer.built and _is_unknown(layer) and not _is_recurrent(layer)
        if len(_backend.flatten_layers(layer)) == 1
        if any(len(v.shape) > 1 for v in _backend.trained_variables(layer))
        if (widths := _input_and_output(layer)) is not None
    }


def unit_sources(
    variables: Sequence[Any], names: OwnerNames, widths: Widths
) -> dict[str, list[UnitSource]]:
    """For each layer with known units, the variables that show dead ones.

    A unit that is dead for every sample passes back an exact zero to its bias
    and to its part of the kernel, so either shows it. The bias is smaller, but
    its gradient may be zero for other reasons: where a normalization subtracts
    the mean again, or in a key, which adds the same to all scores. A penalty
    would hide the zero, so regularized variables do not count.

    In a layer that is not Keras' own, a unit is an entry of the output's last
    axis (the second with `data_format="channels_first"`), if exactly one axis
    of each of its weights has that size, and the input has another size.
    Recurrent layers, whose columns are gates, and layers that contain others
    have no units here.

    Args:
        variables: Keras variables.
        names: The layers they belong to.
        widths: The result of `layer_widths`.

    Returns:
        From the name of the layer to its sources. A unit is dead if it is dead
        in all of them.
    """
    layers: dict[str, dict[str, int]] = {}
    unclear = set()  # two variables with the same name
    for i, variable in enumerate(variables):
        layer = names.layer_name_of(variable)
        own = layers.setdefault(layer, {})
        if variable.name in own:
            unclear.add(layer)
        own[variable.name] = i
    sources = {}
    for name, own in layers.items():
        if name in unclear:
            continue
        layer = names.layer_of(variables[next(iter(own.values()))])
        found = [
            UnitSource(own[each], axes)
            for each, axes in _axes(layer, own, variables, widths)
            if each in own and variables[own[each]].regularizer is None
        ]
        # In Keras' layers each shows all units, and the smallest costs least.
        if found:
            sources[name] = found if _is_unknown(layer) else found[:1]
    return sources


def unit_count(source: UnitSource, variables: Sequence[Any]) -> int:
    """Number of units that a source shows."""
    shape, count = variables[source.variable].shape, 1
    for axis in source.axes:
        count *= shape[axis]
    return count


def _axes(
    layer: Any,
    own: Mapping[str, int],
    variables: Sequence[Any],
    widths: Widths,
) -> list[tuple[str, tuple[int, ...]]]:
    """Names of variables and their axes, in order of preference."""
    if layer is None:
        return _axes_by_names(own, variables)
    axes: Mapping[str, tuple[int, ...]]
    if isinstance(layer, keras.layers.EinsumDense):
        axes = _axes_of_einsum(layer)
    elif _is_unknown(layer):
        width = widths.get(id(layer))
        return [] if width is None else _axes_by_shapes(width, own, variables)
    else:
        axes = next(axes for kinds, axes in _AXES if isinstance(layer, kinds))
    # The bias comes first if its gradient is zero only for dead units.
    first = "bias" if _bias_shows_units(layer) else ""
    return sorted(axes.items(), key=lambda x: (x[0] != first, x[0] == "bias"))


def _is_unknown(layer: Any) -> bool:
    if layer is None or isinstance(layer, keras.layers.EinsumDense):
        return False
    return not any(isinstance(layer, kinds) for kinds, _ in _AXES)


def _bias_shows_units(layer: Any) -> bool:
    readers = _backend.next_layers(layer)
    return readers is not None and not any(
        isinstance(reader, _NORMALIZATIONS) for reader in readers
    )


def einsum_unit_axes(layer: Any) -> tuple[int, ...]:
    """Negative axes of an `EinsumDense` output that its kernel makes.

    Empty if there are none.
    """
    kernel, output = _einsum_labels(layer)
    return tuple(
        i - len(output) for i, label in enumerate(output) if label in kernel
    )


def _einsum_labels(layer: Any) -> tuple[str, str]:
    inputs, output = layer.equation.replace(" ", "").split("->")
    return inputs.split(",")[1], output.replace("...", "")


def _axes_of_einsum(layer: Any) -> dict[str, tuple[int, ...]]:
    kernel, output = _einsum_labels(layer)
    units = [label for label in output if label in kernel]
    found = {}
    # A bias has the axes of the output from its first axis on.
    given = layer.bias_axes or ""
    begin = min((output.find(label) for label in given), default=len(output))
    for name, labels in (
        ("bias", output[begin:]),
        ("kernel", kernel),
        ("lora_kernel_b", "\n" + kernel[-1:]),
    ):
        has = given if name == "bias" else labels
        if units and all(label in has for label in units):
            places = [labels.index(label) - len(labels) for label in units]
            if places == sorted(places):
                found[name] = tuple(places)
    return found


def _is_recurrent(layer: Any) -> bool:
    return hasattr(layer, "state_size")  # and so has each cell


def _axes_by_shapes(
    width: tuple[int, int], own: Mapping[str, int], variables: Sequence[Any]
) -> list[tuple[str, tuple[int, ...]]]:
    features, units = width
    matrices = {n: variables[i] for n, i in own.items()}
    matrices = {n: v for n, v in matrices.items() if len(v.shape) > 1}
    if features == units:
        return []
    found = []
    for name, variable in matrices.items():
        shape = tuple(variable.shape)
        axes = [i - len(shape) for i, size in enumerate(shape) if size == units]
        if len(axes) > 1:
            return []  # either may belong to the output
        if axes:
            found.append((name, (axes[0],)))
    return found


def _input_and_output(layer: Any) -> tuple[int, int] | None:
    """Sizes of the unit axes of a layer's input and output, if known."""
    first = getattr(layer, "data_format", None) == "channels_first"
    axis = 1 if first else -1
    try:
        shape = layer.get_build_config()["input_shape"]
        inputs = keras.KerasTensor(shape, layer.compute_dtype)
        # PyTorch may really run it.
        with _backend.kept_state(layer), _backend.fixed_randomness(0):
            outputs = layer.compute_output_spec(inputs)
        return int(shape[axis]), int(outputs.shape[axis])
    except Exception:  # several inputs or outputs, or unknown to the layer
        return None


def _axes_by_names(
    own: Mapping[str, int], variables: Sequence[Any]
) -> list[tuple[str, tuple[int, ...]]]:
    """Without a layer to ask: those of a kernel with a bias."""
    if "kernel" not in own or "recurrent_kernel" in own:
        return []
    found = [("bias", _LAST)]
    # With more axes the last may be the input's, as in a transposed
    # convolution.
    if len(variables[own["kernel"]].shape) == 2:
        found.append(("kernel", _LAST))
    return found
