import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts import reports
from keras_concepts._documentation import SITE
from keras_concepts.recording import Recording
from keras_concepts.rules import Evidence, Measured

pytest.importorskip("jinja2")

SPREAD = Measured(q.PREDICTION_SPREAD.label, 0.001, 0.01)
CONSTANT = {
    "name": "overfitting",
    "evidence": Evidence("", (1, 20), (SPREAD,), "Do.", "model.fit(x, y)"),
    "steps": (30, 1e9),
}
UNSCALED = {
    "name": "heavy_dropout",
    "severity": "error",
    "page": "monitors/mc_predict.md",
    "evidence": Evidence("x", (0, 0), (Measured("RMS", 143.2, 10.0),), "Do."),
}
FACTS = {
    "model": "m",
    "heads": [{"output": "", "loss_weight": None}],
    "data": {"targets": [{"output": "", "constant_loss": 2.0}]},
}
LOSSES = [(2.5, 2.6), (2.4, 2.5), (2.4, 2.4), (2.3, 2.4)]
VALUES = [0.5, 0.1, 0.005, 0.001, 0.001]
VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = [
    "<script>alert(1)</script>",
    "[red]$x$",
    "a" * 10_000,
    "\u202eright to left",
    "zero\x00 and bell\x07",
    "\ud800 lone",
    "]]> & &amp; ' \" {{ 7 * 7 }} {% raw %}",
    "#0072b2 url(#x) ns1:href=",
    "--></style><img src=x onerror=alert(1)>",
    "名前 мрежа",
]


