"""Unlike programs, healthy and faulty: text and other sequences of symbols.

Written before any was run with a doctor. A gain of 0 is that of the most
frequent symbols (`below_unigram`, `beyond_most_frequent`), of 1 that of a
perfect model; models that write are judged by what they write freely.
"""

import calendar
import functools
import pydoc_data.topics
import re
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data, expected
from benchmarks.doctor.data import Array
from benchmarks.doctor.nets import Positions
from benchmarks.doctor.recipe import Fit, balanced, fit
from benchmarks.doctor.registry import faulty_fit, healthy

# Tables of programs read better in their own layout.
# fmt: off

TOKENS = "sparse_categorical_crossentropy"


def below_unigram(truth: Array, probabilities: Array) -> float:
    """Share of the entropy of single symbols that the model removes."""
    truth = truth.ravel()
    p = probabilities.reshape(len(truth), -1)[np.arange(len(truth)), truth]
    counts = np.bincount(truth)
    shares = counts[counts > 0] / len(truth)
    entropy = -np.sum(shares * np.log(shares))
    cost = -np.mean(np.log(np.clip(p, 1e-7, 1.0)))
    return float(max(1.0 - cost / entropy, -1.0))


def beyond_most_frequent(truth: Array, answers: Array) -> float:
    """Accuracy, moved so that the most frequent symbol gets 0."""
    share = np.bincount(truth.ravel()).max() / truth.size
    return float((np.mean(truth == answers) - share) / (1.0 - share))


# Language models.


@functools.cache
def manual() -> str:
    return " ".join(pydoc_data.topics.topics.values()).lower()


def windows(codes: Array, length: int, rows: int) -> tuple[Array, Array]:
    """Windows to train on, and of blocks that are held back."""
    block = 20 * length
    blocks = codes[: len(codes) // block * block].reshape(-1, block)
    held = np.arange(len(blocks)) % 4 == 3
    random = np.random.default_rng(40)
    parts = []
    for chosen, count in ((blocks[~held], rows), (blocks[held], 300)):
        row = random.integers(0, len(chosen), count)
        start = random.integers(0, block - length - 1, count)
        parts.append(chosen[row[:, None],
                            start[:, None] + np.arange(length + 1)])
    return parts[0], parts[1]


@functools.cache
def words(vocabulary: int = 400, length: int = 16, rows: int = 2000) -> Any:
    """Words and signs of Python's manual; rare ones are number 1."""
    tokens = re.findall(r"[a-z]+|[^\sa-z]", manual())
    names, counts = np.unique(tokens, return_counts=True)
    common = names[np.argsort(-counts)][: vocabulary - 2]
    number = {word: i + 2 for i, word in enumerate(common)}
    codes = np.array([number.get(token, 1) for token in tokens], "int32")
    return windows(codes, length, rows)


@functools.cache
def letters(length: int = 24, rows: int = 1500) -> Any:
    known = "abcdefghijklmnopqrstuvwxyz .,'()_"
    number = {c: i + 1 for i, c in enumerate(known)}
    codes = np.array([number.get(c, 0) for c in manual()[:400_000]], "int32")
    return windows(codes, length, rows)


def word_model(shift: int = 1, rate: float = 5e-3) -> Callable[[], Fit]:
    """Next word; gain is the share of the entropy of words it removes."""

    def build() -> Fit:
        train, test = words()
        length = train.shape[1] - 1
        model = keras.Sequential([
            keras.Input((length,), dtype="int32"), layers.Embedding(400, 32),
            layers.LSTM(48, return_sequences=True),
            layers.Dense(400, "softmax")])
        model.compile(keras.optimizers.Adam(rate), TOKENS)
        return fit(
            model, train[:, :-1], train[:, shift:][:, :length], 5,
            lambda m: below_unigram(
                test[:, 1:], m.predict(test[:, :-1], verbose=0)))

    return build


healthy("wild-words-lstm", "language model", word_model())
faulty_fit("wild-words-not-shifted", "language model", expected.LEAK,
           "wild-words-lstm", word_model(shift=0))


class Tied(layers.Layer):
    """Logits from the table of an embedding."""

    def __init__(self, table: layers.Embedding) -> None:
        super().__init__()
        self.table = table

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.table.embeddings))


