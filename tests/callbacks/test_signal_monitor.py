import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import Recording
from keras_concepts.callbacks import GradientMonitor, SignalMonitor


def network(*, with_shape=True):
    shape = [keras.Input((12,))] if with_shape else []
    return keras.Sequential(
        [
            *shape,
            layers.Dense(6, "relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5),
            layers.Dense(3, "softmax", name="last"),
        ]
    )


def reader():
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Reshape((6, 2)),
            layers.GRU(3, return_sequences=True, name="below"),
            layers.LSTM(3, name="above"),
            layers.Dense(3, "softmax"),
        ]
    )


def fit(model, digits, callbacks, data=None, **arguments):
    model.compile("adam", "sparse_categorical_crossentropy")
    data = digits if data is None else data
    arguments = {"epochs": 2, "verbose": 0} | arguments
    return model.fit(*data, callbacks=callbacks, **arguments)


def names(recording):
    return [layer.split("/")[-1] for layer in recording.owners]


def test_rows(digits):
    monitor = SignalMonitor(probe=digits)
    history = fit(network(), digits, [monitor], batch_size=16).history
    recording = monitor.recording
    measured = recording.select(monitor="SignalMonitor")
    assert names(measured) == ["", "first", "norm", "last"]
    losses = recording.select(owner="", quantity="probe_loss")
    assert losses.step.tolist() == [0, 4, 8]
    assert losses.epoch.tolist() == [-1, 0, 1]
    first = recording.select(owner="*/first")
    assert first.select(quantity="units").value.tolist() == [6.0] * 3
    dead = first.select(quantity="zero_activation_units").value
    assert len(first.select(quantity="zero_activation_unit")) == dead.sum()
    attenuation = first.select(quantity="error_attenuation").value
    errors = recording.select(quantity="error_rms")
    np.testing.assert_allclose(
        attenuation,
        errors.select(owner="*/first").value
        / errors.select(owner="*/last").value,
    )
    assert history["error_attenuation"] == attenuation[1:].tolist()
    assert "memory_horizon" not in history
    # Only an activation function can saturate.
    units = recording.select(quantity="saturated_units").owners
    assert [layer.split("/")[-1] for layer in units] == ["first"]


def test_values_are_those_of_the_model(digits):
    x, y = digits
    monitor = SignalMonitor(probe=digits, training=False)
    model = network()
    fit(model, digits, [monitor], epochs=1)
    kernel, bias = model.layers[0].get_weights()
    hidden = np.maximum(x @ kernel + bias, 0.0)
    rows = monitor.recording.select(owner="*/first")
    expected = {
        "activation_mean": hidden.mean(),
        "activation_std": hidden.std(),
        "zero_share": np.mean(hidden == 0.0),
        "zero_activation_units": np.sum(hidden.max(axis=0) == 0.0),
    }
    for quantity, value in expected.items():
        measured = rows.select(quantity=quantity).value[-1]
        assert measured == pytest.approx(value, rel=1e-4, abs=1e-7), quantity
    loss = monitor.recording.select(quantity="probe_loss").value[-1]
    assert loss == pytest.approx(
        model.evaluate(x, y, batch_size=64, verbose=0), rel=1e-5
    )


def test_dead_and_saturated_units_are_named(digits):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(4, "relu", name="dying"),
            layers.Dense(4, "sigmoid", name="stuck"),
            layers.Dense(3, "softmax"),
        ]
    )
    dying, stuck, _ = model.layers
    kernel, bias = dying.get_weights()
    bias[[1, 3]] = -1e3
    dying.set_weights([kernel, bias])
    kernel, bias = stuck.get_weights()
    bias[[0, 2]] = 30.0, -30.0
    stuck.set_weights([kernel, bias])
    monitor = SignalMonitor(probe=digits)
    history = fit(model, digits, [monitor], epochs=1)
    rows = monitor.recording
    dead = rows.select("*/dying", "zero_activation_unit", epoch=-1)
    assert dead.index.tolist() == [1, 3]
    assert dead.value.tolist() == [1.0, 1.0]
    flat = rows.select("*/stuck", "saturated_unit")
    assert flat.index.tolist() == [0, 2] * 2
    assert flat.epoch.tolist() == [-1, -1, 0, 0]
    assert history.history["saturated_units"][0] >= 4.0


def test_recurrent_layers(digits):
    monitor = SignalMonitor(probe=digits)
    history = fit(reader(), digits, [monitor], epochs=1).history
    recording = monitor.recording
    assert recording.select(quantity="memory_horizon").owners == [
        "sequential/below",
        "sequential/above",
    ]
    above = recording.select(owner="*/above")
    by_lag = above.select(quantity="state_error_rms").value.reshape(2, 6)
    horizon = above.select(quantity="memory_horizon").value
    assert horizon.tolist() == [
        np.flatnonzero(row > 0.01 * row.max()).max() + 1 for row in by_lag
    ]
    assert (np.diff(by_lag[0]) < 0.0).all()  # it fades, step by step
    # What the carry keeps does not show in the hidden state.
    hidden = above.select(quantity="hidden_error_rms").value.reshape(2, 6)
    assert (hidden[0] / hidden[0, 0] < by_lag[0] / by_lag[0, 0])[1:].all()
    assert above.quantities.count("forget_gate_mean") == 1
    # At first the bias of the forget gate is 1, and its input small.
    forget = above.select(quantity="forget_gate_mean").value
    assert forget[0] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.05)
    below = recording.select(owner="*/below")
    assert "hidden_error_rms" not in below.quantities
    assert below.select(quantity="update_gate_mean").value[0] == pytest.approx(
        0.5, abs=0.05
    )
    shortest = recording.select(quantity="memory_horizon").value[-2:].min()
    assert history["memory_horizon"] == [shortest]


