"""A real browser, and pages of recordings of all kinds to open in it."""

import importlib.resources
import os
import shutil

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts import reports
from keras_concepts.recording import Recording
from keras_concepts.rules import Evidence, Measured

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MISSING = (
    "No Chromium was found. On Debian and Ubuntu: apt install chromium. "
    "Elsewhere, set CHROMIUM to the path of a Chromium or Chrome."
)
SCRIPT = "<script>alert(1)</script>"
LAYERS = 150


@pytest.fixture(scope="session")
def browser():
    """Chromium as the system has it."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed."
    )
    found = [shutil.which(name) for name in _NAMES]
    path = os.environ.get("CHROMIUM") or next(filter(None, found), None)
    if path is None and os.environ.get("CI"):
        pytest.fail(_MISSING)
    if path is None:
        pytest.skip(_MISSING)
    # As root, Chromium cannot run in its sandbox.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=options
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core."""
    package = importlib.resources.files("axe_playwright_python")
    return package.joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def visit(browser, tmp_path):
    """Opens a page as a file; fails if it says anything on the console."""
    contexts, said = [], []

    def open_page(text, width=1280, height=800, **options):
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(request.url))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def made():
    """Pages by their kind, each made once."""
    return {}


@pytest.fixture(params=["failed", "healthy", "deep", "all", "script", "two"])
def text(request, made):
    """A page of each kind."""
    if request.param not in made:
        made[request.param] = request.getfixturevalue(request.param)
    return made[request.param]


@pytest.fixture
def failed(record_course, record_signals, judged_by, joined):
    """A run with two problems and a consequence, and long advice."""
    spread = Measured(q.PREDICTION_SPREAD.label, 0.001, 0.01)
    judged_by(
        {
            "name": "unscaled_input",
            "severity": "error",
            "evidence": Evidence(
                "input_of_a_rather_long_name",
                (0, 0),
                (
                    Measured("RMS of the inputs", 143.2, 10.0),
                    Measured("largest over smallest feature", 1e5, 100.0),
                ),
                "Scale the inputs to mean 0 and standard deviation 1.",
                "scale = keras.layers.Normalization(); scale.adapt(x)",
            ),
        },
        {
            "name": "constant_predictions",
            "evidence": Evidence("", (1, 20), (spread,), "Look elsewhere."),
        },
        {
            "name": "heavy_dropout",
            "evidence": Evidence("", (1, 20), (spread,), "Drop less."),
        },
    )
    course = record_course(
        [(2.5, 2.6), (2.4, 2.5), (2.4, 2.4), (2.3, 2.4)],
        spread=[0.5, 0.1, 0.005, 0.001, 0.001],
        facts={
            "model": "sigmoid_stack",
            "heads": [{"output": "", "loss_weight": None}],
            "data": {"targets": [{"output": "", "constant_loss": 2.0}]},
        },
    )
    dense = {
        f"dense_{i}": {
            q.ERROR_RMS: 10.0 ** (i - 12),
            q.SATURATED_UNITS: 64 * (i < 2),
        }
        for i in range(12)
    }
    facts = course.facts
    recording = joined(course, record_signals(dense, measured=5))
    recording.record_facts(facts)
    return reports.report_html(recording)


@pytest.fixture
def healthy(record_course):
    losses = [(2.0 * 0.8**n + 0.1, 2.0 * 0.85**n + 0.2) for n in range(60)]
    return reports.report_html(record_course(losses))


@pytest.fixture
def deep(record, record_signals, record_shifts, joined):
    """150 layers and 100 epochs."""
    random = np.random.default_rng(0)
    names = [
        f"stage{i // 50 + 1}_block{i % 50 + 1}_conv" for i in range(LAYERS)
    ]
    return reports.report_html(
        joined(
            record({f"{n}/kernel": random.lognormal(size=1000) for n in names}),
            record_signals(
                {n: {q.ZERO_ACTIVATION_UNITS: 3} for n in names}, measured=101
            ),
            record_shifts({"bn": ([0.5, 3.0], [0.1, 2.0])}, epochs=100),
        )
    )


@pytest.fixture(name="all")
def all_monitors(everything):
    """Rows of all monitors, with NaN, in two runs of a recurrent model."""
    return reports.report_html(everything)


@pytest.fixture
def script(record, record_signals, judged_by, joined):
    """A model whose layers have hostile names."""
    names = [SCRIPT, "[red]$x$", "a" * 10_000, "\u202eabc", "\x07\ud800"]
    judged_by(
        {
            "name": "dead_units",
            "evidence": Evidence(SCRIPT, (0, 0), (), SCRIPT, SCRIPT),
        }
    )
    recording = joined(
        record({f"{n}/kernel": np.ones(20) for n in names}, prefix=""),
        record_signals({n: {q.MEMORY_HORIZON: 2} for n in names}, prefix=""),
    )
    recording.record_facts({"layers": [{"path": n} for n in names]})
    return reports.report_html(recording, title=SCRIPT)


@pytest.fixture
def two(everything, record_course):
    """Runs beside each other."""
    course = record_course([(2.5, 2.6), (2.4, 2.5)], facts={"model": "m"})
    return reports.comparison_html(
        {"everything": everything, "a rather long name of a run": course}
    )


@pytest.fixture
def empty():
    return reports.report_html(Recording())
