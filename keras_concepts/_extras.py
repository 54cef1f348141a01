"""Packages that only some uses need."""


def missing(what: str, package: str, extra: str) -> ImportError:
    """What to raise where a package is not installed.

    Args:
        what: Which needs it, in the plural.
        package: As it is called.
        extra: Of this package, that installs it.
    """
    return ImportError(
        f'{what} need {package}: pip install "keras-concepts[{extra}]"'
    )
