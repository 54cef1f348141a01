"""What a long recording leaves out, in memory and in its file."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts._recording import thinning
from keras_concepts.recording import Recording
from keras_concepts.reports.tracked import NewRows
from keras_concepts.rules import diagnose
from keras_concepts.rules.finding import Evidence
from keras_concepts.rules.judge import Judge
from keras_concepts.rules.rule import RULES, Rule
from keras_concepts.rules.training import Training
from rule_facts import head

OWNERS = [f"net/block_{i}/kernel" for i in range(4)]
STEPS = 100  # of an epoch


@pytest.fixture
def small_bound(monkeypatch):
    """Recordings are large from 600 rows on, and long from 200 epochs on."""
    monkeypatch.setattr(thinning, "MOST_ROWS", 600)
    monkeypatch.setattr(thinning, "MOST_BYTES", 100_000)
    monkeypatch.setattr(thinning, "MOST_EPOCHS", 200)


def numbers(epoch, i):
    return np.random.default_rng([epoch, i]).normal(1.0, 0.01, 4)


def grow(recording, epochs, change=lambda epoch, i, values: values):
    """Records epochs as monitors in `fit` do, and yields after each."""
    signals = recording.for_monitor("SignalMonitor")
    for epoch in epochs:
        begin, end = epoch * STEPS, (epoch + 1) * STEPS
        steps = np.arange(begin, end, STEPS // 4)
        for i, owner in enumerate(OWNERS):
            values = change(epoch, i, numbers(epoch, i)).astype("float32")
            recording.append(epoch, owner, q.GRADIENT_RMS, steps, values)
            signals.append(epoch, owner, q.ACTIVATION_RMS, end, 1.0)
        loss = 2.0 * 0.99**epoch
        recording.append(epoch, "loss", q.LOG, end, loss, monitor=q.FIT)
        yield epoch, end


def rows(recording):
    return [
        (
            *(s.run, s.monitor, s.epoch, s.owner, str(s.quantity)),
            s.steps.tolist(),
            s.values.tobytes(),
            s.index.tolist(),
        )
        for s in recording
    ]


def epochs_of(recording, quantity):
    return sorted({s.epoch for s in recording.select(quantity=quantity)})


def recorded(epochs, path=None, change=lambda epoch, i, values: values):
    recording = Recording(path, monitor="GradientMonitor")
    for _ in grow(recording, range(epochs), change):
        recording.flush()
    return recording


def test_what_is_below_the_bounds_stays():
    recording = recorded(60)
    assert len(recording) == 60 * (4 * 4 + 4 + 1)
    assert recording.runs[0].left_out == {}


@pytest.mark.usefixtures("small_bound")
class TestThinning:
    @pytest.mark.parametrize("epochs", [100, 150, 199])
    def test_memory_is_bounded_and_the_shape_stays(self, epochs):
        recording = recorded(epochs)
        assert recording._thinning.bytes < 1.3 * thinning.MOST_BYTES
        for quantity in (q.GRADIENT_RMS, q.ACTIVATION_RMS):
            kept = epochs_of(recording, quantity)
            assert kept[:4] == [0, 1, 2, 3]
            assert kept[-8:] == [*range(epochs - 8, epochs)]
            assert len(kept) >= 20
            # No gap of more than what the rule says: between, 8 or more stay.
            assert max(np.diff(kept)) <= 2 * epochs / 8
            # All owners have the same epochs.
            for owner in OWNERS:
                mine = recording.select(owner, quantity)
                assert sorted({s.epoch for s in mine}) == kept
        # What is measured of the run stays, all of it.
        assert epochs_of(recording, q.LOG) == [*range(epochs)]

    def test_logs_of_a_very_long_run(self):
        recording = recorded(900)
        kept = epochs_of(recording, q.LOG)
        assert 100 < len(kept) <= 201
        assert Training.of(recording).ended_epochs == 900

    def test_extremes_and_what_is_not_finite_stay(self):
        def change(epoch, i, values):
            special = {
                (41, 0): 1.5,  # a small one beside other curves
                (57, 3): 0.2,
                (63, 2): np.nan,
                (71, 1): np.inf,
            }
            return values * special.get((epoch, i), 1.0) * 100.0**i

        recording = recorded(199, change=change)
        kept = epochs_of(recording, q.GRADIENT_RMS)
        assert {41, 57, 63, 71} <= set(kept)
        assert 61 not in kept or len(kept) > 60
        at = recording.select(OWNERS[2], q.GRADIENT_RMS, epoch=63)
        assert np.isnan(at.value).all()

    def test_huge_and_constant_values_are_no_obstacle(self):
        def change(epoch, i, values):
            return values * 0.0 if i else np.where(values > 1.0, 1e38, -3e38)

        recording = recorded(120, change=change)
        assert recording._thinning.bytes < 1.3 * thinning.MOST_BYTES
        recording = Recording(monitor="GradientMonitor")
        for epoch, end in grow(recording, range(120)):
            recording.append(epoch, "a", "user/b", end, 1e308 * (-1) ** epoch)
            recording.append(epoch, "b", "user/b", end, np.nan)  # never any
            recording.append(epoch, "c", "user/b", [], [])
            recording.flush()
        assert recording.runs[0].left_out

    def test_what_comes_once_in_a_run_stays(self):
        recording = Recording(monitor="NonFiniteGuard")
        for epoch, end in grow(recording, range(199)):
            if epoch == 50:
                recording.append(epoch, "", q.NON_FINITE_BATCH, end, 3.0)
            recording.flush()
        assert len(recording.select("", q.NON_FINITE_BATCH)) == 1

    def test_steps_and_epochs_stay_exact(self):
        start = 1 << 40  # beyond what float32 or int32 can count
        recording = Recording(monitor="GradientMonitor")
        recording.append(0, "a", q.GRADIENT_RMS, [start, start + 1], [1, 2])
        assert recording.step.tolist() == [start, start + 1]

    def test_writers_get_each_row_once(self):
        recording = Recording(monitor="GradientMonitor")
        new, seen = NewRows(), []
        for _ in grow(recording, range(120)):
            recording.flush()
            seen += [(s.epoch, s.owner, s.quantity) for s in new.of(recording)]
        assert len(seen) == len(set(seen)) == 120 * 9


@pytest.mark.usefixtures("small_bound")
class TestFile:
    def test_says_what_memory_holds_at_any_time(self, tmp_path):
        path = tmp_path / "run.jsonl"
        recording = Recording(path, monitor="GradientMonitor")
        largest = 0
        for epoch, _ in grow(recording, range(150)):
            recording.flush()
            largest = max(largest, path.stat().st_size)
            if epoch % 10 == 9 or epoch > 140:
                assert rows(Recording.load(path)) == rows(recording)
        assert largest < 4 * thinning.MOST_BYTES
        recording.close()
        loaded = Recording.load(path)
        run = loaded.runs[0]
        assert run.left_out == recording.runs[0].left_out
        assert set(os.listdir(tmp_path)) == {"run.jsonl"}

    def test_is_bounded_and_other_lines_stay(self, tmp_path):
        path = tmp_path / "run.jsonl"
        with Recording(path, {"a": 1}, monitor="GradientMonitor") as earlier:
            earlier.append(0, "x", q.GRADIENT_RMS, 5, 0.1)
        recording = Recording(path, {"b": 2}, monitor="GradientMonitor")
        other = Recording(
            path, monitor="NonFiniteGuard", run=recording.runs[0].identity
        )
        sizes = []
        for epoch, end in grow(recording, range(1, 400)):
            recording.record_facts({"b": 2})
            other.append(epoch, "", q.CHECKED_STEPS, end, 1.0)
            recording.flush()
            other.flush()
            sizes.append(path.stat().st_size)
        assert max(sizes[200:]) < 1.5 * max(sizes[:200])
        loaded = Recording.load(path)
        assert loaded.select(run=0).value.tolist() == [0.1]
        assert [run.facts for run in loaded.runs] == [{"a": 1}, {"b": 2}]
        mine = loaded.select(run=1)
        assert rows(mine.select(monitor="NonFiniteGuard")) == rows(other)
        of_both = {row[1]: None for row in rows(mine)}
        assert list(of_both) == [
            "GradientMonitor",
            "SignalMonitor",
            "fit",
            "NonFiniteGuard",
        ]
        # The next run goes on where this one ended.
        recording.close()
        other.close()
        assert Recording(path).next_epoch == 400

    def test_a_second_process_is_refused_by_a_file_written_anew(self, tmp_path):
        path = tmp_path / "run.jsonl"
        before = path.stat().st_ino if path.exists() else None
        recording = recorded(150, path)
        assert path.stat().st_ino != before
        code = (
            "import sys; from keras_concepts.recording import Recording\n"
            "try: Recording(sys.argv[1])\n"
            "except BlockingIOError: print('refused')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "refused\n"
        assert rows(Recording.load(path)) == rows(recording)

    def test_a_file_that_is_replaced_while_it_is_opened(
        self, tmp_path, monkeypatch
    ):
        """Its holder writes it anew, and then lets go of it."""
        from keras_concepts._recording import held_file

        path = tmp_path / "run.jsonl"
        recorded(3, path).close()
        lock, calls = held_file._lock, []

        def replace_and_lock(descriptor):
            if not calls:
                copy = tmp_path / "copy"
                copy.write_bytes(path.read_bytes())
                copy.replace(path)
            calls.append(descriptor)
            return lock(descriptor)

        monkeypatch.setattr(held_file, "_lock", replace_and_lock)
        with Recording(path, monitor="Guard") as recording:
            recording.append(3, "", q.CHECKED, 400, 1.0)
        assert len(calls) == 2
        assert len(Recording.load(path).select(monitor="Guard")) == 1

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        path = tmp_path / "run.jsonl"
        (tmp_path / ".run.jsonl.tmp").write_bytes(b"half a ")
        recorded(3, path).close()
        assert os.listdir(tmp_path) == ["run.jsonl"]

    def test_a_link_stays_one(self, tmp_path):
        (tmp_path / "disk").mkdir()
        path = tmp_path / "run.jsonl"
        path.symlink_to(tmp_path / "disk" / "a.jsonl")
        recording = recorded(150, path)
        assert recording.runs[0].left_out
        assert path.is_symlink()
        assert rows(Recording.load(path)) == rows(recording)

    def test_without_space_for_both_the_old_file_goes_on(
        self, tmp_path, monkeypatch
    ):
        from keras_concepts._recording.held_file import HeldFile

        def full(self, path, lines):
            raise OSError(28, "No space left on device")

        path = tmp_path / "run.jsonl"
        with monkeypatch.context() as patch:
            patch.setattr(HeldFile, "rewrite", full)
            recording = recorded(150, path)
            assert rows(Recording.load(path)) == rows(recording)
            size = path.stat().st_size
        for _ in grow(recording, range(150, 199)):
            recording.flush()
        assert path.stat().st_size < size
        assert epochs_of(Recording.load(path), q.LOG) == [*range(199)]

    def test_deleted_and_begun_again(self, tmp_path):
        path = tmp_path / "run.jsonl"
        recording = recorded(150, path)
        path.unlink()
        recording.append(150, "", q.CHECKED, 150 * STEPS, 1.0)
        recording.flush()
        loaded = Recording.load(path)
        assert rows(loaded) == rows(recording)
        assert loaded.runs[0].left_out == recording.runs[0].left_out

    def test_what_could_not_be_written_is_bounded_too(
        self, tmp_path, monkeypatch
    ):
        from keras_concepts._recording.held_file import HeldFile

        def full(self, lines, header):
            raise OSError(28, "No space left on device")

        path = tmp_path / "run.jsonl"
        recording = Recording(path, monitor="GradientMonitor", on_error="warn")
        epochs = grow(recording, itertools.count())
        with monkeypatch.context() as patch:
            _ = next(epochs)
            patch.setattr(HeldFile, "append", full)
            with pytest.warns(UserWarning, match="cannot be written"):
                recording.flush()
            for _ in range(180):
                _ = next(epochs)
                recording.flush()
        assert recording._thinning.bytes < 1.3 * thinning.MOST_BYTES
        recording.flush()
        assert rows(Recording.load(path)) == rows(recording)


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize("epochs", [20, 120, 260])
def test_findings_are_the_same_live_and_from_the_file(epochs, tmp_path):
    """What was found before rows were left out cannot be found again."""
    path = tmp_path / "run.jsonl"
    recording = Recording(path, monitor="TrainingDoctor")
    names = ["TrainingDoctor", "SignalMonitor"]
    recording.record_facts(
        {"epochs": epochs, "heads": [head()], "doctor": names}
    )
    judge = Judge(recording)

    def change(epoch, i, values):
        return values * (1e5 if epoch == 15 else 1.0)

    for epoch, end in grow(recording, range(epochs), change):
        # A loss that is NaN for a while: found, and withdrawn.
        loss = np.nan if 10 <= epoch < 13 else 2.3
        recording.append(epoch, "val_loss", q.LOG, end, loss, monitor=q.FIT)
        recording.append(epoch, "", q.CHECKED, end, 1.0)
        _ = judge.check((epoch, end))
        recording.flush()
    assert judge.findings
    loaded = Recording.load(path)
    assert diagnose(loaded) == judge.findings
    assert bool(loaded.runs[0].left_out) == (epochs > 20)


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize("epochs", [20, 150])
def test_a_finding_that_was_withdrawn_is_known(epochs, tmp_path):
    def peaks(t):
        curve = t.curve(q.GRADIENT_RMS, OWNERS[0])
        if curve.values[-1] > 1e3:
            yield Evidence(OWNERS[0], curve.at(-1), (), "Wait.")

    def always(t):
        return True

    words = "peak", peaks, "warning", "why", "", ""
    rules = [Rule(*words, always, always)]
    path = tmp_path / "run.jsonl"
    recording = Recording(path, monitor="TrainingDoctor")
    recording.record_facts({"doctor": ["TrainingDoctor"]})
    judge = Judge(recording, rules=rules)

    def change(epoch, i, values):
        return values * (1e5 if epoch in (9, 15, 16) else 1.0)

    for epoch, end in grow(recording, range(epochs), change):
        for i, owner in enumerate(OWNERS):
            value = change(epoch, i, numbers(epoch, i)[:1])
            recording.append(epoch, owner, q.GRADIENT_RMS, end, value)
        recording.append(epoch, "", q.CHECKED, end, 1.0)
        _ = judge.check((epoch, end))
        recording.flush()
    [finding] = judge.findings
    assert (finding.since[0], finding.resolved[0]) == (9, 17)
    later = Judge(Recording.load(path), rules=rules)
    later.replay()
    assert later.findings == [finding]
    assert later.checked == judge.checked


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        ({"found": [np.float32(0.5)]}, {"found": [0.5]}),
        ({"found": [np.nan]}, {}),
        ({"found": [object()]}, {}),
    ],
)
def test_a_verdict_that_is_no_json_does_no_harm(verdict, kept, tmp_path):
    path = tmp_path / "run.jsonl"
    recording = Recording(path, monitor="TrainingDoctor")
    for _ in grow(recording, range(100)):
        recording.runs[0].verdict = verdict
        recording.flush()
    loaded = Recording.load(path)
    assert rows(loaded) == rows(recording)
    assert loaded.runs[0].judged == recording.runs[0].judged == kept


def test_rules_have_keys_of_their_own():
    assert len({rule.key for rule in RULES}) == len(RULES)


@pytest.mark.usefixtures("small_bound")
def test_what_was_loaded_stays(tmp_path):
    path = tmp_path / "run.jsonl"
    for run in range(3):
        recording = Recording(path, monitor="GradientMonitor")
        for _ in grow(recording, range(30 * run, 30 * run + 30)):
            recording.flush()
        recording.close()
    with Recording.load(path) as loaded:
        before = rows(loaded)
        assert len(loaded) > thinning.MOST_ROWS
        loaded.flush()
    assert rows(loaded) == before


@pytest.mark.usefixtures("small_bound")
def test_a_selection_is_judged_as_the_run(tmp_path):
    path = tmp_path / "run.jsonl"
    for run in range(2):
        recording = Recording(
            path, monitor="GradientMonitor", facts={"heads": [head()]}
        )
        judge = Judge(recording)
        for epoch, end in grow(recording, range(200 * run, 200 * run + 200)):
            recording.append(epoch, "", q.CHECKED, end, 1.0)
            _ = judge.check((epoch, end))
            recording.flush()
        recording.close()
        assert recording.runs[-1].left_out
    loaded = Recording.load(path)
    selected = loaded.select(run=1)
    run = loaded.runs[1]
    kept = [series.run for series in loaded][: run.judged_at]
    assert 0 < selected.runs[1].judged_at == kept.count(1) < run.judged_at
    assert diagnose(selected) == diagnose(loaded)
