"""`Tversky` and `SoftFBeta`: one minus a ratio of sums."""

import keras
import numpy as np
import pytest
from sklearn.metrics import fbeta_score

import oracles
from keras_concepts import check_gradients
from keras_concepts.losses import SoftFBeta, Tversky
from loss_gradients import masked, numpy, value_and_gradient

pytestmark = pytest.mark.optimized


@pytest.fixture
def images():
    """Numbers of 3 classes and probabilities: 2 samples of 4 by 5."""
    random = np.random.default_rng(0)
    y_pred = random.dirichlet(np.ones(3), (2, 4, 5)).astype("float32")
    return random.integers(0, 3, (2, 4, 5)), y_pred


def expected(y_true, y_pred, weights, alpha, beta):
    """The loss of each class that has labels."""
    return np.array(
        [
            1
            - oracles.tversky_index(
                (y_true == c).ravel(),
                y_pred[..., c].ravel().astype(float),
                np.broadcast_to(weights, y_true.shape).ravel(),
                alpha,
                beta,
            )
            for c in range(y_pred.shape[-1])
            if (weights * (y_true == c)).sum() > 0
        ]
    )


def random_weights(shape):
    return np.random.default_rng(1).uniform(0, 2, shape)


@pytest.mark.parametrize("shape", [(), (2,), (2, 1, 1), (2, 4, 5)])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.3, 0.7), (1, 1)])
def test_tversky_over_the_batch(images, alpha, beta, shape):
    weights = random_weights(shape)
    full = weights[:, None, None] if shape == (2,) else weights
    classes = expected(*images, full, alpha, beta)
    for reduction, result in [
        ("sum_over_batch_size", classes.mean()),
        ("mean_with_sample_weight", classes.mean()),
        ("sum", classes.sum()),
        (None, classes),
    ]:
        loss = Tversky(alpha, beta, reduction)
        np.testing.assert_allclose(
            numpy(loss(*images, weights)), result, rtol=1e-5
        )


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_soft_fbeta_of_decisions_is_the_score(beta, weighted):
    random = np.random.default_rng(0)
    y_true = random.integers(0, 2, (20, 3))
    y_pred = random.integers(0, 2, (20, 3))
    weights = random_weights(20) if weighted else None
    score = fbeta_score(
        y_true, y_pred, beta=beta, average="macro", sample_weight=weights
    )
    loss = SoftFBeta(beta, binary=True)(y_true, y_pred, weights)
    assert float(loss) == pytest.approx(1 - score, 1e-5)


def test_dice(images):
    """The default is Keras' Dice of each class."""
    y_true, y_pred = images
    one_hot = np.eye(3, dtype="float32")[y_true]
    theirs = keras.losses.Dice(axis=(0, 1, 2))
    for ours in (Tversky(), SoftFBeta()):
        assert float(ours(one_hot, y_pred)) == pytest.approx(
            float(np.mean(numpy(theirs(one_hot, y_pred)))), 1e-5
        )


