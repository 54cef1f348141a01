import dataclasses
import json
import math

import pytest

from hostile_names import NAMES
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import MLflowWriter, log_to_mlflow
from keras_concepts.rules import Finding, Measured

mlflow = pytest.importorskip("mlflow")
# Of SQLAlchemy, to the authors of MLflow.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated", "ignore::ResourceWarning"
)

HOSTILE = 'net/<b> "x" $(rm)\n../☃'
DEAD = Finding(
    "dead_units",
    "warning",
    HOSTILE,
    (0, 4),
    (1, 10),
    evidence=(Measured("share of dead units", math.nan, 0.5),),
)


@pytest.fixture
def store(request, tmp_path, monkeypatch):
    """A store of MLflow on this machine."""
    uri = f"file://{tmp_path}/runs"
    if getattr(request, "param", "folder") == "sqlite":
        pytest.importorskip("sqlalchemy")
        pytest.importorskip("alembic")
        uri = f"sqlite:///{tmp_path}/runs.db"
    else:
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    _ = mlflow.set_experiment("tests")
    yield mlflow.MlflowClient()
    mlflow.end_run()
    mlflow.set_tracking_uri(before)


def _history(store, run_id, name):
    metrics = store.get_metric_history(run_id, name)
    return {metric.step: metric.value for metric in metrics}


def _findings(store, run_id):
    text = mlflow.artifacts.load_text(
        f"{store.get_run(run_id).info.artifact_uri}/doctor/findings.json"
    )
    return json.loads(text)["findings"]


# To make a database takes seconds.
@pytest.mark.parametrize("store", ["sqlite", "folder"], indirect=True)
def test_metrics_tags_and_findings(store, record_course, judged_by):
    judged_by({"name": "dead_units", "evidence": None})
    recording = record_course([(0.5, math.nan), (0.25, math.inf)])
    run_id = log_to_mlflow(recording)
    assert mlflow.active_run() is None
    assert _history(store, run_id, "doctor/loss") == {1: 0.5, 2: 0.25}
    broken = _history(store, run_id, "doctor/val_loss")
    assert math.isnan(broken[1])
    assert broken[2] > 1e300  # a database has no infinity
    tags = store.get_run(run_id).data.tags
    assert tags["doctor/verdict"] == "No problem found."
    assert tags["doctor/severity"] == "none"
    assert _findings(store, run_id) == []
    assert store.get_run(run_id).info.status == "FINISHED"


def test_while_it_goes_on(store):
    recording, writer = Recording(monitor="GradientMonitor"), MLflowWriter()
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        for epoch in range(3):
            recording.append(epoch, "", q.GRADIENT_NORM, epoch, epoch / 4)
            assert writer.write(recording, [DEAD][: epoch - 1]) == run_id
            norms = _history(store, run_id, "doctor/gradient_norm")
            assert norms == {n + 1: n / 4 for n in range(epoch + 1)}
        tags = store.get_run(run_id).data.tags
        assert tags["doctor/severity"] == "warning"
        assert tags["doctor/finding/dead_units"] == DEAD.headline
        assert [Finding.from_json(f) for f in _findings(store, run_id)] == [
            dataclasses.replace(
                DEAD,
                evidence=(Measured("share of dead units", "nan", 0.5),),
            )
        ]
        gone = dataclasses.replace(DEAD, resolved=(2, 30))
        _ = writer.write(recording, [gone])
        tags = store.get_run(run_id).data.tags
        assert tags["doctor/severity"] == "none"
        assert tags["doctor/finding/dead_units"].endswith("after epoch 3.")
        assert mlflow.active_run().info.run_id == run_id
    # The writer follows its user to the next run.
    with mlflow.start_run() as run:
        _ = writer.write(recording, [gone])
        assert _findings(store, run.info.run_id)


