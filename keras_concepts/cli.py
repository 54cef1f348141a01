"""The command `keras-concepts`: run a script, show and compare recordings.

Code that needs NumPy or more is imported on use; see `RunFolder`.
"""

import pathlib
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from keras_concepts import __version__
from keras_concepts._run_folder import (
    RECORDING,
    REPORT,
    RunFolder,
    new_folder,
    quiet,
    say,
    shown,
)
from keras_concepts._script import Interrupted, Outcome, run_script

if TYPE_CHECKING:
    from keras_concepts.recording import Recording

_LEVELS = {"warning": ("warning", "error"), "error": ("error",)}
_FAILED = 1


_EXAMPLES = """\b
Examples:
  keras-concepts run train.py --lr 0.1
  keras-concepts run --fail-on warning -m package.train
  keras-concepts report runs/train-20261126-101500
  keras-concepts compare runs/before runs/after
"""


class _Command(click.Group):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except Interrupted:  # Python ends by the signal, without a message
            sys.excepthook = lambda *error: None
        raise KeyboardInterrupt


@click.group(
    cls=_Command,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="keras-concepts")
def main() -> None:
    """Find out why a Keras model does not learn."""


@main.command(
    # Arguments after the script belong to it.
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "-m", "is_module", is_flag=True, help="SCRIPT is a module: -m pkg.train."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder for the output.  [default: runs/SCRIPT-TIME]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error"]),
    help="Exit with 1 if a finding at least this severe is open at the end.",
)
@click.option("--no-report", is_flag=True, help="Do not write an HTML report.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Measure at most every n-th step.",
)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    is_module: bool,
    out: pathlib.Path | None,
    fail_on: str | None,
    no_report: bool,
    every: int,
    script: str,
    arguments: tuple[str, ...],
) -> None:
    """Run a training script, unchanged, and report what is wrong.

    Watches every `fit` of SCRIPT, which runs as with `python SCRIPT`: the same
    arguments, output, weights and exit code. The findings are then printed to
    standard error. The recording, findings.json and report.html are written to
    a folder.
    """
    if not is_module and not pathlib.Path(script).exists():
        raise click.UsageError(f"There is no file {script!r}.")
    name = script.split(".")[-1] if is_module else pathlib.Path(script).stem
    folder = RunFolder(
        out or new_folder(name or "script"),
        script,
        reports=not no_report,
        options={"every": every},
        is_new=out is None,
    )
    with folder:
        outcome = run_script(script, arguments, is_module)
    if not folder.is_of_this_process:  # a fork that ran through the script
        outcome.exit()
    folder.finish()
    _tell(folder)
    if outcome == Outcome(0) and _has_open(folder, fail_on):
        folder.say(f"exit code {_FAILED}, because of --fail-on {fail_on}")
        sys.exit(_FAILED)
    outcome.exit()


@main.command()
@click.argument(
    "recording", type=click.Path(exists=True, path_type=pathlib.Path)
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    help="HTML file to write.  [default: report.html next to the recording]",
)
@click.option("--no-report", is_flag=True, help="Print only.")
@click.option(
    "--run",
    "number",
    type=click.IntRange(min=1),
    help="Number of the run; by default the last.",
)
def report(
    recording: pathlib.Path,
    out: pathlib.Path | None,
    no_report: bool,
    number: int | None,
) -> None:
    """Judge and draw a recording again.

    RECORDING is a file, or a folder written by `run`. This needs neither Keras
    nor a backend.
    """
    file = _file_in(recording)
    loaded = _loaded(file, number)
    from keras_concepts.reports import write_report
    from keras_concepts.reports.doctor import print_doctor

    print_doctor(loaded)
    if not no_report:
        out = out or file.with_name(REPORT)
        _write(out, lambda: write_report(loaded, out))


@main.command()
@click.argument("first", type=click.Path(exists=True, path_type=pathlib.Path))
@click.argument("second", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("comparison.html"),
    show_default=True,
    help="HTML file to write.",
)
def compare(
    first: pathlib.Path, second: pathlib.Path, out: pathlib.Path
) -> None:
    """Show two recordings side by side.

    Draws their losses and gradients, and lists the findings and the differences
    between models, data and versions.
    """
    from rich.console import Console
    from rich.text import Text

    from keras_concepts.reports import write_comparison
    from keras_concepts.reports.doctor import print_doctor
    from keras_concepts.reports.drawing.names import printable

    names = [str(first), str(second)]
    if names[0] == names[1]:
        names[1] += " (2)"
    loaded = [_loaded(_file_in(path), None) for path in (first, second)]
    recordings = dict(zip(names, loaded, strict=True))
    console = Console()
    for name, recording in recordings.items():
        console.rule(Text(printable(name)), align="left")
        print_doctor(recording, console)
    _write(out, lambda: write_comparison(recordings, out))


def _file_in(path: pathlib.Path) -> pathlib.Path:
    """The recording: the file itself, or that in a folder."""
    return path / RECORDING if path.is_dir() else path


def _loaded(file: pathlib.Path, number: int | None) -> "Recording":
    from keras_concepts.recording import Recording

    try:
        with warnings.catch_warnings(record=True) as caught:
            recording = Recording.load(file)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for each in caught:
        say(str(each.message))
    runs = sorted({series.run for series in recording})
    if number is not None:
        if number > len(runs):
            raise click.UsageError(
                f"{file} holds {len(runs)} run(s). Received: --run {number}."
            )
        return recording.select(run=runs[number - 1])
    if len(runs) > 1:
        say(f"{file} holds {len(runs)} runs; this is the last (see --run)")
    return recording


def _write(path: pathlib.Path, make: Callable[[], None]) -> None:
    """Writes an HTML file, and reports it."""
    try:
        make()
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be written: {error.strerror or error}."
        ) from error
    say(f"wrote {shown(path)}")


def _tell(folder: RunFolder) -> None:
    """Prints the findings, and where they were written."""
    with quiet():
        _ = sys.stdout.flush()
    if folder.watch is None or not folder.doctors:
        folder.say(
            "no call of `fit` by Keras 3 was seen, so there is nothing to "
            "judge. Training loops that do not call `fit` are not watched."
        )
        return
    from rich.console import Console

    with quiet():
        folder.watch.summary(Console(file=folder.stream))
    if folder.written:
        first, *others = folder.written
        names = "".join(f", {path.name}" for path in others)
        folder.say(f"report{'s' if others else ''}: {shown(first)}{names}")
    if not folder.is_lost:
        folder.say(f"recording and findings: {shown(folder.path)}")


def _has_open(folder: RunFolder, level: str | None) -> bool:
    levels = _LEVELS.get(level or "", ())
    return any(
        each.severity in levels and each.resolved is None
        for doctor in folder.doctors
        for each in doctor.findings
    )
