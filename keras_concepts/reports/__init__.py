"""Reports: tables, figures and event files drawn from a recording."""
