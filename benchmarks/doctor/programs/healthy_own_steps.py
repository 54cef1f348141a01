"""Healthy programs with several inputs or outputs, or a step of their own."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data
from benchmarks.doctor.nets import mlp
from benchmarks.doctor.recipe import Fit, balanced, gain, r_squared
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def fit(
    model: Any, x: Any, y: Any, epochs: int, judge: Callable[[Any], float],
    **arguments: Any,
) -> Fit:
    return Fit(
        model,
        {"x": x, "y": y, "epochs": epochs, "batch_size": 32, **arguments},
        judge,
    )


# Several inputs and outputs.


def two_towers(activation: str = "relu") -> Callable[[], Fit]:
    """Are two images of the same digit? Shared tower, distance."""

    def build() -> Fit:
        d = data.digits()
        random = np.random.default_rng(20)

        def pairs(x: Any, y: Any, count: int) -> Any:
            left = random.integers(0, len(x), count)
            right = random.integers(0, len(x), count)
            for i in range(0, count, 2):
                right[i] = random.choice(np.flatnonzero(y == y[left[i]]))
            return [x[left], x[right]], (y[left] == y[right]).astype("float32")

        x, y = pairs(d.x, d.y, 2000)
        x_test, y_test = pairs(d.x_test, d.y_test, 500)
        tower = keras.Sequential(
            [keras.Input((64,)), layers.Dense(64, activation), layers.Dense(16)]
        )
        a, b = keras.Input((64,)), keras.Input((64,))
        both = layers.Subtract()([tower(a), tower(b)])
        both = layers.Dense(16, "relu")(ops.square(both))
        model = keras.Model([a, b], layers.Dense(1, "sigmoid")(both))
        model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
        return fit(model, x, y, 12, lambda m: balanced(
            y_test, (m.predict(x_test, verbose=0)[:, 0] > 0.5).astype(int), 2))

    return build


def several_outputs(
    weights: list[float] | None, named: bool
) -> Callable[[], Fit]:
    """The digit, and whether it is even."""

    def build() -> Fit:
        d, e = data.digits(), data.even_digits()
        source = keras.Input((64,))
        body = layers.Dense(64, "relu")(source)
        digit = layers.Dense(10, "softmax", name="digit")(body)
        even = layers.Dense(1, "sigmoid", name="even")(body)
        losses = ["sparse_categorical_crossentropy", "binary_crossentropy"]
        y: Any = [d.y, e.y]
        names = ["digit", "even"]
        if named:
            model = keras.Model(source, {"digit": digit, "even": even})
            y = dict(zip(names, y, strict=True))
            model.compile(
                keras.optimizers.Adam(3e-3),
                dict(zip(names, losses, strict=True)),
                loss_weights=weights and dict(zip(names, weights, strict=True)),
            )
        else:
            model = keras.Model(source, [digit, even])
            model.compile(
                keras.optimizers.Adam(3e-3), losses, loss_weights=weights
            )

        def judge(m: Any) -> float:
            p = m.predict(d.x_test, verbose=0)
            return gain(d, p["digit"] if named else p[0])

        return fit(model, d.x, y, 12, judge)

    return build


def class_and_number() -> Fit:
    """A class and a number from one body."""
    d = data.digits()
    ink, ink_test = d.x.sum(1) / 20.0 - 1.0, d.x_test.sum(1) / 20.0 - 1.0
    source = keras.Input((64,))
    body = layers.Dense(48, "relu")(source)
    model = keras.Model(
        source,
        [layers.Dense(10, "softmax")(body), layers.Dense(1)(body)],
    )
    model.compile(
        keras.optimizers.Adam(3e-3), ["sparse_categorical_crossentropy", "mse"]
    )

    def judge(m: Any) -> float:
        digit, number = m.predict(d.x_test, verbose=0)
        return min(gain(d, digit), r_squared(ink_test, number[:, 0]))

    return fit(model, d.x, [d.y, ink], 12, judge)


def two_inputs() -> Fit:
    """Upper and lower half of an image."""
    d = data.digits()
    a, b = keras.Input((32,), name="a"), keras.Input((32,), name="b")
    x = layers.Concatenate()(
        [layers.Dense(32, "relu")(a), layers.Dense(32, "relu")(b)]
    )
    model = keras.Model([a, b], layers.Dense(10, "softmax")(x))
    model.compile(
        keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy"
    )
    held = [d.x_test[:, :32], d.x_test[:, 32:]]
    return fit(model, {"a": d.x[:, :32], "b": d.x[:, 32:]}, d.y, 10,
               lambda m: gain(d, m.predict(held, verbose=0)))


healthy("towers-relu", "several inputs", two_towers())
healthy("towers-tanh", "several inputs", two_towers("tanh"))
healthy("two-inputs", "several inputs", two_inputs)
healthy("two-outputs", "several outputs", several_outputs(None, False))
healthy("two-outputs-named", "several outputs", several_outputs(None, True))
healthy("two-outputs-weighted", "several outputs",
        several_outputs([1.0, 0.1], False))
healthy("class-and-number", "several outputs", class_and_number)


# A subclassed model, and sample weights.


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.one = layers.Dense(64, "relu")
        self.two = layers.Dense(32, "relu")
        self.out = layers.Dense(10, "softmax")

    def call(self, x: Any) -> Any:
        return self.out(self.two(self.one(x)))


variant("digits-subclassed", "own model", "digits-mlp",
        net=lambda d, head: Subclassed())
variant("digits-sample-weights", "own model", "digits-mlp",
        fit={"sample_weight": lambda: 0.5 + np.random.default_rng(1).random(
            len(data.digits().x))})


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
    """Points of a curve from noise, judged by the other network."""

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


class Centre(layers.Layer):
    """Adds a loss of its own: codes near 0."""

    def call(self, x: Any) -> Any:
        self.add_loss(1e-3 * ops.mean(x**2))
        return x


def with_added_loss(d: Any, head: Any) -> Any:
    source = keras.Input(d.x.shape[1:])
    x = Centre()(layers.Dense(64, "relu")(source))
    return keras.Model(source, head(x))


variant("digits-added-loss", "own model", "digits-mlp", net=with_added_loss)
variant("cancer-added-loss", "own model", "cancer-mlp", net=with_added_loss)
variant("digits-jit-off", "compiled", "digits-mlp",
        compile={"jit_compile": lambda: False})
variant("digits-eager", "compiled", "digits-mlp", epochs=8,
        compile={"run_eagerly": lambda: True})
variant("digits-nested", "own model", "digits-mlp", net=lambda d, head:
        keras.Sequential([keras.Input((64,)),
                          mlp(48)(d, layers.Dense(32, "relu")), head]))
