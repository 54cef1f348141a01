"""Runs the README's first example as somebody who has just installed the wheel.

    python .ci/run_readme.py

in an environment in which `keras_concepts` is not this checkout.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]


def main() -> None:
    """Run the example, and fail if the doctor finds something else."""
    import keras_concepts

    where = pathlib.Path(keras_concepts.__file__)
    if where.is_relative_to(ROOT / "keras_concepts"):
        sys.exit(f"This is the checkout, not the wheel: {where}")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.+?)^```", text, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(compile(code[0], "README.md", "exec"), names)
    [finding] = [f for f in names["doctor"].findings if not f.because_of]
    if finding.rule != "vanishing_gradient":
        sys.exit(f"The README promises another finding than {finding}")


if __name__ == "__main__":
    main()
