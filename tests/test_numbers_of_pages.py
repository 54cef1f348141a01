"""Numbers in the text of pages are those of the code and of its tests.

On the page on reliability each one is measured, or what a test does.
"""

import functools
import inspect
import math
import pathlib
import re
import runpy

import keras
import pytest

import hostile
from hostile_names import NAMES
from keras_concepts._recording import thinning
from keras_concepts.callbacks import (
    GradientMonitor,
    NonFiniteGuard,
    non_finite_guard,
)
from keras_concepts.callbacks._time_budget import PlannedBudget
from keras_concepts.instruments.step import schedule
from keras_concepts.rules import harm
from test_contract import CALLBACKS, LOSSES, METRICS, PARTS

TESTS = pathlib.Path(__file__).parent
DOCS = TESTS.parent / "docs"
PAGE = "reliability.md"


@functools.cache
def constants(name):
    """Of a module of tests."""
    return runpy.run_path(str(TESTS / f"{name}.py"))


def source(name):
    return (TESTS / name).read_text(encoding="utf-8")


def written(name, pattern):
    """Numbers that stand in a file of tests, such as in a script."""
    found = re.search(pattern, source(name))
    assert found is not None, pattern
    return [int(each.replace("_", "")) for each in found.groups()]


def cases(test):
    """How often `parametrize` has a test run, and with which values."""
    marks = getattr(test, "pytestmark", [])
    found = [m.args[1] for m in marks if m.name == "parametrize"]
    return math.prod(map(len, found)), found


def ways_to_train():
    m = constants("callbacks/test_modes")
    tolerance = m["TOLERANCE"]
    half = (tolerance[f"mixed_{each}"] for each in ("float16", "bfloat16"))
    yield "There are {} combinations;", len(m["ALL"])
    yield "{} combinations run in `make test`,", ["Two"][len(m["FEW"]) - 2]
    yield (
        "to {} of the largest value, in half precision to {:.0%} (float16) "
        "and {:.0%} (bfloat16).",
        f"{tolerance['float32']:.0e}".replace("e-0", "e-"),
        *half,
    )


def versions():
    project = source("../pyproject.toml")
    [oldest] = re.findall(r'"keras>=([\d.]+)"', project)
    yield "Keras {}, the oldest that `pyproject.toml` allows", oldest
    [python] = re.findall(r'requires-python = ">=([\d.]+)"', project)
    yield "Python {} runs in CI.", python
    private = constants("test_architecture")["NOT_OF_KERAS"]
    yield "({} names that belong to Python,", len(private)


def distribution():
    name = "distribution/on_tensorflow.py"
    [rows] = written(name, r"size=\((\d+), 6\)")
    [batch] = written(name, r"BATCH = (\d+)")
    yield "same {} rows in batches of {} and {},", rows, batch, rows % batch
    two, four = written(
        "distribution/test_tensorflow.py",
        r'"replicas", \[(\d), pytest.param\((\d), marks=',
    )
    yield "`MirroredStrategy` with {} and with {} logical", two, four
    yield "with {} processes on loopback.", two
    limits = written(name, r"RTOL = 1e-(\d) if REPLICAS <= 2 else 1e-(\d)")
    yield "within 1e-{} (with 4 devices within 1e-{},", *limits
    yield "({} devices) and", two
    yield "({} devices, {} processes).", four, two
    parts = constants("distribution/components")
    sizes = (parts[each] for each in ("ROWS", "BATCH", "EPOCHS"))
    yield "({} rows, {} per batch, {} epochs)", *sizes
    limit = f"{parts['TOLERANCE']:.0e}".replace("e-0", "e-")
    yield "is recorded to {} (relative)", limit
    of_jax = source("distribution/test_jax.py")
    for written_there in ("_flags(4)", "_flags(2)", "el 2 x 2", "el 1 x 4"):
        assert written_there in of_jax
    monitors = len(CALLBACKS) - 1  # and the doctor
    yield (
        "| JAX, 4 devices in one process | `DataParallel`, `ModelParallel` "
        "2 × 2 | {} metrics in `fit` and `evaluate`, {} monitors,",
        *(len(METRICS), monitors),
    )
    yield (
        "| JAX, 2 processes with 2 devices each | `DataParallel`, "
        "`ModelParallel` 2 × 2 and 1 × 4",
    )
    yield ("`DistributedDataParallel`, 2 processes, the loop",)
    yield "{} metrics through `summed_over_processes`", len(METRICS)
    yield ("- on 2 processes the doctor took",)
    yield ("More than 2 processes and NCCL have not been tried.",)


