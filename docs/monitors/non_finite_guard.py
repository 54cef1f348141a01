"""What a `NonFiniteGuard` says of sentences without words."""

import runpy
import textwrap

import programs
from keras_concepts.callbacks import NonFiniteGuard
from measured import ROOT, Measured

RECIPE = "callbacks/where_did_the_nan_come_from.py"


def measure() -> Measured:
    messages: list[str] = []
    recipe = runpy.run_path(str(ROOT / RECIPE))
    watch = recipe["watch"]
    watch.__globals__["NonFiniteGuard"] = lambda **_: NonFiniteGuard(
        sink=messages.append
    )
    _ = watch(*recipe["sentences"](), 1)
    message = textwrap.fill("\n".join(messages), 84) + "\n"
    picture = programs.run(RECIPE).picture("where_did_the_nan_come_from")
    return Measured({"message": message}, pictures={"sentences": picture})
