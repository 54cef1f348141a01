"""Examples and recipes run, and what they print and draw is true."""

import csv
import math
import pathlib
import re
import runpy
import sys

import numpy as np
import pytest

from keras_concepts import Recording
from scripts import assert_drawn, run

pytest.importorskip("sklearn")
image = pytest.importorskip("matplotlib.image")

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "vanishing_gradients.py"
IMBALANCED = ROOT / "examples" / "imbalanced_f1.py"
BATCH_NORM = ROOT / "examples" / "batch_norm_shift.py"
DROPOUT = ROOT / "examples" / "dropout_ensemble.py"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MEMORY = ROOT / "examples" / "memory_horizon.py"
REGULARIZATION = ROOT / "examples" / "regularization.py"
RECIPES = sorted((ROOT / "callbacks").glob("*.py"))
# A slow LSTM; and the doctor reports nothing in a few epochs.
EPOCHS = {
    "does_my_mask_arrive": 1,
    "are_my_updates_too_small": 5,
    "how_much_of_my_loss_is_penalty": 5,
}
VERDICTS = {"why_does_it_not_learn"}  # print one before their sentence
QUICK = "--quick only shows that it runs, not which is best."
NUMBER = r"\d[\d.]*(?:e[-+]?\d+)?"
SENTENCES = {
    "are_my_updates_too_small": (
        rf"Updates are (too \w+|in the band) \({NUMBER}\) at rate 1e-05 "
        rf"\(the doctor names update_ratio\), .* 0\.001 \(the doctor names "
        rf"nothing\), .* 0\.03 \(the doctor names \w+\); in the best run "
        rf"\(\d+%\) (too \w+|in the band)\."
    ),
    "is_batch_norm_lying": (
        r"The doctor names (batch_norm_shift|nothing)\. "
        r"After \d+ steps the moving statistics hold \d+% of their initial "
        rf"value and are off by {NUMBER} σ: \d+% right at inference, \d+% with "
        r"the batch's own statistics, \d+% at inference after recalibration\."
    ),
    "why_does_it_not_learn": (
        r"Preflight names head_loss_mismatch and unscaled_input before "
        r"training and the doctor head_loss_mismatch( and unscaled_input)?: "
        r"[1-4]?\d% of new digits are recognized\. Repaired as advised: "
        r"[7-9]\d%, it names nothing\."
    ),
    "how_sure_is_my_model": (
        r"Rotated by \d+ degrees, \d+% of the digits are recognized; one pass "
        r"is \d+% sure of its answers, the ensemble \d+%, and its members "
        r"disagree \d+\.\d times as much as on upright digits\."
    ),
    "did_l1_make_anything_zero": (
        r"The L1 regularizer made \d\.\d% of the weights exactly zero "
        r"\(penalties are [1-9]\d?% of its loss\), the proximal step "
        r"\d+\.\d% of the weights exactly zero "
        r"\(penalties are 0% of its loss\)\."
    ),
    "does_my_mask_arrive": (
        r"Accuracy with a product \(`check_masks` names multiply and lstm\): "
        r"\d+%; with a layer \(`check_masks` names nothing\): \d+%\."
    ),
    "how_much_of_my_loss_is_penalty": (
        r"Penalty at the end: "
        + "; ".join(
            rf"L2 {strength}: \d+\.\d% of the loss, pull {NUMBER}, "
            rf"\d+% right, the doctor names {named}"
            for strength, named in (
                ("1e-05", "nothing"),
                (r"0\.001", "nothing"),
                (r"0\.1", "penalty_dominates"),
            )
        )
        + r"\."
    ),
    "when_did_units_die": (
        r"Most units died in epoch [12] in hidden_\d \(\d+ of 64\); of all "
        r"dead units, (\d+ of \d+ in hidden_\d(, )?)+ revived\."
    ),
    "where_did_the_nan_come_from": (
        r"The activation of (.*/)?mean is NaN in epoch 1, batch \d+: "
        r"[1-9]\d* of 32 sentences are empty. Without them, no step fails\."
    ),
    "does_the_error_get_back": (
        rf"The first layer's error signal is {NUMBER} times the last layer's "
        rf"before training and {NUMBER} after it; \d+% of new digits are "
        r"recognized\."
    ),
    "how_far_back_does_it_see": (
        r"The gradient gets \d+ of 64 steps back before training and "
        r"\d+ after it; the forget gate, 0\.7\d on average, ends at "
        r"0\.\d\d, and \d+% of new digits are recognized\."
    ),
    "which_units_saturate": (
        r"Saturated by layer: from \d+, 0, 0 to \d+, \d+, \d+ at rate 0\.001, "
        r"accuracy \d+%; from [1-9]\d?, 0, 0 to 6\d, [1-9]\d?, [1-9]\d? at "
        r"rate 0\.03, accuracy \d+%\."
    ),
    "which_layer_vanishes": (
        rf"In epoch 1 the first layer's gradient is {NUMBER} times the last "
        rf"layer's: "
        + ", ".join(rf"sigmoid_{i} passes back 0\.[0-3]\d" for i in (3, 4, 5))
        + r"\."
    ),
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_progress_is_not_cut_by_tensorflow(example):
    """Its log level must be set before anything imports it."""
    lines = example.read_text(encoding="utf-8").splitlines()
    level = 'os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")'
    assert lines.index(level) < lines.index("import keras")


def rows(output):
    """Cells of the table by activation."""
    found = re.findall(r"^ *(sigmoid|relu) +(\d.*\d) *$", output, re.MULTILINE)
    return {name: cells.split() for name, cells in found}


def test_vanishing_gradients(tmp_path):
    out = tmp_path / "new" / "folder"
    out.mkdir(parents=True)
    (out / "relu.jsonl").write_text("left by another run\n")
    output = run(
        EXAMPLE,
        *("--quick", "--depth", 10, "--units", 32, "--epochs", 2),
        *("--activations", "sigmoid", "relu", "--out", out),
        cwd=tmp_path,
    )
    table = rows(output)
    assert list(table) == ["sigmoid", "relu"]
    for name, cells in table.items():
        accuracy, macro_f1, step, epoch_1, epoch_2, dead, seconds = cells
        assert 0.0 < float(macro_f1) <= float(accuracy) + 0.05 <= 1.05
        assert float(seconds) > 0.0

        recording = Recording.load(out / f"{name}.jsonl")
        assert recording.facts["model"] == name
        first, last = (
            recording.select(f"*/{layer}/kernel", "gradient_rms").value[0]
            for layer in ("hidden_1", "output")
        )
        assert step == f"{first / last:.1e}"
        with (out / f"{name}.csv").open() as file:
            log = list(csv.DictReader(file))
        assert [epoch_1, epoch_2] == [
            f"{float(line['gradient_attenuation']):.1e}" for line in log
        ]
        assert dead == f"{float(log[1]['dead_units']):.0f}/{10 * 32 + 10}"
    assert float(table["sigmoid"][2]) < 1e-5 < 1e-2 < float(table["relu"][2])

    pictures = re.findall(r": (.*\.png)$", output, re.MULTILINE)
    assert pictures == [str(out / "heatmaps.png"), str(out / "curves.png")]
    for picture in pictures:
        assert_drawn(picture)
    _, verdicts = output.split(f"\n\n{QUICK}\n")
    verdicts = re.split(r"^TrainingDoctor on (\w+) ─+$", verdicts, flags=re.M)
    assert verdicts[1::2] == ["sigmoid", "relu"]
    for verdict in verdicts[2::2]:
        assert re.search(r"(No|\d) problems? found in 2 epochs\.", verdict)


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        (
            {"sigmoid": (1e-8, 0.1), "tanh": (0.3, 0.9), "relu": (0.5, 0.9)},
            "as textbooks say, sigmoid learned nothing from a gradient that "
            "vanished",
        ),
        (
            {"sigmoid": (1e-8, 0.8), "relu": (0.5, 0.9)},
            "unlike in textbooks, sigmoid learned although its gradient "
            "vanished",
        ),
        (
            {"sigmoid": (0.2, 0.9), "tanh": (0.9, 0.9), "relu": (0.3, 0.1)},
            "relu did not learn although its gradient arrived and unlike in "
            "textbooks, tanh passed back more than relu",
        ),
        (
            {"sigmoid": (0.2, 0.9), "gelu": (0.3, 0.9)},
            "no gradient vanished, and all learned",
        ),
        (
            {"relu": (math.nan, 0.1)},
            "relu started without finite gradients to compare",
        ),
    ],
)
def test_verdict_follows_the_numbers(example, numbers, verdict):
    labels = np.arange(1000) % 10
    nothing = np.zeros(0)
    digits = example["Digits"]("", nothing, nothing, nothing, labels)
    history = {"loss": [1.0, 0.5]}
    runs = [
        example["Run"](
            name, accuracy, 0.0, share, history, Recording(), None, 1.0
        )
        for name, (share, accuracy) in numbers.items()
    ]
    sentence = example["conclude"](runs, digits, 12)
    assert sentence.endswith(f": {verdict}.")
    assert "of 12 hidden layers" in sentence
    assert "after 2 epochs" in sentence


