import contextlib
import errno
import json
import math
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts._recording.file import encoded
from keras_concepts.recording import Recording

try:
    import resource
except ImportError:  # on Windows
    resource = None

FORMAT_1 = pathlib.Path(__file__).parent / "recordings" / "format_1.jsonl"


def small(path=None):
    recording = Recording(path, {"backend": "none"}, monitor="GradientMonitor")
    recording.append(0, "a/kernel", q.GRADIENT_RMS, [0, 1], [0.1, math.nan])
    recording.append(0, "a/bias", q.GRADIENT_RMS, [0, 1], [math.inf, -math.inf])
    recording.append(1, "", q.BATCH_LOSS, 2, 1 / 3)
    recording.append(1, "n", q.MEAN_SHIFT, 2, [0.5, 0.25], index=[0, 1])
    return recording


def edited(path, **names):
    """The bytes of a file in which names are others, with new checksums."""
    lines = re.sub(r', "crc": \d+}', "}", path.read_text())
    for old, new in names.items():
        lines = lines.replace(f'"{old}"', f'"{new}"')
    lines = lines.replace('"epoch": 1', '"epoch": 1, "more": 2')
    return encoded(map(json.loads, lines.splitlines()))


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

    def test_facts_that_are_no_json_are_no_obstacle(self, tmp_path):
        recording = small(tmp_path / "run.jsonl")
        with pytest.raises(TypeError, match="JSON"):
            recording.record_facts({"a": object()})
        recording.flush()
        assert len(Recording.load(tmp_path / "run.jsonl")) == 7

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
        newer = path.read_text().replace('"version": 3', '"version": 4')
        path.write_text(newer)
        for attempt in (Recording, Recording.load):
            with pytest.raises(ValueError, match=r"Upgrade.*format 4"):
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


