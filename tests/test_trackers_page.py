"""The examples of docs/trackers.md, in the order of the page."""

import json
import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "trackers.md"


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::ResourceWarning")
def test_each_example_runs(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    wandb = pytest.importorskip("wandb")
    _ = pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for name, value in (
        ("WANDB_MODE", "offline"),
        ("WANDB_SILENT", "true"),
        ("WANDB_DIR", str(tmp_path)),
        ("WANDB_CACHE_DIR", str(tmp_path)),
        ("WANDB_CONFIG_DIR", str(tmp_path)),
        ("WANDB_DATA_DIR", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"file://{tmp_path}/mlruns")
    _ = mlflow.set_experiment("page")
    names = {}
    try:
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
            exec(compile(code, str(PAGE), "exec"), names)
    finally:
        wandb.teardown()
        mlflow.set_tracking_uri(before)
    for findings in tmp_path.glob("mlruns/**/findings.json"):
        (finding,) = json.loads(findings.read_text())["findings"]
        assert finding["rule"] == "head_loss_mismatch"
    assert len(list(tmp_path.glob("mlruns/**/findings.json"))) == 2
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2
    assert len(list((tmp_path / "logs").iterdir())) == 2
