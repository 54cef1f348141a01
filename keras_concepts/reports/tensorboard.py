"""Event files that TensorBoard opens."""

import os
import re
import socket
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._extras import missing
from keras_concepts.recording import Recording, Series
from keras_concepts.reports.doctor.verdict import began, place
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.tracked import (
    MadeAnew,
    NewFindings,
    NewRows,
    OneAfterTheOther,
    findings_of,
)
from keras_concepts.rules import Finding

# Characters that have a meaning in Markdown.
_MARKUP = re.compile(r"([\\`*_{}\[\]()#!+-])")


class TensorBoardWriter(MadeAnew):
    """Writes a growing recording to an event file, without TensorFlow.

    - `gradient_norm`, `batch_loss` and so on: scalars of the run;
    - `gradient_rms/<path>` and so on: scalars of a variable, layer or other
      owner;
    - `mean_shift/<path>/<channel>`, `state_error_rms/<path>/<lag>` and so on:
      scalars of a channel or lag;
    - `gradient_rms_log10/<path>`: a histogram of an epoch's steps with ten bins
      per power of ten, without zeros and non-finite values;
    - `findings/<rule>`: texts at the steps at which a finding was noticed and
      withdrawn.

    Values that do not form a curve are left out: the number of units of a
    layer, values of single units, and those recorded once per run. What two
    kinds of monitors both measured (the loss of a batch) is written once. The
    second monitor of a kind has its own tags: `gradient_rms (2)/<path>`. Runs
    share their tags: if two runs have a step in common, both values are
    written.

    Args:
        log_dir: Folder for the event file; created if it is missing. Each
            writer writes its own file.
        layers: Whether to write the measurements of variables, layers and other
            owners, too, or only those of the run and what `fit` logs.

    Raises:
        ImportError: tensorboardX is not installed.

    Example:

    ```python
    writer = TensorBoardWriter("logs/run-1")
    doctor = kc.callbacks.TrainingDoctor(log_to=writer)
    model.fit(x, y, callbacks=[doctor])
    writer.close()
    ```
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], *, layers: bool = True
    ) -> None:
        self.log_dir = os.fspath(log_dir)
        self.layers = layers
        self._rows = NewRows()
        self._order = OneAfterTheOther()
        self._findings: weakref.WeakKeyDictionary[Recording, NewFindings]
        self._findings = weakref.WeakKeyDictionary()
        self._file = _open(self.log_dir)

    def write(
        self, recording: Recording, findings: Sequence[Finding] = ()
    ) -> None:
        """Writes what was added since the last call, readable at once.

        Args:
            recording: The same recording throughout a run.
            findings: All findings so far, as in `TrainingDoctor.findings`.
        """
        new = self._rows.of(recording)
        now = max((int(s.steps.max(initial=0)) for s in new), default=0)
        taken = max(map(_steps_taken, new), default=0)
        added = self._order.added_to(recording, recording.next_step, taken)
        if not self.layers:
            new = [s for s in new if not s.owner or s.quantity == q.LOG]
        for (_, step), values in sorted(_summaries(new).items()):
            self._file.write(_event(step + added, values))
        known = self._findings.setdefault(recording, NewFindings())
        for step, finding in known.of(findings, now):
            self._file.write(_event(step + added, [_text(finding)]))
        self._file.flush()

    def close(self) -> None:
        """Closes the file. Nothing can be written afterwards."""
        self._file.close()


def write_tensorboard(
    recording: Recording,
    log_dir: str | os.PathLike[str],
    *,
    layers: bool = True,
) -> None:
    """Writes a whole recording to an event file; see `TensorBoardWriter`.

    The findings are those of `diagnose`.

    Args:
        recording: Recording, for example a loaded one.
        log_dir: Folder for the event file.
        layers: See `TensorBoardWriter`.

    Raises:
        ImportError: tensorboardX is not installed.
    """
    writer = TensorBoardWriter(log_dir, layers=layers)
    writer.write(recording, findings_of(recording))
    writer.close()


def _steps_taken(series: Series) -> int:
    """Steps taken at the last row: most rows count the steps before theirs."""
    concept = q.concept_of(series.monitor)
    between = concept is not None and concept.between_steps
    return int(series.steps.max(initial=-1)) + (not between)


def _open(log_dir: str) -> Any:
    # Not `SummaryWriter`: its thread still holds events when `flush` returns,
    # and writes one event per value; one per step takes a tenth of the time.
    try:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event
    except ImportError as error:
        raise missing(
            "Event files for TensorBoard", "tensorboardX", "tensorboard"
        ) from error
    # TensorBoard reads a folder's files in the order of their names.
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
    os.makedirs(log_dir, exist_ok=True)
    file = RecordWriter(os.path.join(log_dir, f"{name}.{os.getpid()}"))
    version = Event(wall_time=time.time(), file_version="brain.Event:2")
    file.write(version.SerializeToString())
    return file


def _summaries(new: Iterable[Series]) -> dict[tuple[int, int], list[Any]]:
    """`Summary.Value`s of each run and step, each tag once."""
    from tensorboardX.proto.summary_pb2 import Summary

    # The end of a run and the start of the next may have the same step.
    scalars: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    epochs: dict[tuple[str, int, int], list[Series]] = defaultdict(list)
    for series in new:
        quantity = q.described(series.quantity)
        if quantity == q.UNITS or quantity.cadence == "once":
            continue
        if quantity.indexed_by == "unit":
            continue
        if quantity == q.GRADIENT_RMS and len(series.steps):
            tag = _tag(series, f"{quantity}_log10")
            epochs[tag, series.run, series.epoch].append(series)
        tag = _tag(series, quantity)
        for step, index, value in zip(
            series.steps.tolist(),
            series.index.tolist(),
            series.values.tolist(),
            strict=True,
        ):
            indexed = f"{tag}/{index}" if index >= 0 else tag
            _ = scalars[series.run, step].setdefault(indexed, value)
    summaries = {
        at: [Summary.Value(tag=t, simple_value=v) for t, v in values.items()]
        for at, values in scalars.items()
    }
    for (tag, run, _), parts in epochs.items():
        last = int(max(series.steps.max() for series in parts))
        values = np.concatenate([series.values for series in parts])
        summaries[run, last] += _histogram(tag, values)
    return summaries


def _tag(series: Series, name: str) -> str:
    # The second part of `SignalMonitor (2)`.
    _, space, number = series.monitor.partition(" ")
    return "/".join(
        filter(None, [name + space + number, printable(series.owner)])
    )


def _histogram(tag: str, values: np.ndarray) -> list[Any]:
    """One `Summary.Value`, or none if there is nothing to count."""
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import make_histogram

    logs = np.log10(values[np.isfinite(values) & (values > 0.0)])
    if not len(logs):
        return []
    tenths = np.arange(np.floor(logs.min() * 10), np.floor(logs.max() * 10) + 2)
    histogram = make_histogram(logs, tenths / 10)
    return [Summary.Value(tag=tag, histo=histogram)]


def _text(finding: Finding) -> Any:
    """A finding as a text for TensorBoard, which renders Markdown."""
    from tensorboardX.summary import text

    return text(f"findings/{finding.rule}", markdown(finding)).value[0]


def markdown(finding: Finding) -> str:
    """A finding as Markdown in which no name is read as markup."""
    name = f"{finding.severity}: {place(finding)}"
    parts = [f"**{_plain(name)}**, {began(finding)}"]
    if finding.resolved is not None:
        parts[0] += ", withdrawn"
    if finding.because_of is not None:
        parts[0] += f", because of {_plain(finding.because_of)}"
    parts.append(_plain(finding.why))
    parts.append(
        "\n".join(f"- {_plain(str(each))}" for each in finding.evidence)
    )
    parts.append(f"**Change:** {_plain(finding.advice)}" * bool(finding.advice))
    # An indented code block needs no end marker, which its text could hold.
    code = printable(finding.code)
    parts.append(f"    {code}" if code else "")
    return "\n\n".join(part for part in parts if part)


def _plain(text: str) -> str:
    return escape(_MARKUP.sub(r"\\\1", printable(text)), quote=False)


def _event(step: int, values: list[Any]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    return Event(
        wall_time=time.time(), step=step, summary=Summary(value=values)
    ).SerializeToString()