def test_a_second_fit_goes_on(store):
    writer = MLflowWriter()
    with mlflow.start_run() as run:
        for fit in range(2):
            recording = Recording(monitor="GradientMonitor")
            for epoch in range(2):
                recording.append(epoch, "", q.GRADIENT_NORM, epoch, fit / 4)
                _ = writer.write(recording)
        norms = _history(store, run.info.run_id, "doctor/gradient_norm")
    assert norms == {1: 0.0, 2: 0.0, 3: 0.25, 4: 0.25}


def test_a_run_may_be_named(store, record_course):
    run = store.create_run(store.get_experiment_by_name("tests").experiment_id)
    recording = record_course([(0.5,)])
    assert log_to_mlflow(recording, run.info.run_id) == run.info.run_id
    assert store.get_run(run.info.run_id).info.status == "RUNNING"
    assert mlflow.active_run() is None


def test_hostile_names_and_many_layers(store):
    recording = Recording(monitor="GradientMonitor")
    owners = [HOSTILE, "..", "/", "a/" + "x" * 400, "a/" + "x" * 401, "net/<b"]
    owners += [f"net/dense_{i}/kernel" for i in range(1100)]
    for owner in owners:
        recording.append(0, owner, q.GRADIENT_RMS, 0, 0.5)
    recording.append(0, "top/5: a", q.LOG, 0, 0.5, monitor=q.FIT)
    run_id = log_to_mlflow(recording, layers=True)
    names = list(store.get_run(run_id).data.metrics)
    assert len(names) == len(owners) + 1
    assert "doctor/layers/gradient_rms/net.dense_7.kernel" in names


def test_every_hostile_name_is_written_and_tells_itself_apart(store, tmp_path):
    recording = Recording(monitor="GradientMonitor")
    found = []
    for name in NAMES.values():
        recording.append(0, f"net/{name}", q.GRADIENT_RMS, 0, 0.5)
        recording.append(0, name, q.LOG, 0, 0.5, monitor=q.FIT)
        said = {"why": name, "advice": name, "code": name}
        evidence = (Measured(name, name), Measured(name, 2.0, 1.0, name))
        found.append(
            Finding(
                name, "error", name, (0, 0), (0, 1), evidence=evidence, **said
            )
        )
    with mlflow.start_run() as run:
        _ = MLflowWriter(layers=True).write(recording, found)
    data = store.get_run(run.info.run_id).data
    assert len(data.metrics) == 2 * len(NAMES)
    tags = [name for name in data.tags if "finding/" in name]
    assert len(tags) == len(NAMES)
    again = [Finding.from_json(f) for f in _findings(store, run.info.run_id)]
    assert again == found
    assert {each.name for each in tmp_path.iterdir()} == {"runs"}


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ""),
        ("..", "__"),
        ("../../x/", "__/__/x/"),
        ("/x//", "x/"),
        ("a\ud800/$", "a_/_"),
        ("x" * 400, "x" * 64),
    ],
)
def test_a_prefix_is_no_path_to_elsewhere(store, tmp_path, prefix, expected):
    recording = Recording(monitor="GradientMonitor")
    for name in ("loss", "..x"):
        recording.append(0, name, q.LOG, 0, 0.5, monitor=q.FIT)
    with mlflow.start_run() as run:
        _ = MLflowWriter(prefix=prefix).write(recording, [DEAD])
    run = store.get_run(run.info.run_id)
    assert run.data.metrics[f"{expected}loss"] == 0.5
    assert len(run.data.metrics) == 2
    path = f"{expected}findings.json"
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{path}")
    assert len(json.loads(text)["findings"]) == 1
    assert {each.name for each in tmp_path.iterdir()} == {"runs"}


def test_a_report_is_attached(store, record_course, tmp_path):
    path = tmp_path / "report.html"
    _ = path.write_text("<p>well</p>")
    run_id = log_to_mlflow(record_course([(0.5,)]), report=path)
    files = [file.path for file in store.list_artifacts(run_id)]
    assert sorted(files) == ["doctor", "report.html"]
