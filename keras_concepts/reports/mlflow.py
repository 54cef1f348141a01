"""MLflow runs."""

import os
import time
from collections.abc import Sequence
from typing import Any

from keras_concepts._extras import missing
from keras_concepts.recording import Recording
from keras_concepts.reports.run_writer import RunWriter
from keras_concepts.reports.tracked import (
    PREFIX,
    cleaned,
    cleaned_prefix,
    findings_of,
    headline,
    worst,
)
from keras_concepts.rules import Finding

# MLflow's limits, for one request and for a name. It takes 100 tags, more than
# there are rules.
_MOST_METRICS = 1000
_LONGEST_NAME = 250
_LONGEST_TAG = 5000
_FORBIDDEN = r"[^\w\-. /]"


class MLflowWriter(RunWriter):
    """Writes a growing recording and its findings to an MLflow run.

    - metrics: a few numbers after each epoch, named `doctor/loss` and so on;
      the step of a metric is the number of epochs that have ended;
    - tags: `doctor/verdict`, a sentence; `doctor/severity`, the worst current
      severity, to search for (`error`, `warning`, `info` or `none`); and for
      each finding `doctor/finding/<rule>`: what, where and since when;
    - the artifact `doctor/findings.json`: all findings with their evidence.

    Args:
        run_id: Run to write to. By default the run that is active when
            something is written; if none is active, one is started and stays
            active.
        prefix: Prefix of the name of each metric and tag.
        layers: Whether to write the measurements of layers, variables and other
            owners, too: `doctor/layers/<quantity>/<path>`, with a `.` for each
            `/` in the path.

    Raises:
        ImportError: MLflow is not installed.

    Example:

    ```python
    with mlflow.start_run():
        doctor = kc.callbacks.TrainingDoctor(log_to=kc.reports.MLflowWriter())
        model.fit(x, y, callbacks=[doctor])
    ```
    """

    def __init__(
        self,
        run_id: str | None = None,
        *,
        prefix: str = PREFIX,
        layers: bool = False,
    ) -> None:
        super().__init__(prefix, layers)
        self.run_id = run_id
        self._mlflow = _imported()

    def write(
        self, recording: Recording, findings: Sequence[Finding] = ()
    ) -> str:
        """Writes what was added since the last call.

        Args:
            recording: The same recording throughout a run.
            findings: All findings so far, as in `TrainingDoctor.findings`.

        Returns:
            Id of the MLflow run.
        """
        client = self._mlflow.MlflowClient()
        run_id = self._run_id()
        if run_id != self._begun:
            self._begin(run_id)
        metrics = self._metrics(recording)
        for i in range(0, len(metrics), _MOST_METRICS):
            _ = client.log_batch(run_id, metrics[i : i + _MOST_METRICS])
        found = self._all_findings(recording, findings)
        if found != self._told:
            _ = client.log_batch(run_id, tags=self._tags(found))
            fields = {"findings": [each.to_json() for each in found]}
            client.log_dict(run_id, fields, f"{self._prefix()}findings.json")
            self._told = found
        return run_id

    def _run_id(self) -> str:
        if self.run_id is not None:
            return self.run_id
        run = self._mlflow.active_run() or self._mlflow.start_run()
        return str(run.info.run_id)

    def _metrics(self, recording: Recording) -> list[Any]:
        entities = self._mlflow.entities
        now = int(time.time() * 1000)
        return [
            entities.Metric(self._name(name), value, now, numbers.epoch)
            for numbers in self._new_numbers(recording)
            for name, value in numbers.values.items()
        ]

    def _tags(self, findings: Sequence[Finding]) -> list[Any]:
        tags = {"verdict": headline(findings), "severity": worst(findings)}
        texts: dict[str, list[str]] = {}
        for finding in findings:
            texts.setdefault(finding.rule, []).append(finding.headline)
        for rule, lines in texts.items():
            tags[f"finding/{rule}"] = "\n".join(lines)[:_LONGEST_TAG]
        tag = self._mlflow.entities.RunTag
        return [tag(self._name(name), text) for name, text in tags.items()]

    def _name(self, name: str) -> str:
        return cleaned(self._prefix() + name, _FORBIDDEN, _LONGEST_NAME)

    def _prefix(self) -> str:
        return cleaned_prefix(self.prefix, _FORBIDDEN)


def log_to_mlflow(
    recording: Recording,
    run_id: str | None = None,
    *,
    report: str | os.PathLike[str] | None = None,
    prefix: str = PREFIX,
    layers: bool = False,
) -> str:
    """Writes a whole recording to an MLflow run; see `MLflowWriter`.

    The findings are those of `diagnose`.

    Args:
        recording: Recording, for example a loaded one.
        run_id: See `MLflowWriter`. A run that is started here is also ended.
        report: File to attach, such as an HTML report of the run.
        prefix: See `MLflowWriter`.
        layers: See `MLflowWriter`.

    Returns:
        Id of the MLflow run.

    Raises:
        ImportError: MLflow is not installed.
    """
    mlflow = _imported()
    is_new = run_id is None and mlflow.active_run() is None
    writer = MLflowWriter(run_id, prefix=prefix, layers=layers)
    try:
        run_id = writer.write(recording, findings_of(recording))
        if report is not None:
            mlflow.MlflowClient().log_artifact(run_id, os.fspath(report))
    finally:
        if is_new:
            mlflow.end_run()
    return run_id


def _imported() -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise missing("MLflow runs", "mlflow", "mlflow") from error
    return mlflow
