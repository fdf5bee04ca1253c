"""Print views of a report to pictures: python docs/screenshots.py results/report.html docs"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

VIEWS: dict[str, tuple[dict[str, Any], str]] = {
    "report": ({"viewport": {"width": 1280, "height": 860}}, ""),
    "report-phone": (
        {"viewport": {"width": 390, "height": 780}, "device_scale_factor": 2, "color_scheme": "dark"},
        "h3:has(+ .curves)",
    ),
    "report-errors": ({"viewport": {"width": 1280, "height": 1200}}, ".gallery:has(img)"),
}
"""Options of a browser's context, and what is scrolled to, by the name of the picture."""


def main() -> None:
    """Write one PNG a view."""
    report, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with sync_playwright() as playwright:
        path = os.environ.get("FGBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, (options, shown) in VIEWS.items():
            page = browser.new_context(reduced_motion="reduce", **options).new_page()
            page.goto(report.as_uri())
            if shown:
                page.locator(shown).first.evaluate("one => one.scrollIntoView()")
            page.screenshot(path=folder / f"{name}.png")


if __name__ == "__main__":
    main()
