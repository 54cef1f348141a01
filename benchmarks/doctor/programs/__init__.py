"""All programs; importing this package fills the registry."""

import importlib

from benchmarks.doctor.registry import PROGRAMS

# Faulty programs are healthy ones with changes: those come first.
FAMILIES = (
    "healthy_tables",
    "healthy_images",
    "healthy_sequences",
    "healthy_training",
    "healthy_plateaus",
    "healthy_several",
    "healthy_own_steps",
    "faulty_data",
    "faulty_heads",
    "faulty_initialization",
    "faulty_rates",
    "faulty_sequences",
    "faulty_statistics",
    "faulty_steps",
    "faulty_targets",
    "fresh_healthy",
    "fresh_faulty",
    "wild_text",
    "wild_numbers",
    "wild_structures",
    "wild_loops",
)
for _family in FAMILIES:
    _ = importlib.import_module(f"{__name__}.{_family}")

__all__ = ["FAMILIES", "PROGRAMS"]
