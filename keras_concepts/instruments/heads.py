"""What each output of a model computes, and what loss it has."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts.instruments.activations import (
    function_name,
    function_of,
    is_affine,
    is_function_alone,
    passes_values,
    picks_entries,
    traced,
)
from keras_concepts.instruments.compiled_losses import (
    OutputLoss,
    output_losses,
)
from keras_concepts.instruments.masks.output_mask import OutputMask
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.recorded_calls import recorded_calls

_STEPS = 200  # in a walk back from an output


@dataclasses.dataclass
class Head:
    """An output of a model.

    Attributes:
        facts: What `head_facts` returns for it.
        loss: Its loss, or `None`.
        mask: The mask that Keras leaves on it, if the graph shows one.
    """

    facts: dict[str, Any]
    loss: OutputLoss | None
    mask: OutputMask | None = None


def head_facts(model: Any, x: Any = None, y: Any = None) -> list[dict]:
    """What each output with a loss computes; every output, if none has one.

    The function that an output goes through is read from the graph of layers
    and operations, or, for a model with its own `call`, from a symbolic pass,
    which assigns nothing.

    Args:
        model: A compiled model, preferably built: little is known of others.
        x: Inputs of a batch, or their shapes. Only a model with its own `call`
            needs them.
        y: Labels or their shapes, which may decide what `loss="crossentropy"`
            is.

    Returns:
        For each a dict of JSON values, `None` where a value is not known.

        | key | value |
        |---|---|
        | `output` | its name, `""` if only one has a loss |
        | `layer` | path of the layer that applies `activation` |
        | `activation` | name of the function that the output goes through |
        | `argument_activation` | if that function is a separate layer or
            operation, the function that its argument has gone through |
        | `units` | length of its last axis |
        | `shape` | of the output, with `None` for the batch |
        | `loss` | name of the class, also of functions and strings |
        | `kind` | `"multiclass"`, `"binary"`, `"regression"` or `"other"` |
        | `from_logits`, `label_smoothing` | of the loss |
        | `loss_weight` | its weight in the objective |
        | `metrics` | names of its metrics |
    """
    return [head.facts for head in heads_of(model, x, y)]


def heads_of(model: Any, x: Any = None, y: Any = None) -> list[Head]:
    """The heads that `head_facts` describes, with their losses."""
    with _backend.names_kept():
        return _heads_of(model, x, y)


def _heads_of(model: Any, x: Any, y: Any) -> list[Head]:
    outputs, made_by = _outputs(model, x)
    stand_in = outputs
    if outputs is None:  # labels show how many there are, usually one
        stand_in = keras.KerasTensor((None, 1)) if y is None else y
    losses = output_losses(model, y, stand_in)
    names = owner_names(model)
    parts: list[tuple[OutputLoss | None, Any]]
    if losses:
        parts = [(each, _at(outputs, each.path)) for each in losses]
    elif outputs is None:
        parts = [(None, None)]
    else:
        parts = [(None, tensor) for tensor in keras.tree.flatten(outputs)]
    walk = _Walk(made_by)
    return [
        Head(
            _facts(walk, names, model, tensor, loss, len(parts)),
            loss,
            OutputMask.of(model, tensor) if _is_graph(model) else None,
        )
        for loss, tensor in parts
    ]


def _at(outputs: Any, path: tuple[Any, ...]) -> Any:
    """The output that a path leads to; `None` if it is not known."""
    if outputs is None:
        return None
    part = outputs
    try:
        for key in path:
            part = part[key]
    except (KeyError, IndexError, TypeError):
        return None
    leaves = keras.tree.flatten(part)
    return leaves[0] if len(leaves) == 1 else None


def _facts(
    walk: "_Walk",
    names: Any,
    model: Any,
    tensor: Any,
    loss: OutputLoss | None,
    count: int,
) -> dict[str, Any]:
    reached = _Reached() if tensor is None else walk.back_from(tensor)
    argument = None
    if reached.argument is not None:
        argument = walk.back_from(reached.argument).activation
    shape = None if tensor is None else [_length(n) for n in tensor.shape]
    layer = reached.operation
    return {
        "output": "" if loss is None else loss.output,
        "layer": None if layer is None else names.of(layer),
        "activation": reached.activation,
        "argument_activation": argument,
        "units": shape[-1] if shape and len(shape) > 1 else None,
        "shape": shape,
        "loss": None if loss is None else loss.name,
        "kind": "other" if loss is None else loss.kind,
        "from_logits": None if loss is None else loss.from_logits,
        "label_smoothing": 0.0 if loss is None else loss.label_smoothing,
        "loss_weight": None if loss is None else loss.weight,
        "metrics": _metrics(model, loss, count),
    }


def _length(length: Any) -> int | None:
    return None if length is None else int(length)


# What made a tensor: the operation, its inputs, the index of the output.
MadeBy = Callable[[Any], tuple[Any, list[Any], int] | None]


@dataclasses.dataclass
class _Reached:
    """The end of a walk back from an output.

    Attributes:
        activation: Name of the last function, or `None` if not known.
        operation: The operation that applies it.
        argument: The argument of a function that is a separate operation.
    """

    activation: str | None = None
    operation: Any = None
    argument: Any = None


class _Walk:
    """Walks back from outputs to the last function that each goes through."""

    def __init__(self, made_by: MadeBy) -> None:
        self._made_by = made_by
        # Inputs of nested models and of `Lambda` functions, and what they were
        # called with.
        self._outside: dict[int, Any] = {}

    def back_from(self, tensor: Any, steps: int = _STEPS) -> _Reached:
        picked = False
        while steps:
            steps -= 1
            if id(tensor) in self._outside:
                tensor = self._outside[id(tensor)]
                continue
            made = self._made_by(tensor)
            if made is None:
                return _Reached()
            operation, inputs, index = made
            inner = self._inside(operation, inputs, index)
            if inner is not None:
                tensor = inner
            elif passes_values(operation) and inputs:
                tensor = inputs[0]
            elif picks_entries(operation) and len(inputs) == 1:
                tensor, picked = inputs[0], True
            else:
                reached = self._ends_at(operation, inputs, steps)
                if picked and reached.activation == "softmax":
                    return _Reached(None, reached.operation)
                return reached
        return _Reached()

    def _inside(self, operation: Any, inputs: list[Any], index: int) -> Any:
        """The tensor inside a model or function that it returns."""
        if isinstance(operation, keras.layers.Lambda) and len(inputs) == 1:
            return self._inside_lambda(operation, inputs[0])
        if isinstance(operation, keras.layers.TimeDistributed):
            operation, inputs = operation.layer, inputs[:1]
        if not _is_graph(operation):
            return None
        for inner, outer in zip(operation.inputs, inputs, strict=False):
            self._outside[id(inner)] = outer
        return operation.outputs[index]

    def _inside_lambda(self, layer: Any, given: Any) -> Any:
        inner = keras.KerasTensor(given.shape, dtype=given.dtype)

        def function(x: Any) -> Any:
            return layer.function(x, **(layer.arguments or {}))

        result: list[Any] = []
        made = traced(lambda x: result.append(function(x)) or result[0], inner)
        if made is None:
            return None
        # Kept for as long as they are looked up by `id`.
        self._outside[id(inner)] = given
        self._kept = [*getattr(self, "_kept", []), inner]
        return result[0]

    def _ends_at(
        self, operation: Any, inputs: list[Any], steps: int
    ) -> _Reached:
        if isinstance(operation, keras.layers.Lambda):
            return _Reached(_named_function(operation), operation)
        name = function_of(operation)
        if name is not None:
            alone = is_function_alone(operation) and inputs
            return _Reached(name, operation, inputs[0] if alone else None)
        known = [self.back_from(each, steps // 2) for each in inputs]
        names = {each.activation for each in known}
        if is_affine(operation) and "linear" in names:
            return _Reached("linear", operation)
        means = type(operation).__name__ == "Average"
        if (picks_entries(operation) or means) and len(names) == 1:
            [name] = names
            if means or name != "softmax":
                return _Reached(name, operation)
        return _Reached(None, operation)


def _named_function(layer: Any) -> str | None:
    return function_name(layer.function) if not layer.arguments else None


def _is_graph(operation: Any) -> bool:
    """Whether calling a model follows its graph of layers."""
    if not isinstance(operation, keras.Model) or not operation.built:
        return False
    if _backend.output_structure(operation) is None:
        return False
    module = getattr(type(operation).call, "__module__", "")
    return module.split(".")[0] == "keras"


def _outputs(model: Any, x: Any) -> tuple[Any, MadeBy]:
    """Symbolic outputs of the model, and what made them."""
    if _is_graph(model):
        return _backend.output_structure(model), _backend.made_by
    if isinstance(model, keras.Sequential) and model.layers:
        return _of_chain(model, x)
    if not model.built or not _backend.has_call(model):
        return None, _backend.made_by
    try:
        return _of_call(model, _built_for(model) if x is None else x)
    except Exception:  # from a user's own `call`
        return None, _backend.made_by


def _of_chain(model: Any, x: Any) -> tuple[Any, MadeBy]:
    """For an unbuilt `Sequential`, whose layers are already known."""
    layers = model.layers
    tensors = [keras.KerasTensor((None, None)) for _ in layers]
    shape = _shape_after(model, x)
    if shape is not None:
        tensors[-1] = keras.KerasTensor(shape)
    places = {id(tensor): place for place, tensor in enumerate(tensors)}

    def made_by(tensor: Any) -> tuple[Any, list[Any], int] | None:
        place = places.get(id(tensor))
        if place is None:
            return _backend.made_by(tensor)
        return layers[place], tensors[max(place - 1, 0) : place], 0

    return tensors[-1], made_by


def _shape_after(model: Any, x: Any) -> tuple[int | None, ...] | None:
    """Output shape of a chain of layers, as far as it is known."""
    try:
        [given] = keras.tree.flatten(x)
        shape = model.compute_output_shape((None, *given.shape[1:]))
        return (None, *shape[1:])
    except Exception:  # no inputs, or a layer that does not know
        units = getattr(model.layers[-1], "units", None)
        return (None, units) if isinstance(units, int) else None


def _built_for(model: Any) -> Any:
    """Inputs like those that a model was built for, if any."""
    return keras.KerasTensor(model.get_build_config()["input_shape"])


def _of_call(model: Any, x: Any) -> tuple[Any, MadeBy]:
    """For a model with its own `call`: what it calls in a symbolic pass.

    An output is known if a layer returned exactly this tensor.
    """
    symbolic = keras.tree.map_structure(
        lambda each: keras.KerasTensor(
            (None, *each.shape[1:]),
            dtype=_dtype_of(each),
        ),
        x,
    )
    # PyTorch may really run the model.
    with (
        _backend.kept_state(model),
        _backend.fixed_randomness(0),
        recorded_calls(model) as calls,
    ):
        outputs = _backend.symbolic_outputs(model, symbolic)
    whole = next(call for call in reversed(calls) if call.layer is model)
    real = keras.tree.flatten(whole.outputs)
    stand_ins = {
        id(tensor): each
        for tensor, each in zip(keras.tree.flatten(outputs), real, strict=True)
    }

    def made_by(tensor: Any) -> tuple[Any, list[Any], int] | None:
        tensor = stand_ins.get(id(tensor), tensor)
        for call in calls:
            for index, each in enumerate(keras.tree.flatten(call.outputs)):
                if each is tensor and call is not whole:
                    return call.layer, call.tensors(), index
        return _backend.made_by(tensor)

    return outputs, made_by


def _dtype_of(array: Any) -> str:
    """As `fit` passes it to the model: fractions in `floatx`."""
    given = getattr(array, "dtype", None)  # a pandas table has several
    known = None if given is None else keras.backend.standardize_dtype(given)
    if known is None or keras.backend.is_float_dtype(known):
        return keras.config.floatx()
    return known


def _metrics(model: Any, loss: OutputLoss | None, count: int) -> list[str]:
    """Names of the metrics passed to `compile` for an output."""
    compiled = _backend.compile_arguments(model)
    found: list[Any] = []
    for key in ("metrics", "weighted_metrics"):
        given = compiled.get(key)
        if isinstance(given, Mapping):
            output = "" if loss is None else loss.output
            values = list(given.values())
            given = given.get(output, values if len(values) == 1 else [])
        elif isinstance(given, list | tuple) and count > 1:
            nested = any(isinstance(each, list | tuple) for each in given)
            if (nested or len(given) == count) and loss is not None:
                in_range = loss.index < len(given)
                given = given[loss.index] if in_range else []
        found += keras.tree.flatten(given)
    return [_metric_name(each) for each in found if each is not None]


def _metric_name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    for name in ("name", "__name__"):
        value = getattr(metric, name, None)
        if isinstance(value, str):
            return value
    return type(metric).__name__
