"""Rules: what is wrong with a recorded training run.

A rule is a small function from what was measured to evidence. It depends on
NumPy alone, so that a recording can be judged without Keras.
"""

from keras_concepts.rules import (
    batch_norm,
    copied_labels,
    data,
    generalisation,
    gradients,
    heads,
    initialization,
    label_order,
    labels,
    linear,
    memory,
    non_finite,
    one_batch,
    out_of_range,
    outputs,
    own_loss,
    penalties,
    progress,
    units,
    unscaled,
    updates,
)
from keras_concepts.rules.finding import Evidence, Finding, Measured
from keras_concepts.rules.judge import Judge, diagnose
from keras_concepts.rules.rule import Rule, markdown_table, rule
from keras_concepts.rules.training import Training

__all__ = [
    "Evidence",
    "Finding",
    "Judge",
    "Measured",
    "Rule",
    "Training",
    "diagnose",
    "markdown_table",
    "rule",
]

# Importing them has registered their rules.
del batch_norm, copied_labels, data, generalisation, gradients, heads
del initialization, label_order, labels, linear, memory, non_finite, one_batch
del out_of_range, outputs, own_loss, penalties, progress, units, unscaled
del updates
