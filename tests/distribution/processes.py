"""Starts the scripts beside this, and reads the tables that they print."""

import contextlib
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
    with contextlib.ExitStack() as stack:
        started = []
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append(process)
        outputs = []
        for process in started:
            output, errors = process.communicate(timeout=timeout)
            assert process.returncode == 0, errors[-3000:]
            outputs.append(output)
    return outputs


def rows_of(output):
    """The rows of a table, from what a script has printed."""
    return [
        json.loads(line) for line in output.splitlines() if line[:2] == '["'
    ]
