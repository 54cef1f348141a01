"""Statistics of a probe against NumPy in float64."""

import numpy as np
import pytest
from keras import ops

from keras_concepts.instruments import LayerSignal, RecurrentSteps
from keras_concepts.instruments.signals.signal_statistics import (
    error_by_lag,
    layer_statistics,
    memory_horizon,
    step_statistics,
)


def signal(activation, **parts):
    tensors = {
        name: None if part is None else ops.convert_to_tensor(part)
        for name, part in parts.items()
        if name != "unit_axis"
    }
    arguments = {"error": None, "slope": None, "mask": None} | tensors
    return LayerSignal(
        layer="layer",
        call=0,
        activation=ops.convert_to_tensor(activation),
        unit_axis=parts.get("unit_axis", -1),
        has_weights=True,
        steps=None,
        **arguments,
    )


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def measured(*calls):
    return {
        name: ops.convert_to_numpy(value)
        for name, value in layer_statistics(calls).items()
    }


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_moments_leave_out_the_padding(offset):
    values, mask = draw(5, 4, 3) + np.float32(offset), draw(5, 4) > 0
    values[~mask] = np.nan
    error = draw(5, 4, 3) * 1e-3
    found = measured(signal(values, mask=mask, error=error))
    kept = values[mask].astype("float64")
    # The float32 mean of numbers about 1e4 errs by some 1e-4.
    spread = 1e-5 if offset == 0.0 else 1e-3
    assert found["activation_mean"] == pytest.approx(kept.mean(), rel=1e-5)
    assert found["activation_std"] == pytest.approx(kept.std(), rel=spread)
    assert found["activation_rms"] == pytest.approx(
        np.sqrt(np.mean(kept**2)), rel=1e-5
    )
    assert found["error_rms"] == pytest.approx(
        np.sqrt(np.mean(error[mask].astype("float64") ** 2)), rel=1e-5
    )


def test_zeros_and_dead_units():
    values = np.maximum(draw(6, 2, 4), 0.0)
    values[..., 1] = 0.0
    mask = np.ones((6, 2), bool)
    mask[3:, 1] = False
    values[..., 2] = 0.0
    values[4, 1, 2] = 7.0  # in the padding
    found = measured(signal(values, mask=mask))
    assert found["dead"].tolist() == [False, True, True, False]
    assert found["zero_share"] == pytest.approx(
        np.mean(values[mask] == 0.0), rel=1e-6
    )


def test_saturation_is_counted_by_unit():
    slope = np.ones((20, 4), "float32")
    slope[:19, 0] = 0.01  # 95 % of the samples
    slope[:18, 1] = 0.01  # 90 %: not more
    slope[:, 2] = 0.06  # flat, but not flat enough
    found = measured(signal(draw(20, 4), slope=slope))
    assert found["saturated"].tolist() == [True, False, False, False]


def test_calls_are_samples_of_one_layer():
    first, second = draw(3, 4), draw(5, 4)[::-1] + 1.0
    both = np.concatenate([first, second])
    found = measured(signal(first), signal(second))
    whole = measured(signal(both))
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6)


def test_one_call_with_a_mask_and_one_without():
    masked, whole = draw(3, 4), draw(5, 4) + 1.0
    mask = np.array([True, False, True])
    found = measured(signal(masked, mask=mask), signal(whole))
    kept = np.concatenate([masked[mask], whole])
    assert found["activation_std"] == pytest.approx(kept.std(), rel=1e-5)


def test_mask_of_the_batch_alone():
    values = draw(4, 3, 2)
    found = measured(signal(values, mask=np.array([True, False, True, False])))
    assert found["activation_mean"] == pytest.approx(
        values[::2].mean(), rel=1e-5
    )


def test_channels_first():
    values = np.abs(draw(2, 3, 4, 4))
    values[:, 1] = 0.0
    found = measured(signal(values, unit_axis=1))
    assert found["dead"].tolist() == [False, True, False]


