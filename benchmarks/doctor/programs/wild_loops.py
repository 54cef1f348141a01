"""Unlike programs, healthy and faulty: loops of fits, policies, own steps.

Written before any was run with a doctor. Each call of `fit` gets the callbacks.
A gain of 0 is that of the best constant prediction or, of policies, of a random
one; 1 is a perfect one.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data, expected
from benchmarks.doctor.data import Array, Data
from benchmarks.doctor.nets import mlp
from benchmarks.doctor.programs.healthy_own_steps import WithOwnStep
from benchmarks.doctor.programs.wild_numbers import predicted
from benchmarks.doctor.programs.wild_structures import (
    conv_body,
    learned_body,
)
from benchmarks.doctor.recipe import Fit, balanced, fit, gain, r_squared
from benchmarks.doctor.registry import faulty_fit, healthy

# Tables of programs read better in their own layout.
# fmt: off

ENTROPY = "sparse_categorical_crossentropy"
Callbacks = list[Any]


def loop(model: Any, train: Callable[[Callbacks], Iterator[Any]],
         judge: Callable[[Any], float]) -> Fit:
    return Fit(model, {}, judge, train=train)


def classifier(d: Data, rate: float = 3e-3, *hidden: int) -> Any:
    model = mlp(*(hidden or (64,)))(d, layers.Dense(d.units, "softmax"))
    model.compile(keras.optimizers.Adam(rate), ENTROPY, metrics=["accuracy"])
    return model


# One epoch a call, or a part of the rows.


def epoch_by_epoch(anew: bool, shown: bool = False) -> Callable[[], Fit]:
    """`anew`: the function that makes the model is called in the loop."""

    def build() -> Fit:
        d = data.digits()
        models = [classifier(d, 4e-4)]

        def train(callbacks: Callbacks) -> Iterator[Any]:
            for _ in range(14):
                if anew:
                    models[0] = classifier(d, 4e-4)
                yield models[0].fit(
                    d.x, d.y, epochs=1, batch_size=32, verbose=0,
                    callbacks=callbacks,
                    validation_data=(d.x_test, d.y_test) if shown else None)

        return loop(models[0], train, lambda m: gain(
            d, predicted(models[0], d.x_test)))

    return build


healthy("wild-epoch-by-epoch", "loop of fits", epoch_by_epoch(False))
healthy("wild-epoch-by-epoch-shown", "loop of fits",
        epoch_by_epoch(False, True))
faulty_fit("wild-new-model-each-epoch", "loop of fits",
           expected.RATE_TOO_SMALL | expected.WEAK, "wild-epoch-by-epoch",
           epoch_by_epoch(True))


def in_chunks(in_order: bool) -> Callable[[], Fit]:
    """Files of rows, one after the other; `in_order`: sorted by class."""

    def build() -> Fit:
        d = data.mnist(2000)
        model = classifier(d, 2e-3)
        rows = np.argsort(d.y, kind="stable") if in_order else np.arange(
            len(d.y))

        def train(callbacks: Callbacks) -> Iterator[Any]:
            for part in np.array_split(rows, 8):
                yield model.fit(d.x[part], d.y[part], epochs=3, batch_size=32,
                                verbose=0, callbacks=callbacks)

        return loop(model, train, lambda m: gain(d, predicted(m, d.x_test)))

    return build


healthy("wild-chunks", "loop of fits", in_chunks(False))
faulty_fit("wild-chunks-sorted", "loop of fits", expected.SORTED,
           "wild-chunks", in_chunks(True))


def curriculum() -> Fit:
    """The sum of two marked numbers, of longer and longer sequences."""
    parts = [data.adding(length) for length in (4, 8, 16)]
    # Targets are scaled alike.
    model = keras.Sequential([
        keras.Input((None, 2)), layers.GRU(24), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(8e-3), "mse")

    def train(callbacks: Callbacks) -> Iterator[Any]:
        for d in parts:
            yield model.fit(d.x, d.y, epochs=8, batch_size=64, verbose=0,
                            callbacks=callbacks)

    last = parts[-1]
    return loop(model, train, lambda m: r_squared(
        last.y_test, predicted(m, last.x_test)))


def harder() -> Fit:
    """Noisier and noisier images: the loss rises from call to call."""
    d = data.digits()
    random = np.random.default_rng(90)
    model = classifier(d)
    x_test = d.x_test + 0.35 * random.normal(size=d.x_test.shape)

    def train(callbacks: Callbacks) -> Iterator[Any]:
        for noise in (0.0, 0.1, 0.2, 0.3, 0.4):
            yield model.fit(
                d.x + noise * random.normal(size=d.x.shape), d.y, epochs=4,
                batch_size=32, verbose=0, callbacks=callbacks)

    return loop(model, train, lambda m: gain(d, predicted(m, x_test)))


healthy("wild-longer-and-longer", "curriculum", curriculum)
healthy("wild-noisier-and-noisier", "curriculum", harder)


def two_phases(second: float) -> Callable[[], Fit]:
    """First the new head, then the whole network at a small rate."""

    def build() -> Fit:
        weights = learned_body()
        d = data.mnist_images(1600)
        body = conv_body()
        body.set_weights(weights)
        model = keras.Sequential([
            keras.Input((14, 14, 1)), body, layers.Dense(10, "softmax")])

        def train(callbacks: Callbacks) -> Iterator[Any]:
            for trainable, rate, epochs in ((False, 5e-3, 5),
                                            (True, second, 8)):
                body.trainable = trainable
                model.compile(keras.optimizers.Adam(rate), ENTROPY,
                              metrics=["accuracy"])
                yield model.fit(
                    d.x, d.y, epochs=epochs, batch_size=32, verbose=0,
                    callbacks=callbacks, validation_split=0.1)

        return loop(model, train, lambda m: gain(d, predicted(m, d.x_test)))

    return build


healthy("wild-two-phases", "transfer", two_phases(5e-4))
faulty_fit("wild-two-phases-rate-too-high", "transfer",
           expected.RATE_TOO_HIGH | expected.DEAD, "wild-two-phases",
           two_phases(0.1))


def own_labels() -> Fit:
    """Few labels; then what the model is sure of is taken for labels too."""
    d = data.digits()
    known, others = d.x[:150], d.x[150:]
    model = classifier(d)

    def train(callbacks: Callbacks) -> Iterator[Any]:
        x, y = known, d.y[:150]
        for epochs in (20, 6, 6, 6):
            yield model.fit(x, y, epochs=epochs, batch_size=32,
                                       verbose=0, callbacks=callbacks)
            p = predicted(model, others)
            sure = p.max(-1) > 0.9
            x = np.concatenate([known, others[sure]])
            y = np.concatenate([d.y[:150], p[sure].argmax(-1)])

    return loop(model, train, lambda m: gain(d, predicted(m, d.x_test)))


healthy("wild-own-labels", "loop of fits", own_labels)


def layer_by_layer() -> Fit:
    """Each layer as an autoencoder, then all of them with a head."""
    d = data.mnist(1600)
    sizes = (784, 96, 32)
    stack = [layers.Dense(n, "sigmoid") for n in sizes[1:]]
    model = keras.Sequential([
        keras.Input((784,)), *stack, layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.Adam(5e-3), ENTROPY)

    def train(callbacks: Callbacks) -> Iterator[Any]:
        x = d.x
        for size, layer in zip(sizes, stack, strict=False):
            single = keras.Sequential([
                keras.Input((size,)), layer, layers.Dense(size, "sigmoid")])
            single.compile(keras.optimizers.Adam(3e-3), "mse")
            yield single.fit(
                x, x, epochs=6, batch_size=32, verbose=0,
                callbacks=callbacks)
            x = predicted(keras.Sequential([
                keras.Input((size,)), layer]), x).astype("float32")
        yield model.fit(
            d.x, d.y, epochs=10, batch_size=32, verbose=0,
            callbacks=callbacks)

    return loop(model, train, lambda m: gain(d, predicted(m, d.x_test)))


healthy("wild-layer-by-layer", "loop of fits", layer_by_layer)


def boosted() -> Fit:
    """Small networks, each of which learns what the others leave."""
    d = data.friedman()
    models: list[Any] = []

    def summed(x: Array) -> Array:
        return np.sum([0.6 * predicted(m, x) for m in models], 0)

    def train(callbacks: Callbacks) -> Iterator[Any]:
        for _ in range(6):
            rest = d.y - summed(d.x) if models else d.y
            model = mlp(8)(d, layers.Dense(1))
            model.compile(keras.optimizers.Adam(0.01), "mse")
            yield model.fit(
                d.x, rest.astype("float32"), epochs=6, batch_size=32,
                verbose=0, callbacks=callbacks)
            models.append(model)

    return loop(None, train, lambda m: r_squared(d.y_test, summed(d.x_test)))


healthy("wild-boosted", "loop of fits", boosted)


def folds() -> Fit:
    """Five folds, five models; gain is their mean."""
    d = data.wine()
    models: list[Any] = []

    def train(callbacks: Callbacks) -> Iterator[Any]:
        for held in np.array_split(np.arange(len(d.y)), 5):
            rest = np.setdiff1d(np.arange(len(d.y)), held)
            models.append(classifier(d, 5e-3, 16))
            yield models[-1].fit(
                d.x[rest], d.y[rest], epochs=15, batch_size=16, verbose=0,
                validation_data=(d.x[held], d.y[held]), callbacks=callbacks)

    return loop(None, train, lambda m: float(np.mean([
        gain(d, predicted(model, d.x_test)) for model in models])))


healthy("wild-five-folds", "loop of fits", folds)


# Policies.


def bandit() -> Fit:
    """Guesses digits and is told only whether it was right."""
    d = data.digits()
    random = np.random.default_rng(91)
    model = mlp(64)(d, layers.Dense(10, "softmax"))
    model.compile(keras.optimizers.Adam(1e-3), ENTROPY)

    def train(callbacks: Callbacks) -> Iterator[Any]:
        for _ in range(60):
            p = predicted(model, d.x)
            drawn = random.random((len(p), 1))
            chosen = np.minimum((p.cumsum(1) < drawn).sum(1), 9)
            reward = (chosen == d.y).astype("float32")
            yield model.fit(
                d.x, chosen, sample_weight=reward - reward.mean(),
                batch_size=64, verbose=0, callbacks=callbacks)

    return loop(model, train, lambda m: gain(d, predicted(m, d.x_test)))


healthy("wild-bandit", "policy", bandit)


def push(state: Array, right: Array) -> tuple[Array, Array]:
    """A cart with a pole on it, as in Barto, Sutton and Anderson 1983."""
    _, speed, angle, turn = state.T
    force = np.where(right, 10.0, -10.0)
    part = (force + 0.05 * turn**2 * np.sin(angle)) / 1.1
    turning = (9.8 * np.sin(angle) - np.cos(angle) * part) / (
        0.5 * (4.0 / 3.0 - 0.1 * np.cos(angle) ** 2 / 1.1))
    moving = part - 0.05 * turning * np.cos(angle) / 1.1
    state = state + 0.02 * np.stack([speed, moving, turn, turning], 1)
    return state, (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)


def episodes(model: Any, random: Any, count: int, greedy: bool = False) -> Any:
    """States, pushes and which carts still stand: one row a step."""
    state = random.uniform(-0.05, 0.05, (count, 4))
    alive = np.ones(count, bool)
    states, pushes, standing = [], [], []
    for _ in range(120):
        p = np.asarray(model.predict_on_batch(state.astype("float32")))[:, 1]
        right = p > (0.5 if greedy else random.random(count))
        states.append(state)
        pushes.append(right)
        standing.append(alive)
        state, stands = push(state, right)
        alive = alive & stands
        if not alive.any():
            break
    return np.stack(states), np.stack(pushes), np.stack(standing)


def pole(normalized: bool, sign: float = 1.0) -> Callable[[], Fit]:
    """REINFORCE. Gain: 0 is a random policy's 22 steps, 1 is all 120."""

    def build() -> Fit:
        random = np.random.default_rng(92)
        model = keras.Sequential([
            keras.Input((4,)), layers.Dense(16, "tanh"),
            layers.Dense(2, "softmax")])
        model.compile(
            keras.optimizers.Adam(0.01) if normalized
            else keras.optimizers.SGD(0.1, 0.9), ENTROPY)

        def train(callbacks: Callbacks) -> Iterator[Any]:
            for _ in range(40):
                states, pushes, standing = episodes(model, random, 12)
                rewards = standing * (1.0 if normalized else 100.0)
                returns = np.zeros_like(rewards)
                after = np.zeros(rewards.shape[1])
                for step in range(len(rewards))[::-1]:
                    after = rewards[step] + 0.97 * after
                    returns[step] = after
                returns = returns[standing]
                if normalized:
                    returns = (returns - returns.mean()) / (
                        returns.std() + 1e-6)
                yield model.fit(
                    states[standing].astype("float32"),
                    pushes[standing].astype("int32"),
                    sample_weight=(sign * returns).astype("float32"),
                    batch_size=128, epochs=1, verbose=0, callbacks=callbacks)

        def judge(m: Any) -> float:
            _, _, standing = episodes(
                m, np.random.default_rng(93), 24, greedy=True)
            return float((standing.sum(0).mean() - 22.0) / 98.0)

        return loop(model, train, judge)

    return build


