"""Photographs of HTML reports, for light and for dark pages."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import matplotlib.pyplot as plt

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCHEMES = {"light": 1, "dark": 0}


def photograph(
    report: pathlib.Path, stem: pathlib.Path, width: int, height: int
) -> pathlib.Path:
    """Saves how the top of a report looks, as `stem_light.png` and so on.

    Raises:
        FileNotFoundError: There is no Chromium.
    """
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    chromium = next(filter(None, found), None)
    if chromium is None:
        raise FileNotFoundError(
            "Reports are photographed in Chromium, which must be installed. "
            "Elsewhere than on PATH, set CHROMIUM to its path."
        )
    for theme, scheme in SCHEMES.items():
        picture = stem.with_name(f"{stem.name}_{theme}.png")
        with tempfile.TemporaryDirectory() as profile:
            # No window is narrower than 500 pixels, but a frame may be.
            page = pathlib.Path(profile) / "frame.html"
            page.write_text(
                f'<body style="margin: 0"><iframe src="{report.as_uri()}" '
                f'width="{width}" height="{height}" style="border: 0">'
            )
            _ = subprocess.run(
                [
                    *(chromium, "--headless", "--no-sandbox", "--disable-gpu"),
                    "--hide-scrollbars",
                    f"--user-data-dir={profile}",
                    f"--blink-settings=preferredColorScheme={scheme}",
                    f"--window-size={max(width, 500)},{height}",
                    "--virtual-time-budget=3000",
                    f"--screenshot={picture}",
                    page.as_uri(),
                ],
                check=True,
                capture_output=True,
            )
        plt.imsave(picture, plt.imread(picture)[:height, :width, :3])
    return stem
