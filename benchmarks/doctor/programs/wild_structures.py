"""Unlike programs, healthy and faulty: images, graphs, sets, tables of users.

Written before any was run with a doctor. A gain of 0 is that of the best
constant prediction, of 1 that of a perfect one or, where the docstring says so,
of the best that is known.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data, expected
from benchmarks.doctor.data import Array
from benchmarks.doctor.programs.wild_numbers import predicted, towards
from benchmarks.doctor.recipe import Fit, balanced, fit, r_squared
from benchmarks.doctor.registry import faulty_fit, healthy

# Tables of programs read better in their own layout.
# fmt: off

ENTROPY = "sparse_categorical_crossentropy"


def mean_of_output(y_true: Any, y_pred: Any) -> Any:
    """The model gives its own loss; targets are no more than a formality."""
    return ops.mean(y_pred, axis=-1)


# Experts and a router.


class Experts(layers.Layer):
    """The best expert of each row, times its share; balanced by a loss."""

    def __init__(self, count: int, bias: float = 0.0, hidden: int = 1) -> None:
        super().__init__()
        start = np.zeros(count, "float32")
        start[0] = bias
        self.count = count
        self.router = layers.Dense(
            count, bias_initializer=lambda shape, dtype=None:
            ops.convert_to_tensor(start))
        self.experts = [layers.Dense(hidden) for _ in range(count)]

    def build(self, shape: Any) -> None:
        self.router.build(shape)
        for expert in self.experts:
            expert.build(shape)

    def call(self, x: Any) -> Any:
        shares = ops.softmax(self.router(x))
        best = ops.one_hot(ops.argmax(shares, -1), self.count)
        self.add_loss(0.01 * self.count * ops.sum(
            ops.mean(best, 0) * ops.mean(shares, 0)))
        outputs = ops.stack([e(x) for e in self.experts], axis=1)
        return ops.sum((best * shares)[..., None] * outputs, axis=1)


def experts(bias: float, soft: bool = False) -> Callable[[], Fit]:
    """Five regions, in each of which another plane holds."""

    def build() -> Fit:
        random = np.random.default_rng(70)
        x = random.normal(0.0, 1.0, (2400, 6)).astype("float32")
        region = np.digitize(x[:, 0], [-1.0, -0.3, 0.3, 1.0])
        planes = random.normal(0.0, 1.0, (5, 6))
        y = np.sum(x * planes[region], 1, keepdims=True).astype("float32")
        y = (y - y.mean()) / y.std()
        source = keras.Input((6,))
        if soft:
            shares = layers.Dense(5, "softmax", name="router")(
                layers.Dense(16, "relu")(source))
            each = layers.Dense(5)(source)
            out = ops.sum(shares * each, axis=-1, keepdims=True)
        else:
            out = Experts(6, bias)(source)
        model = keras.Model(source, out)
        model.compile(keras.optimizers.Adam(0.01), "mse")
        return fit(model, x[600:], y[600:], 25, lambda m: r_squared(
            y[:600], predicted(m, x[:600])))

    return build


healthy("wild-experts-best", "experts", experts(0.0))
healthy("wild-experts-blended", "experts", experts(0.0, soft=True))
faulty_fit("wild-experts-all-but-one-dead", "experts", expected.SATURATED
           | expected.DEAD | expected.WEAK | expected.UNTRAINED,
           "wild-experts-best", experts(30.0))


# Similarity.


def separated(m: Any, d: Any) -> float:
    """How well the nearest class mean tells classes apart, in the embedding."""
    a, b = (predicted(m, x) for x in (d.x, d.x_test))
    if not np.isfinite(a).all():
        return 0.0
    means = np.stack([a[d.y == c].mean(0) for c in range(d.units)])
    near = ((b[:, None] - means) ** 2).sum(-1).argmin(-1)
    return balanced(d.y_test, near, d.units)


def triplets(margin: float, swapped: bool = False) -> Callable[[], Fit]:
    """Anchor, same, other; three numbers wide. Gain of the nearest mean."""

    def build() -> Fit:
        d = data.digits()
        random = np.random.default_rng(71)
        anchor = random.integers(0, len(d.x), 2400)
        rows = {c: np.flatnonzero(d.y == c) for c in range(10)}
        same = np.array([random.choice(rows[int(d.y[i])]) for i in anchor])
        other = np.array([
            random.choice(rows[int(d.y[i] + random.integers(1, 10)) % 10])
            for i in anchor])
        if swapped:
            same, other = other, same
        tower = keras.Sequential([
            keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(3),
            layers.UnitNormalization()])
        sources = [keras.Input((64,)) for _ in range(3)]
        a, p, n = (tower(s) for s in sources)
        near, far = (ops.sum((a - v) ** 2, -1, keepdims=True) for v in (p, n))
        model = keras.Model(sources, ops.relu(margin + near - far))
        model.compile(keras.optimizers.Adam(3e-3), mean_of_output)
        x = [d.x[i] for i in (anchor, same, other)]
        return fit(model, x, np.zeros((2400, 1), "float32"), 10,
                   lambda m: separated(tower, d))

    return build


healthy("wild-triplets-inputs", "similarity", triplets(0.5))
faulty_fit("wild-triplets-swapped", "similarity", expected.WRONG_LOSS
           | expected.LABELS, "wild-triplets-inputs", triplets(0.5, True))


def two_views(kind: str) -> Callable[[], Fit]:
    """Two noisy views of each image, without labels.

    Gain of the nearest class mean: 0 is that of an untrained tower.
    """

    def build() -> Fit:
        d = data.digits()
        tower = keras.Sequential([keras.Input((64,))])
        for layer in (
            [layers.Dense(96, "relu"), layers.Dense(8)] if kind == "contrast"
            else [layers.Dense(96, use_bias=False),
                  layers.BatchNormalization(), layers.ReLU(), layers.Dense(8),
                  layers.BatchNormalization()]
        ):
            tower.add(layer)
        source = keras.Input((64,))

        def view() -> Any:
            return layers.GaussianNoise(0.15)(layers.Dropout(0.2)(source))

        a, b = tower(view()), tower(view())

        def unit(v: Any) -> Any:
            return layers.UnitNormalization()(v)

        if kind == "contrast":
            model = keras.Model(source, ops.concatenate([unit(a), unit(b)]))
        else:
            predictor = keras.Sequential([
                layers.Dense(32, "relu"), layers.Dense(8)])
            stop = ops.stop_gradient if kind == "stopped" else (lambda v: v)
            alike = (
                ops.sum(unit(predictor(a)) * stop(unit(b)), -1, keepdims=True)
                + ops.sum(unit(predictor(b)) * stop(unit(a)), -1, keepdims=True)
            )
            model = keras.Model(source, -0.5 * alike)

        def contrast(y_true: Any, y_pred: Any) -> Any:
            """Each view finds its other among those of the batch."""
            a, b = ops.split(y_pred, 2, axis=-1)
            logits = ops.matmul(a, ops.transpose(b)) / 0.2
            own = ops.sum(a * b, -1) / 0.2
            return 0.5 * (ops.logsumexp(logits, 1)
                          + ops.logsumexp(logits, 0)) - own

        model.compile(
            keras.optimizers.Adam(3e-3),
            contrast if kind == "contrast" else mean_of_output)
        return fit(
            model, d.x, np.zeros((len(d.x), 1), "float32"), 30,
            lambda m: towards(0.0, 0.43, 1.0 - separated(tower, d)),
            batch_size=64)

    return build


healthy("wild-two-views-contrast", "similarity", two_views("contrast"))
healthy("wild-two-views-stopped", "similarity", two_views("stopped"))


def collapsing() -> Fit:
    """Two views drawn together and nothing that holds others apart."""
    d = data.digits()
    tower = keras.Sequential([
        keras.Input((64,)), layers.Dense(96, "relu"), layers.Dense(8)])
    source = keras.Input((64,))
    a, b = (tower(layers.GaussianNoise(0.15)(layers.Dropout(0.2)(source)))
            for _ in range(2))
    model = keras.Model(source, ops.sum((a - b) ** 2, -1, keepdims=True))
    model.compile(keras.optimizers.Adam(3e-3), mean_of_output)

    return fit(
        model, d.x, np.zeros((len(d.x), 1), "float32"), 30,
        lambda m: towards(0.0, 0.43, 1.0 - separated(tower, d)), batch_size=64)


faulty_fit("wild-two-views-collapse", "similarity", expected.DEGENERATE
           | expected.COLLAPSE, "wild-two-views-contrast", collapsing)


# Recommender.


@functools.cache
def ratings(rows: int = 9000, users: int = 300, items: int = 200) -> Any:
    random = np.random.default_rng(72)
    a, b = (random.normal(0.0, 1.0, (n, 3)) for n in (users, items))
    user = random.integers(0, users, rows).astype("int32")
    item = np.minimum(random.zipf(1.25, rows) - 1, items - 1).astype("int32")
    item = np.where(random.random(rows) < 0.6,
                    random.integers(0, items, rows), item).astype("int32")
    known = 3.4 + 0.45 * np.sum(a[user] * b[item], 1) + 0.3 * b[item, 0]
    stars = np.clip(np.rint(known + random.normal(0.0, 0.5, rows)), 1, 5)
    return user, item, stars.astype("float32")[:, None]


def stars(fault: str = "", deep: bool = False) -> Callable[[], Fit]:
    """Stars from one to five, of which about .3 of the variance is noise."""

    def build() -> Fit:
        user, item, y = ratings()
        held = 2000
        u, i = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
        second = u if fault == "twice the user" else i
        p, q = (layers.Embedding(
            n, 8, embeddings_regularizer=keras.regularizers.L2(1e-5))(v)
            for n, v in ((300, u), (300, second)))
        bias = layers.Embedding(300, 1)(second) + layers.Embedding(300, 1)(u)
        if deep:
            both = layers.Concatenate()([p, q, p * q])
            out = layers.Dense(1)(layers.Dense(32, "relu")(both)) + bias
        else:
            out = ops.sum(p * q, -1, keepdims=True) + bias
            out = layers.Rescaling(1.0, 0.0 if fault else 3.4)(out)
        model = keras.Model([u, i], out)
        model.compile(keras.optimizers.Adam(5e-3), "mse")
        x = [user[held:], item[held:]]
        test = [user[:held], item[:held]]
        more: dict[str, Any] = {}
        if fault == "other numbers":
            # Items numbered in the order in which each table has them.
            _, first = np.unique(test[1], return_index=True)
            order = np.argsort(np.argsort(first))
            known = np.unique(test[1])
            test[1] = order[np.searchsorted(known, test[1])].astype("int32")
            more = {"validation_data": (test, y[:held])}
        return fit(model, x, y[held:], 14,
                   lambda m: r_squared(y[:held], predicted(m, test)),
                   batch_size=64, **more)

    return build


healthy("wild-stars-factors", "recommender", stars())
healthy("wild-stars-deep", "recommender", stars(deep=True))
faulty_fit("wild-stars-twice-the-user", "recommender", expected.WEAK,
           "wild-stars-factors", stars("twice the user"))
faulty_fit("wild-stars-other-numbers", "recommender", expected.SHUFFLED,
           "wild-stars-factors", stars("other numbers"))


def ranked() -> Fit:
    """Bayesian personalized ranking: seen items before others."""
    user, item, y = ratings()
    random = np.random.default_rng(73)
    liked = y[:, 0] >= 4
    user, item = user[liked], item[liked]
    held = len(user) // 5
    sources = [keras.Input((), dtype="int32") for _ in range(3)]
    table, things = layers.Embedding(300, 12), layers.Embedding(200, 12)
    better = layers.Embedding(200, 1)

    def score(u: Any, i: Any) -> Any:
        return ops.sum(table(u) * things(i), -1, keepdims=True) + better(i)

    u, i, j = sources
    model = keras.Model(sources, ops.softplus(score(u, j) - score(u, i)))
    scorer = keras.Model([u, i], score(u, i))
    model.compile(keras.optimizers.Adam(0.01), mean_of_output)
    repeated = np.tile(np.arange(held, len(user)), 3)
    others = random.integers(0, 200, len(repeated)).astype("int32")
    test = random.integers(0, 200, held).astype("int32")

    def judge(m: Any) -> float:
        """Share of pairs in the right order, from half (0) to all (1)."""
        a = predicted(scorer, [user[:held], item[:held]])
        b = predicted(scorer, [user[:held], test])
        return float(2.0 * np.mean(a > b) - 1.0)

    return fit(model, [user[repeated], item[repeated], others],
               np.ones((len(repeated), 1), "float32"), 8, judge, batch_size=64)


healthy("wild-items-ranked", "recommender", ranked)


# A graph in one batch.


@functools.cache
def graph(nodes: int = 400) -> Any:
    """Four groups; few neighbours of other groups, faint features."""
    random = np.random.default_rng(74)
    group = random.integers(0, 4, nodes).astype("int32")
    alike = group[:, None] == group
    edges = random.random((nodes, nodes)) < np.where(alike, 0.04, 0.003)
    edges = np.triu(edges, 1)
    edges = edges + edges.T + np.eye(nodes)
    degree = edges.sum(1)
    walk = edges / np.sqrt(degree[:, None] * degree)
    x = random.normal(0.0, 1.0, (nodes, 24)) + 0.5 * np.eye(4, 24)[group]
    known = random.permutation(nodes) < 100
    return x.astype("float32"), group, walk.astype("float32"), known


def nodes(shuffle: bool, depth: int = 2) -> Callable[[], Fit]:
    """Groups of nodes; one in four is known. Balanced accuracy of others."""

    def build() -> Fit:
        x, group, walk, known = graph()
        source, paths = keras.Input((24,)), keras.Input((len(x),))
        y = source
        for _ in range(depth - 1):
            y = layers.Dense(24, "relu")(ops.matmul(paths, y))
            y = layers.Dropout(0.3)(y)
        y = layers.Dense(4, "softmax")(ops.matmul(paths, y))
        model = keras.Model([source, paths], y)
        model.compile(keras.optimizers.Adam(0.01), ENTROPY,
                      weighted_metrics=["accuracy"])

        def judge(m: Any) -> float:
            p = m.predict([x, walk], batch_size=len(x), verbose=0).argmax(-1)
            return balanced(group[~known], p[~known], 4)

        return fit(model, [x, walk], group, 120, judge, batch_size=len(x),
                   shuffle=shuffle, sample_weight=known.astype("float32"))

    return build


healthy("wild-graph", "graph", nodes(False))
healthy("wild-graph-deeper", "graph", nodes(False, 3))
faulty_fit("wild-graph-shuffled", "graph", expected.SHUFFLED, "wild-graph",
           nodes(True))


# Detection and segmentation.


@functools.cache
def scenes(rows: int = 1600, size: int = 20) -> Any:
    """A digit somewhere in a noisy image, or none."""
    d = data.digits()
    random = np.random.default_rng(75)
    images = np.abs(random.normal(0.0, 0.12, (rows, size, size, 1)))
    mask = np.zeros((rows, size, size, 1))
    chosen = random.integers(0, len(d.x), rows)
    there = random.random(rows) < 0.8
    corner = random.integers(0, size - 8, (rows, 2))
    for row, (top, left) in enumerate(corner):
        if there[row]:
            digit = d.x[chosen[row]].reshape(8, 8, 1)
            images[row, top:top + 8, left:left + 8] += digit
            mask[row, top:top + 8, left:left + 8] = digit > 0.3
    boxes = np.concatenate([corner, corner + 8], 1) / size
    return (images.astype("float32"), there.astype("float32")[:, None],
            d.y[chosen], boxes.astype("float32"), mask.astype("float32"))


def found(fault: str = "") -> Callable[[], Fit]:
    """Is there a digit, which, and where? Mean gain of the three."""

    def build() -> Fit:
        images, there, digit, boxes, _ = scenes()
        held = 400
        size = images.shape[1]
        given = images.copy()
        if fault == "moved":  # an augmentation that forgets the boxes
            random = np.random.default_rng(76)
            for image in given[held:]:
                image[:] = np.roll(image, random.integers(0, size, 2), (0, 1))
        scale = 640.0 if fault == "pixels" else 1.0
        y = np.concatenate(
            [there, digit[:, None], boxes * scale], 1).astype("float32")
        source = keras.Input(images.shape[1:])
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(source)
        x = layers.MaxPooling2D()(x)
        x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dense(96, "relu")(layers.Flatten()(x))
        model = keras.Model(source, layers.Dense(1 + 10 + 4)(x))

        def parts(y_true: Any, y_pred: Any) -> Any:
            there = y_true[:, 0]
            is_there = ops.softplus(y_pred[:, 0]) - there * y_pred[:, 0]
            picked = ops.one_hot(ops.cast(y_true[:, 1], "int32"), 10)
            which = -ops.sum(picked * ops.log_softmax(y_pred[:, 1:11]), -1)
            where = 20.0 * ops.sum((y_true[:, 2:] - y_pred[:, 11:]) ** 2, -1)
            return is_there + there * (which + where)

        model.compile(keras.optimizers.Adam(3e-3), parts)

        def judge(m: Any) -> float:
            p = predicted(m, images[:held])
            real = there[:held, 0] == 1
            return float(np.mean([
                balanced(there[:held, 0], (p[:, 0] > 0).astype(int), 2),
                balanced(digit[:held][real], p[real, 1:11].argmax(-1), 10),
                r_squared(boxes[:held][real] * scale, p[real, 11:])]))

        return fit(model, given[held:], y[held:], 12, judge)

    return build


healthy("wild-detection", "detection", found())
faulty_fit("wild-detection-in-pixels", "detection", expected.TARGET_SCALE,
           "wild-detection", found("pixels"))
faulty_fit("wild-detection-boxes-stay", "detection", expected.SHUFFLED
           | expected.WEAK, "wild-detection", found("moved"))


def overlap(y_true: Any, y_pred: Any) -> Any:
    """One minus Dice's coefficient of each image."""
    axes = (1, 2, 3)
    both = ops.sum(y_true * y_pred, axes)
    return 1.0 - (2.0 * both + 1.0) / (
        ops.sum(y_true, axes) + ops.sum(y_pred, axes) + 1.0)


