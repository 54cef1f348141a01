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
    return loss.item(), [None if g is None else g.numpy() for g in found]
