"""How a recording keeps its rows, in memory and in a file."""
