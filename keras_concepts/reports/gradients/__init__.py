"""Reports of gradients."""

from keras_concepts.reports.gradients.figure import plot_gradients
from keras_concepts.reports.gradients.table import EMPTY, gradient_table
from keras_concepts.reports.report import Report

REPORT = Report(EMPTY, gradient_table, plot_gradients)
