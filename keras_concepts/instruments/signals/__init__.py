"""Activations and error signals of every layer on a fixed batch."""