healthy("wild-pole", "policy", pole(True))
faulty_fit("wild-pole-raw-returns", "policy", expected.RATE_TOO_HIGH
           | expected.TARGET_SCALE | expected.SATURATED, "wild-pole",
           pole(False))
faulty_fit("wild-pole-wrong-sign", "policy", expected.WRONG_LOSS, "wild-pole",
           pole(True, -1.0))


def grid(update: int, gamma: float = 0.9) -> Callable[[], Fit]:
    """Q-learning with a memory and a second network, in a field of 6 × 6.

    Gain: share of the places from which the goal is reached without a detour
    of more than two steps.
    """

    def build() -> Fit:
        random = np.random.default_rng(94)
        eye = np.eye(36, dtype="float32")
        moves = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])

        def network() -> Any:
            model = keras.Sequential([
                keras.Input((36,)), layers.Dense(48, "relu"),
                layers.Dense(4)])
            model.compile(keras.optimizers.Adam(5e-3), "huber")
            return model

        model, target = network(), network()

        def moved(place: Array, action: Array) -> Array:
            spot = np.stack(np.divmod(place, 6), -1) + moves[action]
            spot = np.clip(spot, 0, 5)
            return spot[..., 0] * 6 + spot[..., 1]

        def train(callbacks: Callbacks) -> Iterator[Any]:
            memory = np.zeros((0, 3), int)
            for turn in range(60):
                place = random.integers(0, 35, 40)
                values = model.predict_on_batch(eye[place])
                explore = random.random(40) < max(1.0 - turn / 30, 0.2)
                action = np.where(explore, random.integers(0, 4, 40),
                                  np.asarray(values).argmax(-1))
                after = moved(place, action)
                memory = np.concatenate(
                    [memory, np.stack([place, action, after], 1)])[-1500:]
                rows = memory[random.integers(0, len(memory), 256)]
                y = np.array(model.predict_on_batch(eye[rows[:, 0]]))
                later = np.asarray(target.predict_on_batch(eye[rows[:, 2]]))
                at_goal = rows[:, 2] == 35
                y[np.arange(256), rows[:, 1]] = np.where(
                    at_goal, 1.0, -0.02 + gamma * later.max(-1))
                yield model.fit(
                    eye[rows[:, 0]], y, batch_size=32, epochs=2, verbose=0,
                    callbacks=callbacks)
                if update and turn % update == update - 1:
                    target.set_weights(model.get_weights())

        def judge(m: Any) -> float:
            best = predicted(m, eye).argmax(-1)
            place = np.arange(35)
            far = 10 - place // 6 - place % 6
            reached = np.full(35, 99)
            for step in range(1, 14):
                place = np.where(place == 35, 35, moved(place, best[place]))
                reached = np.where((place == 35) & (reached == 99),
                                   step, reached)
            return float(np.mean(reached <= far + 2))

        return loop(model, train, judge)

    return build