def test_imbalanced_f1(tmp_path):
    out = tmp_path / "new" / "folder"
    output = run(IMBALANCED, "--quick", "--out", out, cwd=tmp_path)
    with (out / "results.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [line["seed"] for line in log] == ["0"] * 3 + ["1"] * 3
    found = re.findall(
        r"^ *(cross-entropy|weighted|soft F1) +(.*)$", output, re.M
    )
    assert len(found) == 3
    for name, cells in found:
        numbers = {
            key: np.mean(
                [float(row[key]) for row in log if row["loss"] == name]
            )
            for key in log[0]
            if key != "loss"
        }
        accuracy, f1, threshold, there, temperature, error, scaled = (
            cells.split()
        )
        assert accuracy == f"{numbers['accuracy']:.3f}"
        assert f1.split("±")[0] == f"{numbers['f1']:.3f}"
        assert threshold == f"{numbers['threshold']:.2f}"
        assert there.split("±")[0] == f"{numbers['f1_at_threshold']:.3f}"
        assert temperature == f"{numbers['temperature']:.1f}"
        assert error == f"{numbers['calibration_error']:.3f}"
        assert scaled == f"{numbers['calibration_error_scaled']:.3f}"
    pictures = re.findall(r": (.*\.png)$", output, re.MULTILINE)
    assert pictures == [
        str(out / "thresholds.png"),
        str(out / "calibration.png"),
    ]
    for picture in pictures:
        assert_drawn(picture)
    assert output.endswith(f"\n\n{QUICK}\n")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (
            {"A": [0.1, 0.11], "B": [-0.1, -0.11], "C": [0.1, -0.1]},
            "as textbooks say, A helped, unlike in textbooks, B harmed and "
            "the effect of C may be chance",
        ),
        (
            {"A": [0.1, 0.11], "B": [0.2, 0.2]},
            "as textbooks say, A and B helped",
        ),
        ({"A": [0.1, 0.05]}, "the effect of A may be chance"),
        ({"A": [0.1]}, "one split cannot distinguish help from chance"),
    ],
)
def test_remedies_are_judged_by_the_numbers(gains, verdict):
    judge = runpy.run_path(str(IMBALANCED))["verdict"]
    assert judge({k: np.array(v) for k, v in gains.items()}) == verdict


