"""Shapes that TensorFlow knows only when a graph runs."""

import keras
import numpy as np
import pytest

from keras_concepts.losses import CrossEntropy, SoftFBeta
from keras_concepts.metrics import (
    BestThresholdFBeta,
    BrierScore,
    CalibrationError,
    ClassificationReport,
    F1Score,
    MatthewsCorrelation,
    Precision,
    Recall,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("Shapes are always known.", allow_module_level=True)

import tensorflow as tf

random = np.random.default_rng(0)
NUMBERS = random.integers(0, 3, (12, 1))
SCORES = random.dirichlet(np.ones(3), 12).astype("float32")
ONE_HOT = np.eye(3, dtype="int64")[NUMBERS[:, 0]]
WEIGHTS = random.integers(1, 5, (12, 1)).astype("float32")
LOSSES = [CrossEntropy, SoftFBeta]
METRICS = [
    lambda **options: F1Score("macro", **options),
    BrierScore,
    MatthewsCorrelation,
]
UNKNOWN = {"width": (None, None), "rank": None}
each_unknown = pytest.mark.parametrize("unknown", UNKNOWN)
each_compiler = pytest.mark.parametrize("jit", [False, True])


def compiled(function, unknown, jit=False, width=3):
    """A function of labels of unknown shape, predictions and weights."""
    return tf.function(
        function,
        input_signature=[
            tf.TensorSpec(UNKNOWN[unknown], "int64"),
            tf.TensorSpec((None, width)),
            tf.TensorSpec((None, None)),
        ],
        jit_compile=jit,
    )


@each_unknown
@pytest.mark.parametrize("cls", LOSSES)
class TestLosses:
    @pytest.mark.parametrize("form", ["sparse", "dense"])
    def test_a_form_that_is_told(self, cls, form, unknown):
        loss = cls(labels=form)
        labels = NUMBERS if form == "sparse" else ONE_HOT
        found = compiled(loss, unknown)(labels, SCORES, WEIGHTS)
        wanted = float(cls()(labels, SCORES, WEIGHTS))
        assert float(found) == pytest.approx(wanted, rel=1e-5)

    def test_a_form_that_is_not_told(self, cls, unknown):
        with pytest.raises(ValueError, match='Pass `labels="sparse"`'):
            compiled(cls(), unknown)(NUMBERS, SCORES, WEIGHTS)

    def test_answers(self, cls, unknown):
        loss = cls(binary=True)
        found = compiled(loss, unknown)(ONE_HOT, SCORES, WEIGHTS)
        wanted = float(loss(ONE_HOT, SCORES, WEIGHTS))
        assert float(found) == pytest.approx(wanted, rel=1e-5)

    @each_compiler
    @pytest.mark.parametrize("binary", [False, True])
    def test_nothing_is_broadcast(self, cls, binary, jit, unknown):
        loss = cls(binary=binary, labels="dense")
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=f"labels_of_{cls.__name__}_must_fit_the_predictions",
        ):
            compiled(loss, unknown, jit=jit)(NUMBERS, SCORES, WEIGHTS)


def updated(make, unknown, batch, width=3):
    metric = make()
    metric.update_state(*batch)  # makes the counts
    metric.reset_state()
    compiled(metric.update_state, unknown, width=width)(*batch)
    return metric