healthy("wild-grid", "policy", grid(3))
healthy("wild-grid-rarely-updated", "policy", grid(6))
faulty_fit("wild-grid-never-updated", "policy", expected.WEAK
           | expected.SHUFFLED, "wild-grid", grid(0))


# Steps of their own: TensorFlow and torch.


class Attacked(WithOwnStep):
    """Each batch a second time, moved against the model."""

    def __init__(self, units: int, far: float) -> None:
        super().__init__()
        self.body = keras.Sequential([
            layers.Dense(96, "relu"), layers.Dense(units)])
        self.far = far
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> Any:
        return [self.tracker]

    def call(self, x: Any) -> Any:
        return self.body(x)

    def cost(self, x: Any, y: Any) -> Any:
        return ops.mean(keras.losses.sparse_categorical_crossentropy(
            y, self.body(x), from_logits=True))

    def away(self, x: Any, y: Any) -> Any:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = self.cost(x, y)
            slope = tape.gradient(loss, x)
        else:
            import torch

            moved = x.detach().clone().requires_grad_(True)
            slope, = torch.autograd.grad(self.cost(moved, y), moved)
        return ops.stop_gradient(x + self.far * ops.sign(slope))

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]
        worse = self.away(x, y)
        loss = self.descend(
            lambda: 0.5 * (self.cost(x, y) + self.cost(worse, y)),
            self.trainable_variables, self.optimizer)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def attacked(far: float) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.digits()
        model = Attacked(10, far)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(3e-3))
        return fit(model, d.x, d.y, 12,
                   lambda m: gain(d, predicted(m, d.x_test)))

    return build


