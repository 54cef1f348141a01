import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import Recording
from keras_concepts.callbacks import TrainingDoctor
from keras_concepts.instruments.data.array_facts import array_facts
from keras_concepts.instruments.data.batch_facts import BatchFacts
from keras_concepts.instruments.heads import heads_of
from keras_concepts.rules.training import Training

RANDOM = np.random.default_rng(0)
ROWS, STEPS, TAGS, WORDS = 400, 12, 4, 9
LENGTHS = RANDOM.integers(1, 5, ROWS)
PADDED = np.arange(STEPS) >= LENGTHS[:, None]
X = np.where(PADDED, 0, RANDOM.integers(1, WORDS, (ROWS, STEPS)))
Y = np.where(PADDED, 0, X % (TAGS - 1) + 1)
WEIGHTS = RANDOM.random((ROWS, STEPS)).astype("float32")


class Tagger(keras.Model):
    """Its mask shows only in a call."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(WORDS, 8, mask_zero=True)
        self.dense = layers.Dense(TAGS, activation="softmax")

    def call(self, x):
        return self.dense(self.embedding(x))


def graph(units, activation=None, bias=None):
    """With a bias, a model that predicts nothing but that."""
    options = {}
    if bias is not None:
        options["kernel_initializer"] = "zeros"
        options["bias_initializer"] = lambda shape, dtype: np.asarray(
            bias, dtype
        )
    return keras.Sequential(
        [
            keras.Input((STEPS,)),
            layers.Embedding(WORDS, 8, mask_zero=True),
            layers.Dense(units, activation, **options),
        ]
    )


def loss_of(units, bias, loss, y, weights):
    """Of a constant, as Keras computes it in one batch."""
    model = graph(units, bias=bias)
    model.compile("sgd", loss)
    return model.evaluate(
        X, y, sample_weight=weights, batch_size=ROWS, verbose=0
    )


def facts_of(model, y, weights=None):
    [found] = array_facts(X, y, weights, heads_of(model, X, y))["targets"]
    return found


def compiled(model, loss):
    model.compile("sgd", loss)
    return model


CASES = {
    "sparse": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        Y,
        TAGS,
    ),
    "one-hot": (
        keras.losses.CategoricalCrossentropy(from_logits=True),
        np.eye(TAGS, dtype="float32")[Y],
        TAGS,
    ),
    "binary": (
        keras.losses.BinaryCrossentropy(from_logits=True),
        (Y == 1)[..., None].astype("float32"),
        1,
    ),
    "real": (
        "mse",
        np.where(PADDED, 0.0, Y + 5.0)[..., None].astype("float32"),
        1,
    ),
}


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("case", CASES)
def test_constants_as_keras_computes_them(case, weights):
    loss, y, units = CASES[case]
    mask = ~PADDED
    weight = np.ones(mask.shape)
    if weights is not None:
        weight = np.broadcast_to(weights, mask.shape)
    if case in ("sparse", "one-hot"):
        bias = np.bincount(Y[mask], weight[mask], TAGS) + 1e-6
        bias = np.log(bias / bias.sum())
    else:
        bias = np.average(y[mask], axis=0, weights=weight[mask])
        if case == "binary":
            bias = np.log(bias / (1 - bias))
    expected = loss_of(units, bias, loss, y, weights)
    found = facts_of(compiled(graph(units), loss), y, weights)
    assert found["masked"]
    assert found["constant_loss"] == pytest.approx(expected, rel=1e-3)
    if case != "real":
        expected = loss_of(units, np.zeros(units), loss, y, weights)
        assert found["uniform_loss"] == pytest.approx(expected, rel=1e-3)
    if case == "sparse":
        share = np.bincount(Y[mask], minlength=TAGS) / mask.sum()
        assert found["shares"] == pytest.approx(share.tolist())


def test_perfect_predictions_of_ratings():
    y = np.where(PADDED, 0.0, Y / 4)[..., None].astype("float32")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    found = facts_of(compiled(graph(1), loss), y)
    p = y[~PADDED].astype("float64")
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p)).mean()
    assert found["perfect_loss"] == pytest.approx(entropy, rel=1e-3)


def test_batches_are_counted_where_inputs_are_known():
    loss, y, units = CASES["sparse"]
    model = compiled(graph(units), loss)
    heads = heads_of(model, X, y)
    facts = BatchFacts()
    for start in range(0, ROWS, 50):
        part = slice(start, start + 50)
        facts.update(X[part], y[part], None, heads)
    [found] = facts.facts(heads, None)["targets"]
    whole = facts_of(model, y)
    assert found["masked"]
    apart = abs(found["constant_loss"] - whole["constant_loss"])
    assert 0 < apart < 3 * found["constant_loss_error"] + 0.01


def test_inputs_by_name():
    words = keras.Input((STEPS,), name="words")
    other = keras.Input((STEPS,), name="another")
    hidden = layers.Embedding(WORDS, 8, mask_zero=True)(words)
    hidden = hidden + 0.0 * other[..., None]
    hidden = layers.LSTM(3, return_sequences=True)(
        layers.Embedding(WORDS, 8, mask_zero=True)(words)
    )
    model = keras.Model(
        [words, other], [layers.Dense(TAGS)(hidden), layers.Dense(1)(other)]
    )
    first, second = heads_of(model)
    mask = first.mask({"another": X * 0, "words": X})
    np.testing.assert_array_equal(mask, ~PADDED)
    np.testing.assert_array_equal(first.mask([X, X * 0]), ~PADDED)
    assert second.mask is None


def test_a_mask_that_is_not_known():
    loss, y, units = CASES["sparse"]
    model = compiled(graph(units), loss)
    heads = heads_of(model, X, y)
    [found] = array_facts(None, y, None, heads)["targets"]
    assert not found["masked"]
    assert found["constant_loss"] is None is found["uniform_loss"]
    assert heads[0].mask([X, X]) is None
    assert heads[0].mask(np.array([["a"] * STEPS])) is None
    total = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )
    assert facts_of(compiled(graph(units), total), y)["constant_loss"] is None


def watched(model, record_to=None, **options):
    model.compile(
        keras.optimizers.Adam(0.005),
        "sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
    )
    doctor = TrainingDoctor(
        on_finding=lambda finding: None, time_budget=None, record_to=record_to
    )
    # As hard as it can be: half of the tags are drawn at random.
    drawn = RANDOM.integers(1, TAGS, Y.shape)
    noisy = np.where(RANDOM.random(Y.shape) < 0.5, drawn, Y) * ~PADDED
    model.fit(X, noisy, batch_size=20, verbose=0, callbacks=[doctor], **options)
    return doctor


@pytest.mark.parametrize("make", [lambda: graph(TAGS, "softmax"), Tagger])
def test_a_tagger_that_learns_is_left_alone(make):
    keras.utils.set_random_seed(0)
    doctor = watched(make(), epochs=6)
    assert [f for f in doctor.findings if f.severity != "info"] == []


def test_a_mask_seen_only_in_a_call_makes_the_constant_unknown(tmp_path):
    keras.utils.set_random_seed(0)
    doctor = watched(Tagger(), tmp_path / "run.jsonl", epochs=1)
    assert doctor.recording.facts["masked_outputs"] == [""]
    again = Recording.load(tmp_path / "run.jsonl")
    [target] = Training.of(again).targets.values()
    assert target["constant_loss"] is None is target["uniform_loss"]