def test_every(digits):
    monitor = SignalMonitor(probe=digits, every_epochs=2)
    history = fit(network(), digits, [monitor], epochs=5).history
    losses = monitor.recording.select(quantity="probe_loss")
    assert losses.epoch.tolist() == [-1, 1, 3]
    assert losses.step.tolist() == [0, 4, 8]
    assert len(history["error_attenuation"]) == 2


def test_without_labels(digits):
    monitor = SignalMonitor(probe=(digits[0],))
    history = fit(network(), digits, [monitor]).history
    assert not monitor.recording.select(quantity="error_*").quantities
    assert set(history) == {"loss", "saturated_units"}


@pytest.mark.parametrize("build", [network, reader])
@pytest.mark.optimized
def test_training_is_the_same_to_the_last_bit(build, digits):
    keras.utils.set_random_seed(1)
    plain = build()
    logs = fit(plain, digits, []).history
    keras.utils.set_random_seed(1)
    watched = build()
    monitors = [SignalMonitor(probe=digits), GradientMonitor()]
    watched_logs = fit(watched, digits, monitors).history
    assert watched_logs["loss"] == logs["loss"]
    for a, b in zip(
        plain.variables + plain.optimizer.variables,
        watched.variables + watched.optimizer.variables,
        strict=True,
    ):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )


@pytest.mark.optimized
def test_model_without_an_input_shape(digits):
    keras.utils.set_random_seed(1)
    plain = network(with_shape=False)
    fit(plain, digits, [])
    keras.utils.set_random_seed(1)
    watched = network(with_shape=False)
    monitor = SignalMonitor(probe=digits)
    fit(watched, digits, [monitor])
    # On TensorFlow the first step builds it, and not the probe.
    first = [] if keras.backend.backend() == "tensorflow" else [0]
    losses = monitor.recording.select(quantity="probe_loss")
    assert losses.step.tolist() == [*first, 2, 4]
    for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_length(digits):
    def batches():
        for start in range(0, 48, 16):
            yield tuple(part[start : start + 16] for part in digits)

    monitor = SignalMonitor(probe=digits)
    fit(
        network(),
        digits,
        [monitor],
        data=(batches(),),
        epochs=1,
        shuffle=False,
    )
    losses = monitor.recording.select(quantity="probe_loss")
    assert losses.step.tolist() == [0, 3]


def test_file_is_continued(digits, tmp_path):
    path = tmp_path / "signals.jsonl"
    model = network()
    for initial in (0, 1):
        fit(
            model,
            digits,
            [SignalMonitor(probe=digits, record_to=path)],
            epochs=initial + 1,
            initial_epoch=initial,
        )
    losses = Recording.load(path).select(quantity="probe_loss")
    assert losses.epoch.tolist() == [-1, 0, -1, 1]
    assert losses.step.tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"probe": np.ones(3)}, TypeError, r"must be `\(x,\)`, `\(x, y\)`"),
        ({"probe": ()}, ValueError, "a tuple of 0 parts"),
        ({"probe": (1, 2, 3, 4)}, ValueError, "a tuple of 4 parts"),
        ({"probe": (1, 2), "every_epochs": 0}, ValueError, "at least 1"),
        ({"probe": (1, 2), "every_epochs": 1.5}, TypeError, "an integer"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        SignalMonitor(**arguments)


def test_every_is_now_called_every_epochs(digits):
    with pytest.warns(DeprecationWarning, match="`every_epochs`"):
        monitor = SignalMonitor(digits, every=3)
    assert monitor.every_epochs == 3


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="Shapes are always known."
)
def test_a_model_that_begins_with_texts():
    """TensorFlow does not know the batch size behind `TextVectorization`."""
    texts = keras.ops.convert_to_tensor([["a b c"], ["a"], ["b c d"]] * 4)
    y = np.arange(12.0)[:, None]
    vectorize = layers.TextVectorization(output_sequence_length=3)
    vectorize.adapt(texts)
    numbers = keras.ops.convert_to_numpy(vectorize(texts))
    tail = [
        layers.Embedding(8, 4),
        layers.LSTM(4, name="memory"),
        layers.Dense(1, name="last"),
    ]
    found = []
    for x, head in (
        (texts, [keras.Input((1,), dtype="string"), vectorize]),
        (numbers, [keras.Input((3,), dtype="int64")]),
    ):
        model = keras.Sequential([*head, *tail])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        monitor = SignalMonitor((x, y))
        model.fit(x, y, verbose=0, callbacks=[monitor])
        rows = monitor.recording
        found.append(
            [
                value
                for quantity, value in zip(
                    rows.quantity, rows.value, strict=True
                )
                if quantity.startswith("error")
            ]
        )
    assert found[0]
    np.testing.assert_allclose(*found, rtol=1e-5)
