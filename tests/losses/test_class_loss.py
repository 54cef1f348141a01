"""What all losses share: labels, shapes, masks, weights, reduction, config."""

import inspect

import keras
import numpy as np
import pytest

from keras_concepts.losses import (
    CrossEntropy,
    FocalCrossEntropy,
    SoftFBeta,
    Tversky,
)
from loss_gradients import compiled, masked, numpy, value_and_gradient

pytestmark = pytest.mark.optimized

LOSSES = [CrossEntropy, FocalCrossEntropy, SoftFBeta, Tversky]
ENTRY = LOSSES[:2]
BACKEND = keras.backend.backend()
each = pytest.mark.parametrize("cls", LOSSES)
each_entry = pytest.mark.parametrize("cls", ENTRY)


@pytest.fixture
def batch():
    """Numbers of 5 classes and logits, for 8 samples."""
    random = np.random.default_rng(1)
    return random.integers(0, 5, 8), random.normal(size=(8, 5)).astype(
        "float32"
    )


@pytest.fixture
def sequences():
    """Numbers of 5 classes and logits, for 4 samples of 6 steps."""
    random = np.random.default_rng(2)
    y_pred = random.normal(size=(4, 6, 5)).astype("float32")
    return random.integers(0, 5, (4, 6)), y_pred


@each
class TestLabels:
    def test_every_form_is_one(self, cls, batch):
        numbers, y_pred = batch
        loss = cls(from_logits=True)
        expected = float(loss(numbers, y_pred))
        for form in [
            numbers[:, None],
            numbers.astype("uint8"),
            numbers.astype("float64"),
            numbers.tolist(),
            np.eye(5)[numbers],
            np.eye(5, dtype="int32")[numbers],
        ]:
            assert float(loss(form, y_pred)) == pytest.approx(expected, 1e-6)

    def test_every_form_of_binary_is_one(self, cls):
        y_true = np.array([0, 1, 1, 0])
        y_pred = np.array([0.3, 0.6, 0.9, 0.2], "float32")
        loss = cls(binary=True)
        expected = float(loss(y_true, y_pred))
        for y, p in [
            (y_true[:, None], y_pred),
            (y_true, y_pred[:, None]),
            (y_true[:, None].astype(bool), y_pred[:, None]),
        ]:
            assert float(loss(y, p)) == pytest.approx(expected, 1e-6)

    def test_axis(self, cls, sequences):
        numbers, y_pred = sequences
        expected = float(cls(from_logits=True)(numbers, y_pred))
        moved = np.moveaxis(y_pred, -1, 1)
        one_hot = np.moveaxis(np.eye(5)[numbers], -1, 1)
        loss = cls(from_logits=True, axis=1)
        for form in (numbers, numbers[:, None], one_hot):
            assert float(loss(form, moved)) == pytest.approx(expected, 1e-6)

    @pytest.mark.parametrize("wrong", [-1, 5, 300])
    @pytest.mark.on_cpu
    def test_out_of_range(self, cls, batch, wrong):
        numbers, y_pred = batch
        numbers[3] = wrong
        loss = cls(from_logits=True)
        with pytest.raises(ValueError, match="must lie between 0 and 4"):
            loss(numbers, y_pred)
        if BACKEND != "torch":
            assert np.isnan(float(compiled(loss)(numbers, y_pred)))

    @pytest.mark.parametrize("wrong", [-1, 2])
    @pytest.mark.on_cpu
    def test_binary_out_of_range(self, cls, wrong):
        y_true = np.array([0, wrong, 1])
        y_pred = np.array([0.1, 0.2, 0.3], "float32")
        loss = cls(binary=True)
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            loss(y_true, y_pred)
        if BACKEND != "torch":
            assert np.isnan(float(compiled(loss)(y_true, y_pred)))

    @pytest.mark.parametrize("wrong", [0.5, float("nan")])
    @pytest.mark.on_cpu
    def test_no_whole_number(self, cls, batch, wrong):
        numbers, y_pred = batch
        numbers = numbers.astype("float32")
        numbers[3] = wrong
        with pytest.raises(ValueError, match="be whole numbers"):
            cls(from_logits=True)(numbers, y_pred)
        if BACKEND != "torch":
            loss = compiled(cls(from_logits=True))
            assert np.isnan(float(loss(numbers, y_pred)))

    def test_what_does_not_count_may_have_any_label(self, cls, sequences):
        y_true, y_pred = sequences
        steps = np.arange(6) < np.array([[6], [2], [4], [0]])
        weights = steps.astype("float32")
        padded = np.where(steps, y_true, -1)
        loss = cls(from_logits=True)
        expected = float(loss(y_true, y_pred, weights))
        assert float(loss(padded, y_pred, weights)) == pytest.approx(expected)
        expected = float(loss(y_true, masked(y_pred, steps)))
        found = float(loss(padded, masked(y_pred, steps)))
        assert found == pytest.approx(expected)
        answers = (y_pred > 0).astype("float32")
        loss = cls(from_logits=True, binary=True)
        expected = float(loss(answers, y_pred, weights))
        answers[~steps] = np.nan
        assert float(loss(answers, y_pred, weights)) == pytest.approx(expected)

    def test_names_are_no_numbers(self, cls, batch):
        numbers, y_pred = batch
        with pytest.raises(TypeError, match="must be numbers"):
            cls(from_logits=True)(np.array(list("abcde"))[numbers], y_pred)

    def test_form_that_is_told(self, cls, batch):
        numbers, y_pred = batch
        with pytest.raises(ValueError, match="labels='dense'"):
            cls(from_logits=True, labels="dense")(numbers, y_pred)
        with pytest.raises(ValueError, match="labels='sparse'"):
            cls(from_logits=True, labels="sparse")(np.eye(5)[numbers], y_pred)
        with pytest.raises(ValueError, match="`labels` of"):
            cls(binary=True, labels="sparse")
        with pytest.raises(ValueError, match="`labels` of"):
            cls(labels="ragged")

    def test_compiled_is_the_same(self, cls, batch):
        loss = cls(from_logits=True, ignore_class=2)
        expected = float(loss(*batch))
        assert float(compiled(loss)(*batch)) == pytest.approx(expected, 1e-6)


