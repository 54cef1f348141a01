"""Numerics that layers, metrics and instruments share."""
