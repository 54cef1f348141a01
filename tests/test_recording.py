import json
import math
import pathlib

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording

FORMAT_1 = pathlib.Path(__file__).parent / "recordings" / "format_1.jsonl"


def small(path=None):
    recording = Recording(path, {"backend": "none"}, monitor="GradientMonitor")
    recording.append(0, "a/kernel", q.GRADIENT_RMS, [0, 1], [0.1, math.nan])
    recording.append(0, "a/bias", q.GRADIENT_RMS, [0, 1], [math.inf, -math.inf])
    recording.append(1, "", q.BATCH_LOSS, 2, 1 / 3)
    recording.append(1, "n", q.MEAN_SHIFT, 2, [0.5, 0.25], index=[0, 1])
    return recording


def rows(recording):
    return [
        (
            s.run,
            s.monitor,
            int(step),
            s.epoch,
            s.owner,
            s.quantity,
            int(i),
            str(value),
        )
        for s in recording
        for step, i, value in zip(s.steps, s.index, s.values, strict=True)
    ]


def test_rows_are_tidy():
    recording = small()
    assert len(recording) == 7
    assert recording.owners == ["a/kernel", "a/bias", "", "n"]
    assert recording.quantities == ["gradient_rms", "batch_loss", "mean_shift"]
    who = 0, "GradientMonitor"
    assert rows(recording) == [
        (*who, 0, 0, "a/kernel", "gradient_rms", -1, "0.1"),
        (*who, 1, 0, "a/kernel", "gradient_rms", -1, "nan"),
        (*who, 0, 0, "a/bias", "gradient_rms", -1, "inf"),
        (*who, 1, 0, "a/bias", "gradient_rms", -1, "-inf"),
        (*who, 2, 1, "", "batch_loss", -1, str(1 / 3)),
        (*who, 2, 1, "n", "mean_shift", 0, "0.5"),
        (*who, 2, 1, "n", "mean_shift", 1, "0.25"),
    ]


def test_an_empty_recording():
    recording = Recording()
    assert len(recording) == len(recording.value) == len(recording.owner) == 0
    assert recording.monitors == []
    assert recording.facts == {}


def test_select():
    recording = small()
    assert len(recording.select(owner="a/*")) == 4
    assert len(recording.select("a/kernel", "gradient_*")) == 2
    assert recording.select("").quantities == ["batch_loss"]
    assert recording.select(epoch=1).step.tolist() == [2, 2, 2]
    assert len(recording.select(owner="A/*")) == 0
    assert len(recording.select(monitor="Gradient*", run=0)) == 7
    assert len(recording.select(monitor="fit")) == 0
    assert len(recording.select(run=1)) == 0
    assert recording.select().facts == {"backend": "none"}


def test_a_path_is_no_pattern():
    recording = Recording()
    recording.append(0, "block[0]/kernel", q.GRADIENT_RMS, 0, 1.0)
    assert len(recording.select("block[0]/kernel")) == 1
    assert len(recording.select("block*")) == 1


def test_columns_run_parallel():
    pandas = pytest.importorskip("pandas")
    recording = small()
    frame = recording.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    fields = "run monitor step epoch owner quantity index value"
    assert list(frame) == fields.split()
    found = [
        (*row[:-1], str(row[-1]))
        for row in frame.itertuples(index=False, name=None)
    ]
    assert found == rows(recording)


def test_only_the_vocabulary_is_recorded():
    recording = Recording()
    with pytest.raises(ValueError, match=r"begin with 'user/'.*='gradient'"):
        recording.append(0, "", "gradient", 0, 1.0)
    recording.append(0, "", "user/gradient", 0, 1.0)
    assert recording.quantities == ["user/gradient"]


@pytest.mark.parametrize(
    ("steps", "values", "index"),
    [([0, 1], [0.5], None), (0, [0.5, 0.5], [1]), ([[0]], [[1.0]], None)],
)
def test_lengths_must_agree(steps, values, index):
    with pytest.raises(ValueError, match="must have the same length"):
        Recording().append(0, "", q.BATCH_LOSS, steps, values, index=index)


