"""Optional packages."""


def missing(what: str, package: str, extra: str) -> ImportError:
    """The error to raise if a package is not installed.

    Args:
        what: What needs it, in the plural.
        package: Name of the package.
        extra: Extra of this package that installs it.
    """
    return ImportError(
        f'{what} need {package}: pip install "keras-concepts[{extra}]"'
    )
