"""Torch: eager steps, state in tensors that are written in place."""
