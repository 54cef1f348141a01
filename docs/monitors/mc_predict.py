"""One pass through a dropout network, and its ensemble."""

import programs
from measured import Measured

CHANGE = r"([+-]\S+ ± [\d.]+\d)"


def measure() -> Measured:
    ran = programs.run("examples/dropout_ensemble.py")
    turned = programs.run("callbacks/how_sure_is_my_model.py")
    rows = [
        [name, *(cell.replace("±", " ± ") for cell in ran.row(name))]
        for name in ("one pass", "ensemble")
    ]
    changes = ran.find(
        rf"accuracy by {CHANGE}, the log loss by {CHANGE} and the calibration "
        rf"error by {CHANGE};.* by {CHANGE} with .* by {CHANGE} with"
    )
    names = ("accuracy", "log_loss", "calibration", "entropy", "information")
    found = turned.find(
        r"by (\d+) degrees, (\d+)% .* is (\d+)% sure .* ensemble (\d+)%, .* "
        r"disagree (\S+) times"
    )
    kinds = ("degrees", "right", "sure", "ensemble_sure", "disagree")
    pictures = {
        "uncertainty": ran.picture("uncertainty"),
        "turned": turned.picture("how_sure_is_my_model"),
    }
    numbers = {"asked": rows}
    for name, change in zip(names, changes, strict=True):
        value, error = change.split(" ± ")
        numbers[name] = value.replace("-", "−")
        numbers[f"{name}_error"] = error
    return Measured(
        numbers | dict(zip(kinds, found, strict=True)), pictures=pictures
    )
