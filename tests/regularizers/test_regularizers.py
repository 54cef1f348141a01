"""Penalties against NumPy in float64, Keras and the backend's autodiff."""

import keras
import numpy as np
import pytest
from keras import layers

from autodiff import gradients
from keras_concepts import regularizers

KERNEL = np.array(
    [[0.5, -2.0, 0.0], [0.0, 0.0, 0.0], [1e-4, 3.0, -0.25], [7.0, 0.0, -1e-5]]
)
PENALTIES = [
    regularizers.L1(0.3),
    regularizers.L2(0.2),
    regularizers.L1L2(l1=0.3, l2=0.2),
    regularizers.GroupLasso(0.4),
    regularizers.GroupLasso(0.4, axis=-1),
]


def label(penalty):
    return f"{type(penalty).__name__}{sorted(penalty.get_config().values())}"


def in_float64(penalty, w):
    """Value and gradient, written out."""
    match penalty.get_config():
        case {"l1": l1, "l2": l2}:
            value = l1 * np.abs(w).sum() + l2 * (w**2).sum()
            return value, l1 * np.sign(w) + 2 * l2 * w
        case {"l1": l1}:
            return l1 * np.abs(w).sum(), l1 * np.sign(w)
        case {"l2": l2}:
            return l2 * (w**2).sum(), 2 * l2 * w
        case {"strength": strength, "axis": axis}:
            rows = w if axis == -2 else w.T
            value, gradient = 0.0, np.zeros_like(rows)
            for i, row in enumerate(rows):
                norm = np.sqrt(row @ row)
                value += strength * np.sqrt(len(row)) * norm
                if norm:
                    gradient[i] = strength * np.sqrt(len(row)) * row / norm
            return value, gradient if axis == -2 else gradient.T


@pytest.mark.parametrize("penalty", PENALTIES, ids=label)
def test_value_and_gradient(penalty):
    w = KERNEL.astype("float32")
    value, gradient = in_float64(penalty, KERNEL)
    np.testing.assert_allclose(float(penalty(w)), value, rtol=1e-6)
    found = keras.ops.convert_to_numpy(penalty.gradient(w))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gradient, rtol=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=label)
def test_the_training_step_sees_the_same_gradient(penalty):
    """The loss is zero and flat, so all gradient is the penalty's."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, use_bias=False, kernel_regularizer=penalty),
        ]
    )
    model.compile("sgd", keras.losses.MeanSquaredError())
    model.set_weights([KERNEL])
    _, [found] = gradients(model, np.zeros((2, 4)), np.zeros((2, 3)))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, in_float64(penalty, KERNEL)[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (regularizers.L1(0.3), keras.regularizers.L1(0.3)),
        (regularizers.L2(0.2), keras.regularizers.L2(0.2)),
        (regularizers.L1L2(0.3, 0.2), keras.regularizers.L1L2(0.3, 0.2)),
        (regularizers.L1(), keras.regularizers.L1()),
        (regularizers.L2(), keras.regularizers.L2()),
        (regularizers.L1L2(), keras.regularizers.L1L2()),
    ],
)
@pytest.mark.optimized
def test_bit_equal_to_keras(ours, theirs):
    for dtype in ("float32", "float16"):
        w = keras.ops.convert_to_tensor(KERNEL, dtype)
        if keras.backend.standardize_dtype(theirs(w).dtype) != dtype:
            continue  # on torch, Keras before 3.14 answers in float32
        assert float(ours(w)) == float(theirs(w))
        as_ours = regularizers.as_penalty(theirs)
        assert type(as_ours) is type(ours)
        assert float(as_ours(w)) == float(theirs(w))


def test_config_is_the_very_argument():
    assert regularizers.L1(0.01).get_config() == {"l1": 0.01}
    group = regularizers.GroupLasso(1, axis=0)
    assert group.get_config() == {"strength": 1, "axis": 0}
    assert regularizers.as_penalty(group) is group


def test_as_penalty_knows_no_other():
    class Changed(keras.regularizers.L1):
        def __call__(self, x):
            return 0.0

    for regularizer in (
        None,
        Changed(),
        keras.regularizers.OrthogonalRegularizer(),
    ):
        assert regularizers.as_penalty(regularizer) is None


def test_report():
    variable = keras.Variable(KERNEL.astype("float32"))
    report = regularizers.L1L2(0.3, 0.2).report(variable, near_zero=1e-4 + 1e-9)
    l1, l2 = 0.3 * np.abs(KERNEL).sum(), 0.2 * (KERNEL**2).sum()
    assert list(report.terms) == ["l1", "l2"]
    np.testing.assert_allclose([*report.terms.values()], [l1, l2], rtol=1e-6)
    np.testing.assert_allclose(report.value, l1 + l2, rtol=1e-6)
    np.testing.assert_allclose(
        [*report.shares.values()], [l1 / (l1 + l2), l2 / (l1 + l2)], rtol=1e-6
    )
    np.testing.assert_allclose(report.norm, np.linalg.norm(KERNEL), rtol=1e-6)
    np.testing.assert_allclose(
        report.gradient_norm,
        np.linalg.norm(0.3 * np.sign(KERNEL) + 0.4 * KERNEL),
        rtol=1e-6,
    )
    assert report[5:] == (12, 5, 2)
    assert all(type(x) in (dict, float, int) for x in report)


def test_report_of_zeros_has_no_nan():
    report = regularizers.L1L2(0.3, 0.2).report(np.zeros((2, 3), "float32"))
    assert report.shares == {"l1": 0.0, "l2": 0.0}
    assert report.zeros == report.size == 6


def test_groups_of_a_convolution_are_its_input_channels():
    w = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    norms = [np.linalg.norm(w[:, :, i]) for i in range(2)]
    expected = np.sqrt(45) * np.sum(norms)
    found = float(regularizers.GroupLasso(1.0)(w.astype("float32")))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_group_lasso_of_a_vector():
    w = np.array([3.0, -4.0, 0.0], "float32")
    assert float(regularizers.GroupLasso(0.5, axis=-1)(w)) == 3.5
    with pytest.raises(ValueError, match=r"each entry a group.*shape \(3,\)"):
        regularizers.GroupLasso()(w)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "cls",
    [
        regularizers.L1,
        regularizers.L2,
        regularizers.L1L2,
        regularizers.GroupLasso,
    ],
)
def test_factors_are_checked(cls, bad):
    with pytest.raises(ValueError, match=r"finite and at least 0. Received"):
        cls(bad)
    with pytest.raises(TypeError, match=r"must be a number. Received"):
        cls("0.1")


def test_axis_is_checked():
    with pytest.raises(TypeError, match=r"`axis` of `GroupLasso`.*1.5 of type"):
        regularizers.GroupLasso(axis=1.5)


def test_reaches_the_objective_in_fit(digits):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(
                4,
                kernel_regularizer=regularizers.GroupLasso(0.1),
                bias_regularizer=regularizers.L1(0.1),
                activity_regularizer=regularizers.L2(0.1),
            ),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    history = model.fit(*digits, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
