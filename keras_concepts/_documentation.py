"""Addresses of the documentation, for those who have only the package."""

# As `site_url` in mkdocs.yml and `Documentation` in pyproject.toml.
SITE = "https://keras-concepts.github.io/keras-concepts/"


def page_url(page: str) -> str:
    """Address of a page that a rule or a finding names.

    Args:
        page: File in `docs/`, such as `doctor.md#dead_units`. A URL and `""`
            are returned as they are.
    """
    if not page or "://" in page:
        return page
    file, _, anchor = page.partition("#")
    place = file.removesuffix(".md").removesuffix("index")
    place += "/" if place and not place.endswith("/") else ""
    return f"{SITE}{place}" + (f"#{anchor}" if anchor else "")


def page_link(page: str) -> str:
    """The same, or `""` for what a browser should not open.

    Args:
        page: See `page_url`; it may come from an untrusted file.
    """
    url = page_url(page)
    return url if url.startswith(("https://", "http://")) else ""
