"""Files that a person, a disk or a fault has changed."""

import itertools
import json
import pathlib
import random
import re
import time
import zlib

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording

FORMAT_1 = pathlib.Path(__file__).parent / "recordings" / "format_1.jsonl"
FORMAT_2 = FORMAT_1.with_name("format_2.jsonl")
# Said where a file is refused.
REFUSAL = re.compile(
    r"^Line \d+ of .* is not part of a keras-concepts recording"
    r"|is not a keras-concepts recording"
    r"|was written by another version of keras-concepts"
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file of two runs, with all that a file may hold."""
    path = tmp_path_factory.mktemp("recordings") / "run.jsonl"
    rng = np.random.default_rng(0)
    for number in range(2):
        recording = Recording(path, {"model": "net"}, monitor="GradientMonitor")
        signals = recording.for_monitor("SignalMonitor")
        for epoch in range(3):
            steps = recording.next_step + np.arange(10) + 10 * epoch
            for owner in ("a/kernel", 'b"\\/kernel'):
                values = rng.normal(size=10).astype("float32")
                recording.append(epoch, owner, q.GRADIENT_RMS, steps, values)
            signals.append(
                epoch, "n", q.MEAN_SHIFT, 9, [0.5, np.nan], index=[0, 1]
            )
            recording.append(epoch, "loss", q.LOG, 9, 1 / 3, monitor=q.FIT)
            recording.flush()
        recording.record_facts({"ended": True, "number": number})
        recording.close()
    return path.read_bytes()


def rows(recording):
    return [
        (
            *(s.run, s.monitor, s.epoch, s.owner, str(s.quantity)),
            *(
                str(s.steps.tolist()),
                str(s.values.tolist()),
                str(s.index.tolist()),
            ),
        )
        for s in recording
    ]


def flip(data, rng):
    at = rng.randrange(len(data))
    return (
        data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    )


def overwrite(data, rng):
    at, count = rng.randrange(len(data)), rng.randrange(1, 30)
    return data[:at] + rng.randbytes(count) + data[at + count :]


def insert(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 30)) + data[at:]


def cut_out(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 200) :]


def truncate(data, rng):
    return data[: rng.randrange(len(data))]


def change_a_value(data, rng):
    """Puts something else for a value of a line, which stays JSON."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    entry = json.loads(lines[at])
    key = rng.choice([*entry])
    others = (
        *(
            None,
            -1,
            1 << 80,
            1e400,
            True,
            "",
            "x",
            "f4:AA==",
            "f4:AAAAAA==",
            [],
            {},
        ),
        *(
            [None],
            [[0]],
            ["nan"],
            [1 << 70],
            [0.5],
            {"epoch": 1},
            "\ud800",
            "\0",
        ),
        *({"looks": [[0, 1 << 60]]}, {"resumed": 1}, {"resumed": {"run": []}}),
    )
    entry[key] = rng.choice(others)
    is_sealed = entry.pop("crc", None) is not None
    line = json.dumps(entry).encode()
    seal = b', "crc": %d}' % zlib.crc32(line)
    lines[at] = (line[:-1] + seal if is_sealed else line) + b"\n"
    return b"".join(lines)


DAMAGES = (flip, overwrite, insert, cut_out, truncate, change_a_value)


def attempt(act, path):
    """What `act` gives; `None` if it refuses the file as it should."""
    begin = time.perf_counter()
    try:
        return act(path)
    except ValueError as error:
        if not REFUSAL.search(str(error)):
            raise
        return None
    finally:
        assert time.perf_counter() - begin < 5.0


@pytest.mark.filterwarnings("ignore:.*quantities that this version")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
class TestDamage:
    def test_a_refusal_names_the_line(self, damage, whole, tmp_path):
        attack(damage, whole, tmp_path / "run.jsonl", range(120))

    @pytest.mark.long
    def test_of_many_kinds(self, damage, whole, tmp_path):
        attack(damage, whole, tmp_path / "run.jsonl", range(120, 4120))


def attack(damage, whole, path, seeds):
    """Damages files of all formats, and reads and continues them."""
    formats = whole, FORMAT_1.read_bytes(), FORMAT_2.read_bytes()
    path.write_bytes(whole)
    known = set(rows(Recording.load(path)))
    refused = 0
    for data, seed in itertools.product(formats, seeds):
        path.write_bytes(damage(data, random.Random(seed)))
        loaded = attempt(Recording.load, path)
        refused += loaded is None
        is_sealed = data is whole and damage is not change_a_value
        if is_sealed and loaded is not None:
            # No number has changed.
            assert set(rows(loaded)) <= known
        if seed % 5 == 0:
            continued = attempt(Recording, path)
            if continued is not None:
                continued.close()
    assert refused


def test_a_line_without_its_checksum_is_damaged(whole, tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_bytes(re.sub(rb', "crc": \d+}', b"}", whole))
    with pytest.raises(ValueError, match=r"^Line 1 of"):
        Recording.load(path)


class TestBoundedWork:
    def test_a_newer_version_is_refused_by_its_number_alone(self, tmp_path):
        path = tmp_path / "run.jsonl"
        header = {"format": "keras-concepts recording", "version": 9}
        with path.open("wb") as file:
            _ = file.write(json.dumps(header).encode() + b"\n")
            _ = file.truncate(1 << 40)  # a terabyte of nothing
        for act in (Recording, Recording.load):
            with pytest.raises(ValueError, match=r"format 1 to 3.*format 9"):
                act(path)

    def test_deep_nesting_is_damage(self, whole, tmp_path):
        path = tmp_path / "run.jsonl"
        line = b"[" * 100_000 + b"\n"
        header, _, rest = whole.partition(b"\n")
        path.write_bytes(header + b"\n" + line + rest)
        with pytest.raises(ValueError, match=r"^Line 2 of .*delete this line"):
            Recording.load(path)

    def test_resuming_reads_the_beginnings_of_lines(
        self, whole, tmp_path, monkeypatch
    ):
        from keras_concepts._recording import file, runs

        path = tmp_path / "run.jsonl"
        path.write_bytes(whole)
        parsed = []
        original = file._parsed

        def count(line):
            parsed.append(line)
            return original(line)

        monkeypatch.setattr(file, "_parsed", count)
        with Recording(path) as recording:
            assert (recording.run, recording.next_epoch) == (2, 3)
        assert 0 < len(parsed) < 12
        assert not any(b"gradient_rms" in line for line in parsed)
        assert runs._known


NAMES = {
    "ten megabytes": "x" * 10_000_000,
    "NUL": "a\0b",
    "lone surrogate": "a\ud800b",
    "a path": "../../../etc/passwd",
    "markup": "<script>alert(1)</script>$\\frac{a}$",
    "control characters": "\x1b[31m\r\n\t\u202e",
    "nothing": "",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_text(name, tmp_path):
    folder = tmp_path / "a" / "b"
    path = folder / "run.jsonl"
    with Recording(path, {name: name}, monitor=name) as recording:
        recording.append(0, name, q.GRADIENT_RMS, 0, 1.0)
        recording.append(0, name, "user/" + name, 0, 1.0)
    loaded = Recording.load(path)
    assert {s.owner for s in loaded} == {name}
    assert loaded.facts == {name: name}
    assert loaded.quantities == ["gradient_rms", "user/" + name]
    assert Recording(path).next_step == 1
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
