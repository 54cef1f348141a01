"""Statistics of batches against those of batch normalization layers."""
