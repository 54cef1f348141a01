"""How far weights move: exact for small variables, sampled for large ones."""

import keras
import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.instruments import weight_history
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.weight_history import WeightHistory


def history(count=4, units=64):
    model = keras.Sequential([keras.Input((units,))])
    for _ in range(count):
        model.add(keras.layers.Dense(units, use_bias=False))
    variables = model.trainable_variables
    return WeightHistory(model, owner_names(model), variables), variables


def move(variables):
    """Adds what is known to each, and gives the RMS of that."""
    random = np.random.default_rng(0)
    for variable in variables:
        change = random.normal(0.0, 0.1, variable.shape)
        variable.assign_add(change.astype("float32"))
    return 0.1


def test_changes_are_those_of_all_entries():
    kept, variables = history()
    before = [np.array(v) for v in map(keras.ops.convert_to_numpy, variables)]
    _ = move(variables)
    _ = kept.rows()
    _ = move(variables)
    for rows, start, variable in zip(
        kept.rows().values(), before, variables, strict=True
    ):
        now = np.float64(keras.ops.convert_to_numpy(variable))
        np.testing.assert_allclose(
            rows[q.DISTANCE_RMS], np.sqrt(np.mean((now - start) ** 2)), 1e-6
        )
        np.testing.assert_allclose(
            rows[q.EPOCH_WEIGHT_RMS], np.sqrt(np.mean(now**2)), 1e-6
        )


def test_memory_is_bounded_by_the_model(monkeypatch):
    """However many variables there are."""
    monkeypatch.setattr(weight_history, "_MOST_IN_ALL", 4096)
    kept, variables = history()
    change = move(variables)
    rows = kept.rows()
    held = [*kept._first, *kept._last]
    assert sum(each.nbytes for each in held) <= 2 * 4 * 4096
    for found in rows.values():  # of a fourth of the entries
        assert found[q.EPOCH_UPDATE_RMS] == pytest.approx(change, rel=0.1)


def test_infinite_weights_give_no_warning():
    """A NumPy warning, which a user may have turned into an error."""
    kept, variables = history(count=1)
    variables[0].assign(keras.ops.full((64, 64), np.inf))
    _ = kept.rows()
    (found,) = kept.rows().values()
    assert found[q.EPOCH_WEIGHT_RMS] == np.inf
    assert np.isnan(found[q.EPOCH_UPDATE_RMS])
