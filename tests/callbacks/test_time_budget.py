"""How much the doctor measures, by a clock that the test turns."""

import itertools
import time

import pytest

from keras_concepts.callbacks._time_budget import (
    Budget,
    GatedSchedule,
    PlannedBudget,
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
    budget = Budget()
    gate = GatedSchedule(Schedule(), budget)
    assert gate.takes_all
    for step in range(100):
        assert gate.due()
        gate.advance(1, measured=True)
        assert budget.allows_step(step + 1)
    assert budget.allows_look()
    assert budget.allows_first_look(1000)
    assert budget.allows_planned_look(0.0)


def test_steps_that_are_not_compiled_are_measured_at_once():
    assert TimeBudget(0.1, compiles=False).may_measure_steps


@pytest.mark.parametrize(
    ("looked", "steps", "measures"),
    [(0, 374, False), (0, 376, True), (8, 474, False), (8, 476, True)],
)
def test_a_run_of_known_length_must_be_long_enough(looked, steps, measures):
    # Compiling takes 10 s, so measuring costs 30 s, in addition to a look: a
    # tenth of the run, less a fifth of that for the steps.
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    budget.plan(steps, 1)
    with budget.spending(), budget.looking():
        clock.now += looked
    _ = budget.allows_step(0)
    clock.now += 10.0
    _ = budget.allows_step(1)
    assert not budget.may_measure_steps
    clock.now += 1.0
    _ = budget.allows_step(2)
    assert budget.may_measure_steps is measures


def test_compiling_the_measured_step_is_not_training():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    budget.plan(1000, 1)
    for step, seconds in enumerate([10.0, 1.0, 31.0, 1.0, 1.0]):
        measured = budget.allows_step(step)
        assert measured is (step == 2)
        clock.now += seconds
        if measured:
            budget.end_measured_step(step + 1)
        clock.now += 5.0 * (step == 2)  # a validation, or a pause
    assert budget.spent == 31.0
    # Another `fit` may measure with what is compiled.
    budget.go_on(is_compiled=True)
    assert budget.may_measure_steps
    # If not, it compiles it again, if there is time for that.
    budget.go_on(is_compiled=False)
    assert not budget.may_measure_steps
    for step, (planned, allowed) in enumerate(((700, False), (900, True))):
        budget.plan(planned, 1)  # compiling takes 31 s again
        clock.now = 31.0 + 10.0 + 100.0 + step
        _ = budget.allows_step(102 + step)
        assert budget.may_measure_steps is allowed


def test_a_run_of_unknown_length_must_have_lasted():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    budget.plan(None, 3)
    for step, now in enumerate((0.0, 1.0, 40.0)):
        clock.now = now
        _ = budget.allows_step(step)
        assert not budget.may_measure_steps
    clock.now = 41.0
    _ = budget.allows_step(3)
    assert budget.may_measure_steps


def test_what_is_spent_is_not_training():
    clock = Clock()
    budget = TimeBudget(0.1, True, clock)
    with budget.spending(), budget.looking():
        clock.now += 1.0
    clock.now += 39.0
    assert not budget.allows_look()  # 2 s of 39 s: over half of a tenth
    clock.now += 1.0
    assert budget.allows_look()


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
        assert measured == (step == 3)  # half of them are tried
        gate.advance(1, measured)
    assert seen == list(range(6))


def measured_steps(cost, steps, planned=None, schedules=None):
    """Which steps are measured, each taking 1 s, or `cost`: by schedule."""
    clock = Clock()
    budget = TimeBudget(0.1, False, clock)
    budget.plan(planned, 1)
    schedules = schedules or [Schedule()]
    gates = [GatedSchedule(each, budget) for each in schedules]
    found = [[] for _ in gates]
    for gate in gates:
        gate.begin_epoch(steps)
    for step in range(steps):
        due = [gate.due() for gate in gates]
        clock.now += cost if any(due) else 1.0
        for gate, steps_of, is_due in zip(gates, found, due, strict=True):
            gate.advance(1, is_due)
            if is_due:
                steps_of.append(step)
    return found


@pytest.mark.parametrize(
    ("cost", "spacing"), [(1.0, 1), (1.02, 1), (1.29, 15), (2.0, 50)]
)
def test_costly_steps_are_measured_rarely(cost, spacing):
    [measured] = measured_steps(cost, 400)
    late = [step for step in measured if step > 70]
    assert {b - a for a, b in itertools.pairwise(late)} == {spacing}


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 8])
def test_validation_does_not_hide_what_a_step_costs(epoch):
    clock = Clock()
    budget = TimeBudget(0.1, False, clock)
    measured = []
    for step in range(400):
        if step % epoch == 0:
            clock.now += 2.0
            budget.begin_epoch()
        if budget.allows_step(step):
            measured.append(step)
            clock.now += 0.5
        clock.now += 1.0
    late = [step for step in measured if step > 70]
    # Where it follows each step, it belongs to the time of training.
    spacing = 9 if epoch == 1 else 25
    assert {b - a for a, b in itertools.pairwise(late)} == {spacing}


def test_all_monitors_measure_the_same_steps():
    # The second would like every seventh.
    schedules = Schedule(), Schedule(every=7)
    first, second = measured_steps(1.29, 400, schedules=schedules)
    assert set(second) <= set(first)
    late = [step for step in second if step > 100]
    assert {b - a for a, b in itertools.pairwise(late)} == {15}


