"""Gradients the brute-force way: the backend's own autodiff, one batch."""

import keras
import numpy as np


def gradients(model, x, y):
    """Loss of the compiled model on a batch, and dL/dv of each variable."""
    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow(model, x, y)
        case "jax":
            return _jax(model, x, y)
        case "torch":
            return _torch(model, x, y)


def _tensorflow(model, x, y):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        y_pred = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=y_pred, training=True)
    found = tape.gradient(loss, model.trainable_weights)
    return float(loss), [
        None if g is None else tf.convert_to_tensor(g).numpy() for g in found
    ]


def _jax(model, x, y):
    import jax

    def loss_of(trainable, non_trainable):
        y_pred, _, losses = model.stateless_call(
            trainable, non_trainable, x, training=True, return_losses=True
        )
        return model.loss(y, y_pred) + sum(losses)

    loss, found = jax.value_and_grad(loss_of)(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
    )
    return float(loss), [np.asarray(g) for g in found]


def _torch(model, x, y):
    import torch

    y_pred = model(x, training=True)
    loss = model.compute_loss(
        x=x, y=keras.ops.convert_to_tensor(y), y_pred=y_pred, training=True
    )
    found = torch.autograd.grad(
        loss,
        [v.value for v in model.trainable_weights],
        allow_unused=True,
    )
    return loss.item(), [None if g is None else g.cpu().numpy() for g in found]


def derivative(function):
    """d/dt of `function(t)` at `t = 0`, both scalars."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            t = tf.zeros(())
            with tf.GradientTape() as tape:
                tape.watch(t)
                value = function(t)
            slope = tape.gradient(value, t)
            return 0.0 if slope is None else float(slope)
        case "jax":
            import jax

            return float(jax.jit(jax.grad(function))(0.0))
        case "torch":
            import torch

            t = torch.zeros((), requires_grad=True)
            value = function(t)
            if not value.requires_grad:
                return 0.0
            [slope] = torch.autograd.grad(value, [t], allow_unused=True)
            return 0.0 if slope is None else slope.item()
