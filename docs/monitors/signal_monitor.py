"""Error signals through layers and through time."""

import programs
from measured import Measured

NETWORKS = ("SimpleRNN", "LSTM", "Chrono LSTM", "GRU", "Chrono GRU")


def measure() -> Measured:
    back = programs.run("callbacks/does_the_error_get_back.py")
    units = programs.run("callbacks/which_units_saturate.py")
    far = programs.run("callbacks/how_far_back_does_it_see.py")
    lag = programs.run("examples/memory_horizon.py")
    again = programs.run("examples/memory_horizon.py", "--seed", "1")
    attenuation, right = back.find(r"is (\S+) times .* (\d+)% of new")
    at_first, slow = units.find(
        r"from (\d+), 0, 0 to \S+ \S+ \S+ at rate 0.001, accuracy (\d+)%"
    )
    *ends, fast = units.find(
        r"to (\d+), (\d+), (\d+) at rate 0.03, accuracy (\d+)%"
    )
    first, last = far.find(r"gets (\d+) of 64 .* and (\d+) after")
    rows, scores = [], {}
    for name in NETWORKS:
        _, accuracy, before, after, gradient, _ = lag.row(name)
        rows.append([name, accuracy, before, after, gradient])
        scores["again_" + name.replace(" ", "_").lower()] = again.row(name)[1]
    numbers = {
        "attenuation": attenuation,
        "right": right,
        "saturated_at_first": at_first,
        "right_at_low_rate": slow,
        **{f"saturated_{n}": end for n, end in enumerate(ends, 1)},
        "right_at_high_rate": fast,
        "horizon_at_first": first,
        "horizon": last,
        "networks": rows,
        **scores,
    }
    pictures = {
        "layers": back.picture("does_the_error_get_back"),
        "saturated": units.picture("which_units_saturate"),
        "pixels": far.picture("how_far_back_does_it_see"),
        "gradients": lag.picture("gradients"),
        "curves": lag.picture("curves"),
        "memory": lag.picture("memory"),
    }
    return Measured(numbers, pictures=pictures)
