"""What the README's first example prints."""

import contextlib
import functools
import io
import os
import re
from unittest import mock

import keras

import keras_concepts as kc
from keras_concepts.callbacks import TrainingDoctor
from measured import ROOT, Measured


def measure() -> Measured:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.+?)^```", readme, re.S | re.M)[0]
    os.environ["COLUMNS"] = "88"
    keras.utils.set_random_seed(0)
    names: dict[str, object] = {}
    # When a finding is noticed does not depend on how busy the machine is.
    patient = functools.partial(TrainingDoctor, time_budget=None)
    with (
        contextlib.redirect_stdout(io.StringIO()) as printed,
        mock.patch.object(kc.callbacks, "TrainingDoctor", patient),
    ):
        exec(compile(code, "README.md", "exec"), names)
    text = printed.getvalue()
    lines = [line.rstrip() for line in text.splitlines()]
    start = next(n for n, line in enumerate(lines) if "found in" in line)
    end = next(n for n, line in enumerate(lines) if "Leads to" in line)
    page = next(line for line in lines if line.startswith("   https://"))
    rules = re.findall(
        r"^(?:   Leads to| {11}) +(\w+), (?:since|before)", text, re.M
    )
    verdict = [*lines[start:end], f"   Leads to  {', '.join(rules)}", page]
    return Measured(
        {
            "verdict": "\n".join(verdict) + "\n",
            "problem": "\n".join(lines[start + 2 : end]) + "\n",
        }
    )
