"""A rare digit: three losses, a threshold and a temperature."""

import csv
import statistics

import programs
from measured import Measured

LOSSES = ("cross-entropy", "weighted", "soft F1")


def rows(ran: programs.Ran) -> list[list[str]]:
    """The printed table."""
    return [
        [name, *(cell.replace("±", " ± ") for cell in ran.row(name))]
        for name in LOSSES
    ]


def between_splits(ran: programs.Ran) -> float:
    """Standard deviation of the F1 of one loss over the splits."""
    with (ran.folder / "results.csv").open(encoding="utf-8") as file:
        results = list(csv.DictReader(file))
    return statistics.mean(
        statistics.stdev(float(r["f1"]) for r in results if r["loss"] == name)
        for name in LOSSES
    )


def measure() -> Measured:
    ran = programs.run("examples/imbalanced_f1.py")
    early = programs.run("examples/imbalanced_f1.py", "--epochs", "5")
    always_no, _ = ran.row("always no")
    numbers = {
        "always_no": f"{100 * float(always_no):.0f}",
        "losses": [["always no", always_no, "0", *5 * [""]], *rows(ran)],
        "early": rows(early),
        "between_splits": f"{between_splits(ran):.2f}",
    }
    changes = ran.find(
        r"F1 changes by (\S+) ± (\S+) by weighting .*, (\S+) ± (\S+) by a "
        r"soft F1 as the loss and (\S+) ± (\S+) by another"
    )
    for name in ("weighted", "soft", "threshold"):
        change, error, *changes = changes
        numbers |= {name: change.replace("-", "−"), f"{name}_error": error}
    pictures = {
        name: ran.picture(name) for name in ("thresholds", "calibration")
    }
    return Measured(numbers, pictures=pictures)
