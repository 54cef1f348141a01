"""Reports: tables, figures and event files drawn from a recording."""

from keras_concepts.reports.figures import plot_gradient_stacks, plot_gradients
from keras_concepts.reports.table import gradient_table, print_gradients
from keras_concepts.reports.tensorboard import (
    TensorBoardWriter,
    write_tensorboard,
)

__all__ = [
    "TensorBoardWriter",
    "gradient_table",
    "plot_gradient_stacks",
    "plot_gradients",
    "print_gradients",
    "write_tensorboard",
]
