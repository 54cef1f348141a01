"""Rule about networks without a nonlinearity."""

from collections.abc import Iterator

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

_WEIGHTED = {
    "Dense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2D",
    "EinsumDense",
}
# Layers that keep a network linear (in training, batch normalization nearly
# does).
_LINEAR = {
    "Activation",
    "Add",
    "AveragePooling1D",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Dropout",
    "Flatten",
    "Functional",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "InputLayer",
    "Normalization",
    "Permute",
    "Rescaling",
    "Reshape",
    "Sequential",
    "Subtract",
    "ZeroPadding2D",
}


@rule(
    "linear_network",
    severity="warning",
    why="Without activation functions between them, any number of layers is "
    "equivalent to one linear layer.",
    page="doctor.md#linear_network",
    needs="the layers of the model",
    known=lambda t: bool(t.layers) and bool(t.heads),
)
def linear_network(t: Training) -> Iterator[Evidence]:
    """Several layers have weights, but there is no nonlinearity between them.

    Reported only if every layer of the model is known to be linear, and only if
    there is harm. Known false alarm: an intended linear model of two factors;
    guard: harm.
    """
    heads = {head.get("layer") for head in t.heads}
    weighted = [x["path"] for x in t.layers if x["class"] in _WEIGHTED]
    hidden = [path for path in weighted if path not in heads]
    for layer in t.layers:
        if layer["class"] not in _WEIGHTED | _LINEAR:
            return
        is_head = layer["path"] in heads
        if layer.get("kind") not in (None, "linear") and not is_head:
            return
    if not hidden or len(weighted) < 2 or harm(t, 0.3) is None:
        return
    yield Evidence(
        hidden[0],
        (0, 0),
        (Measured("hidden layers with no activation", len(hidden)),),
        "Give the hidden layers an activation function.",
        'keras.layers.Dense(units, activation="relu")',
    )
