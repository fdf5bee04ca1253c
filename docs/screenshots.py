"""Print a report's first screen to a picture: python docs/screenshots.py results/report.html docs"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

VIEWS = {"report": {"viewport": {"width": 1280, "height": 1400}}}
"""Options of a browser's context, by the name of the picture."""


def main() -> None:
    """Write one PNG a view."""
    report, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with sync_playwright() as playwright:
        path = os.environ.get("FGBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, options in VIEWS.items():
            page = browser.new_context(**options).new_page()
            page.goto(report.as_uri())
            page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main()
