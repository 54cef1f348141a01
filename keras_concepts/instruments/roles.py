"""What each variable does in its layer: weight, score, vector or statistic."""

import math
import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.instruments.owners import OwnerNames

# For Keras' layers, whether trained or not (LoRA freezes a kernel).
_WEIGHTS = re.compile(
    r"(lora_)?(.+_)?(kernel|embeddings)(_a|_b)?|reverse_embeddings"
)
_VECTORS = re.compile(r"b|(.*_)?(bias|gamma|beta|alpha|scale)")
# A query or key, by the name of its layer or variable.
_SCORES = re.compile(
    r"(.*_)?(w?[qk]|quer(y|ies)|keys?|to_[qk])"
    r"(_(proj|projection|dense|kernel|weights?|w|linear))?"
)


def roles_of(
    variables: Sequence[Any], names: OwnerNames, model: Any = None
) -> list[str]:
    """The role of each variable: `WEIGHT` and so on in `quantities`.

    Keras' layers name their variables. In other layers a variable with two or
    more axes is a weight, unless it is named like a bias or scale, or has one
    entry per unit.

    Args:
        variables: Variables of a built model.
        names: The layers they belong to.
        model: Model to find attention in. Without it, only names identify
            queries and keys.
    """
    scores = _score_layers(model)
    return [
        _role(variable, names.layer_of(variable), names.of(variable), scores)
        for variable in variables
    ]


def _role(variable: Any, layer: Any, path: str, scores: dict[int, bool]) -> str:
    name, shape = variable.name, tuple(variable.shape)
    own = [] if layer is None else _backend.trained_variables(layer)
    trained = layer is None or any(v is variable for v in own)
    known = _WEIGHTS.fullmatch(name) is not None
    if not trained and not (known and _backend.is_of_keras(layer)):
        return q.STATISTIC
    if len(shape) < 2 or (_VECTORS.fullmatch(name) and not known):
        return q.VECTOR
    if not known and len(shape) > 2 and math.prod(shape[:-1]) == 1:
        return q.VECTOR  # such as the token of a class
    if layer is not None and id(layer) in scores:
        return q.SCORE if scores[id(layer)] else q.WEIGHT
    near = path.rpartition(" (")[0] or path
    parts = near.split("/")[-2:] if known else [name]
    return q.SCORE if any(map(_SCORES.fullmatch, parts)) else q.WEIGHT


def _score_layers(model: Any) -> dict[int, bool]:
    """The layers in Keras' attention, and whether they make scores."""
    found: dict[int, bool] = {}
    for layer in [] if model is None else _backend.flatten_layers(model):
        if isinstance(layer, keras.layers.MultiHeadAttention):
            found[id(layer.query_dense)] = True
            found[id(layer.key_dense)] = True
            found[id(layer.value_dense)] = False
            found[id(layer.output_dense)] = False
    return found


def layers_of_variables(
    variables: Sequence[Any], names: OwnerNames, model: Any = None
) -> list[str]:
    """Name of the layer of each variable; `""` if it is in none.

    A recurrent layer is measured instead of its cells, so their variables
    belong to the recurrent layer.
    """
    recurrent = {
        id(part): layer
        for layer in ([] if model is None else _backend.flatten_layers(model))
        if isinstance(layer, keras.layers.RNN)
        for part in _backend.flatten_layers(layer)
    }
    found = []
    for variable in variables:
        layer = names.layer_of(variable)
        layer = recurrent.get(id(layer), layer)
        found.append("" if layer is None else names.of(layer))
    return found