class TestEarlierNames:
    def test_columns(self):
        recording = small()
        with pytest.warns(DeprecationWarning, match="`layers`.*`owners`"):
            assert recording.layers == recording.owners
        with pytest.warns(DeprecationWarning, match="`layer`.*`owner`"):
            assert (recording.layer == recording.owner).all()
        with pytest.warns(DeprecationWarning, match="`metadata`.*`facts`"):
            assert recording.metadata == {"backend": "none"}

    def test_arguments(self):
        with pytest.warns(DeprecationWarning, match="`layer`.*`owner`"):
            assert len(small().select(layer="a/*")) == 4
        with pytest.warns(DeprecationWarning, match="`metadata`.*`facts`"):
            assert Recording(metadata={"a": 1}).facts == {"a": 1}

    @pytest.mark.parametrize("name", q.RENAMED)
    def test_quantities(self, name):
        recording = Recording()
        for quantity in q.RENAMED[name]:
            recording.append(0, "", quantity, 0, 1.0)
        with pytest.warns(DeprecationWarning, match=f"`{name}`"):
            found = recording.select(quantity=name)
        assert found.quantities == list(map(str, q.RENAMED[name]))

    def test_what_never_was_there_is_an_attribute_error(self):
        with pytest.raises(AttributeError, match="no attribute 'layres'"):
            _ = small().layres


