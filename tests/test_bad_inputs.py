"""Inputs of functions and monitors that are not what they expect.

A function refuses them in its own words, or gives what it gives for arrays. A
monitor changes nothing: `fit` works, or fails, as it does without one.
"""

import contextlib
import io
import warnings

import keras
import numpy as np
import pytest

import hostile
import keras_concepts as kc

BACKEND = keras.backend.backend()
random = np.random.default_rng(0)
ROWS = random.normal(size=(8, 6)).astype("float32")
LABELS = np.arange(8) % 3


def network(dtype="float32", loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,), dtype=dtype),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(3, "softmax", kernel_regularizer="l2"),
        ]
    )
    model.compile("sgd", loss)
    return model


@pytest.fixture(scope="module")
def model():
    return network()


STRINGS = {"string", "bytes", "strings", "list of strings", "string tensor"}
STRINGS |= {"objects", "None among them", "categories"}
FUNCTIONS = {
    "mc_predict": lambda model, x: kc.mc_predict(model, x, samples=2),
    "recalibrate_batch_norm": lambda model, x: kc.recalibrate_batch_norm(
        model, x
    ),
    "check_masks": lambda model, x: kc.check_masks(model, x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
class TestFunctions:
    def test_take_what_holds_numbers(self, name, model):
        for kind, held in hostile.holders(ROWS).items():
            if kind != "list":  # of inputs, one for each
                _ = FUNCTIONS[name](model, held), kind

    # Of JAX and NumPy, on the way to the error.
    @pytest.mark.filterwarnings("ignore:Data type alias:DeprecationWarning")
    def test_refuse_what_does_not(self, name, model):
        before = model.get_weights()
        if name == "recalibrate_batch_norm":
            by_the_model = {"dict", "iterator"}  # each of them a batch
        else:
            by_the_model = {"dict"}
        if BACKEND == "tensorflow":  # where a model may take strings
            by_the_model |= STRINGS
        for kind, held in hostile.no_numbers(ROWS).items():
            if kind in ("ragged lists", "masked", "complex", *by_the_model):
                continue
            with pytest.raises((TypeError, ValueError)) as caught:
                FUNCTIONS[name](model, held)
            assert hostile.is_ours(caught.value, f"`{name}`"), kind
        for was, now in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(now, was)

    @pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
    def test_write_no_nan_into_a_model(self, name, model, value):
        rows = ROWS.copy()
        rows[0] = value
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            result = FUNCTIONS[name](model, rows)
            if name == "mc_predict":
                assert np.isnan(result.mean[0]).all() or value == 3e38
        assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (kc.mc_predict, "seed", -1),
        (kc.mc_predict, "seed", 0.5),
        (kc.mc_predict, "samples", True),
        (kc.recalibrate_batch_norm, "steps", 10**30),
        (kc.recalibrate_batch_norm, "batch_size", "32"),
    ],
)
def test_arguments_of_functions(function, name, value, model):
    with pytest.raises((TypeError, ValueError), match=f"`{name}` of"):
        function(model, ROWS, **{name: value})


def batches(count, fails_at=None):
    for number in range(count):
        if number == fails_at:
            raise RuntimeError("The reader broke.")
        yield ROWS, LABELS


def inputs():
    """Arguments of `fit`, by name."""
    import pandas as pd
    import scipy.sparse

    strange = np.where(np.arange(8) == 0, -1, LABELS)
    given = {
        "pandas": (pd.DataFrame(ROWS), pd.Series(LABELS)),
        "bytes": ((100 * ROWS).astype("uint8"), LABELS.astype("uint8")),
        "halves": (ROWS.astype("float16"), LABELS.astype("int64")),
        "NaN": (np.where(ROWS > 1, np.nan, ROWS), LABELS),
        "huge": (ROWS * 1e38, LABELS),
        "constant": (0 * ROWS, 0 * LABELS),
        "one row": (ROWS[:1], LABELS[:1]),
        "no row": (ROWS[:0], LABELS[:0]),
        "strings": (ROWS, np.array(list("abc"))[LABELS]),
        "a label of -1": (ROWS, strange),
        "weights of zero": (ROWS, LABELS, np.zeros(8)),
        "weights of NaN": (ROWS, LABELS, np.full(8, np.nan)),
        "no batch": (batches(0),),
        "a broken reader": (batches(3, fails_at=1),),
        "lists": (ROWS.tolist(), LABELS.tolist()),
        "SciPy": (scipy.sparse.csr_matrix(ROWS), LABELS),
    }
    if BACKEND == "tensorflow":
        import tensorflow as tf

        unknown = (tf.TensorSpec(None), tf.TensorSpec(None, "int64"))
        given["unknown rank"] = (
            tf.data.Dataset.from_generator(
                lambda: batches(2), output_signature=unknown
            ),
        )
        given["sparse"] = (
            tf.data.Dataset.from_tensor_slices(
                (tf.sparse.from_dense(ROWS), LABELS)
            ).batch(4),
        )
    return given


