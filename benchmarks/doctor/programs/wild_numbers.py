"""Unlike programs, healthy and faulty: numbers, time, chance and schedules.

Written before any was run with a doctor. A gain of 0 is that of the best
constant prediction. Where the best possible prediction is known and far from
perfect, because the rest is noise, a gain of 1 is that of the best possible one
(`towards`), else of a perfect one.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data, expected
from benchmarks.doctor.data import Array, Data
from benchmarks.doctor.nets import mlp
from benchmarks.doctor.recipe import (
    Batches,
    Fit,
    Recipe,
    balanced,
    fit,
    r_squared,
)
from benchmarks.doctor.registry import faulty, faulty_fit, healthy

# Tables of programs read better in their own layout.
# fmt: off

schedules = keras.optimizers.schedules


def adam(rate: Any, **arguments: Any) -> Any:
    return lambda: keras.optimizers.Adam(
        rate() if callable(rate) else rate, **arguments)


def sgd(rate: Any, momentum: float = 0.9, **arguments: Any) -> Any:
    return lambda: keras.optimizers.SGD(
        rate() if callable(rate) else rate, momentum, **arguments)


def towards(best: float, constant: float, reached: float) -> float:
    """0 for the constant prediction's cost, 1 for the best known one's."""
    if not np.isfinite(reached):
        return -1.0
    return float(max((constant - reached) / (constant - best), -1.0))


def predicted(m: Any, x: Any) -> Array:
    return np.asarray(m.predict(x, verbose=0, batch_size=256), "float64")


# What can be predicted is a fiftieth of the variance.


@functools.cache
def returns(rows: int = 40_000, features: int = 8) -> Any:
    """Signals of shares, and the next day's return in per cent.

    Last comes the part of the returns that the signals determine.
    """
    random = np.random.default_rng(50)
    x = random.standard_t(5, (rows, features)).astype("float32")
    known = 0.2 * (x[:, 0] - 0.7 * x[:, 1] + 0.5 * np.tanh(x[:, 2] * x[:, 3]))
    y = known + 1.4 * random.standard_t(4, rows)
    return x, y.astype("float32")[:, None], known


def judged_returns(m: Any) -> float:
    """Share of what the true signal explains: R² of .02 can be all there is."""
    x, _, known = returns()
    half = len(x) // 2
    return r_squared(known[half:, None], predicted(m, x[half:]))


def trader(hidden: tuple[int, ...], rate: float, epochs: int,
           loss: Any = "mse", batch: int = 256, **arguments: Any) -> Any:
    def build() -> Fit:
        x, y, _ = returns()
        half = len(x) // 2
        model = keras.Sequential([keras.Input((x.shape[1],))])
        for units in hidden:
            model.add(layers.Dense(
                units, "relu", kernel_regularizer=keras.regularizers.L2(1e-3)))
            model.add(layers.Dropout(0.1))
        model.add(layers.Dense(1, kernel_initializer=(
            keras.initializers.RandomNormal(stddev=0.05))))
        model.compile(keras.optimizers.Adam(rate), loss)
        return fit(model, x[:half], y[:half], epochs, judged_returns,
                   batch_size=batch, **arguments)

    return build


healthy("wild-returns-linear", "noise ceiling", trader((), 1e-3, 6))
healthy("wild-returns-huber", "noise ceiling",
        trader((), 2e-3, 4, "huber", validation_split=0.2))
healthy("wild-returns-one-epoch", "noise ceiling",
        trader((16,), 3e-3, 1, batch=64))
healthy("wild-returns-network", "noise ceiling",
        trader((16,), 1e-3, 3, shuffle=False, validation_split=0.15))
faulty_fit("wild-returns-rate-too-high", "noise ceiling",
           expected.RATE_TOO_HIGH, "wild-returns-linear", trader((), 0.3, 6))


@functools.cache
def clicks(rows: int = 12_000) -> Any:
    """Is an advertisement clicked? One in twenty is; codes of rare things."""
    random = np.random.default_rng(51)
    site = np.minimum(random.zipf(1.3, rows), 5000)
    hour = random.integers(0, 24, rows)
    advertisement = random.integers(0, 40, rows)
    of_site = random.normal(0.0, 0.7, 5001)[site]
    of_hour = 0.5 * np.sin(hour / 24 * 2 * np.pi)
    of_advertisement = random.normal(0.0, 0.7, 40)[advertisement]
    chance = 1.0 / (1.0 + np.exp(3.4 - of_site - of_hour - of_advertisement))
    y = (random.random(rows) < chance).astype("float32")[:, None]
    x = np.stack([
        [zlib.crc32(b"%d" % s) % 300 for s in site],
        300 + hour, 324 + advertisement], axis=1).astype("int32")
    return x, y, chance[:, None]


def clicking(epochs: int, rate: float, **arguments: Any) -> Callable[[], Fit]:
    """Gain in expected log loss, over that of the true chances."""

    def build() -> Fit:
        x, y, chance = clicks()
        half = len(x) // 3

        def cost(p: Array) -> float:
            p = np.clip(p, 1e-6, 1.0 - 1e-6)
            c = chance[:half]
            return float(-np.mean(c * np.log(p) + (1.0 - c) * np.log(1.0 - p)))

        source = keras.Input((3,), dtype="int32")
        wide = layers.Flatten()(layers.Embedding(
            364, 1, embeddings_initializer="zeros")(source))
        deep = layers.Flatten()(layers.Embedding(364, 4)(source))
        deep = layers.Dense(1)(layers.Dense(8, "relu")(deep))
        logit = ops.sum(wide, -1, keepdims=True) + deep
        model = keras.Model(source, layers.Activation("sigmoid")(logit))
        model.compile(keras.optimizers.Adam(rate), "binary_crossentropy",
                      metrics=["accuracy", "auc"])

        def judge(m: Any) -> float:
            p = predicted(m, x[:half])
            return towards(cost(chance[:half]),
                           cost(np.full_like(p, chance.mean())), cost(p))

        return fit(model, x[half:], y[half:], epochs, judge, batch_size=128,
                   **arguments)

    return build


healthy("wild-clicks", "noise ceiling", clicking(3, 4e-3))
healthy("wild-clicks-two-epochs", "few epochs",
        clicking(2, 6e-3, validation_split=0.1))


# Time, in its order.


@functools.cache
def load(days: int = 160) -> Any:
    """Hourly load of a grid in megawatts: windows of two days, and the next."""
    random = np.random.default_rng(52)
    hour = np.arange(24 * days)
    wander = np.zeros(len(hour))
    for i in range(1, len(hour)):
        wander[i] = 0.98 * wander[i - 1] + random.normal(0.0, 0.12)
    mean = (np.sin(hour / 24 * 2 * np.pi) + 0.4 * np.sin(hour / 12 * 2 * np.pi)
            + 0.6 * ((hour // 24) % 7 < 5) + 0.3 * hour / len(hour))
    value = 31_000.0 + 4_000.0 * (mean + wander)
    views = np.lib.stride_tricks.sliding_window_view(value, 72)
    return views[:, :48].astype("float32"), views[:, 48:].astype("float32")


def forecast(net: str = "gru", scaled: bool = True, late: int = 0,
             **arguments: Any) -> Callable[[], Fit]:
    """A day ahead; windows in their order. R² on the last quarter."""

    def build() -> Fit:
        x, y = load()
        cut = len(x) * 3 // 4
        mean, spread = x[:cut].mean(), x[:cut].std()
        x = (x - mean) / spread
        y_scaled = (y - mean) / spread
        given = y_scaled if scaled else y
        if late:
            given = np.roll(given, late, 0)
        model = keras.Sequential([keras.Input((48,))])
        if net == "gru":
            model.add(layers.Reshape((24, 2)))
            model.add(layers.GRU(24))
        elif net == "conv":
            model.add(layers.Reshape((48, 1)))
            for step in (1, 2, 4):
                model.add(layers.Conv1D(24, 3, padding="causal",
                                        dilation_rate=step, activation="relu"))
            model.add(layers.Flatten())
        model.add(layers.Dense(24))
        model.compile(keras.optimizers.Adam(2e-3), "mse", metrics=["mae"])

        def judge(m: Any) -> float:
            p = predicted(m, x[cut:])
            return r_squared(y_scaled[cut:] if scaled else y[cut:], p)

        return fit(model, x[:cut], given[:cut], 6, judge, shuffle=False,
                   **arguments)

    return build


healthy("wild-load-in-order", "time series", forecast())
healthy("wild-load-convolution", "time series",
        forecast("conv", validation_split=0.2))
healthy("wild-load-linear", "time series", forecast("linear"))
faulty_fit("wild-load-in-megawatts", "time series", expected.TARGET_SCALE,
           "wild-load-in-order", forecast(scaled=False))
faulty_fit("wild-load-rows-off", "time series", expected.SHUFFLED
           | expected.WEAK, "wild-load-convolution",
           forecast("conv", late=11, validation_split=0.2))


def waves_of_brain() -> Fit:
    """EEG: the next sample of four channels; in order, last quarter held."""
    import matplotlib.cbook

    file: Any = matplotlib.cbook.get_sample_data("eeg.dat", asfileobj=False)
    value = np.fromfile(file, "float64").reshape(-1, 4)
    value = ((value - value.mean(0)) / value.std(0)).astype("float32")
    views = np.lib.stride_tricks.sliding_window_view(value, 25, axis=0)
    x, y = views[:, :, :24].swapaxes(1, 2), views[:, :, 24]
    cut = len(x) * 3 // 4
    model = keras.Sequential([
        keras.Input((24, 4)), layers.LSTM(24, dropout=0.1), layers.Dense(4)])
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return fit(model, x[:cut], y[:cut], 20,
               lambda m: r_squared(y[cut:], predicted(m, x[cut:])),
               shuffle=False, validation_data=(x[cut:], y[cut:]))


healthy("wild-eeg-in-order", "time series", waves_of_brain)


def reservoir() -> Fit:
    """An echo state network: only the last layer is trained."""
    d = data.waves()
    body = layers.SimpleRNN(
        100, recurrent_initializer=keras.initializers.Orthogonal(0.9),
        trainable=False)
    model = keras.Sequential([
        keras.Input((20, 1)), body, layers.Dense(1, name="readout")])
    model.compile(keras.optimizers.Adam(5e-3), "mse")
    return fit(model, d.x, d.y, 25,
               lambda m: r_squared(d.y_test, predicted(m, d.x_test)))


healthy("wild-reservoir", "transfer", reservoir)


# Losses that go with counts, times, order and spread.


def counts(activation: str, scale: float = 1.0) -> Callable[[], Fit]:
    """Poisson counts; gain in deviance, over that of the true rates."""

    def build() -> Fit:
        random = np.random.default_rng(53)
        x = random.normal(0.0, 1.0, (2400, 6)).astype("float32")
        rate = np.exp(0.8 * np.sin(2.0 * x[:, :1]) + 0.5 * x[:, 1:2] - 0.6)
        y = random.poisson(rate).astype("float32")
        model = keras.Sequential([
            keras.Input((6,)), layers.Dense(48, "relu"),
            layers.Dense(24, "relu"), layers.Dense(1, activation)])
        model.compile(keras.optimizers.Adam(3e-3), "poisson")

        def cost(p: Array) -> float:
            p = np.clip(p, 1e-6, 1e6)
            return float(np.mean(p - rate[:600] * np.log(p)))

        def judge(m: Any) -> float:
            p = predicted(m, x[:600])
            return towards(cost(rate[:600]),
                           cost(np.full_like(p, rate.mean())), cost(p))

        return fit(model, x[600:], y[600:] * scale, 12, judge)

    return build


healthy("wild-counts-poisson", "own likelihood", counts("exponential"))
faulty_fit("wild-counts-linear-head", "own likelihood", expected.HEAD
           | expected.NON_FINITE, "wild-counts-poisson", counts("linear"))


def hinge(labels: tuple[float, float], rate: float = 3e-3) -> Any:
    def own_hinge(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.relu(1.0 - y_true * y_pred), axis=-1)

    def build() -> Fit:
        d = data.cancer()
        model = mlp(24)(d, layers.Dense(1))
        model.compile(keras.optimizers.Adam(rate), own_hinge)
        y = np.where(d.y == 1, labels[1], labels[0]).astype("float32")
        return fit(model, d.x, y[:, None], 15, lambda m: balanced(
            d.y_test, (predicted(m, d.x_test)[:, 0] > 0).astype(int), 2))

    return build


healthy("wild-hinge", "own likelihood", hinge((-1.0, 1.0)))
faulty_fit("wild-hinge-of-zeros", "own likelihood", expected.LABELS
           | expected.COLLAPSE, "wild-hinge", hinge((0.0, 1.0)))


def survival() -> Fit:
    """Hazards of ten intervals; some subjects leave before the event.

    Gain is the share of pairs in the right order, from half (0) to all (1).
    """
    random = np.random.default_rng(54)
    x = random.normal(0.0, 1.0, (2000, 5)).astype("float32")
    risk = x[:, 0] + 0.8 * np.abs(x[:, 1]) - 0.5 * x[:, 2]
    time = np.minimum(random.exponential(4.0 * np.exp(-1.2 * risk)), 50.0)
    leaves = random.exponential(12.0, 2000)
    seen = np.minimum(time, leaves)
    interval = np.minimum(seen.astype(int), 9)
    before = np.arange(10) < interval[:, None]
    event = (np.arange(10) == interval[:, None]) & (time <= leaves)[:, None]
    y = np.concatenate([before | event, event], 1).astype("float32")

    def hazards(y_true: Any, y_pred: Any) -> Any:
        at_risk, event = y_true[:, :10], y_true[:, 10:]
        cost = ops.softplus(y_pred) - event * y_pred
        return ops.sum(at_risk * cost, axis=-1)

    model = keras.Sequential([
        keras.Input((5,)), layers.Dense(32, "relu"), layers.Dense(10)])
    model.compile(keras.optimizers.Adam(3e-3), hazards)

    def judge(m: Any) -> float:
        hazard = 1.0 / (1.0 + np.exp(-predicted(m, x[:500])))
        alive = np.cumprod(1.0 - hazard, axis=1).sum(1)
        earlier = time[:500, None] < time[None, :500]
        right = (alive[:, None] < alive[None])[earlier].mean()
        return float(2.0 * right - 1.0)

    return fit(model, x[500:], y[500:], 12, judge)


healthy("wild-survival-hazards", "own likelihood", survival)


def spread_too(rate: float = 3e-3, offset: float = 0.0) -> Callable[[], Fit]:
    """Mean and spread of small noise: the loss falls below zero."""

    def build() -> Fit:
        random = np.random.default_rng(55)
        x = random.uniform(-2.0, 2.0, (2000, 2)).astype("float32")
        mean = 0.4 * np.sin(2.0 * x[:, :1]) * x[:, 1:]
        y = mean + 0.05 * (1.1 + x[:, :1]**2) * random.normal(size=mean.shape)
        y = y.astype("float32")

        def likelihood(y_true: Any, y_pred: Any) -> Any:
            mean, spread = y_pred[:, :1], y_pred[:, 1:]
            spread = 0.01 + ops.softplus(spread)
            return offset + ops.mean(
                ops.log(spread) + 0.5 * ((y_true - mean) / spread)**2, axis=-1)

        model = keras.Sequential([
            keras.Input((2,)), layers.Dense(48, "tanh"),
            layers.Dense(48, "tanh"), layers.Dense(2)])
        model.compile(keras.optimizers.Adam(rate), likelihood)
        return fit(model, x[500:], y[500:], 30, lambda m: r_squared(
            mean[:500], predicted(m, x[:500])[:, :1]))

    return build


healthy("wild-negative-likelihood", "offset loss", spread_too())
healthy("wild-offset-likelihood", "offset loss", spread_too(offset=250.0))


def mixture_of_normals() -> Fit:
    """Two branches at each place; gain in likelihood from one normal (0).

    1 is the likelihood of the true density.
    """
    random = np.random.default_rng(56)
    x = random.uniform(-1.0, 1.0, (2400, 1)).astype("float32")
    branch = np.where(random.random(x.shape) < 0.5, 1.0, -1.0)
    y = branch * (0.4 + 0.5 * np.abs(x)) + 0.08 * random.normal(size=x.shape)
    y = y.astype("float32")

    def likelihood(y_true: Any, y_pred: Any) -> Any:
        share, mean, spread = ops.split(y_pred, 3, axis=-1)
        spread = ops.clip(spread, -5.0, 2.0)
        each = (ops.log_softmax(share) - spread
                - 0.5 * ((y_true - mean) / ops.exp(spread))**2)
        return -ops.logsumexp(each, axis=-1)

    model = keras.Sequential([
        keras.Input((1,)), layers.Dense(32, "tanh"), layers.Dense(32, "tanh"),
        layers.Dense(9)])
    model.compile(keras.optimizers.Adam(5e-3), likelihood)

    def judge(m: Any) -> float:
        p = ops.convert_to_tensor(predicted(m, x[:600]).astype("float32"))
        reached = float(ops.convert_to_numpy(ops.mean(likelihood(
            ops.convert_to_tensor(y[:600]), p))))
        constant = np.log(y.std()) + 0.5
        return towards(np.log(0.08) + 0.5 + np.log(2.0), constant, reached)

    return fit(model, x[600:], y[600:], 25, judge)


healthy("wild-mixture-density", "offset loss", mixture_of_normals)


def grades(one_unit: bool) -> Callable[[], Fit]:
    """Grades of a quality as soft labels: neighbours are nearly right."""

    def build() -> Fit:
        d = data.friedman(2000)
        edges = np.quantile(d.y, [0.1, 0.3, 0.6, 0.9])
        y, y_test = (np.searchsorted(edges, v[:, 0]) for v in (d.y, d.y_test))
        if one_unit:
            model = mlp(48)(d, layers.Dense(1, "softmax"))
            model.compile(keras.optimizers.Adam(3e-3), "mse")
            target = (y / 4.0).astype("float32")[:, None]
        else:
            model = mlp(48)(d, layers.Dense(5, "softmax"))
            model.compile(keras.optimizers.Adam(3e-3), "kl_divergence")
            target = np.exp(-2.0 * np.abs(np.arange(5) - y[:, None]))
            target = (target / target.sum(1, keepdims=True)).astype("float32")

        def judge(m: Any) -> float:
            p = predicted(m, d.x_test)
            got = np.rint(p[:, 0] * 4) if one_unit else p.argmax(-1)
            return balanced(y_test, got.astype(int), 5)

        return fit(model, d.x, target, 20, judge)

    return build


healthy("wild-grades-soft", "ordinal", grades(False))
faulty_fit("wild-grades-softmax-of-one", "ordinal", expected.HEAD
           | expected.COLLAPSE, "wild-grades-soft", grades(True))


# Several numbers of very different size.


def house(weighted: bool, scaled: bool) -> Callable[[], Fit]:
    """Price, rooms and a share; gain is the mean R² of the three."""

    def build() -> Fit:
        d = data.friedman(1600)
        random = np.random.default_rng(57)
        weights = random.normal(0.0, 1.0, (10, 2))

        def targets(x: Array, y: Array) -> list[Array]:
            other = np.tanh(x @ weights)
            rows = [300_000.0 + 90_000.0 * y, 4.0 + other[:, :1],
                    0.05 + 0.02 * other[:, 1:]]
            if scaled:
                rows = [y, other[:, :1], other[:, 1:]]
            return [r.astype("float32") for r in rows]

        y, y_test = targets(d.x, d.y), targets(d.x_test, d.y_test)
        source = keras.Input((10,))
        body = layers.Dense(64, "relu")(source)
        body = layers.Dense(32, "relu")(body)
        names = ["price", "rooms", "share"]
        outputs = []
        for name, values in zip(names, y, strict=True):
            out = layers.Dense(1)(body)
            if weighted:  # what is learned is scaled back
                out = layers.Rescaling(float(values.std()),
                                       float(values.mean()))(out)
            outputs.append(layers.Identity(name=name)(out))
        model = keras.Model(source, outputs)
        model.compile(
            keras.optimizers.Adam(3e-3), ["mse"] * 3,
            loss_weights=[float(1.0 / v.var()) for v in y] if weighted
            else None)

        def judge(m: Any) -> float:
            return float(np.mean([
                r_squared(t, np.asarray(p, "float64"))
                for t, p in zip(y_test, m.predict(d.x_test, verbose=0),
                                strict=True)]))

        return fit(model, d.x, y, 20, judge)

    return build


healthy("wild-house-weighted", "several outputs", house(True, False))
healthy("wild-house-scaled", "several outputs", house(False, True))
faulty_fit("wild-house-price-alone", "several outputs", expected.TARGET_SCALE,
           "wild-house-scaled", house(False, False))


def only_watched() -> Fit:
    """A second output that no loss asks for; metrics alone."""
    d = data.digits()
    source = keras.Input((64,))
    body = layers.Dense(48, "relu", name="body")(source)
    digit = layers.Dense(10, "softmax", name="digit")(body)
    model = keras.Model(source, [digit, body])
    model.compile(keras.optimizers.Adam(3e-3),
                  ["sparse_categorical_crossentropy", None],
                  metrics=[["accuracy"], None])
    nothing = np.zeros((len(d.y), 48), "float32")
    return fit(model, d.x, [d.y, nothing], 12, lambda m: balanced(
        d.y_test, m.predict(d.x_test, verbose=0)[0].argmax(-1), 10))


healthy("wild-features-without-loss", "several outputs", only_watched)


# Schedules, averages and sizes of batches.


class OneCycle(keras.callbacks.Callback):
    """The rate rises for a third of the run, then falls to almost nothing."""

    def __init__(self, peak: float, steps: int) -> None:
        super().__init__()
        self.peak, self.steps, self.step = peak, steps, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        share = self.step / self.steps
        rate = share * 3 if share < 1 / 3 else 1.5 * (1.0 - share)
        self.model.optimizer.learning_rate = self.peak * max(rate, 1e-3)
        self.step += 1


class Averaged(keras.callbacks.Callback):
    """Stochastic weight averaging: at the end, the mean of many epochs."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start, self.count = start, 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch < self.start:
            return
        now = self.model.get_weights()
        mean = self.mean if self.count else now
        self.count += 1
        self.mean = [m + (n - m) / self.count
                     for m, n in zip(mean, now, strict=True)]

    def on_train_end(self, logs: Any = None) -> None:
        self.model.set_weights(self.mean)


