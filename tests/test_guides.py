"""Code on the guides runs as it stands there."""

import pathlib
import re

import keras
import numpy as np
import pytest

import keras_concepts as kc

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
X = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def code_of(page, language="python"):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.+?)^```", text, re.S | re.M)


def compiled():
    hidden = keras.layers.Dense(4, "relu")
    head = keras.layers.Dense(1, "sigmoid")
    model = keras.Sequential([keras.Input((8,)), hidden, head])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def given():
    """Names that these pages assume, because the reader has them."""
    return {
        "kc": kc,
        "keras": keras,
        "np": np,
        "model": compiled(),
        "x": X[:48],
        "y": Y[:48],
        "x_val": X[48:],
        "y_val": Y[48:],
    }


def run(page, names, *replacements):
    for code in code_of(page):
        for before, after in replacements:
            code = code.replace(before, after)
        exec(compile(code, page, "exec"), names)
    return names


# Which the reader's model takes longer for.
SHORT = ("epochs=10", "epochs=2, verbose=0")


def test_my_model_does_not_learn(capsys):
    _ = run("guides/my_model_does_not_learn.md", given(), SHORT)
    printed = capsys.readouterr().out
    assert "before training (" in printed
    assert "2 epochs." in printed


def test_the_doctor_and_its_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("jinja2")
    compiled().fit(
        X,
        Y,
        verbose=0,
        callbacks=[kc.callbacks.GradientMonitor(record_to="run.jsonl")],
    )
    _ = run("doctor.md", given(), SHORT)
    _ = run("report.md", given(), SHORT)
    _ = capsys.readouterr()
    assert {each.name for each in tmp_path.iterdir()} == {
        "doctor.png",
        "report.html",
        "run.jsonl",
    }


def test_everyday_use(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = given()
    model, optimizer = names["model"], keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    names["optimizer"] = optimizer
    names["batches"] = [(X[:8], Y[:8]), (X[8:16], Y[8:16])]
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    names["train_step"] = lambda x, y: optimizer.apply(
        list(map(keras.ops.convert_to_tensor, zeros)),
        model.trainable_variables,
    )
    _ = run(
        "guides/everyday_use.md",
        names,
        SHORT,
        ("epochs=5", "epochs=1, verbose=0"),
    )
    assert [run.number for run in names["recording"].runs] == [0, 1]
    assert names["samples"].quantity("gradient_rms").shape == (2, 4)
    assert "GradientMonitor" in capsys.readouterr().out


MONITORS = sorted((DOCS / "monitors").glob("*_*.md"))


@pytest.mark.parametrize("page", MONITORS, ids=lambda page: page.stem)
def test_monitors(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = given()
    probed = [
        keras.Input((8,)),
        keras.layers.Dense(4, "relu", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(1, "sigmoid"),
    ]
    names["model"] = keras.Sequential(probed)
    names["model"].compile("adam", "binary_crossentropy")
    _ = run(
        page.relative_to(DOCS),
        names,
        SHORT,
        ("epochs=20", "epochs=1"),
        ("samples=50", "samples=2"),
    )
    shown = re.findall(r'\.plot\("(.+)"\)', page.read_text())
    assert [each.name for each in tmp_path.iterdir()] == shown


def test_metrics():
    names = given() | {"classes": 3, "y": np.array([0, 1, 2, 1])}
    _ = run("metrics.md", names)
    assert names["metric"].ignore_class == -1
    assert len(names["weights"]) == 3


def test_text_classification(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = given() | {"x_validation": X[:8], "y_validation": Y[:8]}
    _ = run("text_classification.md", names, ("epochs=8", "epochs=1"))
    assert (tmp_path / "signals.png").exists()


# Where else the code of a page runs.
ELSEWHERE = {
    "README.md": "../.ci/run_readme.py",
    "distributed_training.md": "distribution/test_torch.py",
    "in_ten_minutes.md": "test_notebook.py",
    "trackers.md": "test_trackers_page.py",
    "tuners.md": "test_tuners_page.py",
    "watch.md": "test_watch.py",
}


def test_all_code_runs():
    """By a test of the page's folder, or by one that names the page."""
    for page in (ROOT / "README.md", *DOCS.rglob("*.md")):
        if page.parent.name in ("concepts", "monitors"):
            continue
        if "\n```python\n" in page.read_text():
            place = ELSEWHERE.get(page.name, "test_guides.py")
            assert page.name in (ROOT / "tests" / place).read_text()


def test_custom_loops(capsys):
    _ = run("guides/custom_loops.md", {})
    printed = capsys.readouterr().out.split("\n")
    assert printed[0] == "(10, 4)"
    assert any("non_finite, since epoch 1" in line for line in printed)


def test_the_landing_page_shows_the_example_of_the_readme():
    readme = re.findall(
        r"^```(?:python)?\n(.+?)^```",
        (ROOT / "README.md").read_text(),
        re.S | re.M,
    )
    install, example, *_ = code_of("index.md", "(?:python)?")
    assert install == readme[0]
    assert example == readme[1].replace("  # prints the verdict", "")


def test_what_other_metrics_become_can_be_made():
    page = (DOCS / "guides" / "migrate.md").read_text()
    ours = re.findall(r"^\|[^|]+\| ([^|]+) \|", page, re.M)
    ours = [each for cell in ours for each in re.findall("`([^`]+)`", cell)]
    for each in ours:
        if each != "kc.metrics":
            assert isinstance(eval(each, dict(vars(kc.metrics))), keras.Metric)
    assert len(ours) > 10
