import numpy as np
import pytest

from keras_concepts.derived import (
    attenuation,
    count_layers,
    ends,
    joint_rms,
    median,
    median_ratio,
    moving_statistics_off,
    role_by_name,
)


def test_median_leaves_out_what_is_not_finite():
    assert median(np.array([1.0, np.nan, 3.0, np.inf, 2.0])) == 2.0
    assert np.isnan(median(np.array([np.nan])))
    assert np.isnan(median(np.zeros(0)))


def test_median_of_the_finite_quotients():
    numerator = np.array([1.0, 8.0, np.nan, 5.0, 3.0])
    denominator = np.array([2.0, 2.0, 1.0, 0.0, 1.0])
    assert median_ratio(numerator, denominator) == 3.0
    assert np.isnan(median_ratio(numerator, np.zeros(5)))
    square = np.arange(1.0, 5.0).reshape(2, 2)
    assert median_ratio(square, np.ones((2, 2))) == 2.5


def test_quotients_keep_the_type_of_their_numbers():
    numerator, denominator = np.float32([0.1, 0.2, 0.4]), np.float32([0.3] * 3)
    expected = float(np.median(numerator / denominator))
    assert median_ratio(numerator, denominator) == expected


PATHS = ["e/embeddings", "a/kernel", "a/bias", "b/kernel", "b/bias"]


def test_attenuation_is_of_the_first_and_the_last_layer():
    rms = np.array([[2.0, 6.0], [1.0, 3.0], [9.0, 9.0], [2.0, 2.0], [9.0, 9.0]])
    assert ends(PATHS) == ([0], [3])
    assert attenuation(PATHS, rms) == 2.0
    assert ends(["a/bias", "b/bias"]) == ([0], [1])
    assert count_layers(PATHS) == 3


def test_queries_and_keys_are_neither_first_nor_last():
    roles = ["score", "weight", "vector", "score", "vector"]
    assert ends(PATHS, roles=roles) == ([1], [1])
    assert ends(PATHS, roles=["score", "vector"] * 2 + ["score"]) == ([0], [4])
    assert count_layers(PATHS, roles=roles) == 1


def test_a_layer_is_all_of_its_weights():
    paths = ["a/w", "a/v", "b/w", "b/v"]
    rms = np.array([[1.0], [3.0], [2.0], [np.nan]])
    known = {"roles": ["weight"] * 4, "sizes": [3, 1, 5, 5]}
    assert ends(paths, roles=known["roles"]) == ([0, 1], [2, 3])
    # sqrt((3 * 1 + 1 * 9) / 4), over the one that has a gradient.
    assert attenuation(paths, rms, **known) == pytest.approx(np.sqrt(3.0) / 2)
    layers = ["x", "", "", "x"]
    assert ends(paths, layers=layers, roles=known["roles"])[0] == [0, 3]


def test_joint_rms_of_any_size_and_none():
    rms = np.array([[1e-200, 0.0, np.inf, np.nan], [1e-200, 0.0, 1.0, 1.0]])
    joint = joint_rms(rms, [0, 1])
    np.testing.assert_allclose(joint[:2], [1e-200, 0.0])
    assert not np.isfinite(joint[2:]).any()


def test_what_a_name_says():
    assert role_by_name("m/dense/lora_kernel_a") == "weight"
    assert role_by_name("m/dense/bias") == "vector"
    assert role_by_name("m/mystery/w") == ""


def test_moving_statistics_are_off_in_mean_or_variance():
    assert moving_statistics_off(-3.0, np.log(2.0)) == 3.0
    assert moving_statistics_off(0.1, -np.log(8.0)) == pytest.approx(3.0)
    assert moving_statistics_off(0.5, np.nan) == 0.5
    assert np.isnan(moving_statistics_off(np.nan, np.nan))