class TestFile:
    def test_round_trip_is_exact(self, tmp_path):
        path = tmp_path / "new" / "folder" / "run.jsonl"
        recording = small(path)
        recording.flush()
        loaded = Recording.load(path)
        assert rows(loaded) == rows(recording)
        assert loaded.facts == {"backend": "none"}
        assert loaded.monitors == ["GradientMonitor"]
        for line in path.read_text().splitlines():
            _ = json.loads(line, parse_constant=pytest.fail)

    def test_holds_what_was_flushed(self, tmp_path):
        recording = small(tmp_path / "run.jsonl")
        assert len(Recording.load(tmp_path / "run.jsonl")) == 0
        recording.flush()
        recording.flush()
        recording.append(2, "", q.BATCH_LOSS, 3, 0.25)
        assert len(Recording.load(tmp_path / "run.jsonl")) == 7
        recording.flush()
        assert len(Recording.load(tmp_path / "run.jsonl")) == 8

    def test_survives_a_kill_at_any_byte(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        head = len(lines[0]) + len(lines[1])  # header and facts
        for end in range(len(lines[0]), len(whole)):
            path.write_bytes(whole[:end])
            survivors = max(0, whole[:end].count(b"\n") - 2)
            # The newline alone may be missing.
            survivors += whole[end : end + 1] == b"\n" and end > head
            assert len(list(Recording.load(path))) == survivors
            continued = Recording(path)
            continued.append(9, "", q.BATCH_LOSS, continued.next_step, 1.0)
            continued.flush()
            assert len(list(Recording.load(path))) == survivors + 1

    def test_the_next_run_goes_on(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        second = Recording(path, {"backend": "other"}, monitor="Guard")
        assert (second.run, second.next_step, second.next_epoch) == (1, 3, 2)
        assert second.is_first
        assert len(second) == 0
        second.append(2, "", q.BATCH_LOSS, 3, 0.25)
        second.flush()
        loaded = Recording.load(path)
        assert loaded.select("", q.BATCH_LOSS).step.tolist() == [2, 3]
        assert loaded.facts == {"backend": "other"}
        assert [run.facts["backend"] for run in loaded.runs] == [
            "none",
            "other",
        ]
        assert [run.monitors for run in loaded.runs] == [
            ["GradientMonitor"],
            ["Guard"],
        ]
        assert [s.run for s in loaded] == [0] * 4 + [1]

    def test_monitors_of_one_run_share_a_file(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        names = ["GradientMonitor", "SignalMonitor", "SignalMonitor"]
        together = [Recording(path, monitor=n, run="same") for n in names]
        assert [r.run for r in together] == [1, 1, 1]
        assert [r.is_first for r in together] == [True, False, False]
        assert [r.monitor for r in together] == [
            *names[:2],
            "SignalMonitor (2)",
        ]
        assert [r.next_step for r in together] == [3, 3, 3]
        for step in (3, 4):  # their lines come in turns
            for recording in together:
                recording.append(2, "", q.PROBE_LOSS, step, step / 2)
                recording.flush()
        loaded = Recording.load(path)
        assert loaded.select(run=1).monitors == [r.monitor for r in together]
        for recording in together:
            mine = loaded.select(monitor=recording.monitor, run=1)
            assert rows(mine) == rows(recording)

    def test_facts_may_come_later(self, tmp_path):
        path = tmp_path / "run.jsonl"
        recording = Recording(path, {"a": 1})
        recording.record_facts({"b": [1, None, "x"]})
        assert Recording.load(path).facts == {"a": 1, "b": [1, None, "x"]}

    def test_damage_in_the_middle_is_an_error(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        lines = path.read_text().splitlines(keepends=True)
        lines[2] = lines[2][:20] + "\n"
        path.write_text("".join(lines))
        with pytest.raises(ValueError, match="Line 3 of"):
            Recording.load(path)

    def test_a_newer_format_is_refused_and_kept(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        newer = path.read_text().replace('"version": 2', '"version": 3')
        path.write_text(newer)
        for attempt in (Recording, Recording.load):
            with pytest.raises(ValueError, match=r"Upgrade.*format 3"):
                attempt(path)
        assert path.read_text() == newer

    @pytest.mark.parametrize(
        "content",
        [b"step,loss\n0,1.5\n", b"{}\n", b"[]\n", b"7", b"\xff\x00\n"],
    )
    def test_other_files_are_refused_and_kept(self, content, tmp_path):
        path = tmp_path / "precious.csv"
        path.write_bytes(content)
        for attempt in (Recording, Recording.load):
            with pytest.raises(ValueError, match="keras-concepts recording"):
                attempt(path)
        assert path.read_bytes() == content

    def test_an_empty_file_is_begun(self, tmp_path):
        path = tmp_path / "run.jsonl"
        path.touch()
        small(path).flush()
        assert len(Recording.load(path)) == 7

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Recording.load(tmp_path / "nothing.jsonl")


class TestFormat1:
    """A file that five monitors wrote together before rows said who wrote."""

    def test_each_row_has_its_monitor_and_meaning(self):
        recording = Recording.load(FORMAT_1)
        concepts = {c.monitor: c.quantities for c in q.CONCEPTS}
        assert len(recording.monitors) == 5
        for series in recording:
            assert series.quantity in concepts[series.monitor]
        [run] = recording.runs
        assert run.facts["optimizer"] == "sgd"

    def test_numbers_are_kept(self):
        lines = map(json.loads, FORMAT_1.read_text().splitlines())
        old = [entry for entry in lines if "format" not in entry]
        new = list(Recording.load(FORMAT_1))
        assert len(new) == len(old) > 100
        for entry, series in zip(old, new, strict=True):
            numbers = series.values
            if entry["quantity"].endswith("_unit"):
                assert (series.values == 1.0).all()
                numbers = series.index
            expected = [float(value) for value in entry["values"]]
            np.testing.assert_array_equal(numbers, expected)
            assert series.owner == entry["layer"]
            assert series.steps.tolist() == entry["steps"]

    def test_losses_are_told_apart(self):
        recording = Recording.load(FORMAT_1)
        counts = {
            (monitor, quantity): len(
                recording.select("", quantity, monitor=monitor)
            )
            for monitor, quantity in (
                ("GradientMonitor", q.BATCH_LOSS),
                ("NonFiniteGuard", q.BATCH_LOSS),
                ("SignalMonitor", q.PROBE_LOSS),
                ("PenaltyReporter", q.EPOCH_LOSS),
            )
        }
        assert list(counts.values()) == [6, 2, 3, 2]
        signals = recording.select(monitor="SignalMonitor")
        assert sorted({s.epoch for s in signals}) == [-1, 0, 1]
        shifts = recording.select("m/n", q.MEAN_SHIFT)
        assert shifts.index.tolist() == [0, 1, 2] * 2

    def test_is_continued_in_format_2(self, tmp_path):
        path = tmp_path / "run.jsonl"
        path.write_bytes(FORMAT_1.read_bytes())
        recording = Recording(path, monitor="GradientMonitor")
        assert (recording.run, recording.next_step) == (1, 6)
        recording.append(2, "", q.BATCH_LOSS, 6, 0.5)
        recording.flush()
        loaded = Recording.load(path)
        assert len(loaded.runs) == 2
        assert loaded.select(run=1).value.tolist() == [0.5]


def test_large_values_keep_their_bits(tmp_path):
    values = np.random.default_rng(0).normal(size=100) * 1e-30
    recording = Recording(tmp_path / "run.jsonl")
    numbers = values.astype("float32")
    recording.append(0, "", q.BATCH_LOSS, np.arange(100), numbers)
    recording.flush()
    loaded = Recording.load(tmp_path / "run.jsonl").value
    np.testing.assert_array_equal(loaded, numbers)
