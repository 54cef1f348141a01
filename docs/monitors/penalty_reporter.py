"""No penalty, L1, its proximal step, L2 and dropout."""

import programs
from measured import Measured

NETWORKS = {
    "none": "none",
    "L1": "L1",
    "L1 proximal": "L1 by its proximal step",
    "L2": "L2",
    "dropout": "dropout",
}


def measure() -> Measured:
    ran = programs.run("examples/regularization.py")
    rows = [[shown, *ran.row(name)[:4]] for name, shown in NETWORKS.items()]
    (margin,) = ran.find(r"differences below (\S+)% may be chance")
    (zeros,) = ran.find(r"L1 proximal \((\d+)%\)")
    pictures = {
        name: ran.picture(name) for name in ("weights", "shares", "penalties")
    }
    return Measured(
        {"networks": rows, "margin": margin, "zeros": zeros}, pictures=pictures
    )