healthy("wild-attacked", "own step", attacked(0.05))
healthy("wild-attacked-strongly", "own step", attacked(0.25))


class TwoRates(WithOwnStep):
    """One optimizer for the table of letters, one for the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(32, 12)
        self.body = keras.Sequential([
            layers.Conv1D(32, 3, activation="relu"),
            layers.GlobalMaxPooling1D(), layers.Dense(1)])
        self.tracker = keras.metrics.Mean(name="objective")
        self.second = keras.optimizers.SGD(0.5)

    @property
    def metrics(self) -> Any:
        return [self.tracker]

    def call(self, x: Any) -> Any:
        return self.body(self.table(x))

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]
        y = ops.reshape(ops.cast(y, "float32"), (-1, 1))

        def cost() -> Any:
            logit = self(x)
            return ops.mean(ops.softplus(logit) - y * logit)

        self.tracker.update_state(self.descend(
            cost, self.body.trainable_variables, self.optimizer))
        self.descend(cost, self.table.trainable_variables, self.second)
        return {"objective": self.tracker.result()}


def two_rates() -> Fit:
    d = data.nouns()
    model = TwoRates()
    model(d.x[:2])
    model.compile(keras.optimizers.Adam(3e-3))
    return fit(model, d.x, d.y, 10, lambda m: balanced(
        d.y_test, (predicted(m, d.x_test)[:, 0] > 0).astype(int), 2))


healthy("wild-two-optimizers", "own step", two_rates)


class MeanTeacher(WithOwnStep):
    """A second network follows slowly; few labels, and agreement with it."""

    def __init__(self, follows: bool) -> None:
        super().__init__()
        self.body, self.teacher = (keras.Sequential([
            keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(10)])
            for _ in range(2))
        self.teacher.trainable = False
        self.follows = follows
        self.seeds = keras.random.SeedGenerator(95)
        self.tracker = keras.metrics.Mean(name="loss")

    @property
    def metrics(self) -> Any:
        return [self.tracker]

    def call(self, x: Any) -> Any:
        return self.teacher(x)

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]
        labelled = ops.cast(y >= 0, "float32")
        noisy = x + 0.15 * keras.random.normal(ops.shape(x), seed=self.seeds)
        wanted = ops.stop_gradient(ops.softmax(self.teacher(x)))

        def cost() -> Any:
            logits = self.body(noisy)
            hard = keras.losses.sparse_categorical_crossentropy(
                ops.maximum(y, 0), logits, from_logits=True)
            apart = ops.mean((ops.softmax(logits) - wanted) ** 2, -1)
            return ops.mean(labelled * hard) + 2.0 * ops.mean(apart)

        loss = self.descend(cost, self.body.trainable_variables,
                            self.optimizer)
        if self.follows:
            for slow, fast in zip(self.teacher.variables, self.body.variables,
                                  strict=True):
                slow.assign(0.97 * slow + 0.03 * fast)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def mean_teacher(follows: bool) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.digits()
        model = MeanTeacher(follows)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(3e-3))
        y = np.where(np.arange(len(d.y)) % 5 == 0, d.y, -1).astype("int32")
        return fit(model, d.x, y, 16,
                   lambda m: gain(d, predicted(m, d.x_test)))

    return build


healthy("wild-mean-teacher", "own step", mean_teacher(True))
faulty_fit("wild-mean-teacher-stays", "own step", expected.UNTRAINED
           | expected.WRONG_LOSS, "wild-mean-teacher", mean_teacher(False))