def test_dropout_ensemble(tmp_path):
    out = tmp_path / "new" / "folder"
    output = run(
        DROPOUT,
        *("--quick", "--samples", 5, "--unseen", 1, 3, 8, "--out", out),
        cwd=tmp_path,
    )
    with (out / "results.csv").open() as file:
        log = list(csv.DictReader(file))
    assert [line["seed"] for line in log] == ["0", "0", "1", "1"]
    found = re.findall(r"^ *(one pass|ensemble) +(.*)$", output, re.MULTILINE)
    assert [name for name, _ in found] == ["one pass", "ensemble"]
    for name, cells in found:
        for cell, key in zip(cells.split(), list(log[0])[2:], strict=True):
            values = [float(row[key]) for row in log if row["asked"] == name]
            if name == "one pass" and key == "unseen_by_information":
                assert cell == "–"
            else:
                assert cell.split("±")[0] == f"{np.mean(values):.3f}", key
    assert_drawn(out / "uncertainty.png")
    assert f"Uncertainty: {out / 'uncertainty.png'}\n" in output
    assert output.endswith(f"\n\n{QUICK}\n")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (
            {"A": [0.1, 0.11], "B": [-0.1, -0.11], "C": [0.1, -0.1]},
            "it is better in A; unlike in textbooks, worse in B; differences "
            "in C may be chance",
        ),
        ({"A": [0.1]}, "one network cannot distinguish gain from chance"),
    ],
)
def test_ensemble_is_judged_by_the_numbers(gains, verdict):
    judge = runpy.run_path(str(DROPOUT))["verdict"]
    assert judge({k: np.array(v) for k, v in gains.items()}) == verdict


