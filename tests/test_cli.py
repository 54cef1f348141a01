"""The command `keras-concepts`, run as by a user, in its own processes."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import pytest

import keras_concepts as kc

BACKEND = keras.backend.backend()
ROOT = pathlib.Path(kc.__file__).parents[1]
TRAIN = """
import sys

import keras
import numpy as np

print("arguments", sys.argv)
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(48, 4)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="net")
model.compile("sgd", LOSS)
model.fit(x, y, epochs=2, verbose=0)
print(repr(model.get_weights()))
"""
RIGHT = "keras.losses.BinaryCrossentropy(from_logits=True)"
WRONG = '"binary_crossentropy"'  # of values that are no probabilities


def program(loss=WRONG, end=""):
    return TRAIN.replace("LOSS", loss) + end


def environment():
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": BACKEND,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "Agg",
        "COLUMNS": "200",
    }


def python(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def command(*arguments, cwd, **options):
    return python("-m", "keras_concepts", *arguments, cwd=cwd, **options)


def folder_of(cwd):
    (folder,) = (cwd / "runs").iterdir()
    return folder


class TestRun:
    """With the backend, in as few processes as will do: each imports it."""

    def test_output_weights_and_what_is_written(self, tmp_path):
        (tmp_path / "train.py").write_text(program(end="sys.exit(3)"))
        plain = python("train.py", "--lr", "1", cwd=tmp_path)
        watched = command("run", "train.py", "--lr", "1", cwd=tmp_path)
        assert plain.returncode == watched.returncode == 3
        assert watched.stdout == plain.stdout
        assert "['train.py', '--lr', '1']" in watched.stdout
        assert "head_loss_mismatch" in watched.stderr
        folder = folder_of(tmp_path)
        assert folder.name.startswith("train-")
        names = ["findings.json", "recording.jsonl", "report.html"]
        assert sorted(each.name for each in folder.iterdir()) == names
        written = json.loads((folder / "findings.json").read_text())
        assert written["script"] == "train.py"
        (run,) = written["runs"]
        assert run["model"] == "net"
        assert run["findings"][0]["rule"] == "head_loss_mismatch"
        found = kc.diagnose(kc.Recording.load(folder / "recording.jsonl"))
        assert [f.to_json() for f in found] == run["findings"]
        assert "from_logits=True" in (folder / "report.html").read_text(
            encoding="utf-8"
        )
        assert str(folder.relative_to(tmp_path)) in watched.stderr

    def test_a_script_that_raises(self, tmp_path):
        end = "\ndef stop():\n    raise ValueError('the end')\n\nstop()\n"
        (tmp_path / "train.py").write_text(program(end=end))
        plain = python("train.py", cwd=tmp_path)
        watched = command(
            "run", "--no-report", "--out", "here", "train.py", cwd=tmp_path
        )
        assert plain.returncode == watched.returncode == 1
        assert watched.stdout == plain.stdout
        begun = plain.stderr.index("Traceback")
        assert plain.stderr[begun:] in watched.stderr
        names = ["findings.json", "recording.jsonl"]
        assert sorted(f.name for f in (tmp_path / "here").iterdir()) == names

    def test_a_module_that_trains_well(self, tmp_path):
        package = tmp_path / "package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "name.py").write_text("NAME = 'from beside'\n")
        text = "from .name import NAME\nprint(NAME, __spec__.name)\n"
        (package / "train.py").write_text(text + program(RIGHT))
        plain = python("-m", "package.train", "-m", cwd=tmp_path)
        watched = command(
            *("run", "--fail-on", "warning", "-m", "package.train", "-m"),
            cwd=tmp_path,
        )
        assert plain.returncode == watched.returncode == 0
        assert watched.stdout == plain.stdout
        assert "from beside package.train" in watched.stdout
        assert "No problem found in 2 epochs." in watched.stderr
        assert folder_of(tmp_path).name.startswith("train-")

    def test_fail_on_a_worker_and_a_thread(self, tmp_path):
        """The worker imports the script, and has nothing to report."""
        text = program().replace("\n", "\n    ")
        text = f"""
import multiprocessing
import threading

import keras
import numpy

def square(x):
    return x * x

