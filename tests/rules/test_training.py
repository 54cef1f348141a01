"""A prefix of a recording shows nothing that came later."""

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.rules.training import ENDED, Curve, Index, Training, held
from rule_facts import STUCK, add, found, head, log, run, training

QUANTITIES = (
    q.LOG,
    q.BATCH_LOSS,
    q.CHECKED,
    q.NON_FINITE_BATCH,
    q.PREDICTED_SHARE,
    q.ERROR_RMS,
    q.LEARNING_RATE,
    q.GRADIENT_NORM,
)
OWNERS = ("", "loss", "a", "b")


def random_recording(seed):
    """Rows in the order in which they could have come."""
    random = np.random.default_rng(seed)
    recording = Recording(facts={"epochs": int(random.integers(1, 6))})
    step = 0
    for epoch in range(-1, int(random.integers(1, 8))):
        for _ in range(random.integers(0, 12)):
            quantity = QUANTITIES[random.integers(len(QUANTITIES))]
            owner = OWNERS[random.integers(len(OWNERS))]
            values = random.normal(size=random.integers(1, 4))
            values[random.random(len(values)) < 0.02] = np.nan
            if quantity == q.CHECKED:
                values = np.array([random.choice([1.0, ENDED], p=[0.9, 0.1])])
                owner = ""
            steps = step + np.arange(len(values))
            recording.append(epoch, owner, quantity, steps, values)
            step += int(random.integers(0, 5))
    return recording


