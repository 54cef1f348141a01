"""`GradientTap` on optimizers of PyTorch itself, against its own gradients."""

import keras
import numpy as np
import pytest

from keras_concepts.instruments import GradientTap

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="`torch.optim`"
)


def trained(make_optimizer, tap=None, by_closure=False):
    """Weights, gradients and updates of three steps, by hand."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, "tanh", name="hidden"),
            keras.layers.Dense(1, name="head"),
        ],
        name="model",
    )
    optimizer = make_optimizer(model)
    x = torch.tensor(np.random.default_rng(0).normal(size=(3, 8, 4))).float()
    gradients, changes = [], []

    def loss_of(inputs):
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    def run():
        for inputs in x:
            before = [w.value.detach().clone() for w in model.weights]
            if by_closure:
                optimizer.step(lambda inputs=inputs: loss_of(inputs))
            else:
                _ = loss_of(inputs)
                optimizer.step()
            gradients.append([w.value.grad.clone() for w in model.weights])
            changes.append(
                [
                    w.value.detach() - old
                    for w, old in zip(model.weights, before, strict=True)
                ]
            )

    if tap is None:
        run()
    else:
        with tap(optimizer, model) as watched:
            run()
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_step_post_hooks
        return model, gradients, changes, watched.read()
    return model, gradients, changes


OPTIMIZERS = {
    "SGD": lambda model: torch.optim.SGD(model.parameters(), 0.1),
    "Adam": lambda model: torch.optim.Adam(model.parameters(), 0.01),
    "AdamW": lambda model: torch.optim.AdamW(
        model.parameters(), 0.01, maximize=True
    ),
}


def rms(tensor):
    return float(tensor.double().square().mean().sqrt())


@pytest.mark.parametrize("by_closure", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_step_equals_the_gradients_of_torch(name, by_closure):
    make = OPTIMIZERS[name]
    plain, *_ = trained(make, by_closure=by_closure)
    model, gradients, changes, samples = trained(
        make,
        lambda optimizer, model: GradientTap(optimizer, model=model),
        by_closure,
    )
    for a, b in zip(plain.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )
    assert samples.paths == [w.path for w in model.weights]
    assert samples.steps.tolist() == [0, 1, 2]
    assert samples.applied.tolist() == [1, 1, 1]
    np.testing.assert_allclose(
        samples.quantity("gradient_rms"),
        [[rms(g) for g in step] for step in gradients],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        samples.quantity("update_rms"),
        [[rms(c) for c in step] for step in changes],
        rtol=1e-5,
    )


def test_variables_of_another_optimizer_have_no_gradient():
    _, _, _, samples = trained(
        lambda model: torch.optim.SGD(
            [w.value for w in model.get_layer("head").weights], 0.1
        ),
        lambda optimizer, model: GradientTap(optimizer, model=model),
    )
    norms = samples.quantity("gradient_rms")
    assert np.isnan(norms[:, :2]).all()
    assert (norms[:, 2:] > 0.0).all()
    assert (samples.quantity("update_rms")[:, :2] == 0.0).all()