healthy("wild-cosine-restarts", "schedule", Recipe(
    lambda: data.mnist(1600), mlp(64), epochs=15, validation="split",
    metrics=("accuracy",), optimizer=sgd(
        lambda: schedules.CosineDecayRestarts(0.1, 60, t_mul=2.0))))
healthy("wild-one-cycle", "schedule", Recipe(
    data.friedman, mlp(64, 32), epochs=15, optimizer=adam(1e-3), fit={
        "callbacks": lambda: [OneCycle(0.02, 24 * 15)]}))
healthy("wild-weights-averaged", "schedule", Recipe(
    data.digits, mlp(64), epochs=14, optimizer=sgd(0.2), fit={
        "callbacks": lambda: [Averaged(6)]}))
healthy("wild-moving-average", "schedule", Recipe(
    data.cars, mlp(48, 24), epochs=30, validation="held",
    optimizer=adam(5e-3, use_ema=True, ema_momentum=0.9), fit={
        "callbacks": lambda: [keras.callbacks.SwapEMAWeights()]}))
healthy("wild-warm-up-half-the-run", "schedule", Recipe(
    data.digits, mlp(64), epochs=14, optimizer=sgd(
        lambda: schedules.PolynomialDecay(1e-5, 300, 0.1))))
healthy("wild-rate-on-plateau", "schedule", Recipe(
    data.boston, mlp(48, 24), epochs=40, validation="split",
    optimizer=adam(0.01), fit={"callbacks": lambda: [
        keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=3)]}))
