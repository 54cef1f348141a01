"""Numbers of any size in a sentence."""

import numpy as np


def scientific(value: float) -> str:
    """A number with two digits, times a power of ten if it is far from 1."""
    if np.isnan(value):
        return "undefined"
    if value == 0.0 or 1e-2 <= value < 100.0 or np.isinf(value):
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return rf"${digits}\times10^{{{int(exponent)}}}$"