def over_batch(y_true: Any, y_pred: Any) -> Any:
    """The same, of each pixel over the images of the batch: a wrong axis."""
    both = ops.sum(y_true * y_pred, 0)
    return 1.0 - (2.0 * both + 1.0) / (
        ops.sum(y_true, 0) + ops.sum(y_pred, 0) + 1.0)


def segmented(loss: Any, head: str = "sigmoid", epochs: int = 8) -> Any:
    """Pixels of a digit. Gain: their Dice's coefficient, over all images."""

    def build() -> Fit:
        images, _, _, _, mask = scenes(900)
        held = 200
        source = keras.Input(images.shape[1:])
        a = layers.Conv2D(12, 3, padding="same", activation="relu")(source)
        b = layers.MaxPooling2D()(a)
        b = layers.Conv2D(24, 3, padding="same", activation="relu")(b)
        b = layers.UpSampling2D()(b)
        c = layers.Concatenate()([a, b])
        c = layers.Conv2D(12, 3, padding="same", activation="relu")(c)
        model = keras.Model(source, layers.Conv2D(1, 1, activation=head)(c))
        model.compile(keras.optimizers.Adam(5e-3), loss)

        def judge(m: Any) -> float:
            """0 for all pixels, which is the best constant answer."""
            p, t = predicted(m, images[:held]) > 0.5, mask[:held] > 0.5
            dice = 2.0 * (p & t).sum() / (p.sum() + t.sum())
            constant = 2.0 * t.sum() / (t.size + t.sum())
            return float((dice - constant) / (1.0 - constant))

        return fit(model, images[held:], mask[held:], epochs, judge)

    return build