class TestDamage:
    """What a killed process, a full disk or a person leaves in a file."""

    @pytest.mark.parametrize("blank", [b"\n", b"  \n\n", b"\r\n"])
    def test_blank_lines_mean_nothing(self, blank, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(blank.join(lines) + blank)
        assert rows(Recording.load(path)) == rows(small())
        continued = Recording(path)
        assert (continued.run, continued.next_step) == (1, 3)

    @pytest.mark.parametrize(
        "line",
        [
            b"{}",
            b"[1, 2]",
            b"\xff\xfe",
            b'{"run": 0, "quantity": "batch_loss"}',
            b'{"run": 0, "monitor": "", "epoch": 0, "owner": "", "quantity": '
            b'"batch_loss", "steps": [0], "values": [1, 2]}',
        ],
    )
    def test_a_line_of_something_else_is_named(self, line, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        with path.open("ab") as file:
            _ = file.write(line + b"\n")
        small(tmp_path / "other.jsonl").flush()
        with path.open("ab") as file:
            text = (tmp_path / "other.jsonl").read_bytes()
            _ = file.write(text.partition(b"\n")[2])
        with pytest.raises(ValueError, match=r"damaged.*line"):
            Recording.load(path)

    def test_a_file_without_a_line_end_is_not_read(self, tmp_path):
        path = tmp_path / "weights.bin"
        with path.open("wb") as file:
            _ = file.truncate(1 << 40)  # a terabyte of nothing
        for attempt in (Recording, Recording.load):
            with pytest.raises(ValueError, match=r"not a.*begins with"):
                attempt(path)

    def test_quantities_of_a_newer_version(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        path.write_bytes(edited(path, batch_loss="loss_of_tomorrow"))
        with pytest.warns(UserWarning, match="loss_of_tomorrow.*Upgrade"):
            recording = Recording.load(path)
        assert recording.select("", "user/loss_of_tomorrow").step.tolist() == [
            2
        ]
        assert Recording(path).next_step == 3


def fill_the_disk(monkeypatch, recording):
    """Lets the next lines be written by half, until `monkeypatch.undo()`."""
    file = recording._writer._hold._file

    class Full:
        def write(self, data):
            if len(data) < 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return file.write(data[: len(data) // 2])

        def __getattr__(self, name):
            return getattr(file, name)

    monkeypatch.setattr(recording._writer._hold, "_file", Full())


@contextlib.contextmanager
def read_only(folder):
    """No user may create files in the folder; root becomes another user."""
    was_root = os.geteuid() == 0
    os.chmod(folder, 0o555)
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)
        os.chmod(folder, 0o755)


class TestFullDisk:
    def test_the_file_stays_whole_and_nothing_is_lost(
        self, tmp_path, monkeypatch
    ):
        path = tmp_path / "run.jsonl"
        recording = small(path)
        recording.flush()
        whole = path.read_bytes()
        fill_the_disk(monkeypatch, recording)
        recording.append(2, "", q.BATCH_LOSS, 3, 0.25)
        with pytest.raises(OSError, match=r"No space left.*run\.jsonl"):
            recording.flush()
        assert path.read_bytes() == whole
        monkeypatch.undo()
        recording.flush()
        assert rows(Recording.load(path)) == rows(recording)

    def test_half_a_line_that_cannot_be_taken_back(self, tmp_path, monkeypatch):
        path = tmp_path / "run.jsonl"
        recording = small(path)
        recording.flush()
        with path.open("ab") as file:
            _ = file.write(b'{"run": 0, "monit')
        recording.append(2, "", q.BATCH_LOSS, 3, 0.25)
        recording.flush()
        assert rows(Recording.load(path)) == rows(recording)
        assert Recording.load(path).runs[0].monitors == ["GradientMonitor"]

    def test_one_warning_for_all_monitors_of_a_run(self, tmp_path, monkeypatch):
        path = tmp_path / "run.jsonl"
        both = [
            Recording(path, monitor=name, run="same", on_error="warn")
            for name in ("GradientMonitor", "SignalMonitor")
        ]
        fill_the_disk(monkeypatch, both[0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(3):
                for recording in both:
                    recording.append(0, "", q.PROBE_LOSS, step, 0.5)
                    recording.record_facts({"step": step})
                    recording.flush()
        [warning] = caught
        assert "cannot be written" in str(warning.message)
        monkeypatch.undo()
        for recording in both:
            recording.close()
        loaded = Recording.load(path)
        assert loaded.select(monitor="SignalMonitor").step.tolist() == [0, 1, 2]
        assert loaded.facts == {"step": 2}

    @pytest.mark.skipif(resource is None, reason="needs limits of files")
    def test_a_file_that_may_not_grow(self, tmp_path):
        """The system itself refuses, in the middle of a line."""
        path = tmp_path / "run.jsonl"
        recording = Recording(path, monitor="GradientMonitor", on_error="warn")
        values = np.random.default_rng(0).normal(size=10_000)

        def record(epochs):
            written = 0
            for epoch in range(epochs):
                steps = np.arange(10_000) + 10_000 * epoch
                recording.append(epoch, "a", q.GRADIENT_RMS, steps, values)
                recording.flush()
                loaded = len(Recording.load(path))
                assert loaded in (written, len(recording))
                written = loaded
            return written

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = 1 << 20  # others of this process write less
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.warns(UserWarning, match="cannot be written") as caught:
                written = record(epochs=20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert len(caught) == 1
        assert 0 < written < len(recording)
        assert path.read_bytes().endswith(b"}\n")
        with Recording(path) as following:  # the next run goes on
            assert following.next_epoch == written // 10_000
            following.append(99, "b", q.GRADIENT_RMS, following.next_step, 1.0)
        recording.close()
        assert len(Recording.load(path)) == len(recording) + 1

    @pytest.mark.skipif(resource is None, reason="needs permissions of folders")
    def test_a_folder_that_may_no_longer_be_written_to(self):
        """What is open stays writable; a file that is gone cannot be begun."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "run.jsonl"
            recording = Recording(path, monitor="A", on_error="warn")
            recording.append(0, "", q.BATCH_LOSS, 0, 1.0)
            recording.flush()
            with read_only(folder):
                recording.append(0, "", q.BATCH_LOSS, 1, 1.0)
                recording.flush()
                assert len(Recording.load(path)) == 2
            path.unlink()
            recording.append(0, "", q.BATCH_LOSS, 2, 1.0)
            with read_only(folder):
                with pytest.warns(UserWarning, match="cannot be written"):
                    recording.flush()
                recording.flush()
                assert not path.exists()
            recording.flush()
            assert rows(Recording.load(path)) == rows(recording)

    def test_on_error_is_one_of_two(self):
        with pytest.raises(ValueError, match=r"'raise' or 'warn'.*'ignore'"):
            Recording(on_error="ignore")


class TestDeletedFile:
    def test_is_begun_again_with_all_rows(self, tmp_path):
        path = tmp_path / "folder" / "run.jsonl"
        recording = small(path)
        recording.flush()
        for delete in (lambda: path.write_bytes(b""), path.unlink):
            delete()
            recording.append(2, "", q.BATCH_LOSS, 3, 0.25)
            recording.flush()
            loaded = Recording.load(path)
            assert rows(loaded) == rows(recording)
            assert loaded.facts == {"backend": "none"}

    def test_of_two_monitors(self, tmp_path):
        path = tmp_path / "run.jsonl"
        both = [Recording(path, monitor=m, run="same") for m in ("A", "B")]
        for step in range(2):
            for recording in both:
                recording.append(0, "", q.BATCH_LOSS, step, 0.5)
                recording.flush()
            if not step:
                path.unlink()
        loaded = Recording.load(path)
        assert loaded.monitors == ["A", "B"]
        assert loaded.select(monitor="B").step.tolist() == [0, 1]

    @pytest.mark.parametrize("foreign", ["recording", "other"])
    def test_another_file_in_its_place_is_kept(self, foreign, tmp_path):
        path = tmp_path / "run.jsonl"
        recording = small(path)
        path.unlink()
        if foreign == "recording":
            small(path).flush()
        else:
            path.write_text("step,loss\n0,1.5\n")
        content = path.read_bytes()
        with pytest.raises(FileExistsError, match=r"another recording|not a"):
            recording.flush()
        assert path.read_bytes() == content


WRITER = """
import os, sys
from keras_concepts.recording import Recording

def attempt(act):
    try:
        act()
    except BlockingIOError as error:
        print("refused" if "one writer" in str(error) else error)
    else:
        print("written")
    sys.stdout.flush()

"""


def in_another_process(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", WRITER + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


class TestOneWriter:
    def test_a_second_process_is_refused_until_the_first_closes(self, tmp_path):
        path = tmp_path / "run.jsonl"
        code = "attempt(lambda: Recording(sys.argv[1]))"
        with small(path) as recording:
            assert in_another_process(code, path) == ["refused"]
            assert len(Recording.load(path)) == 0  # reading is free
        assert rows(Recording.load(path)) == rows(recording)
        assert in_another_process(code, path) == ["written"]
        recording.append(2, "", q.BATCH_LOSS, 3, 0.25)
        recording.flush()  # takes hold of it again
        assert in_another_process(code, path) == ["refused"]
        del recording
        assert in_another_process(code, path) == ["written"]
        assert len(Recording.load(path)) == 8

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    def test_a_forked_process_is_another(self, tmp_path):
        code = """
recording = Recording(sys.argv[1])
recording.append(0, "", "batch_loss", 0, 1.0)
child = os.fork()
if child:
    os.waitpid(child, 0)
attempt(recording.flush)
"""
        path = tmp_path / "run.jsonl"
        assert in_another_process(code, path) == ["refused", "written"]
        assert len(Recording.load(path)) == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    def test_a_child_does_not_hold_the_file_of_a_dead_process(self, tmp_path):
        code = """
import time
recording = Recording(sys.argv[1])
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.01)
attempt(lambda: Recording(sys.argv[1]))
"""
        assert in_another_process(code, tmp_path / "run.jsonl") == ["written"]

    def test_can_be_pickled(self, tmp_path):
        recording = small(tmp_path / "run.jsonl")
        assert rows(pickle.loads(pickle.dumps(recording))) == rows(recording)


def run_of(path, first, count, *, model="net", ended=False, initial=None, **at):
    """Records `count` epochs of two steps, as a monitor in `fit` does."""
    recording = Recording(path, monitor="GradientMonitor")
    recording.record_facts({"model": model, "parameters": 9})
    offset = recording.next_epoch
    facts = {"model": model, "parameters": 9}
    if first or recording.broke_off_in_its_first_epoch(
        at.get("step"), 2, **facts
    ):
        offset = recording.resume(first, **at, **facts)
    recording.record_facts(
        {
            "initial_epoch": first,
            "first_epoch": first + offset,
            "initial_step": at.get("step", 0),
            "first_step": recording.next_step,
        }
    )
    for i in range(count):
        steps = recording.next_step + 2 * i + np.arange(2)
        epoch = offset + first + i
        recording.append(epoch, "", q.BATCH_LOSS, steps, [recording.run] * 2)
    if ended:
        recording.record_facts({"ended": True})
    recording.close()
    return recording


def epochs(path):
    found = {}
    for s in Recording.load(path):
        found.setdefault(s.epoch, []).extend(s.steps.tolist())
    return found


class TestResumedRuns:
    def test_epochs_that_are_repeated_replace_those_that_broke_off(
        self, tmp_path
    ):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 4)
        run_of(path, 3, 2, step=6)  # repeats epoch 3, and breaks off again
        run_of(path, 2, 3, step=4)  # from an older backup
        assert epochs(path) == {i: [2 * i, 2 * i + 1] for i in range(5)}
        loaded = Recording.load(path)
        assert loaded.value.tolist() == [0] * 4 + [2] * 6
        assert loaded.facts["resumed"] == {"run": 1, "epoch": 2}
        assert Recording(path).next_step == 10

    def test_the_first_epoch_may_be_repeated_too(self, tmp_path):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 1)
        run_of(path, 0, 1, step=1)  # restored inside the epoch, killed again
        run_of(path, 0, 3, step=1)
        assert epochs(path) == {0: [1, 2], 1: [3, 4], 2: [5, 6]}
        assert Recording.load(path).facts["resumed"] == {"run": 1, "epoch": 0}

    @pytest.mark.parametrize(
        ("begun", "broke_off", "step"),
        [(0, True, 0), (0, False, 1), (4, True, 4), (4, True, 7)],
    )
    def test_another_run_begins_with_the_first_epoch_as_well(
        self, begun, broke_off, step, tmp_path
    ):
        # From scratch; after one that ended; from the same or another model.
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 1, step=begun, ended=not broke_off)
        run_of(path, 0, 1, step=step)
        assert epochs(path) == {0: [0, 1], 1: [2, 3]}

    def test_an_epoch_that_nobody_recorded_is_counted(self, tmp_path):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 2)
        run_of(path, 3, 1, step=6)
        assert epochs(path) == {0: [0, 1], 1: [2, 3], 3: [6, 7]}

    def test_the_file_knows_the_step_better_than_a_new_optimizer(
        self, tmp_path
    ):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 2)
        for step in (0, 99):
            run_of(path, 2, 1, step=step)
            assert epochs(path)[2] == [4, 5]

    def test_a_run_that_ended_is_kept(self, tmp_path):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 3, ended=True)
        run_of(path, 2, 1)
        run_of(path, 2, 1)
        loaded = Recording.load(path)
        assert [s.run for s in loaded] == [0, 0, 0, 2]
        assert loaded.select(run=0).step.tolist() == [0, 1, 2, 3, 4, 5]
        assert loaded.select(run=2).step.tolist() == [6, 7]

    def test_a_run_of_another_model_is_kept(self, tmp_path):
        path = tmp_path / "run.jsonl"
        run_of(path, 0, 3)
        run_of(path, 0, 3, model="other")
        run_of(path, 2, 1)
        loaded = Recording.load(path)
        assert [(s.run, s.epoch) for s in loaded] == [
            *[(0, 0), (0, 1)],
            *[(1, 3), (1, 4), (1, 5)],
            (2, 2),
        ]
        run_of(path, 1, 2, model="other")
        other = Recording.load(path).select(run=3)
        assert other.epoch.tolist() == [4, 4, 5, 5]
        assert other.step.tolist() == [8, 9, 10, 11]

    def test_each_fit_reads_what_is_new_alone(self, tmp_path, monkeypatch):
        from keras_concepts._recording import runs

        path = tmp_path / "run.jsonl"
        read = []
        original = runs._read

        def count(entry, runs):
            read.append(entry)
            original(entry, runs)

        monkeypatch.setattr(runs, "_read", count)
        for i in range(3):
            run_of(path, 0, 2)
            assert Recording(path).next_step == 4 * (i + 1)
            read.clear()
        run_of(path, 0, 2)
        assert len(read) < 3


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

    def test_format_2(self):
        """Of two runs, of which the second resumes the first."""
        loaded = Recording.load(FORMAT_1.with_name("format_2.jsonl"))
        lines = FORMAT_1.with_name("format_2.jsonl").read_text().splitlines()
        old = [e for e in map(json.loads, lines) if "quantity" in e]
        # The third epoch of the first run was repeated.
        old = [e for e in old if (e["run"], e["epoch"]) != (0, 2)]
        assert len(old) == len(list(loaded)) == 25
        for entry, series in zip(old, loaded, strict=True):
            expected = [float(value) for value in entry["values"]]
            np.testing.assert_array_equal(series.values, expected)
            assert series.steps.tolist() == entry["steps"]
            none = [-1] * len(expected)
            assert series.index.tolist() == entry.get("index", none)
            names = series.run, series.monitor, series.epoch, series.owner
            assert names == tuple(
                entry[key] for key in ("run", "monitor", "epoch", "owner")
            )

    def test_is_continued_in_the_present_format(self, tmp_path):
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
