"""Reports: tables, figures and exports of a recording to other tools."""

from keras_concepts.reports.batch_norm.figure import plot_batch_norms
from keras_concepts.reports.batch_norm.table import (
    batch_norm_table,
    print_batch_norms,
)
from keras_concepts.reports.doctor.figure import plot_doctor
from keras_concepts.reports.doctor.table import (
    doctor_table,
    findings_table,
    print_doctor,
    print_findings,
)
from keras_concepts.reports.gradients.figure import plot_gradients
from keras_concepts.reports.gradients.stacks import plot_gradient_stacks
from keras_concepts.reports.gradients.table import (
    gradient_table,
    print_gradients,
)
from keras_concepts.reports.html.comparison import (
    comparison_html,
    write_comparison,
)
from keras_concepts.reports.html.page import report_html, write_report
from keras_concepts.reports.mlflow import MLflowWriter, log_to_mlflow
from keras_concepts.reports.non_finite.figure import plot_non_finite
from keras_concepts.reports.non_finite.table import (
    non_finite_table,
    print_non_finite,
)
from keras_concepts.reports.penalties.figure import plot_penalties
from keras_concepts.reports.penalties.table import (
    penalty_table,
    print_penalties,
)
from keras_concepts.reports.report import (
    Report,
    plot_recording,
    print_recording,
    report_of,
)
from keras_concepts.reports.signals.figure import plot_signals
from keras_concepts.reports.signals.memory_figure import plot_memory
from keras_concepts.reports.signals.table import print_signals, signal_table
from keras_concepts.reports.sparsity import Sparsity, SparsityRow, sparsity
from keras_concepts.reports.tensorboard import (
    TensorBoardWriter,
    write_tensorboard,
)
from keras_concepts.reports.wandb import WandbWriter, log_to_wandb

__all__ = [
    "MLflowWriter",
    "Report",
    "Sparsity",
    "SparsityRow",
    "TensorBoardWriter",
    "WandbWriter",
    "batch_norm_table",
    "comparison_html",
    "doctor_table",
    "findings_table",
    "gradient_table",
    "log_to_mlflow",
    "log_to_wandb",
    "non_finite_table",
    "penalty_table",
    "plot_batch_norms",
    "plot_doctor",
    "plot_gradient_stacks",
    "plot_gradients",
    "plot_memory",
    "plot_non_finite",
    "plot_penalties",
    "plot_recording",
    "plot_signals",
    "print_batch_norms",
    "print_doctor",
    "print_findings",
    "print_gradients",
    "print_non_finite",
    "print_penalties",
    "print_recording",
    "print_signals",
    "report_html",
    "report_of",
    "signal_table",
    "sparsity",
    "write_comparison",
    "write_report",
    "write_tensorboard",
]