def long_and_large():
    scaling = "../benchmarks/scaling.py"
    steps = written(scaling, r"STEPS, SAMPLES = ([\d_]+), ")
    epochs = written(scaling, r"else \(125, 250, 500, (\d+)\)")
    yield "up to {:,} epochs of {:,} steps (a simulated", *epochs, *steps
    variables = written(scaling, r"else \(250, 500, 1000, (\d+)\)")
    yield "up to {:,} variables,", *variables
    yield (
        "metrics of {:,} classes",
        constants("metrics/test_many_classes")["CLASSES"],
    )
    assert thinning.MOST_ROWS == 1_000_000
    yield "more than a million rows and {} MiB", thinning.MOST_BYTES >> 20
    yield "at most {:,} epochs of them are kept", thinning.MOST_EPOCHS
    yield "In a run of more than {:,} epochs,", thinning.MOST_EPOCHS
    damages = constants("test_recording_damage")["DAMAGES"]
    name = "test_recording_damage.py"
    [short] = written(name, r"range\((\d+)\)\)")
    [begin, end] = written(name, r"range\((\d{3}), (\d+)\)\)")
    yield (
        "{} kinds, files of formats 1, 2 and 3, {} times each in the normal "
        "suite, {:,} times each in the long one.",
        *(len(damages), short, end - begin),
    )
    [length] = written(name, r'"ten megabytes": "x" \* ([\d_]+)')
    yield "- **Names** of {} MB,", length // 10**6
    yield "in epochs of {:,} steps records all", *steps


def faults():
    m = constants("callbacks/test_killed_runs")
    _, [many] = cases(m["test_killed_at_many_moments"])
    kills = dict(many)
    name = "callbacks/test_killed_runs.py"
    few = written(name, r"run\(tmp_path, (\d) if is_slow else (\d),")
    yield (
        '`BackupAndRestore(save_freq="epoch")` | {} (`--long`), {} in each run '
        "of the suite ({} on JAX);",
        *(kills["epoch"], *few[::-1]),
    )
    yield "`BackupAndRestore(save_freq=3)` | {} |", kills[3]
    yield "for the {} kills", sum(kills.values())
    m = constants("callbacks/test_faults")
    _, [ways] = cases(m["test_an_exception_in_a_hook"])
    hooks = len(m["HOOKS"])
    yield "in each of the {} hooks of another callback,", hooks
    yield (
        "in the list | each of {} ways |",
        len({w[:2] for w in map(plain, ways)}),
    )
    elsewhere = ("the_data", "the_validation_data", "a_step", "a_metric")
    count = sum(cases(m[f"test_an_exception_in_{x}"])[0] for x in elsewhere)
    yield "in a metric's result and reset | {} | the same |", count
    m = constants("callbacks/test_others_train")
    yield "in four hooks | {} |", cases(m["test_monitors_go_on"])[0]
    m = constants("callbacks/test_resumed_steps")
    few = len(m["CASES"])
    yield (
        "and with several | {} ({} in each run of the suite);",
        *(few + len(m["LONG"]), few),
    )
    changes = constants("callbacks/test_loops_of_fits")["CHANGES"]
    yield "or a frozen layer | {} (one", len(changes)
    last = written(name, r"Judged by the last (\d+) steps")
    yield "is judged by the last {} steps", *last


def plain(case):
    return getattr(case, "values", case)


def bad_input():
    values = len(hostile.values()), len(hostile.few_values())
    yield (
        "every argument of all {} constructors, each with {} strange values",
        *(len(PARTS + CALLBACKS), values[0]),
    )
    yield "(short form: {} values, made", values[1]
    m = constants("test_bad_batches")
    counts = [len(m["spoiled"](each)) for each in METRICS + LOSSES]
    yield "{} to {} impossible values each", min(counts), max(counts)
    arrays = [m[x] for x in ("LABELS", "SCORES", "WEIGHTS", "ONE_HOT")]
    held = {len(hostile.holders(each)) for each in arrays}
    yield "in {} to {} containers and dtypes", min(held), max(held)
    fewest = min(len(hostile.no_numbers(each)) for each in arrays)
    assert abs(fewest - 20) <= 2  # each backend has tensors of its own
    yield ("and about 20 unsupported values",)
    name = "test_bad_batches.py"
    assert "st.sampled_from([1e-24, 1.0, 1e24])" in source(name)
    often = r"max_examples=(\d+)\)\n@given\({}\)\ndef {}"
    [few] = written(name, often.format(r"batches\(8, 4\)", "test_numbers_are"))
    [many] = written(name, often.format(r"batches\(\)", "test_numbers_of_many"))
    yield (
        "weights of 1e-24 to 1e24 with zeros | {:,} (short form: {})",
        many,
        few,
    )
    anything = r"batch=anything\(\)"
    [few] = written(name, often.format(anything, r"test_anything\("))
    [many] = written(name, often.format(anything, "test_anything_often"))
    yield "{:,} per component (short form: {})", many, few
    m = constants("test_bad_inputs")
    inputs = len(m["inputs"]()) - 2 * (keras.backend.backend() == "tensorflow")
    yield "with {} strange inputs, {} on TensorFlow", inputs, inputs + 2
    yield "each, twice (short form: {} inputs)", len(m["SHORT"])
    yield "| {} hostile names", len(NAMES)
    worst = constants("reports/test_hostile_names")["WORST"]
    yield "each (short form: {} names);", len(worst)
    name = "reports/test_hostile_names.py"
    long = written(name, r"\[1, pytest.param\((\d+), marks")
    yield "a name of {} MB takes", *long