@pytest.mark.parametrize(("planned", "first"), [(50, 5), (100, 8), (5000, 8)])
def test_of_a_short_run_few_steps_are_tried(planned, first):
    # Eight are enough where steps take as long as here.
    [measured] = measured_steps(1.34, planned, planned)
    tried = [step for step in range(16) if step.bit_count() % 2 == 0]
    assert measured[:first] == tried[:first]
    assert len(measured) - first <= 0.06 * planned


def test_a_machine_that_is_busy_for_a_while():
    # Steps take three times as long from the twentieth on.
    clock = Clock()
    gate = GatedSchedule(Schedule(), TimeBudget(0.1, False, clock))
    measured = []
    for step in range(400):
        due = gate.due()
        clock.now += (1.29 if due else 1.0) * (3.0 if step >= 20 else 1.0)
        gate.advance(1, due)
        if due and step > 100:
            measured.append(step)
    assert {b - a for a, b in itertools.pairwise(measured)} == {15}


def test_a_clock_that_stands_still():
    gate = GatedSchedule(Schedule(), TimeBudget(0.1, False, clock=lambda: 0.0))
    for _ in range(100):
        gate.advance(1, gate.due())


def looked_at(look, epochs=50, first=None, compiles=False, looks=False):
    """Epochs after which a run is looked at, each taking 1 s."""
    clock = Clock()
    budget = TimeBudget(0.1, compiles, clock, looks)
    budget.plan(4, epochs)

    def take(seconds):
        with budget.spending(), budget.looking():
            clock.now += seconds

    take(look if first is None else first)
    found = []
    for epoch in range(1, epochs + 1):
        for step in range(4 * epoch - 4, 4 * epoch):
            _ = budget.allows_step(step)
            clock.now += 0.25
        is_planned = checks_of_an_epoch(epoch, epochs)
        if budget.allows_look() or (
            is_planned and budget.allows_planned_look(epoch / epochs)
        ):
            take(look)
            found.append(epoch)
    return found


def test_a_cheap_look_is_taken_often():
    assert len(looked_at(0.01)) > 40


def test_a_look_at_a_share_of_the_run_is_taken_when_it_is_planned():
    assert looked_at(0.5) == [1, 5, 10, 25, 50]


def test_costly_looks_are_taken_rarely():
    # A tenth of the run may go into them, one at the end included.
    assert looked_at(1.6) == [1]
    assert looked_at(4.0) == []


def test_the_first_look_of_what_is_compiled_says_little():
    assert looked_at(0.01, first=10.0, looks=True, compiles=True)[:2] == [1, 5]
    assert looked_at(0.01, first=10.0) == []
    # Not compiled itself, it can only have been slow for what it is.
    assert looked_at(1.5, first=3.0, compiles=True) == [1]
    assert looked_at(1.5, first=4.0, compiles=True) == []


@pytest.mark.parametrize(("step", "allowed"), [(0.39, False), (0.41, True)])
def test_a_large_model_is_compiled_for_a_look_in_long_runs_only(step, allowed):
    # The training step takes 4 s to compile, so the look is to take 8 s, a
    # fifth of 40 s.
    clock = Clock()
    budget = TimeBudget(0.1, True, clock, compiles_looks=True)
    budget.plan(10, 9)
    assert budget.allows_first_look(49)
    assert not budget.allows_first_look(50)
    for number in range(12):
        _ = budget.allows_step(number)
        clock.now += step if number else 4.0
    assert budget.allows_first_look(50) == allowed
    with budget.looking():
        clock.now += 8.0
    assert budget.allows_first_look(50)
    # Of a run of unknown length, what has passed is the least that it takes.
    clock = Clock()
    unknown = TimeBudget(0.1, True, clock, compiles_looks=True)
    unknown.plan(None, 9)
    for number in range(int(40 / step)):
        _ = unknown.allows_step(number)
        clock.now += step if number else 4.0
    assert unknown.allows_first_look(50)
    assert TimeBudget(0.1, compiles=True).allows_first_look(50)


def test_when_looks_are_planned():
    assert [e for e in range(1, 51) if checks_of_an_epoch(e, 50)] == [
        *(1, 5, 10, 25, 50)
    ]
    assert [e for e in range(1, 3) if checks_of_an_epoch(e, 2)] == [1, 2]
    assert [e for e in range(1, 10) if checks_of_an_epoch(e, 9)] == [1, 9]


def test_where_processes_must_agree_no_clock_decides(monkeypatch):
    def no_clock():
        raise AssertionError("a clock was read")

    monkeypatch.setattr(time, "perf_counter", no_clock)
    budget, steps = PlannedBudget(), []
    gate = GatedSchedule(Schedule(), budget)
    assert not gate.takes_all
    gate.begin_epoch(200)
    for step in range(200):
        with budget.spending(), budget.looking():
            due = gate.due()
        steps += [step] * due
        gate.advance(1, measured=due)
    assert steps == [*range(64, 200, 16)]
    assert not budget.allows_look()
    assert budget.allows_first_look(1000)
    assert budget.allows_planned_look(0.5)


def test_executions_of_several_steps_pass_the_planned_ones():
    budget = PlannedBudget()
    measured = [s for s in range(0, 200, 10) if budget.allows_step(s)]
    assert measured == [70, 80, 100, 120, 130, 150, 160, 180]


def test_steps_go_on_in_another_fit():
    budget = PlannedBudget()
    measured = []
    for taken in (0, 50, 100):
        gate = GatedSchedule(Schedule(), budget, taken=taken)
        gate.begin_epoch(50)
        for step in range(taken, taken + 50):
            due = gate.due()
            measured += [step] * due
            gate.advance(1, measured=due)
    assert measured == [*range(64, 150, 16)]