healthy("wild-patience", "early stopping", Recipe(
    data.hard, mlp(64, 32), epochs=200, validation="held",
    optimizer=adam(2e-3), metrics=("accuracy",), fit={"callbacks": lambda: [
        keras.callbacks.EarlyStopping(
            patience=6, restore_best_weights=True)]}))
healthy("wild-patience-of-shares", "early stopping", Recipe(
    data.shares, mlp(24), epochs=150, validation="split",
    optimizer=adam(3e-3), fit={"callbacks": lambda: [
        keras.callbacks.EarlyStopping(
            patience=10, restore_best_weights=True)], "shuffle": False}))
faulty("wild-warm-up-longer-than-run", "schedule", expected.RATE_TOO_SMALL,
       "wild-warm-up-half-the-run", optimizer=sgd(
           lambda: schedules.PolynomialDecay(0.0, 100_000, 0.1)))
faulty("wild-restarts-rate-too-high", "schedule", expected.RATE_TOO_HIGH,
       "wild-cosine-restarts", optimizer=sgd(
           lambda: schedules.CosineDecayRestarts(10.0, 60, t_mul=2.0)))

healthy("wild-one-row-a-batch", "tiny batches", Recipe(
    data.cars, mlp(16), epochs=4, batch=1, optimizer=sgd(3e-3, 0.0)))
