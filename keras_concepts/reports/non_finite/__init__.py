"""Reports of NaN and infinity."""

from keras_concepts.reports.non_finite.faults import EMPTY
from keras_concepts.reports.non_finite.figure import plot_non_finite
from keras_concepts.reports.non_finite.table import (
    non_finite_table,
    print_non_finite,
)
from keras_concepts.reports.report import Report

__all__ = ["REPORT", "non_finite_table", "plot_non_finite", "print_non_finite"]

REPORT = Report(EMPTY, non_finite_table, plot_non_finite)