healthy("wild-segments-dice", "segmentation", segmented(overlap))
healthy("wild-segments-entropy", "segmentation",
        segmented("binary_crossentropy"))
faulty_fit("wild-segments-softmax-of-one", "segmentation", expected.HEAD
           | expected.COLLAPSE, "wild-segments-dice",
           segmented(overlap, "softmax"))


# Images from images.


def sharpened(scale: float = 1.0, head: str = "sigmoid") -> Callable[[], Fit]:
    """Images of 14 × 14 pixels from 7 × 7: R² beyond repeated pixels.

    0 is what the coarse image itself explains, 1 is perfect.
    """

    def build() -> Fit:
        d = data.mnist_images(900)

        def coarse(x: Array) -> Array:
            return x.reshape(-1, 7, 2, 7, 2, 1).mean((2, 4))

        model = keras.Sequential([
            keras.Input((7, 7, 1)),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.Conv2DTranspose(24, 2, strides=2, activation="relu"),
            layers.Conv2D(1, 3, padding="same", activation=head)])
        model.compile(keras.optimizers.Adam(5e-3), "mse")
        x_test = coarse(d.x_test)

        def judge(m: Any) -> float:
            repeated = x_test.repeat(2, 1).repeat(2, 2)
            return towards(
                0.0, float(np.mean((d.x_test - repeated) ** 2)), float(
                    np.mean((d.x_test - predicted(m, x_test) / scale) ** 2)))

        return fit(model, coarse(d.x), d.x * scale, 10, judge)

    return build


