"""A test that cannot run here is skipped, or fails where nothing may be skipped."""

from __future__ import annotations

import pytest
from support import skip_or_fail


def test_what_is_missing_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FGBENCH_NO_SKIP", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install it"):
        skip_or_fail("no browser: install it")


def test_where_nothing_may_be_skipped_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FGBENCH_NO_SKIP", "1")
    with pytest.raises(pytest.fail.Exception, match="install it"):
        skip_or_fail("no browser: install it")
