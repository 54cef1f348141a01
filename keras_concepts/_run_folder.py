"""The output of `keras-concepts run`: recording, findings and reports."""

import contextlib
import datetime
import importlib.util
import json
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from keras_concepts import _after_keras
from keras_concepts._whole_file import replace_file

if TYPE_CHECKING:
    from keras_concepts._watch import Watch
    from keras_concepts.callbacks import TrainingDoctor

RECORDING = "recording.jsonl"
FINDINGS = "findings.json"
REPORT = "report.html"
# Maximum number of runs of a script that get their own report.
_MOST_REPORTS = 20


class RunFolder:
    """A folder for one execution of a script, which runs in a with-block.

    It is created when the first `fit` begins. Until the script imports Keras,
    nothing else is imported either: a script may set environment variables that
    NumPy reads when it is loaded.

    Args:
        path: Folder; one with a number appended if others use it already.
        script: Script as the user named it.
        reports: Whether to write HTML reports.
        options: Arguments of `TrainingDoctor`.
        is_new: Whether the folder must not exist yet.

    Attributes:
        watch: The watch, if the script has imported Keras.
        written: Reports that were written.
        is_lost: Whether nothing can be written, or another process writes.
        stream: Standard error.
    """

    def __init__(
        self,
        path: pathlib.Path,
        script: str,
        *,
        reports: bool,
        options: dict[str, Any],
        is_new: bool = False,
    ) -> None:
        # A script may change the working directory.
        self.path = path.absolute()
        self.script = script
        self.watch: Watch | None = None
        self.written: list[pathlib.Path] = []
        # The script may replace or close it.
        self.stream = sys.stderr
        self._is_new = is_new
        self.is_lost = self._is_made = False
        self._reports = reports and self._can_draw()
        self._options = options
        self._process = os.getpid()

    def __enter__(self) -> "RunFolder":
        _after_keras.run(self._begin_watching)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.watch is not None:
            if self.is_of_this_process:
                self.watch.wait()
            self.watch.__exit__(*exception)

    def _begin_watching(self) -> None:
        from keras_concepts._watch import Watch

        if self.is_of_this_process:
            self.watch = Watch(
                self.path / RECORDING,
                _nothing,
                self._options,
                at_begin=self._begin,
                at_end=self._end,
            )
            _ = self.watch.__enter__()

    @property
    def doctors(self) -> "list[TrainingDoctor]":
        """Doctors of all `fit` calls seen."""
        return [] if self.watch is None else self.watch.doctors

    @property
    def is_of_this_process(self) -> bool:
        """False in a copy made by a fork."""
        return self._process == os.getpid()

    def say(self, text: str) -> None:
        """Prints a line; standard output is the script's."""
        say(text, self.stream)

    def report_path(self, number: int) -> pathlib.Path:
        """Path for the report of a training run.

        Args:
            number: Number of the run, from 1.
        """
        if number == 1:
            return self.path / REPORT
        return (self.path / REPORT).with_stem(f"report-{number}")

    def _begin(self, doctor: "TrainingDoctor") -> None:
        if not self._is_made:
            self._is_made = True
            self._make(doctor)
        if doctor in self.doctors:
            return
        number = len(self.doctors) + 1
        if self._reports and number <= _MOST_REPORTS:
            doctor.report_to = doctor.report_to or self.report_path(number)
            if number == 1:
                self.say(f"watching, live in {shown(self.report_path(1))}")

    def _make(self, doctor: "TrainingDoctor") -> None:
        """Creates the folder; reports if nothing can be written to it."""
        from keras_concepts._backend import is_main_process
        from keras_concepts._recording.writer import RecordingWriter

        planned = self.path / RECORDING
        file: pathlib.Path | None = None
        try:
            if is_main_process(None):
                self._make_folder()
                file = self.path / RECORDING
                RecordingWriter(file, warns=False).release()
            else:  # distributed run: the first process writes
                self.is_lost, self._reports = True, False
        except (OSError, ValueError) as error:  # the script goes on
            self.is_lost, self._reports, file = True, False, None
            self.say(f"nothing is written to {shown(self.path)}: {error}")
        if self.watch is not None:
            self.watch.record_to = file
        if doctor.record_to == planned:  # not the user's own
            doctor.record_to = file

    def _make_folder(self) -> None:
        first, number = self.path, 2
        while True:
            try:
                return self.path.mkdir(parents=True, exist_ok=not self._is_new)
            except FileExistsError:  # of another run started in the same second
                if not first.is_dir():
                    raise
            self.path = first.with_name(f"{first.name}-{number}")
            number += 1

    def _end(self, doctor: "TrainingDoctor") -> None:
        del doctor
        self._write_findings()

    def finish(self) -> None:
        """Writes the results once the script has ended."""
        if self.doctors:
            self._write_findings()
            self.written = [
                pathlib.Path(doctor.report_to)
                for doctor in self.doctors
                if doctor.report_to and os.path.exists(doctor.report_to)
            ]

    def _write_findings(self) -> None:
        if self.is_lost:
            return
        runs = [
            {
                "run": number,
                "model": doctor.recording.facts.get("model"),
                "recording": self._named(doctor.record_to),
                "findings": [each.to_json() for each in doctor.findings],
                "checked": doctor.checked,
                "unchecked": doctor.unchecked,
            }
            for number, doctor in enumerate(self.doctors, start=1)
        ]
        try:
            text = json.dumps({"script": self.script, "runs": runs}, indent=2)
            replace_file(self.path / FINDINGS, text)
        except OSError as error:  # the script goes on
            self.say(f"could not write {FINDINGS}: {error}")

    def _named(self, path: Any) -> str | None:
        """A recording as the name of a file in the folder, else its path."""
        if path is None:
            return None
        path = pathlib.Path(path).absolute()
        return path.name if path.parent == self.path else str(path)

    def _can_draw(self) -> bool:
        """Whether the packages for a report are installed; reports if not."""
        needed = ("jinja2", "matplotlib")
        missing = [m for m in needed if importlib.util.find_spec(m) is None]
        if missing:
            self.say(
                f"no {REPORT}, since {' and '.join(missing)} is not "
                'installed: pip install "keras-concepts[report]"'
            )
        return not missing


def new_folder(name: str) -> pathlib.Path:
    """`runs/<name>-<time>`."""
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs") / f"{name}-{time}"


def say(text: str, stream: Any = None) -> None:
    """Prints a line of this command to standard error.

    Args:
        text: The line.
        stream: Another stream, which may be closed or missing.
    """
    with quiet():
        stream = stream or sys.stderr
        stream.write(f"keras-concepts: {text}\n")
        stream.flush()


def quiet() -> Any:
    """Ignores a stream that is closed, missing or full."""
    return contextlib.suppress(OSError, ValueError, AttributeError)


def shown(path: pathlib.Path) -> str:
    """A path in its shortest form, relative to the working directory."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(pathlib.Path.cwd()))
    return str(path)


def _nothing(finding: Any) -> None:
    """Ignores findings, which are printed when the script has ended."""
