"""With and without batch normalization, and after few steps."""

import programs
from measured import Measured


def measure() -> Measured:
    ran = programs.run("examples/batch_norm_shift.py")
    recipe = programs.run("callbacks/is_batch_norm_lying.py")
    rows = [
        [kind, *ran.find(rf"\b{kind} +(0\.\d+) +(0\.\d+) +(\S+ σ)")]
        for kind in ("without", "with")
    ]
    steps = [
        [shown, *ran.find(rf"20 steps, {name} (\S+)")]
        for name, shown in (
            ("at inference", "at inference"),
            ("by the batch", "by the statistics of the test digits"),
            ("recalibrated", "at inference, recalibrated"),
        )
    ]
    held, off, before, after = recipe.find(
        r"hold (\d+)% of .* off by (\S+) σ: (\d+)% right .* (\d+)% at inference"
    )
    numbers = {
        "networks": rows,
        "steps": steps,
        "held": held,
        "off": off,
        "right": before,
        "right_recalibrated": after,
    }
    pictures = {
        "with_and_without": ran.picture("batch_norm"),
        "shift": recipe.picture("is_batch_norm_lying"),
    }
    return Measured(numbers, pictures=pictures)
