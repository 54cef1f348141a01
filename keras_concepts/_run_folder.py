"""What `keras-concepts run` writes: recording, findings and reports."""

import contextlib
import datetime
import importlib.util
import json
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from keras_concepts._watch import Watch

if TYPE_CHECKING:
    from keras_concepts.callbacks import TrainingDoctor

RECORDING = "recording.jsonl"
FINDINGS = "findings.json"
REPORT = "report.html"
# Most runs of a script that get a report of their own.
_MOST_REPORTS = 20


class RunFolder:
    """A folder for one execution of a script.

    It is made when the first `fit` begins.

    Args:
        path: Folder, which need not exist.
        script: As the user named it.
        reports: Whether to write HTML reports.
        options: Arguments of `TrainingDoctor`.

    Attributes:
        watch: What has been seen.
        written: Reports that were written.
    """

    def __init__(
        self,
        path: pathlib.Path,
        script: str,
        *,
        reports: bool,
        options: dict[str, Any],
    ) -> None:
        # A script may change the working directory.
        self.path = path.absolute()
        self.script = script
        self.written: list[pathlib.Path] = []
        self._reports = reports and _can_draw()
        self._process = os.getpid()
        self.watch = Watch(
            self.path / RECORDING,
            _nothing,
            options,
            at_begin=self._begin,
            at_end=self._end,
        )

    @property
    def is_of_this_process(self) -> bool:
        """Whether this is not a copy that a fork has made."""
        return self._process == os.getpid()

    def report_path(self, number: int) -> pathlib.Path:
        """Where the report of a training run belongs.

        Args:
            number: Of the run, from 1.
        """
        if number == 1:
            return self.path / REPORT
        return (self.path / REPORT).with_stem(f"report-{number}")

    def _begin(self, doctor: "TrainingDoctor") -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if doctor in self.watch.doctors:
            return
        number = len(self.watch.doctors) + 1
        if self._reports and number <= _MOST_REPORTS:
            doctor.report_to = self.report_path(number)
        if number == 1:
            live = f", live in {shown(self.report_path(1))}"
            say(f"watching{live if self._reports else ''}")

    def _end(self, doctor: "TrainingDoctor") -> None:
        del doctor
        self._write_findings()

    def finish(self) -> None:
        """Writes what is known once the script has ended."""
        if self.watch.doctors:
            self._write_findings()
            self.written = [
                pathlib.Path(doctor.report_to)
                for doctor in self.watch.doctors
                if doctor.report_to and os.path.exists(doctor.report_to)
            ]

    def _write_findings(self) -> None:
        runs = [
            {
                "run": number,
                "model": doctor.recording.facts.get("model"),
                "recording": os.path.basename(doctor.record_to or ""),
                "findings": [each.to_json() for each in doctor.findings],
                "checked": doctor.checked,
                "unchecked": doctor.unchecked,
            }
            for number, doctor in enumerate(self.watch.doctors, start=1)
        ]
        text = json.dumps({"script": self.script, "runs": runs}, indent=2)
        with _no_failure(f"write {FINDINGS}"):
            _replace(self.path / FINDINGS, text)


def _can_draw() -> bool:
    """Whether what a report needs is installed; says so if not."""
    needed = ("jinja2", "matplotlib")
    missing = [m for m in needed if importlib.util.find_spec(m) is None]
    if missing:
        say(
            f"no {REPORT}, since {' and '.join(missing)} is not installed: "
            'pip install "keras-concepts[report]"'
        )
    return not missing


def new_folder(script: str, parent: pathlib.Path) -> pathlib.Path:
    """`runs/<script>-<time>`, a path at which there is nothing yet."""
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = pathlib.Path(script).stem or "script"
    path = parent / f"{name}-{time}"
    number = 2
    while path.exists():
        path = parent / f"{name}-{time}-{number}"
        number += 1
    return path


def say(text: str) -> None:
    """Prints a line of this command; standard output is the script's."""
    _ = sys.stderr.write(f"keras-concepts: {text}\n")
    sys.stderr.flush()


def shown(path: pathlib.Path) -> str:
    """A path as short as it can be told from here."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(pathlib.Path.cwd()))
    return str(path)


@contextlib.contextmanager
def _no_failure(what: str) -> Any:
    try:
        yield
    except OSError as error:  # the script goes on
        say(f"could not {what}: {error}")


def _replace(path: pathlib.Path, text: str) -> None:
    """Writes a file that is always whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _ = part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _nothing(finding: Any) -> None:
    """Findings are printed when the script has ended."""
