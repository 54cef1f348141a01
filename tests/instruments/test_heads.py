import keras
import numpy as np
import pytest
from keras import layers, losses, ops

from keras_concepts.instruments.heads import head_facts
from keras_concepts.losses import CrossEntropy, SoftFBeta


def chain(*parts, loss="sparse_categorical_crossentropy", **compiled):
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", loss, **compiled)
    return model


def head(*parts, **compiled):
    [facts] = head_facts(chain(*parts, **compiled))
    return facts


def activations(*parts):
    facts = head(*parts)
    return facts["activation"], facts["argument_activation"]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([layers.Dense(3)], ("linear", None)),
        ([layers.Dense(3, "softmax")], ("softmax", None)),
        ([layers.Dense(3), layers.Softmax()], ("softmax", "linear")),
        ([layers.Dense(3, "relu"), layers.Softmax()], ("softmax", "relu")),
        (
            [layers.Dense(3, "softmax"), layers.Activation("softmax")],
            ("softmax", "softmax"),
        ),
        (
            [layers.Dense(3, "softmax"), layers.Activation("linear")],
            ("softmax", None),
        ),
        (
            [layers.Dense(4, "tanh"), layers.Reshape((2, 2)), layers.Flatten()],
            ("tanh", None),
        ),
        ([layers.Dense(3, "sigmoid"), layers.Dropout(0.5)], ("sigmoid", None)),
        ([layers.Dense(3, layers.LeakyReLU())], ("leaky_relu", None)),
        ([layers.Dense(3), layers.BatchNormalization()], ("linear", None)),
        ([layers.Dense(3), layers.ReLU()], ("relu", "linear")),
        (
            [layers.Dense(3), layers.Lambda(lambda x: ops.softmax(x))],
            ("softmax", "linear"),
        ),
        (
            [layers.Dense(3, "relu"), layers.Lambda(keras.activations.softmax)],
            ("softmax", "relu"),
        ),
        ([layers.Dense(3), layers.Lambda(lambda x: x / 2)], ("linear", None)),
        # Twice a tanh has other bounds than a tanh.
        (
            [layers.Dense(3, "tanh"), layers.Lambda(lambda x: x * 2)],
            (None, None),
        ),
    ],
)
def test_functions_are_read_from_the_layers(parts, expected):
    parts = [
        type(p).from_config(p.get_config())
        if not isinstance(p, layers.Lambda)
        else p
        for p in parts
    ]
    assert activations(*parts) == expected


def test_functions_of_nobody_knows_what():
    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    assert activations(Doubled(3, "softmax")) == (None, None)
    assert activations(layers.Dense(3, lambda x: x**2)) == (None, None)


def test_names_of_layers_say_nothing():
    assert activations(layers.Dense(3, name="softmax")) == ("linear", None)
    facts = head(layers.Dense(3, name="logits"), layers.Softmax(name="dense"))
    assert (facts["layer"], facts["activation"]) == ("dense", "softmax")


