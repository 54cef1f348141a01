"""The same run gives the same findings on each backend."""

import pytest

import tiny_programs

# Rule, variant, owner, since and noticed.
EXPECTED = {}
PROGRAMS = (
    "healthy",
    "rate_too_high",
    "rate_too_low",
    "deep_sigmoids",
    "dead_units",
    "unscaled_input",
    "labels_that_broadcast",
    "nan_in_the_data",
    "strong_penalty",
    "overfitting",
)