healthy("wild-sharpened", "images from images", sharpened())
faulty_fit("wild-sharpened-to-255", "images from images", expected.HEAD_RANGE,
           "wild-sharpened", sharpened(255.0))


def denoised() -> Fit:
    """Patches of photographs without their noise; 0 is the noise itself."""
    d = data.patches(900)
    random = np.random.default_rng(77)
    noise = 0.15
    x, x_test = ((v + random.normal(0.0, noise, v.shape)).astype("float32")
                 for v in (d.x, d.x_test))
    source = keras.Input(d.x.shape[1:])
    y = layers.Conv2D(24, 3, padding="same", activation="relu")(source)
    y = layers.Conv2D(24, 3, padding="same", activation="relu")(y)
    y = layers.Conv2D(3, 3, padding="same")(y)
    model = keras.Model(source, source - y)
    model.compile(keras.optimizers.Adam(3e-3), "mae")
    return fit(model, x, d.x, 8, lambda m: towards(
        0.0, noise**2, float(np.mean((predicted(m, x_test) - d.x_test) ** 2))))


healthy("wild-denoised", "images from images", denoised)


def augmented() -> Fit:
    """Strong augmentation in the model; it learns less than it would."""
    d = data.digit_images()
    model = keras.Sequential([
        keras.Input((8, 8, 1)), layers.RandomTranslation(0.25, 0.25),
        layers.Conv2D(24, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"), layers.Flatten(),
        layers.Dropout(0.4), layers.Dense(10)])
    model.compile(keras.optimizers.Adam(3e-3),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return fit(model, d.x, d.y, 8, lambda m: balanced(
        d.y_test, predicted(m, d.x_test).argmax(-1), 10), batch_size=64)


healthy("wild-augmented", "noise on purpose", augmented)


# Sets.


def bags(attention: bool) -> Callable[[], Fit]:
    """Bags of digits: is there a nine? Only the bag is labelled."""

    def build() -> Fit:
        d = data.digits()
        random = np.random.default_rng(78)

        def drawn(x: Array, y: Array, count: int) -> tuple[Array, Array]:
            rows = random.integers(0, len(x), (count, 7))
            return x[rows], (y[rows] == 9).any(1).astype("float32")[:, None]

        x, y = drawn(d.x, d.y, 2000)
        x_test, y_test = drawn(d.x_test, d.y_test, 500)
        source = keras.Input((7, 64))
        each = layers.Dense(48, "relu")(source)
        if attention:
            share = layers.Softmax(axis=1)(layers.Dense(1)(
                layers.Dense(16, "tanh")(each)))
            bag = ops.sum(share * each, axis=1)
        else:
            bag = layers.GlobalMaxPooling1D()(each)
        model = keras.Model(source, layers.Dense(1, "sigmoid")(bag))
        model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
        return fit(model, x, y, 12, lambda m: balanced(
            y_test[:, 0], (predicted(m, x_test)[:, 0] > 0.5).astype(int), 2))

    return build


healthy("wild-bags-attention", "sets", bags(True))
healthy("wild-bags-maximum", "sets", bags(False))


def summed() -> Fit:
    """The sum of the digits of a set of any size, padded with zeros."""
    d = data.digits()
    random = np.random.default_rng(79)

    def drawn(x: Array, y: Array, count: int) -> tuple[Array, Array]:
        rows = random.integers(0, len(x), (count, 6))
        there = np.arange(6) < random.integers(1, 7, (count, 1))
        return (x[rows] * there[..., None],
                (y[rows] * there).sum(1).astype("float32")[:, None])

    x, y = drawn(d.x, d.y, 2400)
    x_test, y_test = drawn(d.x_test, d.y_test, 500)
    source = keras.Input((6, 64))
    each = layers.Dense(1)(layers.Dense(64, "relu")(source))
    model = keras.Model(source, ops.sum(each, axis=1))
    model.compile(keras.optimizers.Adam(3e-3), "mae")
    return fit(model, x, y, 15, lambda m: r_squared(
        y_test, predicted(m, x_test)))


healthy("wild-sum-of-a-set", "sets", summed)


# Generative models.


class Sampled(layers.Layer):
    """A draw from the normal distribution; the divergence is a loss."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight
        self.seeds = keras.random.SeedGenerator(80)

    def call(self, x: Any, training: bool = False) -> Any:
        mean, log_variance = ops.split(x, 2, axis=-1)
        self.add_loss(self.weight * ops.mean(
            ops.exp(log_variance) + mean**2 - 1.0 - log_variance))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
        return mean + ops.exp(0.5 * log_variance) * noise


def variational(weight: float) -> Callable[[], Fit]:
    """R² of the pixels, of a model that may use six numbers."""

    def build() -> Fit:
        d = data.to_itself("digits")
        model = keras.Sequential([
            keras.Input((64,)), layers.Dense(64, "relu"), layers.Dense(12),
            Sampled(weight), layers.Dense(64, "relu"), layers.Dense(64)])
        model.compile(keras.optimizers.Adam(3e-3), "mse")
        return fit(model, d.x, d.x, 14, lambda m: r_squared(
            d.x_test, predicted(m, d.x_test)))

    return build


healthy("wild-vae-of-layers", "generative", variational(2e-3))
faulty_fit("wild-vae-collapsed", "generative", expected.PENALTY
           | expected.COLLAPSE, "wild-vae-of-layers", variational(3.0))


class Noised(keras.utils.PyDataset):
    """Points with noise of a random strength; the noise is the target."""

    def __init__(self, x: Array, batch: int) -> None:
        super().__init__()
        self.x, self.batch = x, batch
        self.random = np.random.default_rng(81)

    def __len__(self) -> int:
        return len(self.x) // self.batch

    def __getitem__(self, index: int) -> Any:
        rows = self.random.integers(0, len(self.x), self.batch)
        return self.noised(self.x[rows])

    def noised(self, x: Array) -> Any:
        time = self.random.random((len(x), 1)).astype("float32")
        noise = self.random.normal(size=x.shape).astype("float32")
        angle = 0.5 * np.pi * time
        return {"x": np.cos(angle) * x + np.sin(angle) * noise,
                "time": time}, noise


def diffusion() -> Fit:
    """Noise of points of two moons. Gain: R² of the noise.

    What is left cannot be known: about .75 is as good as possible.
    """
    x, y = data.moons(0.05, 2400).x, data.moons(0.05, 2400).x_test
    point, time = keras.Input((2,), name="x"), keras.Input((1,), name="time")
    waves = ops.concatenate(
        [ops.sin(time * k) for k in (1.0, 2.0, 4.0)], axis=-1)
    z = layers.Concatenate()([point, waves])
    for _ in range(2):
        z = layers.Dense(64, "silu")(z)
    model = keras.Model({"x": point, "time": time}, layers.Dense(2)(z))
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    given, noise = Noised(y, 64).noised(y)
    return Fit(model, {"x": Noised(x, 64), "epochs": 20}, lambda m: r_squared(
        noise, predicted(m, given)))


healthy("wild-diffusion", "generative", diffusion)


class Coupling(layers.Layer):
    """Scales and moves one half of the numbers by what the other half says."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.net = keras.Sequential([
            layers.Dense(32, "relu"), layers.Dense(
                2, kernel_initializer="zeros")])

    def build(self, shape: Any) -> None:
        self.net.build((None, 1))

    def call(self, given: Any) -> Any:
        x, density = given[:, :2], given[:, 2:]
        kept, moved = (x[:, :1], x[:, 1:])[::1 if self.first else -1]
        scale, shift = ops.split(self.net(kept), 2, axis=-1)
        scale = ops.tanh(scale) * 1.5
        moved = moved * ops.exp(scale) + shift
        pair = [kept, moved][::1 if self.first else -1]
        return ops.concatenate([*pair, density + scale], axis=-1)


