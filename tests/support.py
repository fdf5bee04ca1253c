"""What several tests share and is no fixture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import pandas as pd
import pytest

from fgbench.claims import claim_tables
from fgbench.page import Contents, _templates


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the running test; where FGBENCH_NO_SKIP=1 says that everything is installed, fail it instead.

    `reason` names what is missing and how to get it.
    """
    if os.environ.get("FGBENCH_NO_SKIP") == "1":
        pytest.fail(f"skipping is not allowed here (FGBENCH_NO_SKIP=1): {reason}")
    pytest.skip(reason)


def part_of_page(template: str, **values: Any) -> str:
    """Return one section alone, as the page places it; `template` is its file's name."""
    source = '{% import "macros.html.j2" as show with context %}{% include template %}'
    return _templates().from_string(source).render(contents=Contents({}), template=template, **values)


def with_claims(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return a study's tables, and what they say to the literature's claims unless they hold it already."""
    return {**tables} if "claims" in tables else {**tables, **claim_tables(tables)}
