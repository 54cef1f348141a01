"""The folder of a run that cannot be written, or is taken, breaks no script."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import _backend
from keras_concepts._run_folder import RunFolder
from keras_concepts.callbacks import TrainingDoctor

X = np.eye(4, dtype="float32")
Y = np.array([[0.0], [1.0], [0.0], [1.0]], "float32")


def fit(**arguments):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "binary_crossentropy")
    return model.fit(X, Y, verbose=0, **arguments)


def folder(path, **options):
    return RunFolder(path, "train.py", reports=False, options={}, **options)


@pytest.mark.parametrize("obstacle", ["file", "recording"])
def test_nothing_can_be_written(tmp_path, capsys, obstacle):
    path = tmp_path / "run"
    if obstacle == "file":
        path.write_text("")
    else:
        path.mkdir()
        (path / "recording.jsonl").write_text("something else\n")
    with folder(path) as run:
        _ = fit()
        _ = fit()
    run.finish()
    assert [d.findings[0].rule for d in run.doctors] == (
        ["head_loss_mismatch"] * 2
    )
    assert capsys.readouterr().err.count("nothing is written to") == 1


def test_a_folder_that_another_process_made_in_the_same_second(tmp_path):
    (tmp_path / "run").mkdir()
    with folder(tmp_path / "run", is_new=True) as run:
        _ = fit()
    run.finish()
    assert run.path == tmp_path / "run-2"
    names = ["findings.json", "recording.jsonl"]
    assert sorted(each.name for each in run.path.iterdir()) == names
    assert not [*(tmp_path / "run").iterdir()]


def test_of_several_processes_one_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_backend, "is_main_process", lambda model: False)
    with RunFolder(
        tmp_path / "run", "train.py", reports=True, options={}
    ) as run:
        _ = fit()
    run.finish()
    assert [d.findings[0].rule for d in run.doctors] == ["head_loss_mismatch"]
    assert not [*tmp_path.iterdir()]
    assert capsys.readouterr().err == ""


def test_a_doctor_of_the_scripts_own_keeps_its_files(tmp_path):
    own = TrainingDoctor(
        record_to=tmp_path / "own.jsonl",
        report_to=tmp_path / "own.html",
        on_finding=lambda finding: None,
    )
    with RunFolder(
        tmp_path / "run", "train.py", reports=True, options={}
    ) as run:
        _ = fit(callbacks=[own])
    run.finish()
    assert run.doctors == [own]
    assert run.written == [tmp_path / "own.html"]
    text = (tmp_path / "run" / "findings.json").read_text(encoding="utf-8")
    (written,) = json.loads(text)["runs"]
    assert written["recording"] == str(tmp_path / "own.jsonl")


def test_the_script_closes_or_takes_the_standard_error(tmp_path, monkeypatch):
    said, taken = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with folder(tmp_path / "run") as run:
        monkeypatch.setattr(sys, "stderr", taken)
        run.say("first")
        said.close()
        run.say("second")
    assert taken.getvalue() == ""