def flow(rate: float = 3e-3) -> Callable[[], Fit]:
    """A normalizing flow of moons. The model gives its log likelihood.

    Gain: 0 is one normal distribution, 1 is a kernel estimate from 20,000 rows.
    """

    def build() -> Fit:
        from sklearn.datasets import make_moons
        from sklearn.neighbors import KernelDensity

        many = make_moons(20_000, noise=0.1, random_state=82)[0]
        many = (many - many.mean(0)) / many.std(0)
        test, x = many[:500], many[500:2900].astype("float32")
        best = KernelDensity(bandwidth=0.08).fit(many[500:])
        source = keras.Input((2,))
        z = ops.concatenate([source, ops.zeros_like(source[:, :1])], axis=-1)
        for layer in range(4):
            z = Coupling(layer % 2 == 0)(z)
        likelihood = z[:, 2:] - 0.5 * ops.sum(
            z[:, :2] ** 2 + np.log(2 * np.pi), -1, keepdims=True)
        model = keras.Model(source, likelihood)
        model.compile(keras.optimizers.Adam(rate),
                      lambda y_true, y_pred: -ops.mean(y_pred, axis=-1))

        def judge(m: Any) -> float:
            constant = 0.5 * np.log(np.linalg.det(
                2 * np.pi * np.e * np.cov(test.T)))
            return towards(
                -best.score(test) / len(test), float(constant),
                -float(predicted(m, test.astype("float32")).mean()))

        return fit(model, x, np.zeros((len(x), 1), "float32"), 30, judge,
                   batch_size=64)

    return build