def fitted(callbacks, arguments):
    """Weights, or the error, of a `fit`."""
    model = network()
    x, y, weights = (*arguments, None, None)[:3]
    options = {} if y is None else {"batch_size": 4}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(
                *(x, y),
                sample_weight=weights,
                callbacks=callbacks,
                verbose=0,
                **options,
            )
    except Exception as error:
        return type(error)
    return model.get_weights()


SHORT = {"pandas", "NaN", "no row", "no batch", "a broken reader"}
KINDS = [
    pytest.param(kind, marks=[] if kind in SHORT else pytest.mark.long)
    for kind in inputs()
]


@pytest.mark.optimized
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_monitors_leave_a_fit_as_it_was(kind):
    plain = fitted([], inputs()[kind])
    with contextlib.redirect_stdout(io.StringIO()):
        doctor = kc.callbacks.TrainingDoctor()
        others = [
            kc.callbacks.GradientMonitor(),
            kc.callbacks.PenaltyReporter(),
            kc.callbacks.BatchNormShiftMonitor(),
            kc.callbacks.NonFiniteGuard(stop=False),
        ]
        for callbacks in ([doctor], others):
            found = fitted(callbacks, inputs()[kind])
            if isinstance(plain, type):
                assert found is plain
                continue
            for was, now in zip(plain, found, strict=True):
                np.testing.assert_array_equal(now, was)
        for each in (doctor, *others):
            each.summary()
        _ = kc.diagnose(doctor.recording)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize(
    "floatx",
    [
        "float64",
        pytest.param("bfloat16", marks=pytest.mark.long),
        pytest.param("float16", marks=pytest.mark.long),
    ],
)
def test_everything_runs_in_each_floatx(floatx):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        model = network(dtype=None, loss=kc.losses.CrossEntropy())
        model.compile(
            "sgd",
            kc.losses.CrossEntropy(),
            metrics=[
                kc.metrics.F1Score("macro", name="f1"),
                kc.metrics.CalibrationError(),
                kc.metrics.CohenKappa(),
                kc.metrics.BestThresholdFBeta(class_id=1),
            ],
        )
        with contextlib.redirect_stdout(io.StringIO()):
            doctor = kc.callbacks.TrainingDoctor((ROWS, LABELS))
            monitors = [
                doctor,
                kc.callbacks.GradientMonitor(),
                kc.callbacks.PenaltyReporter(),
                kc.callbacks.BatchNormShiftMonitor((ROWS, LABELS)),
                kc.callbacks.SignalMonitor((ROWS, LABELS)),
                kc.callbacks.NonFiniteGuard(),
            ]
            history = model.fit(
                ROWS, LABELS, callbacks=monitors, verbose=0
            ).history
        assert all(np.isfinite(values).all() for values in history.values())
        assert not [each for each in doctor.unchecked if "failed" in each]
        chosen = np.argmax(model.predict(ROWS, verbose=0), axis=1)
        found = kc.metrics.BalancedAccuracy()
        found.update_state(LABELS, model(ROWS))
        recalls = [np.mean(chosen[c == LABELS] == c) for c in range(3)]
        assert float(found.result()) == pytest.approx(np.mean(recalls), 1e-2)
    finally:
        keras.config.set_floatx(before)
