"""Reports of NaN and infinity."""

from keras_concepts.reports.non_finite.table import (
    plot_non_finite,
    print_non_finite,
)

__all__ = ["plot_non_finite", "print_non_finite"]