def train():
    {text}

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, [2, 3]))
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
"""
        (tmp_path / "train.py").write_text(text)
        plain = python("train.py", cwd=tmp_path)
        watched = command("run", "--fail-on", "error", "train.py", cwd=tmp_path)
        assert plain.returncode == 0
        assert watched.stdout == plain.stdout
        assert "[4, 9]" in watched.stdout
        assert "head_loss_mismatch" in watched.stderr
        assert watched.returncode == 1
        assert "--fail-on error" in watched.stderr
        assert len(list((tmp_path / "runs").iterdir())) == 1

    def test_ctrl_c(self, tmp_path):
        """What was seen until then is reported, and the signal ends the run."""
        text = program().replace("epochs=2", "epochs=10**6")
        text = text.replace(
            "verbose=0",
            "verbose=0, callbacks=[keras.callbacks.LambdaCallback("
            "on_epoch_end=lambda epoch, logs: print('e', flush=True))]",
        )
        # If the tests run in the background, the signal may be ignored.
        text = (
            "import signal\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        ) + text
        (tmp_path / "train.py").write_text(text)
        with subprocess.Popen(
            [sys.executable, "-m", "keras_concepts", "run", "train.py"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert "e\n" in process.stdout
                errors = None
                for _ in range(3):  # Python drops what is raised in a finalizer
                    time.sleep(0.5)
                    process.send_signal(signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        _, errors = process.communicate(timeout=60)
                        break
                assert errors is not None
            finally:
                process.kill()
        assert process.returncode == -signal.SIGINT
        assert errors.index("KeyboardInterrupt") < errors.index("head_loss")
        assert (folder_of(tmp_path) / "report.html").exists()


class TestWithoutTraining:
    """Scripts that need no backend, so they are fast."""

    def same(self, tmp_path, text, *arguments, **options):
        (tmp_path / "script.py").write_text(text)
        plain = python("script.py", *arguments, cwd=tmp_path, **options)
        watched = command(
            "run", "script.py", *arguments, cwd=tmp_path, **options
        )
        assert watched.stdout == plain.stdout
        assert watched.returncode == plain.returncode
        return plain, watched

    def test_the_module_is_that_of_python(self, tmp_path):
        text = (
            "import pickle, sys\n"
            "print(__name__, __file__, __doc__, __package__, __spec__)\n"
            "print(sys.argv, sys.path[0], type(__builtins__).__name__)\n"
            "class A: pass\n"
            "print(type(pickle.loads(pickle.dumps(A()))))\n"
            "print(sys.modules['__main__'].A is A, sorted(globals()))\n"
            "print(input())\n"
        )
        _, watched = self.same(
            tmp_path, text, "--out", "x", "--help", input="from stdin\n"
        )
        assert "['script.py', '--out', 'x', '--help']" in watched.stdout
        assert "from stdin" in watched.stdout
        assert "no call of `fit`" in watched.stderr
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        "text",
        [
            "raise SystemExit",
            "raise SystemExit('a sentence')",
            "import sys; sys.exit(300)",
            "import sys; sys.exit(-1)",
            "import os; os._exit(7)",
            "x ===",
            "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}['key']",
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            "raise KeyboardInterrupt",
            "import atexit\natexit.register(print, 'bye')\n"
            "raise KeyboardInterrupt",
            "import sys; sys.exit(2**70)",
            "import sys; sys.stderr.close()",
            "import sys; sys.stdout = sys.stderr = None",
            # What reads environment variables when it is imported.
            "import sys; print({'numpy', 'rich', 'keras'} & {*sys.modules})",
            "import threading\n"
            "threading.Thread(target=lambda: print('thread')).start()\n",
        ],
    )
    def test_ends(self, tmp_path, text):
        plain, watched = self.same(tmp_path, text)
        assert watched.stderr.startswith(plain.stderr)

    def test_a_fork_reports_nothing_of_its_own(self, tmp_path):
        text = "import os\nif os.fork():\n    os.wait()\nprint(1, flush=True)\n"
        _, watched = self.same(tmp_path, text)
        assert watched.stderr.count("no call of `fit`") == 1

    def test_a_folder_is_run_as_by_python(self, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "__main__.py").write_text("import sys; print(sys.argv)")
        plain = python("folder", "a", cwd=tmp_path)
        watched = command("run", "folder", "a", cwd=tmp_path)
        assert watched.stdout == plain.stdout != ""

    def test_there_is_no_such_file_or_module(self, tmp_path):
        nothing = command("run", "nothing.py", cwd=tmp_path)
        assert nothing.returncode == 2
        assert "nothing.py" in nothing.stderr
        nothing = command("run", "-m", "nothing.here", cwd=tmp_path)
        plain = python("-m", "nothing.here", cwd=tmp_path)
        assert nothing.stderr.startswith(plain.stderr)
        assert nothing.returncode == plain.returncode == 1

    def test_help_fits_on_a_screen(self, tmp_path):
        for arguments in ([], ["run"], ["report"], ["compare"]):
            shown = command(*arguments, "--help", cwd=tmp_path).stdout
            assert "keras-concepts" in shown
            assert len(shown.splitlines()) <= 24
            assert max(map(len, shown.splitlines())) <= 80