def steps(rows, time, mask=None):
    gate = np.full((rows, time, 2), 0.5, "float32")
    gate[..., 0] = 0.999
    return RecurrentSteps(
        states=ops.convert_to_tensor(draw(rows, time, 2)),
        slope=None,
        gates={"forget": ops.convert_to_tensor(gate)},
        gate_slopes={"forget": ops.convert_to_tensor(4 * gate * (1 - gate))},
        mask=None if mask is None else ops.convert_to_tensor(mask),
        error=ops.convert_to_tensor(draw(rows, time, 2)),
    )


def test_steps():
    mask = np.array([[True] * 3, [True, True, False]])
    call = steps(2, 3, mask)
    found = {
        name: ops.convert_to_numpy(value)
        for name, value in step_statistics([call, call]).items()
    }
    assert found["forget_gate_mean"] == pytest.approx(0.7495, rel=1e-5)
    assert found["saturated_gate"].tolist() == [True, False]
    np.testing.assert_array_equal(found["kept"], np.tile(mask, (2, 1)))
    np.testing.assert_allclose(
        found["state_error"][:2], np.mean(draw(2, 3, 2) ** 2, -1), rtol=1e-5
    )
    assert "saturated" not in found


def test_lags_are_counted_from_each_sequences_end():
    squares = np.array([[9.0, 4.0, 1.0, 7.0], [5.0, 16.0, 25.0, 36.0]])
    kept = np.array([[1, 1, 1, 0], [0, 1, 1, 1]], bool)
    expected = np.sqrt([(1 + 36) / 2, (4 + 25) / 2, (9 + 16) / 2])
    np.testing.assert_allclose(error_by_lag(squares, kept), expected)
    kept[0] = False  # nothing but padding
    np.testing.assert_allclose(error_by_lag(squares, kept), [6.0, 5.0, 4.0])
    assert error_by_lag(squares, np.zeros_like(kept)).shape == (0,)


@pytest.mark.parametrize(
    ("by_lag", "steps"),
    [
        ([1.0, 0.5, 0.02, 0.009, 0.0], 3),
        ([1.0, 0.001, 0.001, 0.02, 0.001], 4),  # strong again farther back
        ([0.001, 1.0, 0.02], 3),
        ([0.0, 0.0], 0),
        ([], 0),
        ([np.nan, 1.0], 0),
        ([np.inf, 1.0], 0),
    ],
)
def test_horizon_is_the_last_step_above_one_percent(by_lag, steps):
    assert memory_horizon(np.array(by_lag, np.float64)) == steps


def test_error_of_all_outputs_that_are_read():
    values, unread = draw(4, 3, 2), np.zeros((4, 3, 2), "float32")
    mask = np.arange(12).reshape(4, 3) % 3 > 0
    sequence, state = draw(4, 3, 5), draw(4, 2) * 3
    found = signal(values, error=unread, mask=mask)
    found.other_errors = [ops.convert_to_tensor(x) for x in (sequence, state)]
    found.other_masks = [found.mask, None]
    entries = np.concatenate([sequence[mask].ravel(), state.ravel()])
    expected = np.sqrt(np.mean(entries.astype("float64") ** 2))
    assert measured(found)["error_rms"] == pytest.approx(expected, rel=1e-5)
    found.other_errors = []
    found.other_masks = []
    assert measured(found)["error_rms"] == 0.0


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_errors_whose_squares_leave_the_range_of_float32(size):
    error = draw(6, 3) * np.float32(size)
    expected = np.sqrt(np.mean(error.astype("float64") ** 2))
    found = measured(signal(draw(6, 3), error=error))
    assert found["error_rms"] == pytest.approx(expected, rel=1e-5)


def test_units_of_several_axes():
    values = draw(5, 4, 2, 3)
    values[:, :, 1, 2] = 0.0
    found = signal(values)
    found.unit_axes = (-2, -1)
    assert np.flatnonzero(measured(found)["dead"]).tolist() == [5]
