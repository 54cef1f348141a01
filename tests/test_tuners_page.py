"""The examples of docs/guides/tuners.md, in the order of the page."""

import pathlib
import re
import types

import keras
import numpy as np
import pytest

import keras_concepts as kc

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "guides" / "tuners.md"
# Keras 3.15 under NumPy 2.4, and what KerasTuner 1.4.8 calls.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName):DeprecationWarning",
    "ignore:__array__ implementation doesn:DeprecationWarning",
)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Runs what stands below a heading, with fewer trials; gives its names."""
    monkeypatch.chdir(tmp_path)
    names = {}

    def run(heading, trials=2):
        part = PAGE.read_text().split(f"{heading}\n")[1].split("\n## ")[0]
        for code in re.findall(r"```python\n(.*?)```", part, re.S):
            code = re.sub(r"(n_|max_)trials=20", rf"\1trials={trials}", code)
            code = code.replace("epochs=10", "epochs=5")
            exec(compile(code, str(PAGE), "exec"), names)
        return types.SimpleNamespace(**names)

    _ = run("# Searching hyperparameters")
    return run


def rules_in(path):
    return [f.rule for f in kc.diagnose(kc.Recording.load(path))]


def test_optuna(page, tmp_path, capsys):
    optuna = pytest.importorskip("optuna")
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = page("## Optuna").study
    optuna.logging.set_verbosity(level)
    broken, good = study.trials
    assert "non_finite" in broken.user_attrs
    assert broken.state.name == "PRUNED"
    assert "non_finite" in rules_in(tmp_path / "runs/optuna_0.jsonl")
    assert good.user_attrs == {}
    assert "0 PRUNED None ['non_finite'" in capsys.readouterr().out
    _ = page("## Afterwards")
    assert "Non finite" in (tmp_path / "trials.html").read_text()


def test_kerastuner(page, tmp_path, capsys):
    _ = pytest.importorskip("keras_tuner")
    names = page("## KerasTuner")
    states = [t.status for t in names.tuner.oracle.trials.values()]
    assert states == ["FAILED", "COMPLETED"]
    broken, vanishing = names.search.doctors
    assert "non_finite" in [f.rule for f in broken.findings]
    assert "vanishing_gradient" in [f.rule for f in vanishing.findings]
    # Each warning has made the score worse by 1.
    (score,) = [t.score for t in names.tuner.oracle.get_best_trials(1)]
    assert score > 1 + len(names.problems(vanishing, "warning"))
    assert "vanishing_gradient" in capsys.readouterr().out
    assert len(names.tuner.get_best_models()) == 1


def test_without_a_tuner(page):
    good, broken = page("## Without a tuner").watched.doctors
    assert good.findings == []
    # The first where steps were measured.
    assert broken.findings[0].rule in ("update_ratio", "non_finite")


def test_callbacks_that_kerastuner_copies(tmp_path):
    """Each copy records its own `fit`, also after one that raised."""
    keras_tuner = pytest.importorskip("keras_tuner")
    x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")

    class Raises(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise keras_tuner.errors.FailedTrialError

    class Search(keras_tuner.HyperModel):
        def build(self, hp):
            hidden = keras.layers.Dense(hp.Int("units", 1, 8))
            model = keras.Sequential(
                [keras.Input((2,)), hidden, keras.layers.Dense(1)]
            )
            model.compile("sgd", "mse")
            return model

        def fit(self, hp, model, *args, callbacks, **kwargs):
            given.append(callbacks)
            if len(given) == 1:
                callbacks = [*callbacks, Raises()]
            return model.fit(*args, callbacks=callbacks, **kwargs)

    path, given, said = tmp_path / "run.jsonl", [], []
    doctor = kc.callbacks.TrainingDoctor(record_to=path, sink=said.append)
    monitor = kc.callbacks.GradientMonitor(record_to=path)
    tuner = keras_tuner.RandomSearch(
        Search(), "loss", max_trials=2, seed=0, directory=tmp_path
    )
    tuner.search(
        x, x[:, 0], batch_size=8, verbose=0, callbacks=[doctor, monitor]
    )
    assert (len(doctor.recording), len(monitor.recording)) == (0, 0)
    assert doctor.findings == []
    recording = kc.Recording.load(path)
    assert [run.number for run in recording.runs] == [0, 1]
    for number, (doctor, monitor, *_) in enumerate(given):
        for each in (doctor, monitor):
            own = each.recording.select(monitor=each.recording.monitor)
            rows = recording.select(run=number, monitor=each.recording.monitor)
            assert rows.value.tolist() == own.value.tolist()
            assert (number == 0) or len(rows)
    assert len(said) == 1  # a verdict on the `fit` that ended
