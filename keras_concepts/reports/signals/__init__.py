"""Reports of activations and error signals."""
