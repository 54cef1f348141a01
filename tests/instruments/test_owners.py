"""Layers and variables of equal paths are kept apart, by their owner."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import instruments
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
)
from keras_concepts.instruments import GradientTap
from keras_concepts.instruments.owners import owner_names, unique_name


def functional(shape, *parts):
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def tower(units):
    return functional(
        (3,),
        layers.Dense(units, "relu", name="hidden", kernel_regularizer="l2"),
        layers.BatchNormalization(name="norm"),
    )


def towers():
    """Two nested models whose layers have the same names."""
    inputs = keras.Input((3,))
    first, second = tower(4), tower(5)
    x = layers.Concatenate(name="both")([first(inputs), second(inputs)])
    model = keras.Model(inputs, layers.Dense(2, name="out")(x))
    model.compile("sgd", "mse")
    hidden = [each.get_layer("hidden") for each in (first, second)]
    return model, hidden


def test_each_layer_and_variable_has_a_name():
    model, hidden = towers()
    names = owner_names(model)
    paths = [layer.path for layer in hidden]
    assert paths[0] == paths[1]
    found = {names.of(layer): layer for layer in hidden}
    assert sorted(found) == [paths[0], f"{paths[0]} (2)"]
    for name, layer in found.items():
        for variable in layer.variables:
            assert names.of(variable) == f"{name}/{variable.name}"
            assert names.layer_of(variable) is layer
            assert names.layer_name_of(variable) == name
    all_names = [names.of(variable) for variable in model.variables]
    assert len(set(all_names)) == len(all_names)
    for variable in model.variables:
        if "(2)" not in names.of(variable):
            assert names.of(variable) == variable.path


def test_what_is_inside_a_renamed_layer_is_under_its_name():
    def recurrent():
        return functional((4, 2), layers.GRU(3, name="memory"))

    inputs = keras.Input((4, 2))
    model = keras.Model(
        inputs, layers.Add()([recurrent()(inputs), recurrent()(inputs)])
    )
    names = owner_names(model)
    kernels = sorted(names.of(v) for v in model.variables if v.name == "kernel")
    assert kernels == ["memory (2)/gru_cell/kernel", "memory/gru_cell/kernel"]


def test_the_innermost_layer_owns_a_variable():
    class Tied(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(3)

        def build(self, shape):
            self.inner.build(shape)
            self.table = self.inner.kernel  # Keras tracks it here, too

        def call(self, x):
            return self.inner(x)

    layer = Tied()
    layer(np.ones((1, 2)))
    names = owner_names(keras.Sequential([layer]))
    assert names.layer_of(layer.table) is layer.inner


def test_a_model_with_the_name_of_its_layer():
    layer = layers.Dense(1, name="same")
    model = keras.Sequential([keras.Input((2,)), layer], name="same")
    names = owner_names(model)
    assert names.of(layer.kernel) == layer.kernel.path
    assert names.of(layer) == layer.path
    assert names.of(model) != names.of(layer)


def test_operations_have_names():
    inputs = keras.Input((2,), name="x")
    outputs = keras.ops.add(inputs, 1.0)
    model = keras.Model(inputs, outputs)
    names = owner_names(model)
    assert [names.of(x) for x in model.operations][1].startswith("add")


def test_variables_without_a_model():
    def pair():
        layer = layers.Dense(3, name="dense")
        layer.build((None, 2))
        return layer.trainable_variables

    variables = [*pair(), *pair(), keras.Variable(1.0, name="scale")]
    names = owner_names(variables=variables)
    assert [names.of(v) for v in variables] == [
        "dense/kernel",
        "dense/bias",
        "dense (2)/kernel",
        "dense (2)/bias",
        "scale",
    ]
    assert names.layer_of(variables[0]) is None
    assert names.layer_name_of(variables[3]) == "dense (2)"


def test_unique_name():
    taken = {"a", "a (2)"}
    assert unique_name("a", taken) == "a (3)"
    assert unique_name("b", taken) == "b"
    assert taken == {"a", "a (2)", "a (3)", "b"}


def test_every_monitor_keeps_equal_paths_apart():
    model, hidden = towers()
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    x[:, 0] = 1.0
    monitors = [
        GradientMonitor(),
        PenaltyReporter(),
        BatchNormShiftMonitor(),
        SignalMonitor((x, x[:, :2])),
    ]
    # Every unit of the second is dead.
    hidden[1].bias.assign(np.full(5, -100.0))
    model.fit(x, x[:, :2], 16, verbose=0, callbacks=monitors)
    names = owner_names(model)
    recordings = [monitor.recording for monitor in monitors]
    for layer in hidden:
        name = names.of(layer)
        dead = recordings[0].select(name, "zero_gradient_units").value.tolist()
        units = recordings[0].select(name, "units").value.tolist()
        assert units == [layer.units]
        assert (dead == units) == (layer is hidden[1])
        rms = recordings[0].select(f"{name}/kernel", "weight_rms").value
        assert len(rms) == 2
        assert len(recordings[1].select(f"{name}/kernel", "l2")) == 1
        probed = recordings[3].select(name, "units").value.tolist()
        assert probed == [layer.units] * 2
    norm = names.of(hidden[0]).replace("hidden", "norm")
    for name in (norm, norm.replace("norm", "norm (2)")):
        assert len(recordings[2].select(name, "calls")) == 1


def test_the_guard_names_the_right_layer():
    model, hidden = towers()
    names = owner_names(model)
    kernel = hidden[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    guard = NonFiniteGuard(sink=lambda message: None)
    x = np.ones((8, 3), "float32")
    model.fit(x, x[:, :2], verbose=0, callbacks=[guard])
    assert guard.found.layer == names.of(kernel)


@pytest.mark.parametrize("with_model", [True, False])
def test_gradient_tap_in_a_loop_of_ones_own(with_model):
    model, _ = towers()
    variables = model.trainable_variables
    model.optimizer.build(variables)
    tap = GradientTap(
        model.optimizer, variables, model=model if with_model else None
    )
    gradients = [
        keras.ops.full(v.shape, float(i)) for i, v in enumerate(variables)
    ]
    with tap:
        model.optimizer.apply(gradients, variables)
    samples = tap.read()
    assert len(set(samples.paths)) == len(samples.paths)
    names = owner_names(model)
    assert set(samples.paths) == {names.of(v) for v in variables}
    units = sorted(len(x) for x in samples.unit_peaks.values())
    assert units == [2, 4, 5]
    assert samples.quantity("gradient_max")[0].tolist() == [
        float(i) for i in range(len(variables))
    ]


def test_gradient_tap_takes_the_variables_of_its_model():
    model, _ = towers()
    tap = GradientTap(model.optimizer, model=model)
    assert tap.variables == model.trainable_variables
    with pytest.raises(ValueError, match="at least one trainable"):
        GradientTap(model.optimizer)


def test_the_old_name_of_recurrent_steps():
    with pytest.warns(DeprecationWarning, match="RecurrentSteps"):
        steps = instruments.Steps
    assert steps is instruments.RecurrentSteps
    with pytest.raises(AttributeError, match="Stairs"):
        instruments.Stairs  # noqa: B018