def test_models_in_models():
    inner = chain(layers.Dense(3, "tanh"))
    outer = chain(inner, layers.Softmax())
    [facts] = head_facts(outer)
    assert facts["activation"] == "softmax"
    assert facts["argument_activation"] == "tanh"
    in_time = keras.Sequential(
        [keras.Input((5, 4)), layers.TimeDistributed(inner)]
    )
    in_time.compile("sgd", "mse")
    assert head_facts(in_time)[0]["activation"] == "tanh"
    # A model around it that only reshapes its output.
    turned = keras.Sequential([keras.Input((3,)), layers.Reshape((1, 3))])
    [facts] = head_facts(chain(inner, turned))
    assert facts["activation"] == "tanh"
    assert facts["shape"] == [None, 1, 3]


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_each_output(kind):
    x = keras.Input((4,))
    sure = ops.sigmoid(layers.Dense(1, "relu")(x))
    outputs = {
        "b": layers.Dense(5, name="b")(x),
        "a": layers.Identity(name="a")(sure),
    }
    compiled = {
        "a": "binary_crossentropy",
        "b": losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    weights = {"a": 1.0, "b": 0.5}
    metrics = {"a": ["accuracy"], "b": ["mse", "mae"]}
    if kind == "list":
        outputs, compiled, weights, metrics = (
            [part["b"], part["a"]]
            for part in (outputs, compiled, weights, metrics)
        )
    model = keras.Model(x, outputs)
    model.compile("sgd", compiled, loss_weights=weights, metrics=metrics)
    facts = {each["output"]: each for each in head_facts(model)}
    assert set(facts) == {"a", "b"}
    a, b = facts["a"], facts["b"]
    assert (a["activation"], a["argument_activation"]) == ("sigmoid", "relu")
    assert (a["loss"], a["kind"], a["units"]) == (
        "BinaryCrossentropy",
        "binary",
        1,
    )
    assert (b["layer"], b["activation"]) == ("b", "linear")
    assert (b["from_logits"], a["from_logits"]) == (True, False)
    assert (b["loss_weight"], b["metrics"]) == (0.5, ["mse", "mae"])


def test_outputs_without_a_loss():
    x = keras.Input((4,))
    model = keras.Model(
        x, [layers.Dense(2, "relu")(x), layers.Dense(3, "softmax")(x)]
    )
    model.compile("sgd")
    facts = head_facts(model)
    assert [each["activation"] for each in facts] == ["relu", "softmax"]
    assert {each["loss"] for each in facts} == {None}


class Own(keras.Model):
    def __init__(self, last=None):
        super().__init__()
        self.last = layers.Activation("softmax")  # made before it is called
        self.hidden = layers.Dense(4, "relu")
        self.logits = layers.Dense(3)
        self.dropout = layers.Dropout(0.5)
        self.then = last

    def call(self, x):
        y = self.dropout(self.last(self.logits(self.hidden(x))))
        return y if self.then is None else self.then(y)


def test_models_with_a_call_of_their_own():
    x = np.zeros((2, 4), "float32")
    model = Own()
    model.compile("sgd", "sparse_categorical_crossentropy")
    _ = model(x)
    before = [ops.convert_to_numpy(v) for v in model.variables]
    [facts] = head_facts(model, x)
    assert facts["activation"] == "softmax"
    assert facts["argument_activation"] == "linear"
    assert facts["shape"] == [None, 3]
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))
    # What an output goes through outside of any layer is not known.
    model = Own(lambda y: y * 2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    _ = model(x)
    [facts] = head_facts(model, x)
    assert facts["activation"] is None
    assert facts["loss"] == "SparseCategoricalCrossentropy"


def test_before_a_model_is_built():
    model = keras.Sequential([layers.Dense(4), layers.Dense(1, "sigmoid")])
    model.compile("sgd", "bce")
    [facts] = head_facts(model)
    assert (facts["activation"], facts["units"]) == ("sigmoid", 1)
    assert (facts["loss"], facts["kind"]) == ("BinaryCrossentropy", "binary")
    assert not model.built
    model = Own()
    model.compile("sgd", "mse")
    [facts] = head_facts(model)
    assert (facts["activation"], facts["loss"]) == (None, "MeanSquaredError")


def custom(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


@pytest.mark.parametrize(
    ("loss", "name", "kind", "from_logits"),
    [
        ("mse", "MeanSquaredError", "regression", None),
        (losses.mean_absolute_error, "MeanAbsoluteError", "regression", None),
        (losses.Huber(), "Huber", "regression", None),
        ("kld", "KLDivergence", "multiclass", None),
        (losses.BinaryFocalCrossentropy(from_logits=True),
         "BinaryFocalCrossentropy", "binary", True),
        (losses.binary_crossentropy, "BinaryCrossentropy", "binary", False),
        (CrossEntropy(from_logits=True), "CrossEntropy", "multiclass", True),
        (SoftFBeta(binary=True), "SoftFBeta", "binary", False),
        (custom, "custom", "other", None),
        (losses.Dice(), "Dice", "other", None),
    ],
)  # fmt: skip
def test_losses(loss, name, kind, from_logits):
    facts = head(layers.Dense(3), loss=loss)
    assert facts["loss"] == name
    assert facts["kind"] == kind
    assert facts["from_logits"] is from_logits


def test_label_smoothing_and_metrics():
    loss = losses.CategoricalCrossentropy(label_smoothing=0.1)
    facts = head(
        layers.Dense(3),
        loss=loss,
        metrics=["accuracy", keras.metrics.AUC(name="area")],
        weighted_metrics=[losses.mean_squared_error],
    )
    assert facts["label_smoothing"] == 0.1
    assert facts["metrics"] == ["accuracy", "area", "mean_squared_error"]


def test_the_model_stays_as_it_was():
    model = chain(
        layers.Dense(3),
        layers.Lambda(lambda x: ops.softmax(x)),
        metrics=["accuracy"],
    )
    metrics = len(model.metrics_variables)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    _ = head_facts(model)
    assert not model._compile_loss.built
    assert len(model.metrics_variables) == metrics
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    # Nor does what is made later have other names.
    first = layers.Softmax().name
    _ = head_facts(model)
    assert layers.Softmax().name == (
        "softmax_1" if first == "softmax" else f"softmax_{int(first[8:]) + 1}"
    )
