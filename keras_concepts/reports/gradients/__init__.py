"""Reports of gradients."""
