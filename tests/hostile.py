"""Values that no argument expects, and how an error of ours is told."""

import keras
import numpy as np

NAN, INF = float("nan"), float("inf")


def values():
    """What somebody may pass for an argument, by mistake or by design."""
    return [
        *(None, NAN, INF, -INF, -1, 0, 1, 2, 0.5, -0.0, 1e-320, 1e300),
        *(10**20, 10**400, True, 1 + 2j, object(), len, b"x", "", "x", "$"),
        *("\ud800", "\x1b[31m", [], [1], [NAN], [-1], [0.5] * 4, ["a", "a"]),
        *((1, 2), {}, {0: 1.0}, {9: 1.0}, {"a": 1}, {1}, range(3)),
        *(np.float32(0.5), np.int64(2), np.bool_(True), np.array(0.5)),
        *(np.array([0.5] * 4), np.array([]), np.array(["a"], object)),
        keras.ops.convert_to_tensor(0.5),
    ]


def is_ours(error, *owners):
    """Whether an error says in our words what was expected and what came."""
    said = str(error)
    return (
        isinstance(error, ValueError | TypeError)
        and any(owner in said for owner in owners)
        and "Received" in said
    )