@each_unknown
class TestMetrics:
    @pytest.mark.parametrize("form", ["sparse", "dense"])
    @pytest.mark.parametrize("make", METRICS)
    def test_a_form_that_is_told(self, make, form, unknown):
        labels = NUMBERS if form == "sparse" else ONE_HOT
        batch = (labels, SCORES, WEIGHTS)
        metric = updated(lambda: make(labels=form), unknown, batch)
        wanted = make()
        wanted.update_state(*batch)
        assert float(metric.result()) == pytest.approx(float(wanted.result()))

    @pytest.mark.parametrize("make", METRICS)
    def test_a_form_that_is_not_told(self, make, unknown):
        with pytest.raises(ValueError, match='Pass `labels="sparse"`'):
            updated(make, unknown, (NUMBERS, SCORES, WEIGHTS))

    @pytest.mark.parametrize(
        "make", [lambda: F1Score("macro"), Recall, BrierScore, CalibrationError]
    )
    def test_one_column(self, make, unknown):
        batch = (NUMBERS // 2, SCORES[:, :1], WEIGHTS)
        metric = updated(make, unknown, batch, width=1)
        wanted = make()
        wanted.update_state(*batch)
        assert float(metric.result()) == pytest.approx(float(wanted.result()))

    @pytest.mark.parametrize(
        "make",
        [
            lambda: F1Score("macro"),
            Precision,
            BrierScore,
            BestThresholdFBeta,
        ],
    )
    @each_compiler
    def test_nothing_is_broadcast(self, make, jit, unknown):
        metric = make()
        metric.update_state(NUMBERS // 2, SCORES[:, :1])
        update = compiled(metric.update_state, unknown, jit=jit, width=1)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must_fit_the_predictions"
        ):
            update(ONE_HOT, SCORES[:, :1], WEIGHTS)

    @pytest.mark.parametrize("cls", [Precision, Recall])
    def test_single_decisions_of_several_columns(self, cls, unknown):
        for options in ({}, {"class_id": 1}, {"top_k": 1}):
            metric = updated(
                lambda options=options: cls(**options),
                unknown,
                (ONE_HOT, SCORES, WEIGHTS),
            )
            wanted = cls(**options)(ONE_HOT, SCORES, WEIGHTS)
            assert float(metric.result()) == pytest.approx(float(wanted))


def test_sequences():
    numbers = random.integers(0, 3, (4, 5))
    scores = random.dirichlet(np.ones(3), (4, 5)).astype("float32")
    for labels, form in ((numbers[..., None], "sparse"), (numbers, "auto")):
        rank = (None,) * labels.ndim
        for shape in (rank, None) if form == "sparse" else (rank,):
            function = tf.function(
                CrossEntropy(labels=form),
                input_signature=[
                    tf.TensorSpec(shape, "int64"),
                    tf.TensorSpec((None, None, 3)),
                ],
            )
            assert float(function(labels, scores)) == pytest.approx(
                float(CrossEntropy()(numbers, scores)), rel=1e-5
            )


def test_predictions_must_be_known():
    function = tf.function(
        CrossEntropy(),
        input_signature=[
            tf.TensorSpec((None,), "int64"),
            tf.TensorSpec((None, None)),
        ],
    )
    with pytest.raises(ValueError, match="needs a known number of classes"):
        function(NUMBERS[:, 0], SCORES)
    function = tf.function(
        F1Score("macro").update_state,
        input_signature=[
            tf.TensorSpec((None,), "int64"),
            tf.TensorSpec(None),
        ],
    )
    with pytest.raises(ValueError, match="Predictions of `F1Score`"):
        function(NUMBERS[:, 0], SCORES)


def test_weights_must_be_known():
    function = tf.function(
        CrossEntropy(),
        input_signature=[
            tf.TensorSpec((None,), "int64"),
            tf.TensorSpec((None, 3)),
            tf.TensorSpec(None),
        ],
    )
    with pytest.raises(ValueError, match="`sample_weight` of `CrossEntropy`"):
        function(NUMBERS[:, 0], SCORES, WEIGHTS)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_dataset_and_a_model(steps):
    """A generator declares no shapes; the model starts with texts."""
    texts = np.array([["a b"], ["c"], ["b c d"], ["d"]] * 3)
    reader = keras.layers.TextVectorization(output_sequence_length=3)
    reader.adapt(texts)
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            reader,
            keras.layers.Embedding(8, 4),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        CrossEntropy(labels="sparse"),
        metrics=[
            F1Score("macro", name="f1", labels="sparse"),
            ClassificationReport(name="report", labels="sparse"),
        ],
    )
    parts = np.split(np.arange(12), steps)
    data = tf.data.Dataset.from_generator(
        lambda: ((texts[part], NUMBERS[part]) for part in parts),
        output_signature=(
            tf.TensorSpec((None, 1), tf.string),
            tf.TensorSpec((None, None), tf.int64),
        ),
    )
    logs = model.fit(
        data.repeat(), steps_per_epoch=steps, shuffle=False, verbose=0
    ).history
    scores = model.predict(tf.constant(texts), verbose=0)
    assert logs["loss"] == pytest.approx(
        [float(CrossEntropy()(NUMBERS, scores))], rel=1e-5
    )
    wanted = float(F1Score("macro")(NUMBERS, scores))
    assert logs["f1"] == logs["report_macro_f1"]
    assert logs["f1"] == pytest.approx([wanted], rel=1e-6)
