"""`keras-concepts report` and `compare`: of recordings, without Keras."""

import numpy as np
import pytest
from click.testing import CliRunner

from keras_concepts import quantities as q
from keras_concepts.cli import main
from keras_concepts.recording import Recording

pytest.importorskip("jinja2")


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exit_code == code, result.output
        return result

    return call


def write(path, *models, loss=2.0):
    """A run per model, of three epochs whose loss is not finite at the end."""
    for model in models:
        recording = Recording(
            path, {"model": model, "epochs": 3}, monitor="TrainingDoctor"
        )
        for epoch, value in enumerate([loss, loss, np.nan]):
            at = recording.next_step + 10 * (epoch + 1)
            recording.append(epoch, "loss", q.LOG, at, value, monitor=q.FIT)
            recording.append(epoch, "", q.CHECKED, at, 1.0)
        recording.close()
    return path


def test_report_of_a_file(command, tmp_path):
    write(tmp_path / "a.jsonl", "net")
    result = command("report", "a.jsonl")
    assert "non_finite" in result.stdout
    assert "wrote report.html" in result.stderr
    assert "net" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report_of_a_folder(command, tmp_path):
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "recording.jsonl", "net")
    _ = command("report", "run", "--out", "here.html")
    assert (tmp_path / "here.html").exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_one_of_several_runs(command, tmp_path):
    write(tmp_path / "a.jsonl", "first", "second")
    result = command("report", "a.jsonl")
    assert "a.jsonl holds 2 runs" in result.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "second" in page
    assert "first<" not in page
    result = command("report", "a.jsonl", "--run", 1)
    assert "holds" not in result.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "first" in page
    assert "second<" not in page
    result = command("report", "a.jsonl", "--run", 3, code=2)
    assert "--run 3" in result.stderr


def test_print_only(command, tmp_path):
    write(tmp_path / "a.jsonl", "net")
    _ = command("report", "a.jsonl", "--no-report")
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_compare(command, tmp_path):
    write(tmp_path / "a.jsonl", "net")
    write(tmp_path / "b.jsonl", "net", loss=1.5)
    result = command("compare", "a.jsonl", "b.jsonl")
    assert result.stdout.count("1 problem found in 3 epochs.") == 2
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "a.jsonl" in page
    assert "b.jsonl" in page


def test_a_recording_with_itself(command, tmp_path):
    write(tmp_path / "a.jsonl", "net")
    _ = command("compare", "a.jsonl", "a.jsonl")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert page.count("a.jsonl (2)") > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a keras-concepts recording"),
        ("something else\n", "not a keras-concepts recording"),
        ('{"format": "keras-concepts recording", "version": 99}\n', "99"),
    ],
)
def test_what_is_no_recording(command, tmp_path, text, message):
    (tmp_path / "a.jsonl").write_text(text)
    result = command("report", "a.jsonl", code=1)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_nothing_is_there(command, tmp_path):
    (tmp_path / "folder").mkdir()
    result = command("report", "folder", code=1)
    assert "recording.jsonl" in result.stderr
    _ = command("report", "nothing", code=2)


def test_the_page_cannot_be_written(command, tmp_path):
    write(tmp_path / "a.jsonl", "net")
    result = command("report", "a.jsonl", "--out", "no/folder.html", code=1)
    assert "no/folder.html" in result.stderr