def attention_block(x: Any, width: int, causal: bool, dropout: float) -> Any:
    y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(2, width // 2, dropout=dropout)(
        y, y, use_causal_mask=causal)
    x = layers.Add()([x, y])
    y = layers.LayerNormalization()(x)
    y = layers.Dense(width)(layers.Dense(3 * width, "gelu")(y))
    return layers.Add()([x, layers.Dropout(dropout)(y)])


def tied_words() -> Fit:
    """Logits, tied weights, warm-up and cosine, weight decay, clipping."""
    train, test = words()
    source = keras.Input((train.shape[1] - 1,), dtype="int32")
    table = layers.Embedding(
        400, 32, embeddings_initializer=keras.initializers.RandomNormal(
            stddev=0.05))
    x = Positions()(table(source))
    for _ in range(2):
        x = attention_block(x, 32, True, 0.1)
    logits = Tied(table)(layers.LayerNormalization()(x))
    model = keras.Model(source, logits)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, 440, warmup_target=6e-3, warmup_steps=60)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["sparse_categorical_accuracy"])
    return fit(
        model, train[:, :-1], train[:, 1:], 8,
        lambda m: below_unigram(test[:, 1:], np.asarray(ops.softmax(
            m.predict(test[:, :-1], verbose=0)))),
        validation_data=(test[:, :-1], test[:, 1:]))


healthy("wild-words-tied", "language model", tied_words)


def letter_model(causal: bool = True, rate: float = 4e-3) -> Callable[[], Fit]:
    """Next letter by attention; judged at the last place of each window."""

    def build() -> Fit:
        train, test = letters()
        source = keras.Input((train.shape[1] - 1,), dtype="int32")
        x = Positions()(layers.Embedding(34, 40)(source))
        for _ in range(2):
            x = attention_block(x, 40, causal, 0.0)
        x = layers.LayerNormalization()(x)
        model = keras.Model(source, layers.Dense(34, "softmax")(x))
        model.compile(keras.optimizers.Adam(rate), TOKENS)
        return fit(
            model, train[:, :-1], train[:, 1:], 10,
            lambda m: below_unigram(
                test[:, -1], m.predict(test[:, :-1], verbose=0)[:, -1]))

    return build


healthy("wild-letters-attention", "language model", letter_model())
faulty_fit("wild-letters-see-the-future", "language model", expected.LEAK,
           "wild-letters-attention", letter_model(causal=False))
faulty_fit("wild-letters-rate-too-high", "language model",
           expected.RATE_TOO_HIGH, "wild-letters-attention",
           letter_model(rate=0.4))


def stream() -> Fit:
    """The text in its order: 16 readers read on from batch to batch."""
    known = "abcdefghijklmnopqrstuvwxyz .,'()_"
    number = {c: i + 1 for i, c in enumerate(known)}
    codes = np.array([number.get(c, 0) for c in manual()[:22_000]], "int32")
    length, readers = 20, 16

    def rows(part: Array) -> tuple[Array, Array]:
        steps = (len(part) - 1) // (readers * length)
        count = steps * readers * length
        x, y = (
            p.reshape(readers, steps, length).swapaxes(0, 1).reshape(-1, length)
            for p in (part[:count], part[1:][:count])
        )
        return x, y

    x, y = rows(codes[:17_000])
    x_test, y_test = rows(codes[17_000:])
    model = keras.Sequential([
        keras.Input((length,), dtype="int32"), layers.Embedding(34, 24),
        layers.GRU(64, return_sequences=True),
        layers.Dense(34, "softmax")])
    model.compile(keras.optimizers.RMSprop(4e-3), TOKENS)
    return fit(
        model, x, y, 10,
        lambda m: below_unigram(y_test, m.predict(x_test, verbose=0)),
        batch_size=readers, shuffle=False)


healthy("wild-stream-in-order", "language model", stream)