SECTIONS = (
    ways_to_train,
    versions,
    distribution,
    long_and_large,
    faults,
    bad_input,
)


def of_other_pages():
    """Page, words and numbers."""
    distributed = "distributed_training.md"
    few, many = written(
        "distribution/on_tensorflow.py",
        r"RTOL = 1e-(\d) if REPLICAS <= 2 else 1e-(\d)",
    )
    yield distributed, "agree to 1e-{} (with four", few
    yield distributed, "differ more, to 1e-{})", many
    yield distributed, "| all {} metrics | right | right |", len(METRICS)
    budget = PlannedBudget._spacing, PlannedBudget._begins
    planned = "every {}th step from the {}th on"
    doctor, everyday = "doctor.md", "guides/everyday_use.md"
    for page in (distributed, doctor):
        yield page, planned, *budget
    assert thinning.MOST_ROWS == 1_000_000
    for page in (doctor, everyday):
        yield page, "million rows and {} MiB", thinning.MOST_BYTES >> 20
    yield doctor, "run of more than {:,} epochs", thinning.MOST_EPOCHS
    first_try = harm._FEWEST_EPOCHS, harm._FEWEST_STEPS
    yield doctor, "first try of fewer than {} epochs and {} steps", *first_try
    assert first_try[0] == 5
    yield "guides/tuners.md", "at least five epochs or {} steps", first_try[1]
    defaults = inspect.signature(GradientMonitor).parameters
    samples = defaults["max_samples"].default
    yield everyday, "At most {} steps of the first epoch", samples
    assert schedule._BUDGET == 16
    yield everyday, "(at least {} steps), spread evenly", schedule._FEWEST
    yield "cost.md", "a sixteenth (and at least {} steps)", schedule._FEWEST
    widths = written(
        "reports/browser/test_report.py", r"WIDTHS = \((\d+), (\d+), (\d+)\)"
    )
    yield "report.md", "at {}, {} and {} pixels", *widths
    guard = "monitors/non_finite_guard.md"
    checked = inspect.signature(NonFiniteGuard).parameters["check_every"]
    yield guard, "only every {} steps (`check_every`)", checked.default
    yield guard, "unless there are {} in a row", non_finite_guard._MOST_SKIPS
    yield "guides/comparison.md", "| number of metrics | {} |", len(METRICS)


def words(page):
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def test_other_pages_say_what_the_code_does():
    for page, template, *numbers in of_other_pages():
        assert template.format(*numbers) in words(page)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each.__name__)
def test_the_page_says_what_tests_do(section):
    for template, *numbers in section():
        assert template.format(*numbers).replace("%", " %") in words(PAGE)


def test_no_other_number_is_on_the_page():
    """But those of a measurement, which test_measured_pages.py compares."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    text = re.sub(r"^<!--.*-->\n\n(\|.*\n)+|^    make .*", "", text, flags=re.M)
    text = " ".join(re.sub(r"^```.*?^```", "", text, flags=re.S | re.M).split())
    for section in SECTIONS:
        for template, *numbers in section():
            text = text.replace(
                template.format(*numbers).replace("%", " %"), ""
            )
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
    # Names of versions, dtypes and others.
    names = r"(Keras|Python|nightly) [\d.]+|\bH200\b|\b(bf|f)loat\d+|\bu?int\d+"
    text = re.sub(rf"{names}|, 3\.15\.1|dev\d+|keras#\d+|\bF1\b", "", text)
    text = re.sub(r"\bformat [123]\b", "", text)
    left = re.findall(r".{0,40}\d.{0,20}", text)
    assert left == []