healthy("wild-two-rows-a-batch", "tiny batches", Recipe(
    data.wine, mlp(24), epochs=8, batch=2, optimizer=adam(2e-3),
    metrics=("accuracy",)))
healthy("wild-accumulated", "tiny batches", Recipe(
    data.digits, mlp(64), epochs=8, batch=4, optimizer=adam(
        5e-3, gradient_accumulation_steps=8)))
faulty("wild-accumulated-too-long", "tiny batches", expected.RATE_TOO_SMALL
       | expected.UNTRAINED, "wild-accumulated", optimizer=adam(
           5e-3, gradient_accumulation_steps=800))
healthy("wild-300-epochs", "many epochs", Recipe(
    data.wine, mlp(), epochs=300, batch=200, optimizer=sgd(0.1, 0.9)))
healthy("wild-300-epochs-tanh", "many epochs", Recipe(
    data.moons, mlp(16, activation="tanh"), epochs=300, batch=1000,
    optimizer=adam(0.01), validation="held", metrics=("accuracy",)))


# Noise on purpose.


class Mixed(Batches):
    """Mixup: rows and soft labels, blended in pairs."""

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        x, y = super().__getitem__(index)
        random = np.random.default_rng(index + 1000 * int(self.order[0]))
        share = random.beta(0.4, 0.4, (len(x), 1)).astype("float32")
        other = random.permutation(len(x))
        return (share * x + (1 - share) * x[other],
                share * y + (1 - share) * y[self.partner(random, other)])

    def partner(self, random: Any, other: Array) -> Array:
        return other