@functools.cache
def spelled(length: int) -> tuple[Array, Array]:
    """Nouns between a start and an end, padded at the back with 0."""
    d = data.nouns(1600, 14)

    def rows(x: Array) -> Array:
        out = np.zeros((len(x), length + 1), "int32")
        for row, word in zip(out, x, strict=True):
            kept = word[word > 0]
            row[0], row[1:len(kept) + 1], row[len(kept) + 1] = 32, kept, 33
        return out

    return rows(d.x), rows(d.x_test)


def nouns(weighted: bool, length: int) -> Callable[[], Fit]:
    """Spelling of nouns; only letters and ends count, not the padding."""

    def build() -> Fit:
        train, test = spelled(length)
        model = keras.Sequential([
            keras.Input((length,), dtype="int32"), layers.Embedding(34, 24),
            layers.GRU(48, return_sequences=True),
            layers.Dense(34, "softmax")])
        model.compile(keras.optimizers.Adam(5e-3), TOKENS)
        y = train[:, 1:]
        real = test[:, 1:] > 0

        def judge(m: Any) -> float:
            p = m.predict(test[:, :-1], verbose=0)
            return below_unigram(test[:, 1:][real], p[real])

        weights = {"sample_weight": (y > 0).astype("float32")}
        return fit(model, train[:, :-1], y, 10, judge,
                   **(weights if weighted else {}))

    return build


healthy("wild-nouns-weights", "padding", nouns(True, 18))
faulty_fit("wild-nouns-padding-counts", "padding", expected.MASK
           | expected.COLLAPSE, "wild-nouns-weights", nouns(False, 60))


def masked_letters() -> Fit:
    """A seventh of the letters is hidden, and only those are asked for."""
    train, test = letters()
    random = np.random.default_rng(41)

    def hidden(x: Array) -> tuple[Array, Array]:
        chosen = random.random(x.shape) < 0.15
        return np.where(chosen, 34, x).astype("int32"), chosen

    x, chosen = hidden(train)
    x_test, asked = hidden(test)
    source = keras.Input((train.shape[1],), dtype="int32")
    y = Positions()(layers.Embedding(35, 40)(source))
    for _ in range(2):
        y = attention_block(y, 40, False, 0.0)
    model = keras.Model(source, layers.Dense(35, "softmax")(y))
    model.compile(keras.optimizers.Adam(4e-3), TOKENS,
                  weighted_metrics=["sparse_categorical_accuracy"])
    return fit(
        model, x, train, 18,
        lambda m: beyond_most_frequent(
            test[asked], m.predict(x_test, verbose=0)[asked].argmax(-1)),
        sample_weight=chosen.astype("float32"))


healthy("wild-masked-letters", "masked model", masked_letters)


# Tags.


@functools.cache
def unspaced(length: int, rows: int = 1200) -> Any:
    """Letters without spaces, of any length; where do words begin?"""
    text = re.sub(r"[^a-z]+", " ", manual()[:300_000])
    pieces = text.split()
    random = np.random.default_rng(42)
    x = np.zeros((rows, length), "int32")
    y = np.zeros((rows, length), "int32")
    for row in range(rows):
        at, word = 0, random.integers(0, len(pieces) - 40)
        end = random.integers(12, 33)
        while at + len(pieces[word]) <= end:
            codes = [ord(c) - 96 for c in pieces[word]]
            x[row, at:at + len(codes)] = codes
            y[row, at] = 1
            at += len(codes)
            word += 1
    return x, y


def tagger(bidirectional: bool, late: int = 0) -> Callable[[], Fit]:
    """Balanced accuracy of the tags of real letters."""

    def build() -> Fit:
        x, y = unspaced(32)
        model = keras.Sequential([
            keras.Input((32,), dtype="int32"),
            layers.Embedding(27, 16, mask_zero=bidirectional)])
        if bidirectional:
            model.add(layers.Bidirectional(
                layers.GRU(24, return_sequences=True)))
        else:
            for _ in range(2):
                model.add(layers.Conv1D(48, 5, padding="same",
                                        activation="relu"))
        model.add(layers.Dense(1, "sigmoid"))
        model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
        real = x > 0
        given = np.roll(y, late, 0) if late else y

        def judge(m: Any) -> float:
            p = m.predict(x[:300], verbose=0)[..., 0] > 0.5
            return balanced(y[:300][real[:300]], p[real[:300]].astype(int), 2)

        return fit(model, x[300:], given[300:, :, None], 7, judge,
                   sample_weight=real[300:].astype("float32"))

    return build


