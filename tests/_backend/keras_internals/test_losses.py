import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts._backend.keras_internals import (
    built_loss,
    capture_compiled_losses,
    capture_dropped_losses,
    has_loss,
    losses_of_outputs,
    options_of_loss,
    output_names,
)

RANDOM = np.random.default_rng(0)
Y = {name: RANDOM.normal(size=(4, 2)).astype("float32") for name in "bc"}
PREDICTED = {
    name: RANDOM.normal(size=(4, 2)).astype("float32") for name in "bc"
}
# The mean square of `b`, and three times the mean deviation of `c`.
PARTS = {
    "b": float(np.mean((Y["b"] - PREDICTED["b"]) ** 2)),
    "c": float(3.0 * np.mean(np.abs(Y["c"] - PREDICTED["c"]))),
}


def two_outputs():
    inputs = keras.Input((3,))
    return keras.Model(
        inputs, {name: layers.Dense(2, name=name)(inputs) for name in "bc"}
    )


@pytest.fixture
def without_loss():
    model = two_outputs()
    model.compile("sgd")
    return model


@pytest.fixture
def model():
    model = two_outputs()
    model.compile(
        "sgd",
        loss={"b": "mse", "c": keras.losses.MeanAbsoluteError()},
        loss_weights={"b": None, "c": 3.0},
        run_eagerly=True,
    )
    return model


def compute_loss(model):
    return float(model.compute_loss(None, tensors(Y), tensors(PREDICTED)))


def tensors(arrays):
    return {name: ops.convert_to_tensor(x) for name, x in arrays.items()}


def test_has_loss():
    """`compile` leaves its loss, if any, in one attribute."""

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, **kwargs):
            return ops.zeros(())

    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd")
    assert not has_loss(model)
    model.compute_loss = lambda *args, **kwargs: ops.zeros(())
    assert has_loss(model)
    model = keras.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    assert has_loss(model)
    model = Own()
    model.compile("sgd")
    assert has_loss(model)


@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("has_labels", [False, True])
def test_losses_of_outputs(model, without_loss, is_built, has_labels):
    """A loss that is built has a flat list of path, loss, weight and name."""
    if is_built:
        _ = compute_loss(model)
    labels = tensors(Y) if has_labels else None
    found = {
        loss.name: loss
        for loss in losses_of_outputs(model, labels, tensors(PREDICTED))
    }
    assert sorted(found) == ["b", "c"]
    assert [tuple(found[name].path) for name in "bc"] == [("b",), ("c",)]
    assert [found[name].loss_weights for name in "bc"] == [None, 3.0]
    assert found["c"].loss.name == "mean_absolute_error"
    for name in "bc":
        value = found[name].loss(Y[name], PREDICTED[name])
        share = float(value) * (found[name].loss_weights or 1.0)
        assert share == pytest.approx(PARTS[name], rel=1e-5)
    # Nothing has happened to the model's own.
    assert bool(output_names(model)) == is_built
    assert compute_loss(model) == pytest.approx(sum(PARTS.values()), rel=1e-5)
    assert losses_of_outputs(without_loss, labels, tensors(PREDICTED)) == []


def test_output_names(model):
    """A loss for several outputs has a metric for each, from its first call."""
    assert output_names(model) == []
    _ = compute_loss(model)
    assert sorted(output_names(model)) == ["b", "c"]
    alone = keras.Sequential([layers.Dense(1)])
    alone.compile("sgd", "mse", run_eagerly=True)
    _ = alone.train_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    assert output_names(alone) == []


def test_options_of_loss():
    """Keras' losses keep what they give to the function that they wrap."""
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1
    )
    options = options_of_loss(loss)
    assert options["from_logits"] is True
    assert options["label_smoothing"] == 0.1
    options.clear()
    assert options_of_loss(loss) != {}

    class Own(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    assert options_of_loss(Own()) == {}


def test_capture_compiled_losses(model, without_loss):
    """The first call builds a loss; each gives its parts to its metrics."""
    for _ in range(2):  # not built yet, and built
        found = {}
        with capture_compiled_losses(
            model,
            lambda name, value, found=found: found.update({name: float(value)}),
        ):
            total = compute_loss(model)
        assert found.pop("") == total
        assert found == pytest.approx(PARTS, rel=1e-5)
        assert total == pytest.approx(sum(PARTS.values()), rel=1e-5)
    found = {}
    _ = compute_loss(model)
    assert found == {}
    with capture_compiled_losses(without_loss, None):
        pass


@pytest.mark.parametrize("is_stateless", [False, True])
def test_capture_dropped_losses(is_stateless):
    """A layer that is called from outside any other clears its losses.

    Also those that a stateless scope has collected, by their `id`.
    """

    class Adds(layers.Layer):
        def call(self, x):
            self.add_loss(ops.sum(x))
            return x

    layer, found = Adds(), []
    scope = (
        keras.StatelessScope(collect_losses=True)
        if is_stateless
        else keras.name_scope("any")
    )
    with scope, capture_dropped_losses(layer, found.append):
        _ = layer(ops.ones((2,)))
        assert found == [[]]
        first = layer.losses[0]
        _ = layer(ops.ones((3,)))
        assert len(found) == 2
        assert found[1][0] is first
        assert len(found[1]) == 1
        assert float(layer.losses[0]) == 3.0
    _ = layer(ops.ones((2,)))
    assert len(found) == 2


def test_built_loss(model, without_loss):
    """A loss can be made again of what `compile` was given."""
    own = model._compile_loss
    with built_loss(model, tensors(Y), tensors(PREDICTED)) as loss:
        assert loss is not own
        assert model._compile_loss is loss
        value = float(loss(tensors(Y), tensors(PREDICTED)))
        assert value == pytest.approx(sum(PARTS.values()), rel=1e-5)
        assert compute_loss(model) == value
    assert model._compile_loss is own
    assert not own.built
    with built_loss(without_loss, tensors(Y), tensors(PREDICTED)) as loss:
        assert loss is None
