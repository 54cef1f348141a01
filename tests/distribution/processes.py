"""Starts the scripts beside this, and reads the tables that they print."""

import concurrent.futures
import json
import os
import pathlib
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run_together(commands, timeout, **environment):
    """What each of several processes that wait for each other prints.

    None is left behind, whatever happens: one that fails would let the others
    wait for ever.

    Args:
        commands: Arguments of Python for each.
        timeout: Seconds for all together.
        **environment: Variables for all.
    """
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path]),
        **environment,
    }
    started = [
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for command in commands
    ]

    def read(process):
        try:
            output, errors = process.communicate(timeout=timeout)
            assert process.returncode == 0, errors[-3000:]
        except BaseException:
            for each in started:
                each.kill()
            raise
        return output

    # All at once: one that waits for its pipe to be read keeps the others.
    with concurrent.futures.ThreadPoolExecutor(len(started)) as readers:
        readings = [readers.submit(read, each) for each in started]
        # The first that failed says why, not those that were killed for it.
        for each in concurrent.futures.as_completed(readings):
            _ = each.result()
    return [each.result() for each in readings]


def rows_of(output):
    """The rows of a table, from what a script has printed."""
    return [
        json.loads(line) for line in output.splitlines() if line[:2] == '["'
    ]
