"""The report of a network of sigmoid layers, wide and on a phone."""

import programs
import reports
from measured import Measured

SIZES = {"failed": (1000, 860), "phone": (390, 800)}


def measure() -> Measured:
    ran = programs.run("examples/vanishing_gradients.py")
    return Measured(
        {},
        pictures={
            name: reports.photograph(
                ran.folder / "sigmoid.html", ran.folder / name, *size
            )
            for name, size in SIZES.items()
        },
    )
