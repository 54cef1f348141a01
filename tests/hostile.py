"""Values that no argument expects, and how to recognise our errors."""

import keras
import numpy as np

NAN, INF = float("nan"), float("inf")


def values():
    """What a user may pass for an argument, by mistake or on purpose."""
    return [
        *(None, NAN, INF, -INF, -1, 0, 1, 2, 0.5, -0.0, 1e-320, 1e300),
        *(10**20, 10**400, True, 1 + 2j, object(), len, b"x", "", "x", "$"),
        *("\ud800", "\x1b[31m", [], [1], [NAN], [-1], [0.5] * 4, ["a", "a"]),
        *((1, 2), {}, {0: 1.0}, {9: 1.0}, {"a": 1}, {1}, range(3)),
        *(np.float32(0.5), np.int64(2), np.bool_(True), np.array(0.5)),
        *(np.array([0.5] * 4), np.array([]), np.array(["a"], object)),
        keras.ops.convert_to_tensor(0.5),
    ]


def few_values():
    """Those of them that have found the most faults."""
    return [
        *(None, NAN, -INF, -1, 0.5, 1e300, 10**400, True, object()),
        *("x", [], [-1], {"a": 1}, np.int64(2), np.array([0.5] * 4)),
    ]


def is_ours(error, *owners):
    """Whether an error says in our words what was expected and what came."""
    said = str(error)
    return (
        isinstance(error, ValueError | TypeError)
        and any(owner in said for owner in owners)
        and "Received" in said
    )


def holders(array):
    """The same numbers in everything that may hold them, by name."""
    import pandas as pd

    frame = pd.Series if array.ndim == 1 else pd.DataFrame
    readonly = array.copy()
    readonly.setflags(write=False)
    held = {
        "list": array.tolist(),
        "tensor": keras.ops.convert_to_tensor(array),
        "float64": array.astype("float64"),
        "pandas": frame(array),
        "pandas with NA": frame(array).convert_dtypes(),
        "read-only": readonly,
        "not contiguous": np.asfortranarray(np.repeat(array, 2, axis=0))[::2],
        "big-endian": array.astype(array.dtype.newbyteorder(">")),
        "masked, of nothing": np.ma.masked_array(array),
    }
    if array.dtype.kind == "i":
        for dtype in ("int8", "uint8", "int16", "uint32", "uint64", "float16"):
            held[dtype] = array.astype(dtype)
    return held


def no_numbers(array):
    """What holds no dense array of numbers, or not all of them, by name."""
    import pandas as pd
    import scipy.sparse

    names = np.array([f"class {number}" for number in np.ravel(array)])
    held = {
        "None": None,
        "string": "a",
        "bytes": b"a",
        "dict": {"a": array},
        "set": {1, 2},
        "iterator": iter(array),
        "strings": names,
        "list of strings": names.tolist(),
        "objects": names.astype(object),
        "None among them": np.array([None, *array.ravel()[1:]], object),
        "ragged lists": [[1.0], [1.0, 2.0]] * len(array),
        "complex": array.astype("complex64"),
        "dates": np.full(array.shape, "2020", "datetime64[D]"),
        "structure": np.zeros(array.shape, [("a", "i4")]),
        "categories": pd.Series(pd.Categorical(names)),
        "masked": np.ma.masked_array(array, np.arange(array.size) == 0)
        if array.ndim == 1
        else np.ma.masked_less(array, 2),
        "sparse matrix": scipy.sparse.csr_matrix(np.atleast_2d(array)),
        "sparse array": scipy.sparse.coo_array(np.atleast_2d(array)),
    }
    return held | _of_the_backend(array)


def _of_the_backend(array):
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return {
                "ragged tensor": tf.ragged.constant([[1.0], [1.0, 2.0]]),
                "sparse tensor": tf.sparse.from_dense(array),
                "string tensor": tf.constant(["a"] * len(array)),
            }
        case "torch":
            import torch

            tensor = torch.tensor(array)
            two = [torch.ones(2), torch.ones(3)]
            return {
                "ragged tensor": torch.nested.nested_tensor(
                    two, layout=torch.jagged
                ),
                "sparse tensor": tensor.to_sparse(),
            }
        case _:
            from jax.experimental import sparse

            return {"sparse tensor": sparse.BCOO.fromdense(array)}
