"""How far do runs end from the pinned ones under another arithmetic? `python benchmarks/numerics.py [RESULTS]`

Trains every run of a finished study again on this processor's own instruction set, on SSE alone, and with two
threads, and compares each with the study's own: the tolerances of fgbench/verification.py have to hold these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from fgbench.numerics import set_numerics

VARIANTS = {
    "pinned, as the study": {},
    "native instruction set": {"NATIVE": "1"},
    "SSE instead of AVX": {"NATIVE": "1", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "pinned, two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
}


def retrained(results: Path) -> dict[str, object]:
    """Train every run of a study anew, as this process computes; return how it compares with the study."""
    import torch

    from fgbench.config import Cell, cell_settings
    from fgbench.results import read_study
    from fgbench.splits import split_from_arrays
    from fgbench.storage import read_arrays, read_json
    from fgbench.training import Settings, train
    from fgbench.verification import reference_of, verification

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config, records = read_study(results)
    again = []
    for record in records:
        dataset = record["dataset"]
        settings = Settings(**cell_settings(config, Cell(dataset, record["model"], record["method"])))
        num_classes = len(read_json(results / f"data/{dataset}.json")["class_names"])
        splits: dict[str, object] = {}
        for path in sorted((results / f"splits/{dataset}").glob("*.npz")):
            splits |= read_arrays(path).arrays
        runs = []
        for run in record["runs"]:
            split = split_from_arrays(splits, run["seed"])
            trained = train(split, settings, num_classes=num_classes, seed=run["seed"])
            runs.append(json.loads(json.dumps(trained.record(split.test))))
        again.append(record | {"runs": runs})
    return verification(again, [], {"study": reference_of(records, [], {})})


def main(results: Path) -> None:
    """Print, for each arithmetic, the verdicts and the farthest each quantity lies off, in tolerances."""
    for name, variables in VARIANTS.items():
        environment = dict(os.environ)
        set_numerics(environment, native="NATIVE" in variables)
        ran = subprocess.run(
            [sys.executable, __file__, "--worker", str(results)],
            env=environment | variables,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ran.returncode:
            sys.exit(f"{results}: no finished study could be trained again (`make smoke` makes one)")
        found = json.loads(ran.stdout)
        counts = {verdict: count for verdict, count in found["runs"].items() if count}
        print(f"{name}: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}", flush=True)
        farthest: Counter[str] = Counter()
        for cell in found["cells"]:
            for run in cell["runs"]:
                for one in run.get("quantities", []):
                    if one["tolerance"] and one["here"] is not None and one["reference"] is not None:
                        off = abs(one["here"] - one["reference"]) / one["tolerance"]
                        key = f"{one['quantity']}, {cell['model']}"
                        farthest[key] = max(farthest[key], off)
                    elif one["here"] != one["reference"]:
                        print(f"  {cell['model']}/{cell['method']} seed {run['seed']}: {one}")
        for key, off in sorted(farthest.items()):
            if off:
                print(f"  {key}: at most {off:.2g} of its tolerance")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps(retrained(Path(sys.argv[2]))))
    else:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "results-smoke"))