class TestAgainstKeras:
    @pytest.mark.on_cpu
    def test_label_out_of_range_is_silent_on_jax(self):
        y_true, y_pred = np.array([7]), np.array([[0.5, 0.5]], "float32")
        if BACKEND == "jax":
            theirs = keras.losses.SparseCategoricalCrossentropy()
            assert float(theirs(y_true, y_pred)) == 0
        with pytest.raises(ValueError, match="labels from 7 to 7"):
            CrossEntropy()(y_true, y_pred)

    def test_class_numbers_in_bfloat16(self):
        numbers = np.arange(256, 600)
        y_pred = 10 * np.eye(604, dtype="float32")[numbers]

        def value(cls):
            return float(
                cls(from_logits=True, dtype="bfloat16")(numbers, y_pred)
            )

        exact = np.log1p(603 * np.exp(-10))
        assert value(CrossEntropy) == pytest.approx(exact, 4e-3)
        assert value(keras.losses.SparseCategoricalCrossentropy) > 1

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    @each
    def test_dtype_survives(self, cls, dtype):
        theirs = keras.losses.CategoricalCrossentropy(dtype=dtype)
        assert type(theirs).from_config(theirs.get_config()).dtype != dtype
        for given in (dtype, keras.DTypePolicy(dtype)):
            ours = cls(dtype=given)
            assert cls.from_config(ours.get_config()).dtype == dtype
        assert cls().get_config()["dtype"] is None

    def test_values_behind_the_output_are_not_used(self):
        """Keras repairs a sigmoid taken for logits, on TensorFlow alone."""
        logits = keras.ops.convert_to_tensor([[3.0], [-1.0]])
        output, y_true = keras.ops.sigmoid(logits), np.array([[0.0], [1.0]])
        copy = keras.ops.convert_to_numpy(output)
        ours = CrossEntropy(from_logits=True, binary=True)
        assert float(ours(y_true, output)) == float(ours(y_true, copy))
        if BACKEND == "tensorflow":
            theirs = keras.losses.BinaryCrossentropy(from_logits=True)
            with pytest.warns(UserWarning, match="Sigmoid activation"):
                repaired = float(theirs(y_true, output))
            assert repaired != float(theirs(y_true, copy))


