"""Event files that TensorBoard opens."""

import itertools
import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._extras import missing
from keras_concepts.recording import Recording, Series


class TensorBoardWriter:
    """Writes a recording that grows to an event file, without TensorFlow.

    - `gradient_norm`, `batch_loss` and so on: scalars, of the run;
    - `gradient_rms/<path>` and so on: scalars, of a variable, layer or other
      owner;
    - `mean_shift/<path>/<channel>`, `state_error_rms/<path>/<lag>` and so on:
      scalars, of a channel or lag;
    - `gradient_rms_log10/<path>`: a histogram of an epoch's steps with ten bins
      to a power of ten, without zeros and non-finite values.

    What is no curve is left out: the number of units of a layer, what is true
    of single units, and what comes once in a run. What two kinds of monitors
    measured alike (the loss of a batch) is written once. The second monitor of
    a kind has tags of its own: `gradient_rms (2)/<path>`. Runs share their
    tags: where two runs have a step in common, both values are written.

    Args:
        log_dir: Folder for the event file; made if it is missing. Each writer
            writes a file of its own.

    Raises:
        ImportError: tensorboardX is not installed.

    Example:

    ```python
    writer = TensorBoardWriter("logs/run-1")
    writer.write(recording)  # after each epoch
    writer.close()
    ```
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)
        self._written = 0
        self._file = _open(self.log_dir)

    def write(self, recording: Recording) -> None:
        """Writes what was added since the last call; readable at once.

        Args:
            recording: The same one each time.
        """
        new = list(itertools.islice(recording, self._written, None))
        self._written += len(new)
        for (_, step), values in sorted(_summaries(new).items()):
            self._file.write(_event(step, values))
        self._file.flush()

    def close(self) -> None:
        """Closes the file. Nothing can be written afterwards."""
        self._file.close()


def write_tensorboard(
    recording: Recording, log_dir: str | os.PathLike[str]
) -> None:
    """Writes a whole recording to an event file; see `TensorBoardWriter`.

    Args:
        recording: For example a loaded one.
        log_dir: Folder for the event file.

    Raises:
        ImportError: tensorboardX is not installed.
    """
    writer = TensorBoardWriter(log_dir)
    writer.write(recording)
    writer.close()


def _open(log_dir: str) -> Any:
    # Not `SummaryWriter`: its thread still holds events when `flush` returns,
    # and writes one event a value, where one a step takes a tenth of the time.
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

    # What ends a run and what begins the next may be of the same step.
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
    # Of `SignalMonitor (2)` the second part.
    _, space, number = series.monitor.partition(" ")
    return "/".join(filter(None, [name + space + number, series.owner]))


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


def _event(step: int, values: list[Any]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    return Event(
        wall_time=time.time(), step=step, summary=Summary(value=values)
    ).SerializeToString()
