"""Reports of batch normalization."""

from keras_concepts.reports.batch_norm.figure import plot_batch_norms
from keras_concepts.reports.batch_norm.table import EMPTY, batch_norm_table
from keras_concepts.reports.report import Report

REPORT = Report(EMPTY, batch_norm_table, plot_batch_norms)