@each
class TestShapes:
    @pytest.mark.parametrize(
        ("y_true", "y_pred"),
        [
            ((8,), (7, 5)),
            ((8, 5), (8, 4)),
            ((8, 5), (8,)),
            ((1, 5), (8, 5)),
            ((8, 2), (8, 6, 5)),
            ((8, 6, 1), (8, 5)),
        ],
    )
    def test_labels_that_do_not_fit(self, cls, y_true, y_pred):
        with pytest.raises(
            ValueError, match=r"Labels of .* must be class numb"
        ):
            cls()(np.zeros(y_true, "int32"), np.full(y_pred, 0.2, "float32"))

    @pytest.mark.parametrize(
        ("y_true", "y_pred"),
        [((8,), (8, 5)), ((8, 1), (8, 5)), ((8, 8), (8,)), ((7, 1), (8, 1))],
    )
    def test_binary_labels_that_do_not_fit(self, cls, y_true, y_pred):
        with pytest.raises(ValueError, match="must have the shape of the pred"):
            cls(binary=True)(np.zeros(y_true), np.full(y_pred, 0.2, "float32"))

    @pytest.mark.parametrize("shape", [(6,), (1, 6), (4, 5), (4, 6, 5), (1,)])
    def test_weights_that_do_not_fit(self, cls, sequences, shape):
        with pytest.raises(ValueError, match="`sample_weight` of"):
            cls(from_logits=True)(*sequences, sample_weight=np.ones(shape))

    def test_mask_that_does_not_fit(self, cls, batch):
        y_true, y_pred = batch
        with pytest.raises(ValueError, match="`mask` of"):
            cls(from_logits=True)(y_true, masked(y_pred, np.ones((8, 5), bool)))

    def test_one_class_is_a_mistake(self, cls):
        with pytest.raises(ValueError, match="Pass `binary=True`"):
            cls()(np.array([0, 1]), np.array([[0.2], [0.7]], "float32"))

    def test_ignoring_a_class_of_distributions(self, cls, batch):
        y_true, y_pred = batch
        with pytest.raises(ValueError, match="needs class numbers"):
            cls(ignore_class=0)(np.eye(5)[y_true], y_pred)

    def test_unknown_dimensions_pass(self, cls, batch):
        if BACKEND != "tensorflow":
            pytest.skip("Shapes are always known.")
        import tensorflow as tf

        loss = cls(from_logits=True)
        function = tf.function(
            loss,
            input_signature=[
                tf.TensorSpec((None,), "int64"),
                tf.TensorSpec((None, 5)),
                tf.TensorSpec((None, 1)),
            ],
        )
        weights = np.linspace(1, 2, 8).astype("float32")[:, None]
        assert float(function(*batch, weights)) == pytest.approx(
            float(loss(*batch, weights)), 1e-6
        )


def reduced(losses, counted, weights, reduction):
    total = (losses * counted * weights).sum()
    match reduction:
        case None:
            return losses * counted * weights
        case "sum":
            return total
        case "mean_with_sample_weight":
            return total / (counted * weights).sum()
        case _:
            return total / counted.sum()


@pytest.mark.parametrize(
    "reduction",
    [None, "sum", "sum_over_batch_size", "mean_with_sample_weight"],
)
class TestReduction:
    @pytest.mark.parametrize("shape", [None, (), (4,), (4, 1), (4, 6)])
    @pytest.mark.parametrize("leave_out", ["", "mask", "ignore", "mask ignore"])
    @each_entry
    def test_masks_and_weights(
        self, cls, sequences, reduction, shape, leave_out
    ):
        y_true, y_pred = sequences
        random = np.random.default_rng(0)
        counted = np.ones((4, 6))
        weights = None if shape is None else random.uniform(0.5, 2, shape)
        losses = numpy(cls(from_logits=True, reduction=None)(y_true, y_pred))
        loss = cls(
            from_logits=True,
            reduction=reduction,
            ignore_class=-1 if "ignore" in leave_out else None,
        )
        if "ignore" in leave_out:
            y_true = y_true.copy()
            y_true[0, :5] = -1
            counted[0, :5] = 0
        if "mask" in leave_out:
            steps = np.arange(6) < np.array([[6], [2], [4], [0]])
            counted *= steps
            y_pred = y_pred.copy()
            y_pred[~steps] = np.nan
            y_pred = masked(y_pred, steps)
        full = 1.0 if shape is None else weights
        if shape == (4,):
            full = weights[:, None]
        full = np.broadcast_to(full, (4, 6))
        np.testing.assert_allclose(
            numpy(loss(y_true, y_pred, weights)),
            reduced(losses, counted, full, reduction),
            rtol=1e-5,
        )

    def test_as_keras(self, sequences, reduction):
        """Without masks, and with a weight for each entry, the same number."""
        ours = CrossEntropy(from_logits=True, reduction=reduction)
        theirs = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction=reduction
        )
        weights = np.random.default_rng(0).uniform(0.5, 2, (4, 6))
        np.testing.assert_allclose(
            numpy(ours(*sequences, weights)),
            numpy(theirs(*sequences, weights.astype("float32"))),
            rtol=1e-5,
        )

    @pytest.mark.parametrize("ignored", [-1, 255, float("nan")])
    @each_entry
    def test_ignored_answers(self, cls, ignored, reduction):
        """Of several questions, some are left out."""
        random = np.random.default_rng(0)
        y_true = random.integers(0, 2, (5, 3))
        y_pred = random.normal(size=(5, 3)).astype("float32")
        single = cls(from_logits=True, binary=True, reduction=None)
        parts = numpy(single(y_true[..., None], y_pred[..., None]))
        counted = np.ones((5, 3))
        counted[0, 0] = counted[1, :2] = counted[2] = 0
        answers = np.where(counted, y_true, ignored)
        loss = cls(
            from_logits=True,
            binary=True,
            reduction=reduction,
            ignore_class=ignored,
        )
        expected = reduced(parts, counted, 1, reduction)
        if reduction in (None, "none"):
            expected = expected.mean(axis=-1)
        elif reduction == "sum":
            expected = expected / 3  # the questions of a sample are averaged
        np.testing.assert_allclose(
            numpy(loss(answers, y_pred)), expected, rtol=1e-5
        )


