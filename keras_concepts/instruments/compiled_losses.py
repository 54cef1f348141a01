"""What kind of loss each output of a model has."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import keras

from keras_concepts import _backend
from keras_concepts.losses.cross_entropy import CrossEntropy
from keras_concepts.losses.focal_cross_entropy import FocalCrossEntropy
from keras_concepts.losses.soft_fbeta import SoftFBeta
from keras_concepts.losses.tversky import Tversky

LossKind: TypeAlias = Literal["multiclass", "binary", "regression", "other"]

_OWN = (CrossEntropy, FocalCrossEntropy, SoftFBeta, Tversky)
_MULTICLASS = {
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
}
_BINARY = {
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "Hinge",
    "SquaredHinge",
}
_REGRESSION = {
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
}
# Classes by the function that they wrap.
_CLASS_OF_FUNCTION = {
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "categorical_hinge": "CategoricalHinge",
    "circle": "Circle",
    "cosine_similarity": "CosineSimilarity",
    "ctc": "CTC",
    "dice": "Dice",
    "hinge": "Hinge",
    "huber": "Huber",
    "kl_divergence": "KLDivergence",
    "log_cosh": "LogCosh",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_error": "MeanSquaredError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "poisson": "Poisson",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "squared_hinge": "SquaredHinge",
    "tversky": "Tversky",
}
_TAKE_LOGITS = {
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "SparseCategoricalCrossentropy",
}


@dataclasses.dataclass
class OutputLoss:
    """The loss of one output.

    Attributes:
        output: Name of the output, `""` if only one has a loss.
        path: Keys that lead to it in the model's outputs.
        index: Its index among the outputs with a loss.
        function: The `keras.Loss`.
        weight: Its weight in the objective, or `None`.
        name: Name of the class of Keras or this package, also for functions;
            for a user's loss, its own name.
        kind: Kind of its labels.
        from_logits: Whether it takes logits; `None` if not known.
        label_smoothing: As passed to it.
        ignore_class: Label that does not count, or `None`.
    """

    output: str
    path: tuple[Any, ...]
    index: int
    function: Any
    weight: float | None
    name: str
    kind: LossKind
    from_logits: bool | None
    label_smoothing: float
    ignore_class: float | None


def output_losses(model: Any, y_true: Any, y_pred: Any) -> list[OutputLoss]:
    """The loss of each output that has one; empty if they are not known.

    Args:
        model: A compiled model.
        y_true: Labels or their shapes, `None` if not known.
        y_pred: Outputs of the model or their shapes.
    """
    try:
        losses = _backend.losses_of_outputs(model, y_true, y_pred)
    except Exception:  # `fit` will report the misfit
        return []
    alone = len(losses) == 1
    return [
        _output_loss(each, index, alone) for index, each in enumerate(losses)
    ]


def _output_loss(resolved: Any, index: int, alone: bool) -> OutputLoss:
    loss = resolved.loss
    name, options = _identity(loss)
    weight = resolved.loss_weights
    from_logits = options.get("from_logits")
    if from_logits is None and name in _TAKE_LOGITS:
        from_logits = False
    return OutputLoss(
        output="" if alone else resolved.name,
        path=tuple(resolved.path),
        index=index,
        function=loss,
        weight=None if weight is None else float(weight),
        name=name,
        kind=_kind(name, loss),
        from_logits=None if from_logits is None else bool(from_logits),
        label_smoothing=float(options.get("label_smoothing") or 0.0),
        ignore_class=options.get("ignore_class"),
    )


def _identity(loss: Any) -> tuple[str, Mapping[str, Any]]:
    """Canonical name of a loss, and its options."""
    kind = type(loss)
    if isinstance(loss, _OWN):
        return kind.__name__, vars(loss)
    function = getattr(loss, "fn", None)
    options = _backend.options_of_loss(loss)
    if function is None or not _calls_its_function(loss):
        return kind.__name__, vars(loss) if _is_keras(loss) else {}
    while hasattr(function, "func"):  # a `functools.partial`
        options = {**function.keywords, **options}
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", None) or ""
    if module.split(".")[0] == "keras":
        return _CLASS_OF_FUNCTION.get(name, name), options
    return name, {}


def _calls_its_function(loss: Any) -> bool:
    module = getattr(type(loss).call, "__module__", "")
    return module.split(".")[0] == "keras"


def _is_keras(loss: Any) -> bool:
    return type(loss).__module__.split(".")[0] == "keras"


def _kind(name: str, loss: Any) -> LossKind:
    if isinstance(loss, _OWN):
        return "binary" if loss.binary else "multiclass"
    if not isinstance(loss, keras.Loss) or not _calls_its_function(loss):
        return "other"
    if name in _MULTICLASS:
        return "multiclass"
    if name in _BINARY:
        return "binary"
    return "regression" if name in _REGRESSION else "other"


def part_for(loss: OutputLoss, structure: Any, count: int) -> Any:
    """The part of a structure of labels or weights that belongs to one output.

    Args:
        loss: Loss of the output.
        structure: As given to `fit`, or a single array for all outputs.
        count: Number of outputs with a loss.

    Returns:
        An array, or `None` if it cannot be known.
    """
    if isinstance(structure, dict) and loss.output in structure:
        return structure[loss.output]
    part = structure
    try:
        for key in loss.path:
            part = part[key]
    except (KeyError, IndexError, TypeError):
        part = structure
    if not keras.tree.is_nested(part):
        return part
    leaves = keras.tree.flatten(part)
    if len(leaves) == 1:
        return leaves[0]
    return leaves[loss.index] if len(leaves) == count else None
