"""Check that the wheel and the sdist hold what they should.

`python .ci/check_wheel.py dist`: the wheel holds the tracked files of
`keras_concepts/`, no more and no fewer; the sdist holds every tracked file;
the metadata names the version, the license and the dependencies meant.
"""

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

PACKAGE = "keras_concepts"
DEPENDENCIES = {"click", "keras", "numpy", "rich"}
IN_SDIST = {
    "LICENSE",
    "README.md",
    "callbacks",
    "examples",
    "keras_concepts",
    "pyproject.toml",
    "tests",
}


def tracked_files() -> set[str]:
    """List what git tracks and the working tree still has."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    return {
        name for name in listing.split("\0") if name and Path(name).exists()
    }


def only(folder: Path, pattern: str) -> Path:
    """Find the one file that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"Expected one {pattern} in {folder}. Found: {found}")
    return found[0]


def check_wheel(path: Path, tracked: set[str]) -> list[str]:
    """Compare the wheel's files and metadata with the source."""
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if not name.endswith("/")}
        info = {name for name in names if ".dist-info/" in name}
        meta_name = next(name for name in info if name.endswith("/METADATA"))
        metadata = email.message_from_bytes(wheel.read(meta_name))

    packaged = names - info
    expected = {name for name in tracked if name.startswith(f"{PACKAGE}/")}
    faults = [
        f"{path.name} lacks {name}" for name in sorted(expected - packaged)
    ] + [
        f"{path.name} holds {name}, which git does not track"
        for name in sorted(packaged - expected)
    ]
    if f"{PACKAGE}/py.typed" not in packaged:
        faults.append(f"{path.name} has no {PACKAGE}/py.typed")
    if not any(name.endswith("/licenses/LICENSE") for name in info):
        faults.append(f"{path.name} has no license file")

    required = {
        re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        for requirement in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in requirement
    }
    source = Path(PACKAGE, "__init__.py").read_text(encoding="utf-8")
    version = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    for what, received, wanted in (
        ("Name", metadata["Name"], "keras-concepts"),
        ("Version", metadata["Version"], version and version[1]),
        ("License-Expression", metadata["License-Expression"], "Apache-2.0"),
        ("Requires-Python", metadata["Requires-Python"], ">=3.11"),
        ("Requires-Dist", required, DEPENDENCIES),
    ):
        if received != wanted:
            faults.append(
                f"{path.name}: {what} must be {wanted}. Received: {received}"
            )
    return faults


def check_sdist(path: Path, tracked: set[str]) -> list[str]:
    """Compare the sdist's files with the source."""
    with tarfile.open(path) as sdist:
        members = [
            PurePosixPath(*PurePosixPath(member.name).parts[1:])
            for member in sdist
            if member.isfile()
        ]
    top_level = {member.parts[0] for member in members}
    lacking = (IN_SDIST - top_level) | (tracked - {str(m) for m in members})
    return [f"{path.name} lacks {name}" for name in sorted(lacking)]


def main(folder: Path) -> None:
    """Print what is wrong with the archives in `folder`, or their names."""
    tracked = tracked_files()
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    faults = check_wheel(wheel, tracked) + check_sdist(sdist, tracked)
    if faults:
        raise SystemExit("\n".join(faults))
    print(f"{wheel.name} and {sdist.name} hold what they should")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
