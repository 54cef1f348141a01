import copy
import dataclasses
import json
import math
import struct

import pytest

from hostile_names import NAMES
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import WandbWriter, log_to_wandb
from keras_concepts.rules import Finding, Measured

wandb = pytest.importorskip("wandb")
wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

DEAD = Finding(
    "dead_units",
    "warning",
    "net/<b>",
    (0, 4),
    (1, 10),
    evidence=(Measured("share of dead units", 0.75, 0.5),),
)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Lets W&B write to a folder of this test alone."""
    for name, value in (
        ("WANDB_MODE", "offline"),
        ("WANDB_DIR", str(tmp_path)),
        ("WANDB_SILENT", "true"),
        ("WANDB_CACHE_DIR", str(tmp_path / "cache")),
        ("WANDB_CONFIG_DIR", str(tmp_path / "config")),
        ("WANDB_DATA_DIR", str(tmp_path / "data")),
    ):
        monkeypatch.setenv(name, value)
    yield tmp_path
    wandb.finish()
    wandb.teardown()


def _records(folder):
    """What W&B wrote of its one run: blocks of LevelDB's log, with records."""
    wandb.teardown()  # which waits until all is written
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        rest = 32768 - at % 32768
        if rest < 7:
            at += rest
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def _history(folder):
    rows = []
    for record in _records(folder):
        if record.HasField("history"):
            items = record.history.item
            row = {i.key or "/".join(i.nested_key): i.value_json for i in items}
            row = {name: json.loads(text) for name, text in row.items()}
            rows.append({k: v for k, v in row.items() if k[0] != "_"})
    return rows


def _summary(folder):
    found = {}
    for record in _records(folder):
        for item in record.summary.update:
            name = item.key or "/".join(item.nested_key)
            found[name] = json.loads(item.value_json)
    return found


def test_numbers_over_epochs(offline, record_course, judged_by):
    judged_by({"name": "dead_units", "evidence": None})
    recording = record_course([(0.5, math.nan), (0.25, math.inf)])
    _ = log_to_wandb(recording)
    assert wandb.run is None
    first, second = _history(offline)
    assert math.isnan(first.pop("doctor/val_loss"))
    assert math.isinf(second.pop("doctor/val_loss"))
    assert first == {"doctor/epoch": 1, "doctor/loss": 0.5}
    assert second == {"doctor/epoch": 2, "doctor/loss": 0.25}
    axes = {
        record.metric.name or record.metric.glob_name: record.metric.step_metric
        for record in _records(offline)
        if record.HasField("metric")
    }
    assert axes["doctor/*"] == "doctor/epoch"
    summary = _summary(offline)
    assert summary["doctor/verdict"] == "No problem found."
    assert summary["doctor/severity"] == "none"


def test_while_it_goes_on(offline):
    recording, writer = Recording(monitor="GradientMonitor"), WandbWriter()
    moved = dataclasses.replace(
        DEAD, evidence=(Measured("share of dead units", 0.875, 0.5),)
    )
    gone = dataclasses.replace(DEAD, resolved=(3, 30))
    with wandb.init(project="tests") as run:
        for epoch, findings in enumerate([[], [DEAD], [moved], [gone]]):
            recording.append(epoch, "", q.GRADIENT_NORM, epoch, epoch / 4)
            # Other code logs to the run, too.
            run.log({"epoch/loss": 1.0})
            assert writer.write(recording, findings) is run
        assert run.summary["doctor/severity"] == "none"
    history = _history(offline)
    norms = {
        row["doctor/epoch"]: row["doctor/gradient_norm"]
        for row in history
        if "doctor/gradient_norm" in row
    }
    assert norms == {1: 0.0, 2: 0.25, 3: 0.5, 4: 0.75}
    tables = [
        json.loads((offline / "wandb/latest-run/files" / path).read_text())
        for row in history
        if (path := row.get("doctor/findings/path"))
    ]
    rows = [dict(zip(t["columns"], t["data"][0], strict=True)) for t in tables]
    assert len(rows) == 2  # once noticed, once withdrawn
    assert rows[0]["owner"] == "net/<b>"
    assert rows[0]["measured"] == "share of dead units 0.75 (threshold 0.5)"
    assert [r["withdrawn after epoch"] for r in rows] == [None, 4]


def test_hostile_names(offline):
    recording = Recording(monitor="GradientMonitor")
    owners = ["net/a b", "net/a_b", "net/☃", "net/*", "x" * 400, "net/a/kernel"]
    for owner in owners:
        recording.append(0, owner, q.GRADIENT_RMS, 0, 0.5)
    _ = log_to_wandb(recording, layers=True)
    (row,) = _history(offline)
    assert len(row) == len(owners) + 1
    assert all(len(name) <= 250 for name in row)
    assert all(name.replace("/", "a").isidentifier() for name in row)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("doctor/", "doctor/"),
        ("a/../<b>$/", "a/__/_b__/"),
        ("/a\ud800", "a_"),
        ("x" * 400, "x" * 64),
    ],
)
def test_every_hostile_name_is_written(offline, prefix, expected):
    recording, found = Recording(monitor="GradientMonitor"), []
    for name in NAMES.values():
        recording.append(0, f"net/{name}", q.GRADIENT_RMS, 0, 0.5)
        recording.append(0, name, q.LOG, 0, 0.5, monitor=q.FIT)
        said = {"why": name, "advice": name, "code": name}
        found.append(dataclasses.replace(DEAD, rule=name, owner=name, **said))
    with wandb.init(project="tests") as run:
        _ = WandbWriter(prefix=prefix, layers=True).write(recording, found)
        assert copy.deepcopy(WandbWriter(run)).run is run
    records = [*_records(offline)]
    globs = [r.metric.glob_name for r in records if r.HasField("metric")]
    assert f"{expected}*" in globs
    row = next(row for row in _history(offline) if f"{expected}epoch" in row)
    assert len(row) == 2 * len(NAMES) + 1
    assert all(name.startswith(expected) for name in row)
    assert _summary(offline)[f"{expected}severity"] == "warning"
    (path,) = offline.rglob("*.table.json")
    rows = json.loads(path.read_text())["data"]
    assert [cells[0] for cells in rows] == [*NAMES.values()]
    assert path.is_relative_to(offline / "wandb")


def test_a_report_is_shown(offline, record_course, tmp_path):
    path = tmp_path / "report.html"
    _ = path.write_text("<p>well</p>")
    _ = log_to_wandb(record_course([(0.5,)]), report=path)
    *_, row = _history(offline)
    assert row["doctor/report/_type"] == "html-file"


def test_a_run_that_was_begun_before_goes_on(offline, record_course):
    with wandb.init(project="tests") as run:
        assert log_to_wandb(record_course([(0.5,)])) is run
        assert wandb.run is run
        assert log_to_wandb(record_course([(0.5,)]), run) is run