def shown(t):
    """Everything that a rule can see of the rows."""
    return (
        {
            (str(quantity), owner): [column.tolist() for column in curve]
            for quantity in QUANTITIES
            for owner, curve in t.curves(quantity).items()
        },
        t.ended_epochs,
        t.planned_epochs,
        t.has_ended,
        t.broken_at,
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_prefix_is_what_a_recording_cut_there_is(seed):
    recording = random_recording(seed)
    rows = list(recording)
    index = Index(recording, recording.run).update()
    for end in range(len(rows) + 1):
        prefix = Training(index, end, (0, 0))
        cut = Training.of(recording._with(rows[:end]))
        np.testing.assert_equal(shown(prefix), shown(cut))


def test_an_index_grows_with_its_recording():
    whole = random_recording(3)
    growing = whole._with([])
    index = Index(growing, growing.run)
    for series in whole:
        growing._series.append(series)
        index = index.update()
    seen = Training(index, index.size, (0, 0))
    np.testing.assert_equal(shown(seen), shown(Training.of(whole)))
    assert index.checks == Index(whole, whole.run).update().checks


def test_rows_of_other_runs_are_not_seen():
    recording = run(losses=[1.0, 2.0])
    recording.run = 1
    recording._runs[1] = type(recording.runs[0])(1, facts={"epochs": 3})
    recording.append(2, "loss", q.LOG, 30, 9.0)
    first, second = (Training.of(recording, number) for number in (0, 1))
    assert first.logs("loss").values.tolist() == [1.0, 2.0]
    assert second.logs("loss").values.tolist() == [9.0]
    assert (first.planned_epochs, second.planned_epochs) == (10, 3)


class TestBroken:
    def test_a_finite_run_is_not(self):
        t = training(log(run(losses=[1.0, 0.5]), "val_loss", [np.nan] * 2))
        assert t.broken_at is None

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_at_the_first_epoch_that_is_not_finite(self, value):
        t = training(run(losses=[1.0, value, value]))
        assert t.broken_at == (1, 20)

    def test_at_the_step_that_is_known(self):
        recording = run(losses=[1.0, np.nan])
        recording.append(1, "", q.BATCH_LOSS, [14, 15], [1.0, np.nan])
        assert training(recording).broken_at == (1, 15)
        recording.append(1, "", q.NON_FINITE_BATCH, 13, 3.0)
        assert training(recording).broken_at == (1, 13)

    def test_losses_that_nobody_measured_are_not_broken(self):
        """`batch_loss` is NaN where no metric receives the loss."""
        recording = run(losses=[1.0, 0.5])
        recording.append(0, "", q.BATCH_LOSS, range(10), [np.nan] * 10)
        assert training(recording).broken_at is None

    def test_a_probe_shows_nothing_after_it(self):
        """Where activations are NaN, every unit counts as saturated."""
        recording = run(losses=[1.0, np.nan, np.nan])
        shares = [0.1, 0.2, 0.9, 0.9]
        _ = add(recording, q.SATURATED_UNITS, shares, "model/dense")
        t = training(recording)
        curve = t.curve(q.SATURATED_UNITS, "model/dense")
        assert curve.values.tolist() == [0.1, 0.2]
        # Logs, and what is measured in steps, stay.
        assert len(t.logs("loss").values) == 3


@pytest.mark.parametrize(
    ("facts", "losses", "planned"),
    [
        ({"epochs": 10}, STUCK[:3], 10),
        ({"epochs": 10, "initial_epoch": 4}, STUCK[:3], 6),
        ({"epochs": 10, "initial_epoch": 4}, [], 6),
        ({"epochs": 2}, STUCK[:3], 3),
        ({"epochs": None}, STUCK[:3], 3),
        ({"epochs": None}, [], 1),
        # Another `fit` began after 2 epochs, and one after 3.
        ({"epochs": 1, "continued": [2]}, STUCK[:3], 4),
        ({"epochs": 1, "continued": [2, 3]}, STUCK[:3], 4),
    ],
)
def test_planned_epochs(facts, losses, planned):
    t = training(run(losses=losses, **facts))
    assert t.planned_epochs == planned
    assert t.ended_epochs == len(losses)


def test_a_run_that_stops_early_has_had_its_epochs():
    recording = run([head()], losses=STUCK[:4])
    recording.append(3, "", q.CHECKED, 40, 1.0)
    assert training(recording).planned_epochs == 10
    recording.append(3, "", q.CHECKED, 40, ENDED)
    t = training(recording)
    assert t.has_ended
    assert t.planned_epochs == 4


def test_what_comes_at_the_end_is_judged_by_the_epochs_that_were_run():
    """Half of 4 epochs are over, half of 10 are not."""
    recording = run([head()], losses=STUCK[:4])
    assert found("no_progress", recording) == []
    recording.append(3, "", q.CHECKED, 40, ENDED)
    assert found("no_progress", recording) == [""]


def test_data_are_known_from_the_step_at_which_they_were_seen():
    recording = run([head()], [{"name": "x"}])
    recording.facts["data"]["step"] = 20
    index = Index(recording, 0).update()
    assert Training(index, index.size, (1, 19)).inputs == []
    assert Training(index, index.size, (1, 20)).inputs == [{"name": "x"}]


class TestCurve:
    curve = Curve(
        np.array([-1, 0, 0, 1]),
        np.array([0, 5, 10, 20]),
        np.array([1.0, 9.0, np.nan, 9.0]),
        np.full(4, -1),
    )

    def test_positions(self):
        assert self.curve.at(0) == (0, 0)
        assert self.curve.at(3) == (1, 20)

    @pytest.mark.parametrize(
        ("wrong", "since"),
        [
            ([1, 1, 1, 1], (0, 0)),
            ([1, 0, 1, 1], (0, 10)),
            ([0, 1, 0, 1], (1, 20)),
        ],
    )
    def test_since_is_the_begin_of_the_last_unbroken_stretch(
        self, wrong, since
    ):
        assert self.curve.since(np.array(wrong, bool)) == since

    def test_finite(self):
        assert self.curve.finite.values.tolist() == [1.0, 9.0, 9.0]
        assert self.curve.finite.steps.tolist() == [0, 5, 20]

    def test_empty(self):
        assert not training(run()).curve(q.ERROR_RMS, "nobody")
        assert self.curve


def test_held():
    assert held([False, True, True], 2)
    assert not held([True, False, True], 2)
    assert not held([True], 2)
