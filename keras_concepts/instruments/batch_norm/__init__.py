"""Batch statistics compared with those of batch normalization layers."""
