"""Shared parts of the tables and figures of all concepts."""
