import numpy as np
import pytest
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.moments import (
    UnitTotals,
    joined_totals,
    mean_and_variance,
    moments_of_replicas,
    unit_moments,
)

SIZES = [0, 5, 1, 26]


@pytest.fixture
def shares():
    """Shares of a batch far from 0, as replicas have, the first one empty."""
    random = np.random.default_rng(0)
    x = random.normal(1e3, 1.0, size=(sum(SIZES), 3)).astype("float32")
    return np.split(x, np.cumsum(SIZES)[:-1])


def test_totals_of_several_streams(shares):
    states = []
    for share in shares:
        totals = UnitTotals.unpacked(ops.zeros((UnitTotals.rows, 3)))
        if len(share):
            totals = totals.plus(unit_moments(ops.convert_to_tensor(share)))
        states.append(ops.convert_to_numpy(totals.packed()))
    together = np.concatenate(shares).astype("float64")
    mean, variance = mean_and_variance(joined_totals(states))
    np.testing.assert_allclose(mean, together.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(variance, together.var(axis=0), rtol=1e-5)
    count = joined_totals(states)[1:3].sum(axis=0)
    assert count.tolist() == [len(together)] * 3


def test_moments_of_a_whole_batch(shares, monkeypatch):
    own = [unit_moments(ops.convert_to_tensor(x)) for x in shares]
    monkeypatch.setattr(
        _backend,
        "of_all_replicas",
        lambda tensors: [ops.stack(each) for each in zip(*own, strict=True)],
    )
    found = [
        ops.convert_to_numpy(each).astype("float64")
        for each in moments_of_replicas(own[0])
    ]
    count, mean, rest, squares = found
    together = np.concatenate(shares).astype("float64")
    assert count == len(together)
    np.testing.assert_allclose(mean + rest, together.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(squares / count, together.var(axis=0), rtol=1e-5)
