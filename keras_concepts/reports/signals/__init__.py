"""Reports of activations and error signals."""

from keras_concepts.reports.report import Report
from keras_concepts.reports.signals.figure import plot_signals
from keras_concepts.reports.signals.table import EMPTY, signal_table

REPORT = Report(EMPTY, signal_table, plot_signals)