def test_regularization(tmp_path):
    out = tmp_path / "new" / "folder"
    output = run(
        REGULARIZATION,
        *("--quick", "--units", 32, "--epochs", 4, "--out", out),
        cwd=tmp_path,
    )
    table = {
        name: cells.split()
        for name, cells in re.findall(
            r"^(none|L1|L1 proximal|L2|dropout) +(\d.*\d) *$",
            output,
            re.MULTILINE,
        )
    }
    assert list(table) == ["none", "L1", "L1 proximal", "L2", "dropout"]
    for name, cells in table.items():
        learned, tested, zeros, penalty, _ = cells
        assert 0.0 < float(tested) <= float(learned) + 0.05
        assert (zeros != "0.0%") == (name == "L1 proximal")
        assert (penalty != "0.0%") == (name in ("L1", "L2"))
        stem = name.lower().replace(" ", "_")
        recording = Recording.load(out / f"{stem}.jsonl")
        share = recording.select("", "penalty_share").value
        assert penalty == f"{share[-1]:.1%}"
        with (out / f"{stem}.csv").open() as file:
            log = [float(r["penalty_share"]) for r in csv.DictReader(file)]
        np.testing.assert_allclose(log, share)
    for picture in ("weights", "shares", "penalties"):
        assert str(out / f"{picture}.png") in output
        assert_drawn(out / f"{picture}.png")
    assert output.endswith(f"\n\n{QUICK}\n")


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (
            (0.8, 0.9, 0.8),
            "Compared with it, L1 is better and L2 is no differe",
        ),
        ((0.9, 0.8, 0.8), "L1 and L2 are worse (differences below 2.7% may"),
    ],
)
def test_conclusion_follows_the_numbers(scores, verdict):
    example = runpy.run_path(str(REGULARIZATION))
    nothing = np.zeros(0)
    digits = example["Digits"]("", nothing, nothing, nothing, np.zeros(1000))
    runs = [
        example["Run"](name, 1.0, score, 0.0, nothing, {}, 1.0)
        for name, score in zip(("none", "L1", "L2"), scores, strict=True)
    ]
    conclusion = example["conclude"](runs, digits)
    assert verdict in conclusion
    assert conclusion.endswith("; nothing made weights exactly zero.")


def test_memory_horizon(tmp_path):
    out = tmp_path / "new" / "folder"
    names = ["LSTM", "Chrono LSTM"]
    output = run(
        MEMORY,
        *("--quick", "--networks", *names, "--units", 8, "--out", out),
        cwd=tmp_path,
    )
    table = dict(
        re.findall(r"^(Chrono LSTM|LSTM) +(\d.*\d) *$", output, re.MULTILINE)
    )
    assert list(table) == names
    for name, cells in table.items():
        weights, accuracy, first, last, gradient, _ = cells.split()
        assert weights == "752"  # 4 * 8 * (10 + 8 + 1) + (8 + 1) * 16
        assert 0.0 <= float(accuracy) <= 1.0
        stem = name.lower().replace(" ", "_")
        recording = Recording.load(out / f"{stem}.jsonl")
        horizons = recording.select(quantity="memory_horizon").value
        assert [float(first), float(last)] == horizons[[0, -1]].tolist()
        errors = next(iter(recording.select(quantity="state_error_rms")))
        assert len(errors.values) == 22
        assert gradient == f"{errors.values[20] / errors.values[0]:.1g}"
        with (out / f"{stem}.csv").open() as file:
            log = [float(row["memory_horizon"]) for row in csv.DictReader(file)]
        assert log == horizons[1:].tolist()
    for picture in ("gradients", "memory", "curves"):
        assert str(out / f"{picture}.png") in output
        assert_drawn(out / f"{picture}.png")
    assert output.endswith(f"\n\n{QUICK}\n")


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (
            {"LSTM": 0.12, "Chrono LSTM": 0.98, "GRU": 0.13, "Chrono GRU": 1},
            "LSTM solves the task with Chrono and learns nothing without and "
            "GRU solves the task with Chrono and learns nothing without",
        ),
        (
            {"LSTM": 0.5, "Chrono LSTM": 0.8, "GRU": 0.9, "Chrono GRU": 0.7},
            "Chrono helps LSTM and Chrono harms GRU",
        ),
        (
            {"SimpleRNN": 0.99, "LSTM": 0.12, "Chrono LSTM": 0.13},
            "LSTM learned nothing, with or without Chrono and SimpleRNN is the "
            "best of all",
        ),
        (
            {"LSTM": 0.12, "Chrono LSTM": 0.5, "GRU": 0.97, "Chrono GRU": 1},
            "LSTM learns with Chrono and learns nothing without and Chrono "
            "makes no difference to GRU",
        ),
        ({"GRU": 1.0}, "nothing is compared with Chrono"),
    ],
)
def test_memory_is_judged_by_the_numbers(accuracy, verdict):
    example = runpy.run_path(str(MEMORY))
    nothing = np.zeros(0)
    runs = [
        example["Run"](
            name, 0, value, {}, [], nothing, nothing, Recording(), 1.0
        )
        for name, value in accuracy.items()
    ]
    assert example["verdict"](runs) == verdict


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe(recipe, tmp_path):
    out = tmp_path / "new" / "folder"
    epochs = EPOCHS.get(recipe.stem, 2)
    output = run(recipe, "--epochs", epochs, "--out", out, cwd=tmp_path)
    *verdict, picture, sentence = output.splitlines()
    assert bool(verdict) == (recipe.stem in VERDICTS)
    assert picture == f"Picture: {out / recipe.stem}.png"
    assert_drawn(out / f"{recipe.stem}.png")
    assert re.fullmatch(SENTENCES[recipe.stem], sentence), sentence


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_short_and_indexed(recipe):
    lines = recipe.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    assert f"]({recipe.name})" in (recipe.parent / "README.md").read_text()


