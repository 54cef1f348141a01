"""Weights & Biases runs."""

import os
from collections.abc import Sequence
from typing import Any

from keras_concepts._extras import missing
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.verdict import measured
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

_LONGEST_NAME = 250
_FORBIDDEN = r"[^A-Za-z0-9_/]"
_COLUMNS = (
    *("rule", "severity", "owner", "since epoch", "noticed in epoch"),
    *("withdrawn after epoch", "because of", "measured", "why", "change"),
    "code",
)


class WandbWriter(RunWriter):
    """Writes a growing recording and its findings to a W&B run.

    - history: a few numbers after each epoch, named `doctor/loss` and so on,
      over `doctor/epoch`, the number of epochs that have ended;
    - `doctor/findings`: a table of all findings, whenever one is new or
      withdrawn;
    - summary: `doctor/verdict`, a sentence, and `doctor/severity`, the worst
      current severity (`error`, `warning`, `info` or `none`).

    Args:
        run: Run to write to. By default that of `wandb.init` when something is
            written; if there is none, one is started.
        prefix: Prefix of the name of each number.
        layers: Whether to write the measurements of layers, variables and other
            owners, too: `doctor/layers/<quantity>/<path>`, with a `_` for each
            character that W&B does not accept in a name.

    Raises:
        ImportError: wandb is not installed.

    Example:

    ```python
    with wandb.init(project="digits"):
        doctor = kc.callbacks.TrainingDoctor(log_to=kc.reports.WandbWriter())
        model.fit(x, y, callbacks=[doctor])
    ```
    """

    def __init__(
        self, run: Any = None, *, prefix: str = PREFIX, layers: bool = False
    ) -> None:
        super().__init__(prefix, layers)
        self.run = run
        self._wandb = _imported()

    def write(
        self, recording: Recording, findings: Sequence[Finding] = ()
    ) -> Any:
        """Writes what was added since the last call.

        Args:
            recording: The same recording throughout a run.
            findings: All findings so far, as in `TrainingDoctor.findings`.

        Returns:
            The W&B run.
        """
        run = self.run or self._wandb.run or self._wandb.init()
        name = self._name("epoch")
        if run is not self._begun:
            self._begin(run)
            _ = run.define_metric(name, hidden=True)
            _ = run.define_metric(f"{self._prefix()}*", step_metric=name)
        for numbers in self._new_numbers(recording):
            values = {self._name(n): v for n, v in numbers.values.items()}
            run.log({name: numbers.epoch, **values})
        found = self._all_findings(recording, findings)
        if found != self._told:
            self._tell(run, found)
        return run

    def _tell(self, run: Any, findings: Sequence[Finding]) -> None:
        rows = [_row(finding) for finding in findings]
        known = [_row(finding) for finding in self._told or ()]
        # Numbers change with each measurement; the table only if its text does.
        if [r[:7] for r in rows] != [r[:7] for r in known]:
            table = self._wandb.Table(columns=[*_COLUMNS], data=rows)
            run.log({self._name("findings"): table})
        run.summary.update(
            {
                self._name("verdict"): headline(findings),
                self._name("severity"): worst(findings),
            }
        )
        self._told = list(findings)

    def _name(self, name: str) -> str:
        return cleaned(self._prefix() + name, _FORBIDDEN, _LONGEST_NAME)

    def _prefix(self) -> str:
        return cleaned_prefix(self.prefix, _FORBIDDEN)


def log_to_wandb(
    recording: Recording,
    run: Any = None,
    *,
    report: str | os.PathLike[str] | None = None,
    prefix: str = PREFIX,
    layers: bool = False,
) -> Any:
    """Writes a whole recording to a W&B run; see `WandbWriter`.

    The findings are those of `diagnose`.

    Args:
        recording: Recording, for example a loaded one.
        run: See `WandbWriter`. A run that is started here is also finished.
        report: HTML report of the run, to show as `doctor/report`.
        prefix: See `WandbWriter`.
        layers: See `WandbWriter`.

    Returns:
        The W&B run.

    Raises:
        ImportError: wandb is not installed.
    """
    wandb = _imported()
    is_new = run is None and wandb.run is None
    writer = WandbWriter(run, prefix=prefix, layers=layers)
    try:
        run = writer.write(recording, findings_of(recording))
        if report is not None:
            with open(report, encoding="utf-8") as file:
                page = wandb.Html(file.read(), inject=False)
            run.log({writer._name("report"): page})
    finally:
        if is_new:
            wandb.finish()
    return run


def _row(finding: Finding) -> list[Any]:
    resolved = finding.resolved
    return [
        finding.rule,
        finding.severity,
        finding.owner,
        finding.since[0] + 1,
        finding.noticed[0] + 1,
        None if resolved is None else resolved[0] + 1,
        finding.because_of,
        measured(finding),
        finding.why,
        finding.advice,
        finding.code,
    ]


def _imported() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise missing("W&B runs", "wandb", "wandb") from error
    return wandb
