"""Healthy programs with a `train_step` of their own: TensorFlow and torch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data
from benchmarks.doctor.recipe import Fit, fit, gain, r_squared
from benchmarks.doctor.registry import healthy

# Tables of programs read better in their own layout.
# fmt: off


class WithOwnStep(keras.Model):
    """The plain step, written out for whichever backend there is."""

    def train_step(self, *given: Any) -> Any:
        if keras.backend.backend() == "jax":
            raise NotImplementedError("These programs need another backend.")
        batch = given[0]
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        return self.step(x)

    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        """One step of one optimizer on some of the variables."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = loss_of()
            gradients = tape.gradient(loss, [v.value for v in variables])
        else:
            loss = loss_of()
            for variable in variables:
                variable.value.grad = None
            loss.backward()
            gradients = [v.value.grad for v in variables]
        optimizer.apply(gradients, variables)
        return loss

    def step(self, x: Any) -> Any:
        raise NotImplementedError


class VariationalAutoencoder(WithOwnStep):
    def __init__(self, size: int, latent: int = 4, weight: float = 0.01):
        super().__init__()
        self.weight = weight
        self.encoder = keras.Sequential(
            [keras.Input((size,)), layers.Dense(64, "relu"),
             layers.Dense(2 * latent)]
        )
        self.decoder = keras.Sequential(
            [keras.Input((latent,)), layers.Dense(64, "relu"),
             layers.Dense(size)]
        )
        self.seeds = keras.random.SeedGenerator(1)
        self.loss_tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> Any:
        return [self.loss_tracker]

    def call(self, x: Any) -> Any:
        return self.decoder(ops.split(self.encoder(x), 2, axis=-1)[0])

    def loss_of(self, x: Any) -> Any:
        mean, log_variance = ops.split(self.encoder(x), 2, axis=-1)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        again = self.decoder(mean + ops.exp(0.5 * log_variance) * noise)
        divergence = ops.exp(log_variance) + mean**2 - 1.0 - log_variance
        return ops.mean((x - again) ** 2) + self.weight * ops.mean(divergence)

    def step(self, x: Any) -> Any:
        loss = self.descend(
            lambda: self.loss_of(x), self.trainable_variables, self.optimizer
        )
        self.loss_tracker.update_state(loss)
        return {"loss": self.loss_tracker.result()}


def vae(name: str, latent: int, epochs: int) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.to_itself(name)
        model = VariationalAutoencoder(d.x.shape[1], latent)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(3e-3))
        return fit(model, d.x, None, epochs, lambda m: r_squared(
            d.x_test, np.asarray(m.predict(d.x_test, verbose=0), "float64")))

    return build


healthy("vae-digits", "own step", vae("digits", 6, 14))
healthy("vae-digits-wide", "own step", vae("digits", 12, 14))
healthy("vae-mnist", "own step", vae("mnist", 10, 10))


class GAN(WithOwnStep):
    """Points of a curve from noise, judged by the discriminator."""

    def __init__(self, latent: int = 4, size: int = 2) -> None:
        super().__init__()
        self.latent = latent
        self.generator = keras.Sequential(
            [keras.Input((latent,)), layers.Dense(32, "relu"),
             layers.Dense(32, "relu"), layers.Dense(size)]
        )
        self.critic = keras.Sequential(
            [keras.Input((size,)), layers.Dense(32, "leaky_relu"),
             layers.Dense(32, "leaky_relu"), layers.Dense(1)]
        )
        self.seeds = keras.random.SeedGenerator(2)
        self.trackers = [
            keras.metrics.Mean(name="critic_loss"),
            keras.metrics.Mean(name="generator_loss"),
        ]

    def compile(self, generator: Any, critic: Any) -> None:
        super().compile(optimizer=generator)
        self.critic_optimizer = critic

    @property
    def metrics(self) -> Any:
        return self.trackers

    def call(self, x: Any) -> Any:
        return self.critic(x)

    def fake(self, count: Any) -> Any:
        return self.generator(
            keras.random.normal((count, self.latent), seed=self.seeds)
        )

    def step(self, x: Any) -> Any:
        count = ops.shape(x)[0]

        def critic_loss() -> Any:
            real = ops.softplus(-self.critic(x))
            fake = ops.softplus(
                self.critic(ops.stop_gradient(self.fake(count)))
            )
            return ops.mean(real) + ops.mean(fake)

        def generator_loss() -> Any:
            return ops.mean(ops.softplus(-self.critic(self.fake(count))))

        for tracker, loss_of, network, optimizer in zip(
            self.trackers,
            (critic_loss, generator_loss),
            (self.critic, self.generator),
            (self.critic_optimizer, self.optimizer),
            strict=True,
        ):
            tracker.update_state(
                self.descend(loss_of, network.trainable_variables, optimizer)
            )
        return {m.name: m.result() for m in self.trackers}


def gan(source: str, epochs: int = 30) -> Callable[[], Fit]:
    def build() -> Fit:
        random = np.random.default_rng(21)
        if source == "ring":
            angle = random.uniform(0, 2 * np.pi, 1600)
            x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        elif source == "clusters":
            x = np.array([[1, 1], [-1, 1], [0, -1]])[
                random.integers(0, 3, 1600)
            ]
            x = x + random.normal(0.0, 0.1, x.shape)
        else:
            x = data.iris().x[:, :2].repeat(12, axis=0)
        x = x.astype("float32")
        model = GAN()
        model(x[:2])
        model.generator(np.zeros((2, 4), "float32"))
        model.compile(
            keras.optimizers.Adam(2e-3, beta_1=0.5),
            keras.optimizers.Adam(2e-3, beta_1=0.5),
        )

        def judge(m: Any) -> float:
            fake = ops.convert_to_numpy(m.fake(500))
            near = ((x[:400, None] - fake[None]) ** 2).sum(-1)
            # How far real points are from the nearest made one, and vice
            # versa, in units of the data's own spread.
            distance = near.min(1).mean() + near.min(0).mean()
            return float(1.0 - distance / (2.0 * x.var(0).sum()))

        return fit(model, x, None, epochs, judge)

    return build


healthy("gan-ring", "own step", gan("ring"))
healthy("gan-clusters", "own step", gan("clusters"))
healthy("gan-iris", "own step", gan("iris"))


class Regularized(WithOwnStep):
    """A classifier whose step adds a consistency term."""

    def __init__(self) -> None:
        super().__init__()
        self.body = keras.Sequential(
            [keras.Input((64,)), layers.Dense(64, "relu"),
             layers.Dense(10)]
        )
        self.tracker = keras.metrics.Mean(name="loss")
        self.seeds = keras.random.SeedGenerator(3)

    @property
    def metrics(self) -> Any:
        return [self.tracker]

    def call(self, x: Any) -> Any:
        return self.body(x)

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]

        def loss_of() -> Any:
            noisy = x + 0.1 * keras.random.normal(ops.shape(x), seed=self.seeds)
            one, two = self.body(x), self.body(noisy)
            loss = keras.losses.sparse_categorical_crossentropy(
                y, one, from_logits=True
            )
            return ops.mean(loss) + 0.1 * ops.mean((one - two) ** 2)

        loss = self.descend(loss_of, self.trainable_variables, self.optimizer)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def consistent() -> Fit:
    d = data.digits()
    model = Regularized()
    model(d.x[:2])
    model.compile(keras.optimizers.Adam(3e-3))
    return fit(model, d.x, d.y, 10,
               lambda m: gain(d, m.predict(d.x_test, verbose=0)))


healthy("digits-consistency", "own step", consistent, "digits-mlp")
