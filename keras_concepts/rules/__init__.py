"""Rules: what is wrong with a recorded training run.

A rule is a small function from what was measured to evidence. It knows NumPy
and nothing else, so that a recording can be judged without Keras.
"""

from keras_concepts.rules import data, heads, labels, one_batch
from keras_concepts.rules.finding import Evidence, Finding, Measured
from keras_concepts.rules.judge import Judge, diagnose
from keras_concepts.rules.rule import RULES, Rule, rule
from keras_concepts.rules.training import Training

__all__ = [
    "RULES",
    "Evidence",
    "Finding",
    "Judge",
    "Measured",
    "Rule",
    "Training",
    "diagnose",
    "rule",
]

# Importing these lists their rules.
del data, heads, labels, one_batch
