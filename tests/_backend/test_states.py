"""State outside of Keras variables stays as it was after a pass of ours."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import (
    _backend,
    check_gradients,
    check_masks,
    mc_predict,
    preflight,
    recalibrate_batch_norm,
    strip_probes,
)
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
    TrainingDoctor,
)
from keras_concepts.instruments import forward_probe
from keras_concepts.layers import ActivationProbe

BACKEND = keras.backend.backend()
if BACKEND == "jax":
    pytest.skip(
        "a function that JAX traces keeps no state outside of its arguments",
        allow_module_level=True,
    )


def torch_layer():
    import torch

    class Replaced(torch.nn.Module):
        """Puts another tensor in the place of its buffer."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x):
            if x.device.type != "meta":
                self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            return x

    class Wrapped(keras.Layer):
        """Keras runs it to know the shape of its output."""

        def __init__(self):
            super().__init__()
            self.wrapper = layers.TorchModuleWrapper(
                torch.nn.Sequential(
                    Replaced(),
                    torch.nn.Linear(4, 3),
                    torch.nn.BatchNorm1d(3),
                    torch.nn.Dropout(0.3),
                    torch.nn.Linear(3, 2),
                )
            )

        def call(self, x):
            return self.wrapper(x)

    return Wrapped()


def tensorflow_layer():
    import tensorflow as tf

    class Counting(keras.Layer):
        """Normalizes with a mean of the batches so far, and counts them."""

        def __init__(self):
            super().__init__()
            self.count = tf.Variable(0)
            self.others = {"mean": tf.Variable(tf.zeros(4))}

        def call(self, x):
            self.count.assign_add(1)
            mean = self.others["mean"]
            mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(x, 0))
            return x - mean

    return Counting()


LAYER = {"torch": torch_layer, "tensorflow": tensorflow_layer}


def built(extra=()):
    keras.utils.clear_session(free_memory=False)  # the same names each time
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((4,))
    foreign = LAYER[BACKEND]()
    for layer in [
        foreign,
        *extra,
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Dense(1, kernel_regularizer="l2"),
    ]:
        x = layer(x)
    model = keras.Model(inputs, x)
    model.compile("adam", "mse")
    return model, foreign


def state_of(model, foreign):
    """All that training goes on from."""
    found = {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}
    if BACKEND == "torch":
        import torch

        for name, value in foreign.wrapper.module.state_dict().items():
            found[name] = value.cpu().numpy().copy()
        for name, module in foreign.wrapper.module.named_modules():
            found[f"mode of {name}"] = module.training
        found["generator"] = torch.get_rng_state().numpy()
    if BACKEND == "tensorflow":
        found["count"] = foreign.count.numpy()
        found["mean"] = foreign.others["mean"].numpy()
    return found


def assert_same(before, after):
    assert list(before) == list(after)
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)


def data(bad=None):
    x = np.random.default_rng(0).normal(3.0, 2.0, (32, 4)).astype("float32")
    y = x[:, :1].copy()
    if bad is not None:
        y[bad] = np.inf
    return x, y


def trained(callbacks, bad=None):
    model, foreign = built()
    x, y = data(bad)
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=2,
        shuffle=False,
        validation_data=(x, y) if bad is None else None,
        callbacks=callbacks,
        verbose=0,
    )
    return state_of(model, foreign), history.history


@functools.cache
def trained_alone(bad=None):
    return trained([], bad)


@pytest.mark.optimized
def test_monitors_change_no_state():
    before, logs = trained_alone()
    after, watched_logs = trained(
        [
            GradientMonitor(),
            PenaltyReporter(),
            SignalMonitor(probe=data()),
            BatchNormShiftMonitor(probe=data()),
            NonFiniteGuard(),
            TrainingDoctor(on_finding=lambda finding: None),
        ]
    )
    assert_same(before, after)
    assert {name: watched_logs[name] for name in logs} == logs


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_search_for_a_non_finite_layer_changes_no_state(capsys):
    before, _ = trained_alone(bad=20)
    guard = NonFiniteGuard(stop=False)
    after, _ = trained([guard], bad=20)
    assert_same(before, after)
    assert "first non-finite value at step 2" in capsys.readouterr().out


def check_layer(model):
    check_gradients(model.layers[1], data()[0][:4], max_entries=1)


FUNCTIONS = {
    "forward_probe": lambda model: forward_probe(model, *data()),
    "preflight": lambda model: preflight(model, *data()),
    "check_masks": lambda model: check_masks(model, data()[0]),
    "check_gradients": check_layer,
    "mc_predict": lambda model: mc_predict(model, data()[0], 3, seed=0),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_change_no_state(function):
    model, foreign = built()
    before = state_of(model, foreign)
    _ = FUNCTIONS[function](model)
    assert_same(before, state_of(model, foreign))


def test_recalibration_changes_only_keras_statistics():
    model, foreign = built()
    before = state_of(model, foreign)
    recalibrate_batch_norm(model, data()[0], batch_size=8)
    after = state_of(model, foreign)
    changed = {
        name
        for name, value in before.items()
        if not np.array_equal(value, after[name])
    }
    moving = ("/moving_mean", "/moving_variance")
    assert len(changed) == 2
    assert all(name.endswith(moving) for name in changed)


def test_strip_probes_changes_no_state():
    model, foreign = built([ActivationProbe()])
    before = state_of(model, foreign)
    stripped = strip_probes(model)
    assert len(stripped.layers) == len(model.layers) - 1
    after = state_of(model, foreign)
    assert_same(before, after)


def test_state_is_kept_after_a_failed_pass():
    model, foreign = built()
    before = state_of(model, foreign)
    with contextlib.suppress(KeyError), _backend.kept_state(model):
        _ = model(data()[0])
        raise KeyError
    after = state_of(model, foreign)
    for name in before:
        if "/" not in name and name != "generator":
            np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch's autograd")
def test_a_gradient_can_be_computed_after_the_state_was_restored():
    import torch

    model, _ = built()
    x = torch.ones(8, 4, requires_grad=True)
    model.layers[1].wrapper.eval()  # the gradient reads the buffers
    with _backend.kept_state(model):
        y = model.layers[1](x, training=False)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.shape == x.shape


@pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch's modules")
def test_a_rejected_step_changes_no_state():
    model, foreign = built()
    model.train_on_batch(*data())  # creates what the optimizer keeps
    before = state_of(model, foreign)
    restore = _backend.backup(model, ())
    model.train_on_batch(*data())
    _ = restore(None)
    after = state_of(model, foreign)
    del before["generator"], after["generator"]
    assert_same(before, after)
