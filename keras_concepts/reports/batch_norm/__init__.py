"""Reports of batch normalization."""