@each
class TestNothingCounts:
    def test_all_ignored(self, cls, batch):
        numbers, y_pred = batch
        loss = cls(from_logits=True, ignore_class=-1)
        value, gradient = value_and_gradient(loss, 0 * numbers - 1, y_pred)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)

    def test_all_weights_zero(self, cls, batch):
        loss = cls(from_logits=True)
        value, gradient = value_and_gradient(loss, *batch, np.zeros(8))
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)

    def test_no_gradient_from_padding(self, cls, sequences):
        y_true, y_pred = sequences
        steps = np.arange(6) < np.array([[6], [2], [4], [0]])
        y_pred[~steps] = np.nan

        class Masked:
            def __call__(self, y_true, y_pred, weight):
                return cls(from_logits=True)(
                    y_true, masked(y_pred, steps), weight
                )

        value, gradient = value_and_gradient(Masked(), y_true, y_pred)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~steps], 0)
        assert np.abs(gradient[steps]).min() > 0

    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("binary", [False, True])
    @pytest.mark.parametrize("how", ["weights", "ignore_class"])
    def test_nan_that_does_not_count(
        self, cls, batch, from_logits, binary, how
    ):
        """What a row that does not count holds makes no difference."""
        labels, y_pred = batch
        if not from_logits:
            y_pred = numpy(keras.ops.softmax(y_pred)).astype("float32")
        labels = np.eye(5)[labels] if binary else labels
        counts = np.arange(8) % 3 > 0
        weights, ignored = counts.astype("float32"), None
        if how == "ignore_class":
            labels = labels.copy()
            labels[~counts] = -1
            weights, ignored = None, -1
        loss = cls(from_logits=from_logits, binary=binary, ignore_class=ignored)
        broken = y_pred.copy()
        broken[~counts] = [np.nan, np.inf, -np.inf, 0.0, np.nan]
        expected = value_and_gradient(loss, labels, y_pred, weights)
        value, gradient = value_and_gradient(loss, labels, broken, weights)
        assert value == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])
        np.testing.assert_array_equal(gradient[~counts], 0)


