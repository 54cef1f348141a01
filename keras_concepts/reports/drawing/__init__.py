"""What tables and figures of all concepts have in common."""
