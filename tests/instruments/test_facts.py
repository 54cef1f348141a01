import keras
import pytest
from keras import layers, ops

from keras_concepts.instruments.activations import kind_of_activation
from keras_concepts.instruments.facts import run_facts


def layer_facts(model):
    model.compile("sgd", "mse")
    return {each["path"]: each for each in run_facts(model, {})["layers"]}


def test_what_layers_read_and_what_follows_them():
    x = keras.Input((4,), name="x")
    a = layers.Dense(8, name="a")(x)
    a = layers.ReLU(name="r")(layers.BatchNormalization(name="n")(a))
    b = ops.tanh(layers.Dense(8, name="b")(layers.Dropout(0.1, name="d")(a)))
    both = layers.Add(name="s")([a, b])
    facts = layer_facts(keras.Model(x, layers.Dense(3, "gelu", name="g")(both)))
    assert facts["a"]["inputs"] == ["x"]
    assert facts["s"]["inputs"][0] == "r"
    assert facts["a"]["feeds_activation"] == "relu"
    assert facts["b"]["feeds_activation"] == "tanh"
    assert "feeds_activation" not in facts["g"]
    assert "inputs" not in facts["x"]
    kinds = {path: each.get("kind") for path, each in facts.items()}
    assert (kinds["a"], kinds["r"], kinds["g"], kinds["s"]) == (
        "linear",
        "rectified",
        "smooth",
        None,
    )


def test_readers_that_differ():
    x = keras.Input((4,), name="x")
    a = layers.Dense(8, name="a")(x)
    outputs = [layers.ReLU()(a), layers.Activation("tanh")(a)]
    assert "feeds_activation" not in layer_facts(keras.Model(x, outputs))["a"]


def test_readers_in_other_models():
    x = keras.Input((4,), name="x")
    a = layers.Dense(8, name="a")(x)
    whole = keras.Model(x, layers.ReLU(name="r")(a))
    part = keras.Model(x, layers.Activation("tanh", name="t")(a))
    assert layer_facts(part)["a"]["feeds_activation"] == "tanh"
    assert layer_facts(whole)["a"]["feeds_activation"] == "relu"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("rectified", ["relu", "relu6", "leaky_relu"]),
        ("bounded", ["sigmoid", "tanh", "softsign", "hard_sigmoid"]),
        ("smooth", ["gelu", "silu", "swish", "elu", "selu", "softplus"]),
        ("softmax", ["softmax", "log_softmax"]),
        ("linear", ["linear"]),
        ("other", ["mine", None]),
    ],
)
def test_kinds(kind, names):
    assert {kind_of_activation(name) for name in names} == {kind}
