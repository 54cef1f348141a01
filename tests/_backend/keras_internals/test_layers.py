import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts._backend.keras_internals import (
    capture_batch_moments,
    cell_of_bias,
    changing_variables,
    flatten_layers,
    has_seeds,
    is_of_keras,
    keras_mask,
    made_by,
    own_value,
    own_variables,
    set_keras_mask,
    trained_variables,
    without_cudnn,
)

X = np.arange(6, dtype="float32").reshape(2, 3)


def names(found):
    return [each.name for each in found]


def test_keras_mask():
    """Keras leaves the mask that a layer computed on its output."""
    masked = layers.Masking()(np.array([[[0.0], [1.0]]], "float32"))
    mask = ops.convert_to_numpy(keras_mask(masked))
    assert mask.tolist() == [[False, True]]
    assert keras_mask(ops.convert_to_tensor(X)) is None


def test_set_keras_mask():
    """Keras gives a `call` the mask that it finds on the argument."""
    found = []

    class Ask(layers.Layer):
        supports_masking = True

        def call(self, x, mask=None):
            found.append(mask)
            return x

    x, mask = ops.ones((1, 2, 3)), ops.convert_to_tensor([[True, False]])
    set_keras_mask(x, mask)
    assert keras_mask(x) is mask
    _ = Ask()(x)
    (given,) = found
    assert given is mask


def test_own_value():
    """A variable holds a tensor, for which a stateless scope may stand in."""
    variable = keras.Variable([1.0, 2.0])
    held = own_value(variable)
    assert ops.convert_to_numpy(held).tolist() == [1.0, 2.0]
    if keras.backend.backend() == "tensorflow":
        _ = held.assign_add([1.0, 1.0])
        assert variable.numpy().tolist() == [2.0, 3.0]
    if keras.backend.backend() == "torch":
        _ = held.data.add_(1.0)
        assert variable.numpy().tolist() == [2.0, 3.0]
    with keras.StatelessScope([(variable, ops.zeros((2,)))]):
        assert own_value(variable) is None


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize(
    "cell", [layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell]
)
def test_cell_of_bias(cell, is_later):
    """A layer that makes its variables is on top of the stack of names.

    And where they get their values later, an LSTM's has wrapped the initializer
    in a function that knows it.
    """
    found = []

    class Ask(keras.initializers.Zeros):
        def __call__(self, shape, dtype=None, **kwargs):
            found.append(cell_of_bias())
            return super().__call__(shape, dtype, **kwargs)

    asking = cell(2, bias_initializer=Ask())
    if is_later:
        with keras.StatelessScope():
            asking.build((None, 3))
    else:
        asking.build((None, 3))
    is_known = not is_later or cell is layers.LSTMCell
    assert set(found) == {asking if is_known else None}


def test_cell_of_bias_of_other_layers():
    found = []

    class Ask(keras.initializers.Zeros):
        def __call__(self, shape, dtype=None, **kwargs):
            found.append(cell_of_bias())
            return super().__call__(shape, dtype, **kwargs)

    layers.Dense(2, bias_initializer=Ask()).build((None, 3))
    assert found == [None]


def test_capture_batch_moments():
    """`BatchNormalization` calls one method where it takes statistics."""
    found = []
    layer = layers.BatchNormalization(momentum=0.0)
    x, mask = X[:, None], np.array([[True], [False]])
    with capture_batch_moments(layer, lambda *given: found.append(given)):
        _ = layer(x, training=False)
        assert found == []
        for given in (None, mask):
            _ = layer(x, training=True, mask=given)
            rows = X[:1] if given is mask else X
            np.testing.assert_allclose(
                layer.moving_mean.numpy(), rows.mean(axis=0), rtol=1e-5
            )
    (inputs, no_mask), (_, given) = found
    assert ops.convert_to_numpy(inputs).tolist() == x.tolist()
    assert no_mask is None
    assert ops.convert_to_numpy(given).tolist() == mask.tolist()
    _ = layer(x, training=True)
    assert len(found) == 2


def test_flatten_layers():
    """A layer lists the layers and cells in it, in the order it got them."""
    inner = keras.Sequential([layers.Dense(1, name="b")], name="inner")
    cells = [layers.GRUCell(1, name="c"), layers.LSTMCell(1, name="d")]
    shared = layers.Dense(1, name="a")
    model = keras.Sequential(
        [
            layers.TimeDistributed(shared, name="each"),
            layers.RNN(layers.StackedRNNCells(cells, name="two"), name="rnn"),
            inner,
        ],
        name="model",
    )
    inner.add(shared)
    expected = ["model", "each", "a", "rnn", "two", "c", "d", "inner", "b"]
    assert names(flatten_layers(model)) == expected


def test_own_variables():
    """A layer keeps its weights in two lists, and its seeds in a third."""
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    assert names(own_variables(norm)) == [
        *("gamma", "beta"),
        *("moving_mean", "moving_variance"),
    ]
    dropout = layers.Dropout(0.5)
    (seed,) = own_variables(dropout)
    assert seed is dropout.seed_generator.state
    assert own_variables(keras.Sequential([norm, dropout])) == []


def test_trained_variables():
    """A frozen layer still lists what was made to be trained."""
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    norm.trainable = False
    assert norm.trainable_variables == []
    assert names(trained_variables(norm)) == ["gamma", "beta"]


def test_changing_variables():
    """`variables` has seeds, which `weights` has not."""
    norm, dropout = layers.BatchNormalization(), layers.Dropout(0.5)
    frozen = layers.Dense(2)
    frozen.trainable = False
    model = keras.Sequential([keras.Input((3,)), frozen, norm, dropout])
    found = {id(variable) for variable in changing_variables(model)}
    expected = [
        norm.moving_mean,
        norm.moving_variance,
        dropout.seed_generator.state,
    ]
    assert found == set(map(id, expected))


def test_has_seeds():
    """A layer lists its generators of seeds; an operation has no list."""
    assert has_seeds(layers.Dropout(0.5))
    assert not has_seeds(layers.Dense(1))
    operation, *_ = made_by(ops.relu(keras.Input((3,))))
    assert not has_seeds(operation)


def test_is_of_keras():
    """All of Keras' classes are in its own modules."""

    class Own(layers.Dense):
        pass

    assert is_of_keras(layers.Dense(1))
    assert is_of_keras(keras.Sequential())
    operation, *_ = made_by(ops.relu(keras.Input((3,))))
    assert is_of_keras(operation)
    assert not is_of_keras(Own(1))


def test_without_cudnn():
    """Keras computes two LSTMs in one operation only if both have `use_cudnn`.

    A layer that was told so by its user is told so again afterwards.
    """
    both, gru = layers.Bidirectional(layers.LSTM(2)), layers.GRU(2)
    gru.use_cudnn = False
    model = keras.Sequential([both, layers.RepeatVector(2), gru])
    model.build((None, 4, 3))
    forward = both.forward_layer
    # Keras 3.12 has no such operation.
    are_one = getattr(both, "_can_attempt_fused_lstm", lambda mask: True)
    assert are_one(mask=None)
    assert forward.use_cudnn == "auto"
    with without_cudnn(model):
        assert forward.use_cudnn is False
        assert not hasattr(both, "_can_attempt_fused_lstm") or not are_one(
            mask=None
        )
    assert are_one(mask=None)
    assert (forward.use_cudnn, gru.use_cudnn) == ("auto", False)
