import json
import math

import numpy as np
import pytest

from keras_concepts import Recording


def small(path=None):
    recording = Recording(path, metadata={"backend": "none"})
    recording.append(0, "a/kernel", "gradient_rms", [0, 1], [0.1, math.nan])
    recording.append(0, "a/bias", "gradient_rms", [0, 1], [math.inf, -math.inf])
    recording.append(1, "", "loss", 2, 1 / 3)
    return recording


def rows(recording):
    return list(
        zip(
            recording.step.tolist(),
            recording.epoch.tolist(),
            recording.layer.tolist(),
            recording.quantity.tolist(),
            [str(value) for value in recording.value.tolist()],
            strict=True,
        )
    )


def test_rows_are_tidy():
    recording = small()
    assert len(recording) == 5
    assert recording.layers == ["a/kernel", "a/bias", ""]
    assert recording.quantities == ["gradient_rms", "loss"]
    assert rows(recording) == [
        (0, 0, "a/kernel", "gradient_rms", "0.1"),
        (1, 0, "a/kernel", "gradient_rms", "nan"),
        (0, 0, "a/bias", "gradient_rms", "inf"),
        (1, 0, "a/bias", "gradient_rms", "-inf"),
        (2, 1, "", "loss", str(1 / 3)),
    ]


def test_an_empty_recording():
    recording = Recording()
    assert len(recording) == len(recording.value) == len(recording.layer) == 0
    assert recording.to_pandas().empty


def test_select():
    recording = small()
    assert len(recording.select(layer="a/*")) == 4
    assert len(recording.select(layer="a/kernel", quantity="gradient_*")) == 2
    assert recording.select(layer="").quantities == ["loss"]
    assert recording.select(epoch=1).step.tolist() == [2]
    assert len(recording.select(layer="A/*")) == 0
    assert recording.select().metadata == {"backend": "none"}


def test_to_pandas():
    frame = small().to_pandas()
    assert list(frame) == ["step", "epoch", "layer", "quantity", "value"]
    assert frame["value"].iloc[-1] == 1 / 3


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="must be of one length"):
        Recording().append(0, "", "loss", [0, 1], [0.5])


class TestFile:
    def test_round_trip_is_exact(self, tmp_path):
        path = tmp_path / "new" / "folder" / "run.jsonl"
        recording = small(path)
        recording.flush()
        loaded = Recording.load(path)
        assert rows(loaded) == rows(recording)
        assert loaded.metadata == {"backend": "none"}
        for line in path.read_text().splitlines():
            _ = json.loads(line, parse_constant=pytest.fail)

    def test_holds_what_was_flushed(self, tmp_path):
        recording = small(tmp_path / "run.jsonl")
        assert len(Recording.load(tmp_path / "run.jsonl")) == 0
        recording.flush()
        recording.flush()
        recording.append(2, "", "loss", 3, 0.25)
        assert len(Recording.load(tmp_path / "run.jsonl")) == 5
        recording.flush()
        assert len(Recording.load(tmp_path / "run.jsonl")) == 6

    def test_survives_a_kill_at_any_byte(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for end in range(len(lines[0]), len(whole)):
            path.write_bytes(whole[:end])
            survivors = whole[:end].count(b"\n") - 1
            # The newline alone may be missing.
            survivors += whole[end : end + 1] == b"\n" and end > len(lines[0])
            assert len(list(Recording.load(path))) == survivors
            continued = Recording(path)
            continued.append(9, "", "loss", continued.next_step, 1.0)
            continued.flush()
            assert len(list(Recording.load(path))) == survivors + 1

    def test_is_continued(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        second = Recording(path, metadata={"backend": "other"})
        assert second.next_step == 3
        assert len(second) == 0
        second.append(2, "", "loss", 3, 0.25)
        second.flush()
        loaded = Recording.load(path)
        assert loaded.select("", "loss").step.tolist() == [2, 3]
        assert loaded.metadata == {"backend": "other"}

    def test_damage_in_the_middle_is_an_error(self, tmp_path):
        path = tmp_path / "run.jsonl"
        small(path).flush()
        lines = path.read_text().splitlines(keepends=True)
        lines[2] = lines[2][:20] + "\n"
        path.write_text("".join(lines))
        with pytest.raises(ValueError, match="Line 3 of"):
            Recording.load(path)

    @pytest.mark.parametrize(
        "text", ["step,loss\n0,1.5\n", "{}\n", "[]\n", "7"]
    )
    def test_other_files_are_refused_and_kept(self, text, tmp_path):
        path = tmp_path / "precious.csv"
        path.write_text(text)
        for attempt in (Recording, Recording.load):
            with pytest.raises(ValueError, match="keras-concepts recording"):
                attempt(path)
        assert path.read_text() == text

    def test_an_empty_file_is_begun(self, tmp_path):
        path = tmp_path / "run.jsonl"
        path.touch()
        small(path).flush()
        assert len(Recording.load(path)) == 5

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Recording.load(tmp_path / "nothing.jsonl")


def test_large_values_keep_their_bits(tmp_path):
    values = np.random.default_rng(0).normal(size=100) * 1e-30
    recording = Recording(tmp_path / "run.jsonl")
    recording.append(0, "", "loss", np.arange(100), values.astype("float32"))
    recording.flush()
    loaded = Recording.load(tmp_path / "run.jsonl").value
    np.testing.assert_array_equal(loaded, values.astype("float32"))
