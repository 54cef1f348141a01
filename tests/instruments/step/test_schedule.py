import itertools

import pytest

from keras_concepts.instruments.step.schedule import Schedule


def measured(schedule, steps, known=True, stride=1):
    """Which steps of an epoch are measured, `stride` of them at a time."""
    schedule.begin_epoch(steps if known else None)
    found = []
    for step in range(0, steps, stride):
        due = schedule.due(stride)
        if due:
            found += range(step, step + stride)
        schedule.advance(stride, due)
    return found


def test_every_step():
    assert measured(Schedule(), 5) == [0, 1, 2, 3, 4]


def test_every_third_step():
    assert measured(Schedule(3), 8) == [0, 3, 6]


@pytest.mark.parametrize("steps", [1, 9, 10, 11, 99, 1000])
def test_at_most_max_samples(steps):
    found = measured(Schedule(max_samples=10), steps)
    assert len(found) <= 10
    assert len(found) == min(steps, 10) or len(found) > 5
    gaps = {b - a for a, b in itertools.pairwise(found)}
    assert len(gaps) <= 1
    assert steps - found[-1] <= max(gaps, default=1)


def test_every_is_a_lower_bound_of_the_interval():
    assert measured(Schedule(4, max_samples=100), 12) == [0, 4, 8]


def test_unknown_length():
    schedule = Schedule(max_samples=4)
    first = measured(schedule, 20, known=False)
    assert first == [0, 1, 2, 3, 4, 6, 8, 10, 12, 16]
    # From the second epoch on the length is known.
    assert measured(schedule, 20, known=False) == [0, 5, 10, 15]


@pytest.mark.parametrize(
    ("steps", "taken"),
    [(3, 3), (8, 4), (50, 4), (100, 7), (512, 32), (9000, 32)],
)
def test_a_sixteenth_after_the_first_epoch(steps, taken):
    schedule = Schedule(max_samples=32)
    assert len(measured(schedule, steps)) > min(steps, 32) / 2
    assert len(measured(schedule, steps)) == pytest.approx(taken, abs=1)
    everything = Schedule(2)
    assert measured(everything, 8) == measured(everything, 8) == [0, 2, 4, 6]


def test_several_steps_an_execution():
    assert measured(Schedule(5), 12, stride=2) == [0, 1, 4, 5, 10, 11]


@pytest.mark.parametrize("arguments", [{"every": 0}, {"max_samples": -3}])
def test_errors(arguments):
    with pytest.raises(ValueError, match="of `Schedule` must be at least 1"):
        Schedule(**arguments)
    with pytest.raises(TypeError, match="must be an integer"):
        Schedule(every=True)


def test_whether_all_steps_are_taken():
    assert Schedule().takes_all
    assert not Schedule(every=2).takes_all
    assert not Schedule(max_samples=100).takes_all
    assert str(Schedule(2, 32)) == "every=2, max_samples=32"
