"""Print where a study's wall time goes: python benchmarks/pipeline.py [--config FILE] [--cores N]

Runs the study anew in a temporary results folder, data in place, with Snakemake's own `benchmark` accounting
replaced by the start and end of every job as its log tells them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from time import perf_counter

import yaml

from fgbench.config import read_config

STAMP = re.compile(r"^\[(.+)\]$")
STARTED = re.compile(r"^(?:local)?rule (\w+):$")
JOB = re.compile(r"^    jobid: (\d+)$")
FINISHED = re.compile(r"^Finished jobid: (\d+)")


def spans(log: str) -> dict[str, list[tuple[float, float]]]:
    """Each rule's jobs as (start, end), in seconds of the clock, to the log's resolution of one second."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    now, rule, running = 0.0, "", {}
    for line in log.splitlines():
        if match := STAMP.match(line):
            now = datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").timestamp()
        elif match := STARTED.match(line):
            rule = match[1]
        elif match := JOB.match(line):
            running[match[1]] = (rule, now)
        elif match := FINISHED.match(line):
            name, start = running.pop(match[1])
            found[name].append((start, now))
    return found


def main() -> None:
    """Run the study and print a row a rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--cores", default="4")
    arguments = parser.parse_args()
    snakemake = [str(Path(sys.executable).with_name("snakemake")), "--cores", arguments.cores]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        study = read_config(arguments.config) | {"results": str(Path(folder) / "results")}
        config.write_text(yaml.safe_dump(study), encoding="utf-8")
        start = perf_counter()
        done = subprocess.run(
            [*snakemake, "--configfile", str(config)], capture_output=True, text=True, check=False
        )
        wall_s = perf_counter() - start
        if done.returncode:
            sys.exit(done.stderr)
        start = perf_counter()
        subprocess.run([*snakemake, "--configfile", str(config)], capture_output=True, check=True)
        nothing_s = perf_counter() - start
    print(
        f"{arguments.config}, --cores {arguments.cores}: {wall_s:.1f} s; with nothing to do: {nothing_s:.1f} s"
    )
    print("rule              jobs   first to last, s   summed over jobs, s")
    for rule, jobs in spans(done.stderr).items():
        reach = max(end for _, end in jobs) - min(start for start, _ in jobs)
        print(f"{rule:16} {len(jobs):5} {reach:18.0f} {sum(end - start for start, end in jobs):21.0f}")


if __name__ == "__main__":
    main()
