# Scripts, each for one backend, that the tests start.
collect_ignore_glob = ["on_*.py"]
