import numpy as np
import pytest

from keras_concepts.instruments.data.input_statistics import InputStatistics


def facts_of(*batches):
    statistics = InputStatistics("input")
    for batch in batches:
        statistics.update(batch)
    return statistics.facts()


def same(facts, others):
    assert facts.keys() == others.keys()
    for key, value in facts.items():
        if isinstance(value, float | list):
            assert others[key] == pytest.approx(value, rel=1e-6), key
        else:
            assert others[key] == value, key


@pytest.mark.parametrize("shape", [(90, 5), (90, 4, 4, 3), (90,), (90, 6, 2)])
def test_against_numpy(shape):
    x = np.random.default_rng(0).normal(1000, 0.1, shape).astype("float32")
    facts = facts_of(x)
    exact = x.astype("float64")
    assert facts["shape"] == list(shape[1:])
    assert facts["mean"] == pytest.approx(exact.mean())
    assert facts["std"] == pytest.approx(exact.std(), rel=1e-3)
    assert facts["rms"] == pytest.approx(np.sqrt((exact**2).mean()))
    assert (facts["min"], facts["max"]) == (exact.min(), exact.max())
    table = exact.reshape(-1, shape[-1] if len(shape) > 1 else 1)
    rms = np.sqrt((table**2).mean(axis=0))
    expected = [rms.min(), np.median(rms), rms.max()]
    assert facts["rms_of_features"] == pytest.approx(expected)
    assert facts["features"] == len(rms)
    same(facts, facts_of(x[:7], x[7:8], x[8:]))


def test_values_that_are_not_finite():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    holes = x.copy()
    holes[3, 0], holes[4, 1], holes[40, 2] = np.nan, np.inf, -np.inf
    facts = facts_of(holes[:20], holes[20:])
    assert facts["non_finite"] == 3
    known = np.where(np.isfinite(holes), holes, np.nan).astype("float64")
    assert facts["mean"] == pytest.approx(np.nanmean(known), rel=1e-5)
    assert facts["std"] == pytest.approx(np.nanstd(known), rel=1e-5)
    assert facts["max"] == np.nanmax(known)
    assert facts_of(np.full((4, 2), np.nan))["mean"] is None


def test_constant_features():
    x = np.array([[0.0, 1.0, 5.0], [0.0, 3.0, 5.0]])
    facts = facts_of(x)
    assert facts["constant_features"] == 2
    assert facts["rms_of_features"] == pytest.approx([5**0.5] * 3)
    assert facts["whole_numbers"]
    assert not facts["integer"]


def test_padded_integers():
    rows = np.array([[0, 0, 5, 6], [7, 0, 8, 0], [0, 0, 0, 0]])
    facts = facts_of(rows)
    assert facts["integer"]
    assert facts["padding"] == pytest.approx((2 + 1 + 4) / 12)
    assert facts_of(rows.astype("float32"))["padding"] is None
    assert facts_of(rows[0])["padding"] is None


def test_repeated_rows():
    rows = np.array([[1.0, 2], [3, 4], [1, 2], [5, 6]])
    assert facts_of(rows)["repeated_rows"] == 0.5
    assert facts_of(rows[:2], rows[2:])["repeated_rows"] == 0.5


def test_texts_and_lengths_that_change():
    facts = facts_of(np.array([["a b"], ["c"]], object))
    assert (facts["dtype"], facts["mean"]) == ("string", None)
    facts = facts_of(np.ones((2, 3)), np.zeros((2, 5)))
    assert facts["shape"] == [None]
    assert facts["mean"] == pytest.approx(6 / 16)
    assert facts["std"] == pytest.approx(np.std([1] * 6 + [0] * 10))