@pytest.mark.parametrize("script", [*EXAMPLES, *RECIPES], ids=lambda p: p.stem)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "at least 1"),
        (["--epochs", "few"], "argument --epochs"),
        (["--out", __file__], "folder"),
        (["--epoch-count", "3"], "unrecognized arguments"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0] + value[1][:3],
)
def test_bad_option(script, arguments, message, monkeypatch, capsys, tmp_path):
    assert_refused(script, arguments, message, monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activations", "relu", "sigmoidd"], "activation that Keras knows"),
        (["--activations"], "expected at least one argument"),
        (["--initializer", "glorot"], "initializer that Keras knows"),
        (["--depth", "-1"], "at least 1"),
        (["--units", "0.5"], "at least 1. Received: '0.5'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0],
)
def test_bad_option_of_example(
    arguments, message, monkeypatch, capsys, tmp_path
):
    assert_refused(EXAMPLE, arguments, message, monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "0"], "from 0.01 to 0.5. Received: '0'"),
        (["--share", "few"], "from 0.01 to 0.5"),
        (["--digit", "10"], "invalid choice"),
        (["--seeds", "0"], "at least 1"),
        (["--seed", "x"], "invalid int"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0] + value[1],
)
def test_bad_option_of_imbalanced_f1(
    arguments, message, monkeypatch, capsys, tmp_path
):
    assert_refused(
        IMBALANCED, arguments, message, monkeypatch, capsys, tmp_path
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0"], "between 0 and 1. Received: '0'"),
        (["--samples", "0"], "at least 1"),
        (["--unseen", "10"], "invalid choice"),
        (["--unseen", *map(str, range(9))], "at least two digits"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[0] + value[1],
)
def test_bad_option_of_dropout_ensemble(
    arguments, message, monkeypatch, capsys, tmp_path
):
    assert_refused(DROPOUT, arguments, message, monkeypatch, capsys, tmp_path)


def assert_refused(script, arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(script.parent)  # as Python does
    monkeypatch.setattr(sys, "argv", [script.name, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_batch_normalization(tmp_path):
    printed = run(BATCH_NORM, "--quick", "--out", tmp_path, cwd=tmp_path)
    inference, batch, repaired = map(
        float, re.findall(r"^20 steps, \D+(0\.\d+)", printed, re.MULTILINE)
    )
    assert inference < repaired - 0.1
    assert abs(repaired - batch) < 0.05
    assert printed.endswith(f"\n\n{QUICK}\n")
    for name in ("batch_norm.png", "shift.png"):
        assert image.imread(tmp_path / name).std() > 0.05
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
