"""What several tests share and is no fixture."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test; where FGBENCH_NO_SKIP=1 says that everything is installed, fail it instead.

    `reason` names what is missing and how to get it.
    """
    if os.environ.get("FGBENCH_NO_SKIP") == "1":
        pytest.fail(f"skipping is not allowed here (FGBENCH_NO_SKIP=1): {reason}")
    pytest.skip(reason)
