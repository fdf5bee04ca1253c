"""CI's two descriptions, .ci/run and GitHub's, run the same steps by the same targets."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
STEPS = WORKFLOW["jobs"]["check"]["steps"]


def made(text: str) -> list[str]:
    return re.findall(r"^make .*$", text, flags=re.MULTILINE)


def test_both_run_the_same_targets_in_the_same_order() -> None:
    assert made(RUN) == made("\n".join(step.get("run", "") for step in STEPS))


def test_they_lint_test_run_a_study_and_verify_it() -> None:
    targets = [command.split()[1] for command in made(RUN)]
    assert {"lint", "smoke", "verify", "test"} <= set(targets)
    assert targets.index("smoke") < targets.index("verify")


def test_every_target_is_one_of_the_makefile() -> None:
    for command in made(RUN):
        assert re.search(rf"^{command.split()[1]}:", MAKEFILE, flags=re.MULTILINE)


def test_the_report_is_kept_even_of_a_failed_run() -> None:
    [upload] = [step for step in STEPS if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert "results-smoke/report.html" in upload["with"]["path"]