class MixedWithOthers(Mixed):
    """The rows are blended with some, the labels with others."""

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        x, y = super().__getitem__(index)
        return x, y[np.random.default_rng(index).permutation(len(y))]


def mixed(rows: type[Mixed], smoothing: float = 0.0) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.mnist(1600)
        model = mlp(96)(d, layers.Dense(10, "softmax"))
        model.compile(
            keras.optimizers.Adam(2e-3),
            keras.losses.CategoricalCrossentropy(label_smoothing=smoothing),
            metrics=["accuracy"])
        y = np.eye(10, dtype="float32")[d.y]
        return Fit(model, {"x": rows(d.x, y, 32), "epochs": 12},
                   lambda m: balanced(
                       d.y_test, predicted(m, d.x_test).argmax(-1), 10))

    return build


healthy("wild-mixup", "noise on purpose", mixed(Mixed))
healthy("wild-mixup-smoothed", "noise on purpose", mixed(Mixed, 0.2))
faulty_fit("wild-mixup-other-labels", "noise on purpose", expected.SHUFFLED,
           "wild-mixup", mixed(MixedWithOthers))


def dropped(d: Data, head: Any) -> Any:
    model = keras.Sequential([keras.Input(d.x.shape[1:])])
    for _ in range(2):
        model.add(layers.Dense(128, "relu"))
        model.add(layers.Dropout(0.7))
    model.add(head)
    return model