@pytest.mark.parametrize("cls", [Tversky, SoftFBeta])
class TestBoth:
    def test_over_samples(self, cls, images):
        y_true, y_pred = images
        samples = np.array(
            [
                expected(y, p, 1.0, 0.5, 0.5).mean()
                for y, p in zip(y_true, y_pred, strict=True)
            ]
        )
        loss = cls(over="sample", reduction=None)
        np.testing.assert_allclose(numpy(loss(*images)), samples, rtol=1e-5)
        for weights in (np.array([1.0, 3.0]), np.array([[1.0], [3.0]])):
            np.testing.assert_allclose(
                numpy(loss(*images, weights)), samples * [1, 3], rtol=1e-5
            )
        mean = cls(over="sample")
        assert float(mean(*images)) == pytest.approx(samples.mean(), 1e-5)

    def test_weights_inside_the_samples(self, cls, images):
        y_true, y_pred = images
        weights = random_weights((2, 4, 5))
        samples = [
            expected(y, p, w, 0.5, 0.5).mean()
            for y, p, w in zip(y_true, y_pred, weights, strict=True)
        ]
        assert float(cls(over="sample")(*images, weights)) == pytest.approx(
            np.mean(samples), 1e-5
        )

    def test_a_weight_is_a_number_of_entries(self, cls):
        """Keras multiplies the result, so weights change its scale alone."""
        random = np.random.default_rng(0)
        y_true = random.integers(0, 2, 8)
        y_pred = random.uniform(size=8).astype("float32")
        counts = random.integers(0, 4, 8)
        loss = cls(binary=True)
        repeated = loss(np.repeat(y_true, counts), np.repeat(y_pred, counts))
        weighted = loss(y_true, y_pred, counts)
        assert float(weighted) == pytest.approx(float(repeated), 1e-5)
        theirs = keras.losses.Tversky()
        arrays = y_true[:, None].astype("float32"), y_pred[:, None]
        assert float(theirs(*arrays, sample_weight=2.0)) == pytest.approx(
            2 * float(theirs(*arrays)), 1e-5
        )
        assert float(loss(*arrays, sample_weight=2.0)) == pytest.approx(
            float(loss(*arrays)), 1e-5
        )

    @pytest.mark.parametrize("over", ["batch", "sample"])
    def test_mask_and_ignored_class_leave_out(self, cls, images, over):
        y_true, y_pred = images
        kept = random_weights((2, 4, 5)) > 0.8
        loss = cls(over=over)
        expected = float(loss(y_true, y_pred, kept.astype("float32")))
        assert expected != pytest.approx(float(loss(y_true, y_pred)), 1e-3)
        by_mask = loss(y_true, masked(y_pred, kept))
        ignoring = cls(over=over, ignore_class=255)
        by_class = ignoring(np.where(kept, y_true, 255), y_pred)
        assert float(by_mask) == pytest.approx(expected, 1e-5)
        assert float(by_class) == pytest.approx(expected, 1e-5)

    def test_an_absent_class_costs_nothing(self, cls):
        """Keras lets it cost 1."""
        one_hot = np.eye(3, dtype="float32")[[0, 1, 1, 0]]
        theirs = keras.losses.Tversky(axis=0)
        costs = numpy(keras.ops.ones(3) * theirs(one_hot, one_hot))
        assert costs[2] > 0.3
        assert float(cls()(one_hot, one_hot)) == 0
        loss = cls(reduction=None)
        np.testing.assert_array_equal(numpy(loss(one_hot, one_hot)), 0)
        noisy = 0.94 * one_hot + 0.02
        present = numpy(loss(one_hot, noisy))
        assert float(cls()(one_hot, noisy)) == pytest.approx(
            present[:2].mean(), 1e-5
        )
        assert present[2] == 0

    def test_smoothing_lets_an_absent_class_learn(self, cls):
        y_true, y_pred = np.zeros(4), np.full(4, 0.25, "float32")
        value, gradient = value_and_gradient(cls(binary=True), y_true, y_pred)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)
        value, gradient = value_and_gradient(
            cls(binary=True, smooth=1.0), y_true, y_pred
        )
        assert value == pytest.approx(1 - 1 / 1.5, 1e-5)
        assert (gradient > 0).all()

    def test_a_labelled_class_that_is_never_predicted(self, cls):
        y_true, y_pred = np.array([1, 1, 0]), np.zeros(3, "float32")
        value, gradient = value_and_gradient(cls(binary=True), y_true, y_pred)
        assert value == 1
        assert np.isfinite(gradient).all()
        assert (gradient[:2] < 0).all()

    def test_a_sample_of_padding_is_left_out(self, cls, images):
        y_true, y_pred = images
        weights = np.ones((2, 4, 5))
        weights[1] = 0
        for smooth in (0.0, 1.0):
            loss = cls(over="sample", smooth=smooth)
            assert float(loss(y_true, y_pred, weights)) == pytest.approx(
                float(loss(y_true[:1], y_pred[:1])), 1e-5
            )

    def test_something_to_sum_over(self, cls):
        with pytest.raises(ValueError, match="nothing to sum over"):
            cls(over="sample")(np.array([0, 1]), np.eye(2))

    @pytest.mark.parametrize(
        ("from_logits", "over", "binary"),
        [
            (False, "batch", True),
            (True, "batch", False),
            (True, "sample", True),
            (False, "sample", False),
        ],
    )
    def test_gradient(self, cls, images, from_logits, over, binary):
        y_true, y_pred = images
        if binary:
            y_true = np.eye(3)[y_true]
        if from_logits:
            y_pred = 3 * np.log(y_pred)
        loss = cls(
            beta=2.0,
            from_logits=from_logits,
            over=over,
            binary=binary,
            smooth=0.1,
        )
        result = check_gradients(loss, (y_true, y_pred), max_entries=16)
        assert result, str(result)

    def test_gradient_by_the_oracle(self, cls, images):
        y_true, y_pred = images
        _, gradient = value_and_gradient(cls(), y_true, y_pred)
        exact = oracles.slope(
            lambda p: expected(y_true, p, 1.0, 0.5, 0.5).mean(), y_pred
        )
        np.testing.assert_allclose(gradient, exact, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("binary", [False, True])
    def test_large_logits(self, cls, binary):
        logits = np.array([[100, -100], [-100, 100], [0, 0]], "float32")
        y_true = np.eye(2)[[0, 0, 1]]
        loss = cls(from_logits=True, binary=binary)
        value, gradient = value_and_gradient(loss, y_true, logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_false_negatives_can_be_free():
    """With `beta=0` and nothing predicted, the ratio is 0 / 0."""
    loss = Tversky(alpha=1.0, beta=0.0, binary=True)
    value, gradient = value_and_gradient(
        loss, np.array([1, 1]), np.zeros(2, "float32")
    )
    assert value == 1
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("ignored", [-1, 255, float("nan")])
@pytest.mark.parametrize("cls", [Tversky, SoftFBeta])
def test_answers_that_are_missing(cls, ignored):
    """Multi-hot labels: what is not known is left out of its class."""
    random = np.random.default_rng(0)
    truth, y_pred = random.integers(0, 2, (12, 3)), random.random((12, 3))
    known = random.random((12, 3)) > 0.3
    loss = cls(binary=True, reduction=None, ignore_class=ignored)
    wanted = [
        1 - oracles.tversky_index(*each, np.ones(len(each[0])), 0.5, 0.5)
        for each in (
            (truth[known[:, c], c], y_pred[known[:, c], c]) for c in range(3)
        )
    ]
    labels = np.where(known, truth, ignored)
    np.testing.assert_allclose(numpy(loss(labels, y_pred)), wanted, rtol=1e-5)