healthy("wild-tags-both-ways", "tagging", tagger(True))
healthy("wild-tags-convolution", "tagging", tagger(False))
faulty_fit("wild-tags-of-other-sentences", "tagging", expected.SHUFFLED,
           "wild-tags-convolution", tagger(False, late=1))


# From sequences to sequences.


@functools.cache
def dates(rows: int = 2000) -> tuple[Array, Array]:
    """Dates as people write them, and as numbers: 1987-03-21."""
    months = [calendar.month_name[i].lower() for i in range(1, 13)]
    random = np.random.default_rng(43)
    known = " ,abcdefghijklmnopqrstuvwxyz0123456789"
    number = {c: i + 1 for i, c in enumerate(known)}
    x, y = np.zeros((rows, 18), "int32"), np.zeros((rows, 10), "int32")
    for row in range(rows):
        day, month = random.integers(1, 29), random.integers(0, 12)
        year = random.integers(1950, 2030)
        text = (f"{day} {months[month]} {year}" if random.random() < 0.5
                else f"{months[month]} {day}, {year}")
        x[row, :len(text)] = [number[c] for c in text]
        y[row] = ["0123456789-".index(c) + 1
                  for c in f"{year}-{month + 1:02}-{day:02}"]
    return x, y


def translator(leak: bool) -> Callable[[], Fit]:
    """Teacher forcing; judged by what it writes from its own symbols."""

    def build() -> Fit:
        x, y = dates()
        source = keras.Input((18,), dtype="int32")
        before = keras.Input((10,), dtype="int32")
        read = layers.Bidirectional(layers.GRU(24, return_sequences=True))(
            Positions()(layers.Embedding(40, 24)(source)))
        written = layers.GRU(48, return_sequences=True)(
            layers.Embedding(12, 24)(before))
        seen = layers.Attention()([written, read])
        z = layers.Dense(64, "relu")(layers.Concatenate()([written, seen]))
        model = keras.Model([source, before], layers.Dense(12, "softmax")(z))
        model.compile(keras.optimizers.Adam(8e-3), TOKENS,
                      metrics=["accuracy"])
        shifted = y if leak else np.pad(y, ((0, 0), (1, 0)))[:, :-1]

        def judge(m: Any) -> float:
            wrote = np.zeros((201, 11), "int32")
            for place in range(10):
                p = m.predict([x[:201], wrote[:, :-1]], verbose=0,
                              batch_size=201)
                wrote[:, place + 1] = p[:, place].argmax(-1)
            return float(np.mean([
                beyond_most_frequent(y[:201, place], wrote[:, place + 1])
                for place in (2, 3, 5, 6, 8, 9)]))

        return fit(model, [x[201:], shifted[201:]], y[201:], 10, judge)

    return build


healthy("wild-dates", "sequence to sequence", translator(False))
faulty_fit("wild-dates-given-the-answer", "sequence to sequence", expected.LEAK,
           "wild-dates", translator(True))


def read_aloud() -> Fit:
    """Strings of three to five digits from strips of pixels, by CTC."""
    d = data.digits()
    random = np.random.default_rng(44)

    def strips(x: Array, y: Array, count: int) -> tuple[Array, Array]:
        images, labels = np.zeros((count, 40, 8)), np.zeros((count, 5), "int32")
        for row in range(count):
            chosen = random.integers(0, len(x), random.integers(3, 6))
            strip = np.concatenate(
                [x[i].reshape(8, 8).T for i in chosen])
            images[row, :len(strip)] = strip
            labels[row, :len(chosen)] = y[chosen] + 1
        return images.astype("float32"), labels

    x, y = strips(d.x, d.y, 1500)
    x_test, y_test = strips(d.x_test, d.y_test, 300)
    model = keras.Sequential([
        keras.Input((40, 8)),
        layers.Conv1D(64, 5, padding="same", activation="relu"),
        layers.Conv1D(64, 5, padding="same", activation="relu", strides=2),
        layers.Conv1D(64, 3, padding="same", activation="relu"),
        layers.Dense(11)])
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.CTC())

    def judge(m: Any) -> float:
        right = 0
        for row, best in zip(y_test, m.predict(x_test, verbose=0).argmax(-1),
                             strict=True):
            kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
            kept = kept[kept > 0]
            right += np.array_equal(kept, row[row > 0])
        return right / len(y_test)

    return fit(model, x, y, 16, judge)