class Page(HTMLParser):
    """What a page consists of; fails where tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.ids, self.links = [], [], [], []
        self.headings, self.text = [], []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for key in ("href", "aria-labelledby", "aria-describedby"):
            for name in attributes.get(key, "").split():
                self.links.append((key, name))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if not self.stack or self.stack[-1] != "style":
            self.text.append(data)

    def all(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


def words(text):
    return " ".join(" ".join(Page(text).text).split())


def check(text):
    """What holds of every page."""
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    assert not page.all("script")
    assert not [a for _, a in page.tags if any(k[:2] == "on" for k in a)]
    assert len(page.ids) == len(set(page.ids))
    for key, name in page.links:
        if key == "href":
            assert name.startswith(("#", "data:image/png;base64,", SITE))
            name = name.removeprefix("#")
        if not name.startswith(("data:", SITE)):
            assert name in page.ids
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert (np.diff(page.headings) <= 1).all()
    charts = [a for a in page.all("svg") if a.get("class") == "chart"]
    assert len(charts) == len(page.all("figcaption"))
    assert all(a["role"] == "img" and "viewbox" in a for a in charts)
    assert not re.search(r"url\((?!#)", text.replace("url(#", ""))
    return page


@pytest.fixture
def course(record_course):
    return record_course(LOSSES, spread=VALUES, facts=FACTS)


def test_a_run_with_problems(course, judged_by):
    judged_by(CONSTANT, UNSCALED)
    text = reports.report_html(course)
    page = check(text)
    assert ("href", f"{SITE}monitors/mc_predict/") in page.links
    said = words(text)
    assert (
        "2 problems found in 4 epochs, first of all: heavy dropout in x."
        in said
    )
    assert "1. Heavy dropout in x" in said
    assert "2. Overfitting" in said
    assert "since epoch 2, noticed in epoch 3" in said
    assert "model.fit(x, y)" in said
    assert "spread of predictions 0.001 0.01" in said  # in the table
    assert "the threshold is 0.01" in said
    assert "from 2.5 in epoch 1 to 2.3 in epoch 4" in said
    assert "The dashed line, at 2, is the loss of the best constant" in said


def test_a_run_without_problems(course, judged_by):
    judged_by({"name": "fine"}, {"name": "blind", "needs": "a probe"})
    text = reports.report_html(course)
    _ = check(text)
    said = words(text)
    assert "No problem found in 4 epochs." in said
    assert "The model has removed 0\u00a0% of the loss" in text
    assert "blind (needs a probe)" in said
    assert "1 rule could judge" in said


def test_what_a_monitor_logs_is_no_metric(course):
    for key in ("recall", "gradient_norm", "update_ratio", "learning_rate"):
        for epoch in range(4):
            at = 10 * (epoch + 1)
            course.append(epoch, key, q.LOG, at, 0.001, monitor=q.FIT)
    said = words(reports.report_html(course))
    assert "recall is 0.001 throughout" in said
    for key in ("gradient_norm", "update_ratio", "learning_rate"):
        assert f"{key} is" not in said


@pytest.mark.parametrize(
    "monitor", [None, "GradientMonitor", "PenaltyReporter"]
)
def test_nothing_recorded(monitor):
    text = reports.report_html(Recording(monitor=monitor or ""))
    page = check(text)
    assert "No training run has been checked yet." in words(text)
    assert not page.all("svg")


def test_all_monitors_and_two_runs(everything):
    text = reports.report_html(everything)
    page = check(text)
    said = words(text)
    assert "holds 2 runs. This page is about the last." in said
    titles = {a["id"] for a in page.all("figure")}
    assert titles >= {
        "loss-parts",
        "gradients",
        "errors",
        "activations",
        "batch-norm",
        "batch-norm-losses",
        "memory-horizon",
        "memory-0",
    }
    assert "first became NaN or infinite in epoch 2, at step 33" in said


def test_each_monitor_alone(everything):
    for monitor in everything.monitors:
        alone = everything.select(monitor=monitor)
        page = check(reports.report_html(alone))
        has_chart = monitor not in ("NonFiniteGuard", "TrainingDoctor")
        assert bool(page.all("svg")) is has_chart


def test_the_same_recording_gives_the_same_page(everything):
    assert reports.report_html(everything) == reports.report_html(everything)


def test_settings_of_the_user_change_nothing(course):
    matplotlib = pytest.importorskip("matplotlib")
    plain = reports.report_html(course)
    with matplotlib.rc_context(
        {"axes.grid": True, "font.size": 30, "svg.fonttype": "path"}
    ):
        assert reports.report_html(course) == plain
        assert matplotlib.rcParams["font.size"] == 30


@pytest.fixture
def hostile(record, record_signals, judged_by, joined):
    """A recording in which everything has a name of `HOSTILE`."""
    judged_by(
        *(
            {
                "name": "dead_units",
                "evidence": Evidence(
                    name, (0, 0), (Measured(name, name),), name, name
                ),
            }
            for name in HOSTILE
        )
    )
    signals = {name: {q.MEMORY_HORIZON: 2} for name in HOSTILE}
    recording = joined(
        record({f"{name}/kernel": np.ones(20) for name in HOSTILE}, prefix=""),
        record_signals(signals, prefix=""),
    )
    for name in HOSTILE:
        recording.append(0, name, q.LOG, 10, 0.5, monitor=q.FIT)
    recording.record_facts(
        {
            "model": HOSTILE[0],
            "layers": [{"path": name, "class": name} for name in HOSTILE],
            "optimizer": {"class": HOSTILE[1], "config": {HOSTILE[0]: 1}},
            "versions": {name: name for name in HOSTILE},
            "data": {"inputs": [{"name": n, "dtype": n} for n in HOSTILE]},
        }
    )
    return recording


def test_names_are_text(hostile):
    text = reports.report_html(hostile, title="".join(HOSTILE))
    _ = text.encode()
    page = check(text)
    said = "".join(page.text)
    assert not page.all("img")
    for name in HOSTILE:
        if len(name) < 100 and name.isprintable():
            assert said.count(name) > 5
    assert r"\u202eright to left" in said
    assert r"zero\x00 and bell\x07" in said
    assert not set(said) & set("\u202e\x00\x07\ud800")
    assert len(text) < 1_000_000


def test_names_are_text_in_a_comparison(hostile):
    text = reports.comparison_html({HOSTILE[0]: hostile, HOSTILE[5]: hostile})
    _ = text.encode()
    assert "".join(check(text).text).count(HOSTILE[0]) > 5


def test_what_is_not_finite_is_shown(record, record_signals, joined):
    values = np.array([1.0, np.nan, np.inf, 1e-40, 0.0] * 4)
    signals = {
        "a": {q.ACTIVATION_STD: np.nan, q.ERROR_RMS: np.inf},
        "b": {q.ACTIVATION_STD: 0.0, q.ERROR_RMS: 0.0},
    }
    recording = joined(
        record({"a/kernel": values, "b/kernel": np.ones(20)}),
        record_signals(signals),
    )
    for epoch, loss in enumerate((1.0, np.inf)):
        recording.append(
            epoch, "other", q.LOG, 10 * epoch + 10, loss, monitor=q.FIT
        )
    text = reports.report_html(recording)
    _ = check(text)
    said = words(text)
    assert "NaN or infinite" in said
    assert "exactly 0" in said
    assert "other is infinite in epoch 2" in said
    assert "not finite" in said


def test_missing_gradients_are_not_nan(record):
    recording = record({"a/kernel": np.ones(20), "b/kernel": np.ones(20)})
    for epoch in range(2):
        steps = np.arange(10) + 10 * epoch
        for quantity in (q.GRADIENT_RMS, q.GRADIENT_NONFINITE):
            recording.append(
                epoch, "model/none/kernel", quantity, steps, np.full(10, np.nan)
            )
    text = reports.report_html(recording)
    assert "NaN" not in words(text)


def test_a_live_page_is_read_again(course):
    live, last = (
        Page(reports.report_html(course, refresh=refresh)).all("meta")
        for refresh in (7, None)
    )
    assert {"http-equiv": "refresh", "content": "7"} in live
    assert not [a for a in last if a.get("http-equiv") == "refresh"]
    with pytest.raises(ValueError, match="refresh=0"):
        _ = reports.report_html(course, refresh=0)


def test_the_file_is_replaced_at_once(course, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    reports.write_report(course, path)
    first = path.read_text(encoding="utf-8")
    assert check(first)
    reports.write_report(course, str(path), title="<b>")
    assert "<title>&lt;b&gt;</title>" in path.read_text(encoding="utf-8")
    monkeypatch.setattr("pathlib.Path.replace", _refuse)
    with pytest.raises(PermissionError):
        reports.write_report(course, path)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def _refuse(*_):
    raise PermissionError


def test_the_policy_forbids_everything_but_styles_and_pictures(course):
    [policy] = [
        a["content"]
        for a in Page(reports.report_html(course)).all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )


def test_without_jinja(course, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"keras-concepts\[report\]"):
        _ = reports.report_html(course)


def test_without_matplotlib(course, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"keras-concepts\[report\]"):
        _ = reports.report_html(course)
