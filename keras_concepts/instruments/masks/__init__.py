"""Masks, and the padding they stand for."""
