"""Takes the picture in the README: the report of a run of the bundled sample, in a browser without a window.

    python docs/picture.py [report.html]

`make docs` calls it. Without Chromium the picture stays as it is. The sample's patients are synthetic.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURE = Path(__file__).with_name("report.png")
WIDTH, HEIGHT = 1200, 790
MOST_BYTES = 300_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.stdout.write(f"{PICTURE.name} stays as it is: none of {', '.join(BROWSERS)} is installed\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            report = Path(sys.argv[1]).absolute()
        else:
            report = Path(folder) / "demo" / "report.html"
            resolver = [sys.executable, "-m", "resolver", "demo", "--out", str(report.parent), "--json"]
            subprocess.run(resolver, check=True, stdout=subprocess.DEVNULL)
        taken = Path(folder) / PICTURE.name
        take(browser, report, taken, Path(folder))
        size = taken.stat().st_size
        if size > MOST_BYTES:
            sys.exit(f"The picture has {size:,} bytes; {MOST_BYTES:,} are allowed. Lower HEIGHT.")
        shutil.copyfile(taken, PICTURE)
    sys.stdout.write(f"{PICTURE.name}: {size:,} bytes\n")


def take(browser: str, page: Path, picture: Path, profile: Path) -> None:
    """The upper part of a page, light, as a PNG file."""
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
        *("--force-color-profile=srgb", "--blink-settings=preferredColorScheme=1"),
        *(f"--user-data-dir={profile / 'profile'}", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"),
    ]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