healthy("wild-flow", "generative", flow())
faulty_fit("wild-flow-rate-too-small", "generative", expected.RATE_TOO_SMALL,
           "wild-flow", flow(2e-5))


def oddities() -> Fit:
    """An autoencoder of sound rows; gain by what it finds odd (AUC)."""
    d = data.cancer()
    sound = d.x[d.y == 1]
    model = keras.Sequential([
        keras.Input((30,)), layers.Dense(16, "tanh"), layers.Dense(4),
        layers.Dense(16, "tanh"), layers.Dense(30)])
    model.compile(keras.optimizers.Adam(3e-3), "mae")

    def judge(m: Any) -> float:
        error = np.mean((predicted(m, d.x_test) - d.x_test) ** 2, axis=1)
        above = error[d.y_test == 0][:, None] > error[d.y_test == 1]
        return float(2.0 * above.mean() - 1.0)

    return fit(model, sound, sound, 30, judge, validation_split=0.1)


healthy("wild-oddities", "generative", oddities)


# Physics.


def spring(boundary: bool) -> Callable[[], Fit]:
    """u'' = -4 u from the equation alone, with what holds at 0; R² of u.

    The second derivative is that of three places near each other.
    """

    def build() -> Fit:
        random = np.random.default_rng(83)
        t = random.uniform(0.0, 3.0, (1200, 1)).astype("float32")
        h = 0.05
        net = keras.Sequential([
            keras.Input((1,)), layers.Dense(32, "tanh"),
            layers.Dense(32, "tanh"), layers.Dense(1)])
        source = keras.Input((1,))
        u, before, after = net(source), net(source - h), net(source + h)
        residual = (after - 2.0 * u + before) / h**2 + 4.0 * u
        start = ops.zeros_like(source)
        at_start = net(start) - 1.0
        slope = (net(start + h) - net(start - h)) / (2.0 * h)
        outputs = [residual, at_start, slope] if boundary else [residual]
        model = keras.Model(source, ops.concatenate(outputs, axis=-1))
        model.compile(keras.optimizers.Adam(5e-3), "mse")
        y = np.zeros((len(t), len(outputs)), "float32")
        times = np.linspace(0.0, 3.0, 200, dtype="float32")[:, None]
        return fit(model, t, y, 40, lambda m: r_squared(
            np.cos(2.0 * times), predicted(net, times)))

    return build


