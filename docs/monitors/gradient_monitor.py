"""Deep stacks of sigmoid, tanh and ReLU, watched by a `GradientMonitor`."""

import programs
from measured import Measured

ACTIVATIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}


def measure() -> Measured:
    ran = programs.run("examples/vanishing_gradients.py")
    rows = []
    for name, shown in ACTIVATIONS.items():
        accuracy, _, first, _, last, dead, _ = ran.row(name)
        rows.append([shown, first, last, accuracy, dead.replace("/", " of ")])
    pictures = {name: ran.picture(name) for name in ("heatmaps", "curves")}
    return Measured({"activations": rows}, pictures=pictures)