@each
class TestProbabilities:
    def test_as_from_logits(self, cls, batch):
        numbers, logits = batch
        p = numpy(keras.ops.softmax(logits)).astype("float32")
        expected = float(cls(from_logits=True)(numbers, logits))
        assert float(cls()(numbers, p)) == pytest.approx(expected, 1e-5)

    def test_binary_as_from_logits(self, cls, batch):
        _, logits = batch
        y_true = (logits > 0.3).astype("int32")
        p = numpy(keras.ops.sigmoid(logits)).astype("float32")
        expected = float(cls(from_logits=True, binary=True)(y_true, logits))
        assert float(cls(binary=True)(y_true, p)) == pytest.approx(
            expected, 1e-5
        )

    @pytest.mark.parametrize("binary", [False, True])
    @pytest.mark.on_cpu
    def test_logits_taken_for_them(self, cls, batch, binary):
        numbers, logits = batch
        labels = np.eye(5)[numbers] if binary else numbers
        loss = cls(binary=binary)
        with pytest.warns(UserWarning, match="pass `from_logits=True`"):
            assert np.isnan(float(loss(labels, logits)))
        assert np.isnan(float(loss(labels, logits)))  # said once
        if BACKEND != "torch":
            assert np.isnan(float(compiled(cls(binary=binary))(labels, logits)))
        # What does not count may hold anything.
        weights = (logits.min(axis=1) > -9) * (np.arange(8) > 3)
        outputs = numpy(keras.ops.softmax(logits)).astype("float32")
        outputs[:4] = logits[:4]
        found = float(cls(binary=binary)(labels, outputs, weights))
        assert np.isfinite(found)

    @pytest.mark.parametrize("binary", [False, True])
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_saturated(self, cls, binary, smoothing):
        smooth = {"label_smoothing": smoothing} if cls in ENTRY else {}
        y_true = np.eye(3)[[0, 1, 2, 0]]
        y_pred = np.eye(3, dtype="float32")[[0, 1, 0, 2]]
        loss = cls(binary=binary, **smooth)
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        assert 0 < value < 100
        assert np.isfinite(gradient).all()
        if not smoothing:
            assert float(loss(y_true, y_true)) == pytest.approx(0, abs=1e-6)


@each
def test_fit(cls, digits):
    x, y = digits
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.05), cls(from_logits=True))
    history = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@each
def test_padding_in_evaluate(cls):
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 0]])
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Embedding(4, 3, mask_zero=True),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    loss = cls()
    model.compile(loss=loss)
    y_true = np.array([[0, 1, 2, 2], [2, 1, 0, 1]])
    result = model.evaluate(tokens, y_true, verbose=0)
    steps = tokens > 0
    y_pred = model.predict(tokens, verbose=0)[steps]
    assert result == pytest.approx(float(loss(y_true[steps], y_pred)), 1e-5)


MISTAKES = [
    ({"reduction": "median"}, "reduction"),
    ({"label_smoothing": 1.5}, "`label_smoothing` of .* between 0 and 1"),
    ({"gamma": -0.5}, "`gamma` of .* at least 0"),
    ({"gamma": float("nan")}, "`gamma` of .* at least 0"),
    ({"alpha": -1}, "`alpha` of .* at least 0"),
    ({"beta": -1}, "`beta` of .* (at least|above) 0"),
    ({"smooth": -1}, "`smooth` of .* at least 0"),
    ({"over": "class"}, "`over` of .* one of"),
    ({"class_weights": [1, -1]}, "`class_weights` of .* at least 0"),
    ({"class_weights": [[1, 1]]}, "`class_weights` of .* at least 0"),
    ({"class_weights": {0: -1}}, "`class_weights` of .* at least 0"),
    ({"class_weights": {"cat": 1}}, "`class_weights` of .* a dict from class"),
    ({"class_weights": {0: [1]}}, "`class_weights` of .* a dict from class"),
    ({"class_weights": "balanced"}, r"one batch .* numpy\.bincount\(y\)"),
    ({"pos_weight": 2.0}, "`pos_weight` of .* needs `binary=True`"),
]


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (cls, *mistake)
        for cls in LOSSES
        for mistake in MISTAKES
        if set(mistake[0]) <= set(inspect.signature(cls).parameters)
    ],
)
def test_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)


def test_share_of_positives_beyond_one():
    with pytest.raises(ValueError, match=r"`alpha` of .* between 0 and 1"):
        FocalCrossEntropy([0.5, 1.5], binary=True)


def test_one_scale_on_replicas():
    """A mean is divided by the number of replicas: gradients are summed."""
    if BACKEND != "tensorflow":
        pytest.skip("Only `tf.distribute` leaves the division to the loss.")
    import tensorflow as tf

    class TwoReplicas:
        num_replicas_in_sync = 2

    y_true, y_pred = np.array([[0, 1]]), np.full((1, 2, 3), 1 / 3, "float32")
    for cls in LOSSES:
        alone = float(cls()(y_true, y_pred))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.distribute, "get_strategy", TwoReplicas)
            assert float(cls()(y_true, y_pred)) == pytest.approx(alone / 2)
            summed = cls(reduction="sum")
            on_one = float(summed(y_true, y_pred))
        assert on_one == pytest.approx(float(summed(y_true, y_pred)))
