"""Event files that TensorBoard opens."""

import itertools
import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_concepts.recording import Recording, Series

# Several values at one step, or always the same one.
_NOT_SCALARS = (
    "dead_unit",
    "saturated_unit",
    "saturated_gate_unit",
    "state_error_rms",
    "units",
)


class TensorBoardWriter:
    """Writes a recording that grows to an event file, without TensorFlow.

    - `gradient_norm`, `loss` and so on: scalars, of the whole model;
    - `gradient_rms/<path>` and so on: scalars, of a variable or layer;
    - `gradient_rms_log10/<path>`: a histogram of an epoch's steps with ten bins
      to a power of ten, without zeros and non-finite values.

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
        for step, values in sorted(_summaries(new).items()):
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
        raise ImportError(
            "Event files for TensorBoard need tensorboardX: "
            'pip install "keras-concepts[tensorboard]"'
        ) from error
    # TensorBoard reads a folder's files in the order of their names.
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
    os.makedirs(log_dir, exist_ok=True)
    file = RecordWriter(os.path.join(log_dir, f"{name}.{os.getpid()}"))
    version = Event(wall_time=time.time(), file_version="brain.Event:2")
    file.write(version.SerializeToString())
    return file


def _summaries(new: Iterable[Series]) -> dict[int, list[Any]]:
    """`Summary.Value`s of each step."""
    from tensorboardX.proto.summary_pb2 import Summary

    summaries: dict[int, list[Any]] = defaultdict(list)
    epochs: dict[tuple[int, str], list[Series]] = defaultdict(list)
    for series in new:
        if series.quantity in _NOT_SCALARS:
            continue
        if series.quantity == "gradient_rms":
            epochs[series.epoch, series.layer].append(series)
        tag = "/".join(filter(None, [series.quantity, series.layer]))
        for step, value in zip(
            series.steps.tolist(), series.values.tolist(), strict=True
        ):
            summaries[step].append(Summary.Value(tag=tag, simple_value=value))
    for (_, path), parts in epochs.items():
        last = int(max(series.steps.max() for series in parts))
        values = np.concatenate([series.values for series in parts])
        summaries[last] += _histogram(f"gradient_rms_log10/{path}", values)
    return summaries


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
