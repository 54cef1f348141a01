"""Powers of ten, as text and as ticks."""

import numpy as np


def power_text(value: float) -> str:
    """A number of two digits, times a power of ten where it is far from 1."""
    if np.isnan(value):
        return "undefined"
    if value == 0.0 or 1e-2 <= value < 100.0:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return rf"${digits}\times10^{{{int(exponent)}}}$"


def power_ticks(low: float, high: float) -> dict[float, str]:
    """Ticks of a log10 axis: powers of ten; if it is short, 2 and 5 of each."""
    powers = np.arange(np.floor(low), high + 1e-9)
    every = -(-len(powers) // 8)
    ticks = {p: f"$10^{{{p:.0f}}}$" for p in powers if not p % every}
    if high - low < 2.0:
        for power in powers:
            for digit in (2, 5):
                label = rf"${digit}\times10^{{{power:.0f}}}$"
                ticks[power + np.log10(digit)] = label
    return {t: ticks[t] for t in sorted(ticks) if low <= t <= high}
