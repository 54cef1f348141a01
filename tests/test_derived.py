import numpy as np

from keras_concepts.derived import attenuation, ends, median, median_ratio


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


def test_attenuation_is_of_the_first_and_the_last_kernel():
    paths = ["e/embeddings", "a/kernel", "a/bias", "b/kernel", "b/bias"]
    rms = np.array([[9.0, 9.0], [1.0, 3.0], [9.0, 9.0], [2.0, 2.0], [9.0, 9.0]])
    assert ends(paths) == (1, 3)
    assert attenuation(paths, rms) == 1.0
    assert ends(["a/bias", "b/bias"]) == (0, 1)
