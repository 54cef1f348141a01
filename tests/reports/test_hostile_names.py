"""Names are text: tables, figures, pages and writers show them as they are."""

import contextlib
import io
import json
import re
import time
import warnings

import pytest
from rich.console import Console

import keras_concepts as kc
from hostile_names import NAMES
from keras_concepts import reports
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import printable
from keras_concepts.rules import Evidence, Measured

PLAIN = {"a", "out", "lstm", "bn", "frozen", "model"}
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ANSI_OF_RICH = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;[^\x1b]*\x1b\\")


def renamed(recording, name, path=None):
    """The recording of a model whose parts bear the name."""
    result = Recording(path)
    for s in recording:
        parts = [
            f"{name}{part}" if part in PLAIN else part
            for part in s.owner.split("/")
        ]
        result.run = s.run
        result.append(
            s.epoch,
            "/".join(parts),
            s.quantity,
            s.steps,
            s.values,
            index=s.index,
            monitor=s.monitor,
        )
    result.run = 0
    head = f"{name}model/{name}out"
    result.record_facts(
        {
            "model": name,
            "loss": name,
            "metrics": [name, f"{name}2"],
            "optimizer": {"class": name, name: 1.0},
            "versions": {name: name},
            "layers": [
                {"path": head, "class": name, "activation": name},
                {"path": f"{name}model/{name}a", "class": "Dense"},
            ],
            "heads": [
                {"output": name, "layer": head, "activation": name},
                {"output": f"{name}2", "layer": head, "loss": name},
            ],
        }
    )
    for key in (name, f"val_{name}", "loss"):
        result.append(0, key, "log", 9, 0.5, monitor="fit")
        result.append(1, key, "log", 19, 0.25, monitor="fit")
    return result


# That have broken most; a figure or page takes seconds.
WORST = ("mathtext", "closing markup", "control", "surrogate", "html")


@pytest.fixture(
    params=[
        pytest.param(
            name, id=kind, marks=[] if kind in WORST else pytest.mark.long
        )
        for kind, name in NAMES.items()
    ]
)
def name(request):
    return request.param


@pytest.fixture
def recording(everything, name, judged_by):
    judged_by(
        {
            "name": "dead_units",
            "evidence": Evidence(
                f"{name}model/{name}a",
                (0, 1),
                (Measured(name, name), Measured(f"{name}2", 2.0, 1.0, name)),
                f"Change {name}.",
                code=name,
            ),
        }
    )
    return renamed(everything, name)


def shows(text, name):
    """Whether the start of a name can be read in a text."""
    wanted = "".join(printable(name).split())[:3]
    return wanted in "".join(text.split())


@pytest.mark.parametrize("terminal", [False, True])
def test_tables(recording, name, terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=300)
    reports.print_recording(recording, console)
    reports.print_findings(kc.diagnose(recording), console)
    text = (
        ANSI_OF_RICH.sub("", file.getvalue()) if terminal else file.getvalue()
    )
    assert not UNSAFE.findall(text)
    assert shows(text, name)
    _ = text.encode()  # no surrogate is left


@contextlib.contextmanager
def fonts_may_lack_glyphs():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Glyph.*missing")
        warnings.filterwarnings("ignore", ".*Matplotlib currently does not")
        yield


def test_figures(recording):
    with fonts_may_lack_glyphs():
        figures = reports.plot_recording(recording)
        drawn = [
            *figures.values(),
            reports.plot_memory(recording),
            reports.plot_doctor(recording),
            reports.plot_gradient_stacks({"$[b]\ud800": recording}),
        ]
        for figure in drawn:
            figure.savefig(io.BytesIO(), dpi=20)


def test_pages(recording, name):
    with fonts_may_lack_glyphs():
        page = reports.report_html(recording)
        both = reports.comparison_html({name: recording, "b": recording})
    for text in (page, both):
        _ = text.encode()
        assert not UNSAFE.findall(text)
        assert "<script>alert" not in text
        assert "onload=alert(1)>" not in text
        assert "49" not in re.findall(r"\{\{ 7 . 7 \}\}|>49<", text)


def test_findings(recording, name):
    for finding in kc.diagnose(recording):
        _ = json.dumps(finding.owner)
        text = str(finding)
        assert not UNSAFE.findall(text)
        _ = text.encode()


def test_writers(recording, tmp_path):
    reports.write_tensorboard(recording, tmp_path / "logs")
    inside = list(tmp_path.rglob("*"))
    assert {each.parent for each in inside} <= {tmp_path, tmp_path / "logs"}


def test_files(everything, name, tmp_path):
    path = tmp_path / "run.jsonl"
    recording = renamed(everything, name, path)
    recording.flush()
    assert set(Recording.load(path).owner) == set(recording.owner)


@pytest.mark.parametrize(
    "megabytes", [1, pytest.param(10, marks=pytest.mark.long)]
)
def test_a_name_of_megabytes(decades, megabytes):
    """Costs no more than a few passes over it."""
    recording = renamed(decades, "x\x1b$[b]<" * (megabytes * 125_000))
    started = time.process_time()
    file = io.StringIO()
    reports.print_gradients(recording, Console(file=file, width=100))
    assert time.process_time() - started < 5 * megabytes
    assert len(file.getvalue()) < 10_000
