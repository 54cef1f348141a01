import numpy as np
import pytest

from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.html.heatmap import COLUMNS, Cells
from keras_concepts.rules.training import Curve

EPOCHS = Epochs(np.array([0.0, 40.0]), np.array([0.0, 4.0]))


def curve(steps, values):
    steps = np.array(steps)
    return Curve(steps // 10, steps, np.array(values, float), steps * 0 - 1)


def cells(**curves):
    return Cells.of(curves, [*curves], EPOCHS)


def test_rows_are_measured_at_different_steps():
    found = cells(a=curve([0, 20], [1.0, 2.0]), b=curve([10], [3.0]))
    np.testing.assert_array_equal(found.places, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(
        found.values, [[1.0, np.nan, 2.0], [np.nan, 3.0, np.nan]]
    )
    assert not found.nonfinite.any()
    np.testing.assert_array_equal(found.last, [2.0, 3.0])


def test_few_measurements_reach_half_the_way_to_the_next():
    values, nonfinite = cells(a=curve([0, 10, 40], [1.0, np.inf, 3.0])).columns(
        0.0, 4.0
    )
    centres = 4.0 * (np.arange(COLUMNS) + 0.5) / COLUMNS
    np.testing.assert_array_equal(values[0][centres < 0.5], 1.0)
    np.testing.assert_array_equal(values[0][centres > 2.5], 3.0)
    np.testing.assert_array_equal(
        nonfinite[0], (centres > 0.5) & (centres < 2.5)
    )


def test_many_measurements_are_medians():
    random = np.random.default_rng(0)
    steps = np.arange(40 * 25)
    measured = random.normal(size=len(steps))
    epochs = Epochs(np.array([0.0, 1001.0]), np.array([0.0, 4.0]))
    found = Cells.of({"a": curve(steps, measured)}, ["a"], epochs)
    values, _ = found.columns(0.0, 4.0)
    at = (steps / 1001 * COLUMNS).astype(int)
    expected = [np.median(measured[at == column]) for column in range(COLUMNS)]
    np.testing.assert_allclose(values[0], expected)


def test_one_bad_step_of_many_is_seen():
    measured = np.ones(1000)
    measured[777] = np.nan
    epochs = Epochs(np.array([0.0, 1000.0]), np.array([0.0, 4.0]))
    found = Cells.of({"a": curve(np.arange(1000), measured)}, ["a"], epochs)
    values, nonfinite = found.columns(0.0, 4.0)
    assert np.flatnonzero(nonfinite[0]).tolist() == [int(0.777 * COLUMNS)]
    assert (values == 1.0).all()


def test_nothing_is_shown_long_after_the_last_measurement():
    values, _ = cells(a=curve([0, 10], [1.0, 2.0])).columns(0.0, 4.0)
    centres = 4.0 * (np.arange(COLUMNS) + 0.5) / COLUMNS
    assert np.isnan(values[0][centres > 2.0]).all()
    np.testing.assert_array_equal(
        values[0][(centres > 0.5) & (centres < 2.0)], 2.0
    )


@pytest.mark.parametrize("steps", [[0], [40]])
def test_one_measurement(steps):
    values, _ = cells(a=curve(steps, [7.0])).columns(0.0, 4.0)
    assert 0 < np.isfinite(values).sum() < COLUMNS
    assert set(values[np.isfinite(values)]) == {7.0}
