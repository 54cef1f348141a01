"""How much the doctor measures, by a clock that the test turns."""

import itertools

import pytest

from keras_concepts.callbacks._time_budget import (
    GatedSchedule,
    RareSchedule,
    TimeBudget,
    checks_of_an_epoch,
)
from keras_concepts.instruments.step.schedule import Schedule


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_no_limit_measures_all():
    budget = TimeBudget(None, compiles=True)
    assert budget.may_measure_steps
    assert budget.allows()


def test_steps_that_are_not_compiled_are_measured_at_once():
    assert TimeBudget(0.1, compiles=False).may_measure_steps


@pytest.mark.parametrize(("steps", "measures"), [(299, False), (301, True)])
def test_a_run_of_known_length_must_be_long_enough(steps, measures):
    # Compiling takes 10 s, so measuring costs 30 s: a tenth of 300 s.
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    budget.plan(steps, 1)
    budget.step_begins(0)
    clock.now = 10.0
    budget.step_begins(1)
    assert not budget.may_measure_steps
    clock.now = 11.0
    budget.step_begins(2)
    assert budget.may_measure_steps is measures


def test_a_run_of_unknown_length_must_have_lasted():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    budget.plan(None, 3)
    for step, now in enumerate((0.0, 1.0, 40.0)):
        clock.now = now
        budget.step_begins(step)
        assert not budget.may_measure_steps
    clock.now = 41.0
    budget.step_begins(3)
    assert budget.may_measure_steps


def test_what_is_spent_is_not_training():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    with budget.spending():
        clock.now += 1.0
    clock.now += 39.0
    assert not budget.allows()  # 2 s of 39 s, where half of a tenth may go
    clock.now += 1.0
    assert budget.allows()


def test_spending_counts_also_what_fails():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)

    def fails():
        with budget.spending():
            clock.now += 2.0
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fails()
    assert budget.spent == 2.0


def test_a_gate_is_shut_until_the_budget_allows():
    budget = TimeBudget(0.1, compiles=True)
    seen = []
    gate = GatedSchedule(Schedule(), budget, seen.append)
    gate.begin_epoch(10)
    for step in range(6):
        budget.may_measure_steps = step >= 3
        measured = gate.due()
        assert measured == (step >= 3)
        gate.advance(1, measured)
    assert seen == list(range(6))


@pytest.mark.parametrize(
    ("cost", "spacing"), [(1.0, 1), (1.02, 1), (1.29, 15), (2.0, 50)]
)
def test_costly_steps_are_measured_rarely(cost, spacing):
    clock = Clock()
    budget = TimeBudget(0.1, False, clock)
    gate = RareSchedule(Schedule(), budget, clock=clock)
    measured = []
    for step in range(400):
        due = gate.due()
        clock.now += cost if due else 1.0
        gate.advance(1, due)
        if due and step > 70:
            measured.append(step)
    gaps = {b - a for a, b in itertools.pairwise(measured)}
    assert gaps == {spacing}


def test_a_clock_that_stands_still():
    gate = RareSchedule(Schedule(), TimeBudget(0.1, False), clock=lambda: 0.0)
    for _ in range(100):
        gate.advance(1, gate.due())


def test_a_run_is_looked_at_however_little_time_there_is():
    assert [e for e in range(1, 51) if checks_of_an_epoch(e, 50)] == [
        *(1, 5, 10, 25, 50)
    ]
    assert [e for e in range(1, 3) if checks_of_an_epoch(e, 2)] == [1, 2]
    assert [e for e in range(1, 10) if checks_of_an_epoch(e, 9)] == [1, 9]
