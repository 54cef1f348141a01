"""What a notebook shows of the doctor, in a kernel of its own."""

import os
import pathlib
import re

import keras
import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
_ = pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parents[1]
TRAIN = """
import keras
import numpy as np

import keras_concepts as kc

keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("sgd", "binary_crossentropy")
doctor = kc.callbacks.TrainingDoctor(sink=lambda text: None)
history = model.fit(x, y, epochs=2, verbose=0, callbacks=[doctor])
"""


GUIDE = ROOT / "docs" / "guides" / "in_ten_minutes.md"


def test_the_notebook_is_the_page():
    jupytext = pytest.importorskip("jupytext")
    page = jupytext.read(GUIDE)
    notebook = nbformat.read(GUIDE.with_suffix(".ipynb"), as_version=4)
    assert [(cell.cell_type, cell.source) for cell in page.cells] == [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]


def test_the_guide_runs(capsys):
    code = re.findall(r"^```python\n(.+?)^```", GUIDE.read_text(), re.S | re.M)
    names = {}
    for cell in code:
        exec(compile(cell, GUIDE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "vanishing_gradient" in printed
    assert printed.count("No problem found in 6 epochs.") == 1
    accuracies = re.findall(r"validation accuracy (\S+)", printed)
    before, after = map(float, accuracies)
    assert (before < 0.15, after > 0.75) == (True, True)
    begin, *rest = re.findall(
        r"```text\n(.+?)^```", GUIDE.read_text(), re.S | re.M
    )
    assert not rest
    # How soon it is noticed depends on how busy the machine is.
    begin, printed = (
        re.sub(r"\(noticed\s+in\s+epoch\s+\d+\)", "", text).split()
        for text in (begin, printed[printed.index("1 problem") :])
    )
    assert printed[: len(begin)] == begin


def test_the_doctor_is_its_report(tmp_path, monkeypatch):
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    for name, value in (
        ("KERAS_BACKEND", keras.backend.backend()),
        ("PYTHONPATH", os.pathsep.join(filter(None, paths))),
        ("IPYTHONDIR", str(tmp_path)),
        ("JUPYTER_PLATFORM_DIRS", "1"),
    ):
        monkeypatch.setenv(name, value)
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(TRAIN),
            nbformat.v4.new_code_cell("doctor"),
        ]
    )
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    _ = client.execute()
    ((output,),) = [cell.outputs for cell in notebook.cells[1:]]
    page = output.data["text/html"]
    assert "1 problem found in 2 epochs." in page
    assert "head_loss_mismatch" in page
    assert "from_logits=True" in page
    assert page.count('src="data:image/png;base64,') == 1