healthy("wild-spring", "physics", spring(True))
faulty_fit("wild-spring-without-start", "physics", expected.DEGENERATE
           | expected.COLLAPSE, "wild-spring", spring(False))


# Teachers.


def taught(temperature: float) -> Callable[[], Fit]:
    """A small network learns from a large one's soft answers and labels."""

    def build() -> Fit:
        d = data.mnist(1600)
        teacher = keras.Sequential([
            keras.Input((784,)), layers.Dense(128, "relu"), layers.Dense(10)])
        teacher.compile(
            keras.optimizers.Adam(3e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        _ = teacher.fit(d.x, d.y, epochs=6, verbose=0)
        soft = predicted(teacher, d.x) / temperature
        y = np.concatenate([np.eye(10)[d.y], soft], 1).astype("float32")

        def distilled(y_true: Any, y_pred: Any) -> Any:
            hard = -ops.sum(y_true[:, :10] * ops.log_softmax(y_pred), -1)
            shares = ops.softmax(y_true[:, 10:])
            soft = -ops.sum(
                shares * ops.log_softmax(y_pred / temperature), -1)
            return 0.2 * hard + 0.8 * temperature**2 * soft

        student = keras.Sequential([
            keras.Input((784,)), layers.Dense(24, "relu"), layers.Dense(10)])
        student.compile(keras.optimizers.Adam(3e-3), distilled)
        return fit(student, d.x, y, 10, lambda m: balanced(
            d.y_test, predicted(m, d.x_test).argmax(-1), 10))

    return build


healthy("wild-taught", "distillation", taught(4.0))
healthy("wild-taught-softly", "distillation", taught(12.0))


# What was learned before.


@functools.cache
def learned_body() -> list[Array]:
    """Weights of layers that tell the digits from 0 to 4 apart."""
    d = data.mnist_images(1600)
    keep = d.y < 5
    keras.utils.set_random_seed(84)
    body = conv_body()
    model = keras.Sequential([body, layers.Dense(5, "softmax")])
    model.compile(keras.optimizers.Adam(3e-3), ENTROPY)
    _ = model.fit(d.x[keep], d.y[keep], epochs=8, verbose=0)
    return body.get_weights()


def conv_body() -> Any:
    return keras.Sequential([
        keras.Input((14, 14, 1)),
        layers.Conv2D(12, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"), layers.Flatten(),
        layers.Dense(12, "relu")], name="body")


def transferred(loaded: bool, tiny: bool = False) -> Callable[[], Fit]:
    """A new head on a frozen body; digits from 5 to 9."""

    def build() -> Fit:
        weights = learned_body()
        d = data.mnist_images(1600)
        keep, test = d.y >= 5, d.y_test >= 5
        rows = np.flatnonzero(keep)[:120 if tiny else None]
        body = conv_body()
        if loaded:
            body.set_weights(weights)
        else:  # the file was never read, and the body is frozen all the same
            body.set_weights([
                w * 0.0 if w.ndim == 1 else np.random.default_rng(85).normal(
                    0.0, 0.02, w.shape) for w in weights])
        body.trainable = False
        model = keras.Sequential([
            keras.Input((14, 14, 1)), body, layers.Dense(5, "softmax")])
        model.compile(keras.optimizers.Adam(0.01), ENTROPY,
                      metrics=["accuracy"])
        return fit(model, d.x[rows], d.y[rows] - 5, 20 if tiny else 12,
                   lambda m: balanced(
                       d.y_test[test] - 5,
                       predicted(m, d.x_test[test]).argmax(-1), 5))

    return build


healthy("wild-transferred", "transfer", transferred(True))
healthy("wild-transferred-few-rows", "transfer", transferred(True, True))
faulty_fit("wild-transferred-from-nothing", "transfer", expected.FROZEN,
           "wild-transferred", transferred(False))


def low_rank() -> Fit:
    """Low-rank changes of a frozen network, for images turned inside out."""
    d = data.digits()
    model = keras.Sequential([
        keras.Input((64,)), layers.Dense(96, "relu"), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    _ = model.fit(d.x, d.y, epochs=8, verbose=0)
    for layer in model.layers:
        layer.enable_lora(4)
        layer.bias.trainable = False
    model.compile(keras.optimizers.Adam(0.01), loss)
    return fit(model, 1.0 - d.x, d.y, 12, lambda m: balanced(
        d.y_test, predicted(m, 1.0 - d.x_test).argmax(-1), 10))


healthy("wild-low-rank", "transfer", low_rank)