def noisy(d: Data, head: Any) -> Any:
    return keras.Sequential([
        keras.Input(d.x.shape[1:]), layers.GaussianNoise(1.0),
        layers.Dense(64, "relu"), layers.GaussianDropout(0.4), head])


healthy("wild-heavy-dropout", "noise on purpose", Recipe(
    data.digits, dropped, epochs=14, metrics=("accuracy",)))
healthy("wild-noisy-inputs", "noise on purpose", Recipe(
    data.cancer, noisy, epochs=20))


def twice_before_split(d: Data) -> Data:
    """Rows of the rare class, several times each, on both sides of a split."""
    rare = np.flatnonzero(d.y == 1)
    rows = np.concatenate([np.arange(len(d.y)), np.repeat(rare, 8)])
    rows = np.random.default_rng(58).permutation(rows)
    cut = len(rows) // 4
    return dataclasses.replace(
        d, x=d.x[rows[cut:]], y=d.y[rows[cut:]],
        validation=(d.x[rows[:cut]], d.y[rows[:cut]]))


def rare_and_hard() -> Data:
    """One row in ten is of the rare class, by features of little use."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        1600, 24, n_informative=4, weights=[0.9], flip_y=0.08, class_sep=0.7,
        random_state=1)
    return data.split(x, y, "binary", standardize=True)


healthy("wild-rare-weighted", "long tail", Recipe(
    rare_and_hard, mlp(64, 32), epochs=12, optimizer=adam(1e-3), fit={
        "class_weight": {0: 1.0, 1: 6.0}}, metrics=("accuracy",)))
faulty("wild-rare-twice-before-split", "long tail", expected.OVERLAP
       | expected.OVERFITTING, "wild-rare-weighted", epochs=40, fit={},
       change=twice_before_split, validation="held",
       metrics=("accuracy",), reported="val_accuracy", optimizer=adam(3e-3))


def many_classes(zipf: bool = True) -> Callable[[], Fit]:
    """Two hundred classes, most of them rare; accuracy beyond the commonest."""

    def build() -> Fit:
        random = np.random.default_rng(59)
        shares = 1.0 / np.arange(1, 201)
        y = random.choice(200, 5000, p=shares / shares.sum()).astype("int32")
        centre = random.normal(0.0, 1.0, (200, 16))
        x = (centre[y] + random.normal(0.0, 0.5, (5000, 16))).astype("float32")
        model = keras.Sequential([
            keras.Input((16,)), layers.Dense(64, "relu"),
            layers.Dense(200, "softmax")])
        model.compile(keras.optimizers.Adam(3e-3),
                      "sparse_categorical_crossentropy")
        share = np.bincount(y[:1000]).max() / 1000

        def judge(m: Any) -> float:
            right = np.mean(predicted(m, x[:1000]).argmax(-1) == y[:1000])
            return float((right - share) / (1.0 - share))

        return fit(model, x[1000:], y[1000:], 8, judge)

    return build


healthy("wild-200-classes", "long tail", many_classes())


def focal() -> Fit:
    """Focal loss of rare positives, among many labels."""
    random = np.random.default_rng(60)
    x = random.normal(0.0, 1.0, (3000, 20)).astype("float32")
    score = x @ random.normal(0.0, 1.0, (20, 12))
    y = (score > np.quantile(score, 0.96, axis=0)).astype("float32")
    model = keras.Sequential([
        keras.Input((20,)), layers.Dense(64, "relu"),
        layers.Dense(12, "sigmoid")])
    model.compile(keras.optimizers.Adam(5e-3),
                  keras.losses.BinaryFocalCrossentropy(gamma=2.0),
                  metrics=["binary_accuracy"])

    def judge(m: Any) -> float:
        """Mean over the labels of the area under the curve, 0 for chance."""
        p = predicted(m, x[:600])
        areas = [np.mean(p[t == 1, i][:, None] > p[t == 0, i])
                 for i, t in enumerate(y[:600].T)]
        return float(2.0 * np.mean(areas) - 1.0)

    return fit(model, x[600:], y[600:], 10, judge)


healthy("wild-focal-rare-labels", "long tail", focal)
