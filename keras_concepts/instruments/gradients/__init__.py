"""Gradients, weights and updates of every variable."""
