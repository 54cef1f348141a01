"""Reports of the parts of the loss."""

from keras_concepts.reports.penalties.figure import plot_penalties
from keras_concepts.reports.penalties.parts import EMPTY
from keras_concepts.reports.penalties.table import penalty_table
from keras_concepts.reports.report import Report

REPORT = Report(EMPTY, penalty_table, plot_penalties)
