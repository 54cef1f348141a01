"""How much of a trained model is exactly zero."""

import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console, Group
from rich.constrain import Constrain
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts._shown_as_text import show_text
from keras_concepts.reports.drawing.names import short_names
from keras_concepts.reports.drawing.table_style import Name
from keras_concepts.reports.report import table_html

_INDEX_BYTES = 4  # int32
_LINE_LENGTH = 80
_ABOUT = (
    "CSR: compressed sparse rows with int32 indices. A kernel of more than two "
    "axes counts as a matrix whose columns are the last axis. Biases, scales "
    "and statistics are left out."
)


class SparsityRow(NamedTuple):
    """One weight of a model.

    Attributes:
        path: Path of the variable; `layer (2)/...` for the second with the same
            path.
        shape: Its shape, with two axes or more.
        zeros: Number of entries that are exactly zero.
        size: Number of entries.
        share: `zeros / size`, from 0 to 1.
        dense_bytes: Size of the weight as it is.
        sparse_bytes: Size as CSR: the nonzero entries, each with a column
            index, and where each row begins.
    """

    path: str
    shape: tuple[int, ...]
    zeros: int
    size: int
    share: float
    dense_bytes: int
    sparse_bytes: int


class Sparsity:
    """Rows of `sparsity`, which notebooks and `print` show as a table.

    Args:
        rows: One per weight, in the order of the model.

    Attributes:
        rows: As given.
        total: The sums of all rows, as a row with an empty path and shape.
    """

    def __init__(self, rows: list[SparsityRow]) -> None:
        self.rows = rows
        zeros, size = sum(r.zeros for r in rows), sum(r.size for r in rows)
        self.total = SparsityRow(
            path="",
            shape=(),
            zeros=zeros,
            size=size,
            share=zeros / size if size else 0.0,
            dense_bytes=sum(row.dense_bytes for row in rows),
            sparse_bytes=sum(row.sparse_bytes for row in rows),
        )

    def __iter__(self) -> Iterator[SparsityRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    _repr_pretty_ = show_text

    def __str__(self) -> str:
        # In a notebook, a different kind of console would show the table.
        console = Console(file=io.StringIO(), width=100, force_jupyter=False)
        with console.capture() as capture:
            console.print(self)
        return capture.get()

    def _repr_html_(self) -> str:
        return table_html(self.__rich__())

    def __rich__(self) -> Group:
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            show_edge=False,
            show_footer=len(self.rows) > 1,
        )
        headers = ("zeros", "of", "share", "dense", "as CSR", "saved")
        table.add_column("layer", "all")
        for header, sum_ in zip(headers, _cells(self.total), strict=True):
            table.add_column(header, sum_, justify="right", no_wrap=True)
        names = short_names([row.path for row in self.rows])
        for i, row in enumerate(self.rows):
            table.add_row(Name(names, i), *_cells(row))
        # Not as its caption, which would be wrapped to the width of the table.
        return Group(table, Constrain(Text(_ABOUT), _LINE_LENGTH))


def sparsity(model: Any) -> Sparsity:
    """Counts the exact zeros of a model's kernels and embeddings.

    These are the matrices and filters of its layers, trained or frozen; biases,
    scales and statistics are left out.

    Zeros save memory only if the weight is stored as a sparse matrix and more
    than about half of its entries are zero, since each remaining entry needs an
    index. With fewer zeros `saved` is negative.

    Args:
        model: Keras model with weights.

    Raises:
        TypeError: `model` is not a Keras model.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> kernel = np.array([[1, 0], [0, 0], [0, 0], [0, 2]])
    >>> model.set_weights([kernel, np.zeros(2)])
    >>> [row] = sparsity(model)
    >>> row.zeros, row.share, row.dense_bytes, row.sparse_bytes
    (6, 0.75, 32, 36)
    """
    # Imported here because all other reports work without Keras.
    from keras_concepts._backend import on_host
    from keras_concepts._batches import check_model
    from keras_concepts.instruments.owners import owner_names
    from keras_concepts.instruments.roles import roles_of

    check_model("sparsity", model)
    names, weights = owner_names(model), model.weights
    return Sparsity(
        [
            _row(names.of(weight), on_host(weight))
            for weight, role in zip(
                weights, roles_of(weights, names, model), strict=True
            )
            if role in (q.WEIGHT, q.SCORE)
        ]
    )


def _row(path: str, values: np.ndarray) -> SparsityRow:
    left = int(np.count_nonzero(values))
    rows = math.prod(values.shape[:-1])
    return SparsityRow(
        path=path,
        shape=values.shape,
        zeros=values.size - left,
        size=values.size,
        share=1.0 - left / values.size if values.size else 0.0,
        dense_bytes=values.nbytes,
        sparse_bytes=left * (values.itemsize + _INDEX_BYTES)
        + (rows + 1) * _INDEX_BYTES,
    )


def _cells(row: SparsityRow) -> list[Text]:
    saved = 1.0 - row.sparse_bytes / row.dense_bytes if row.dense_bytes else 0.0
    return [
        Text(f"{row.zeros:,}"),
        Text(f"{row.size:,}", "dim"),
        Text(f"{row.share:.1%}"),
        Text(decimal(row.dense_bytes)),
        Text(decimal(row.sparse_bytes)),
        Text(f"{saved:.0%}", "green" if saved > 0.0 else "yellow"),
    ]