healthy("wild-strips-ctc", "sequence to sequence", read_aloud)


# Hashed words.


def by_topic(rows: int = 1600, length: int = 30) -> tuple[list[Any], Array]:
    """Pieces of eight chapters of the manual."""
    table = pydoc_data.topics.topics
    names = sorted(table, key=lambda name: (-len(table[name]), name))[:8]
    random = np.random.default_rng(45)
    labels = random.integers(0, 8, rows)
    pieces = []
    for label in labels:
        tokens = table[names[label]].lower().split()
        start = random.integers(0, len(tokens) - length)
        pieces.append(tokens[start:start + length])
    return pieces, labels.astype("int32")


def hashed(buckets: int, salt: str = "") -> Callable[[], Fit]:
    """Words by hash; `salt`: of the words that come after training."""

    def build() -> Fit:
        pieces, labels = by_topic()

        def coded(rows: list[Any], salt: str) -> Array:
            return np.array([[zlib.crc32((salt + w).encode()) % buckets
                              for w in row] for row in rows], "int32")

        x, x_test = coded(pieces[400:], ""), coded(pieces[:400], salt)
        model = keras.Sequential([
            keras.Input((x.shape[1],), dtype="int32"),
            layers.Embedding(buckets, 24), layers.GlobalAveragePooling1D(),
            layers.Dropout(0.2), layers.Dense(8, "softmax")])
        model.compile(keras.optimizers.Adam(0.02), TOKENS,
                      metrics=["accuracy"])
        return fit(
            model, x, labels[400:], 14,
            lambda m: balanced(
                labels[:400], m.predict(x_test, verbose=0).argmax(-1), 8),
            validation_data=(x_test, labels[:400]))

    return build


healthy("wild-hashed-words", "hashing", hashed(4000))
healthy("wild-hashed-words-collide", "hashing", hashed(150))
faulty_fit("wild-hashed-otherwise-later", "hashing", expected.SHUFFLED,
           "wild-hashed-words", hashed(4000, "another process"))


def skip_grams() -> Fit:
    """Words and words near them, against words drawn at random."""
    train, test = words(length=10, rows=3000)
    random = np.random.default_rng(46)

    def pairs(rows: Array) -> tuple[list[Array], Array]:
        place = random.integers(2, 8, len(rows))
        row = np.arange(len(rows))
        near = place + random.choice([-2, -1, 1, 2], len(rows))
        centre = np.tile(rows[row, place], 2)
        drawn = rows[random.permutation(len(rows)), near]
        others = np.concatenate([rows[row, near], drawn])
        return ([centre, others],
                np.repeat([1.0, 0.0], len(rows)).astype("float32"))

    x, y = (np.concatenate(p, -1) for p in zip(
        *[pairs(train) for _ in range(6)], strict=True))
    x_test, y_test = pairs(test)
    centre, other = (keras.Input((), dtype="int32") for _ in range(2))
    a, b = (layers.Embedding(400, 16)(v) for v in (centre, other))
    logit = layers.Dense(1)(ops.concatenate(
        [ops.sum(a * b, -1, keepdims=True),
         layers.Embedding(400, 1)(other)], axis=-1))
    model = keras.Model([centre, other], logit)
    model.compile(keras.optimizers.Adam(0.01),
                  keras.losses.BinaryCrossentropy(from_logits=True))

    def judge(m: Any) -> float:
        """Half of the way from chance to all pairs in order (AUC)."""
        p = m.predict(x_test, verbose=0)[:, 0]
        above = p[y_test == 1][:, None] > p[y_test == 0]
        return float(2.0 * above.mean() - 1.0)

    return fit(model, list(x), y, 6, judge, batch_size=256)


healthy("wild-skip-grams", "language model", skip_grams)
