"""What else a machine did while times were measured is counted, and a table says that it was noisy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time
from types import SimpleNamespace

import psutil
import pytest
import records

import fgbench.cost.load
from fgbench.cost.load import watched_load
from fgbench.cost_tables import cost_tables
from fgbench.types import Json

TICK_S = 0.05
"""Some ticks of the system's counters of processor time."""

BURN = """
import os, sys
if sys.argv[1:]:
    os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
while True:
    pass
"""


def spin(seconds: float) -> None:
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


@contextmanager
def burners(number: int, *processor: str) -> Iterator[list[psutil.Process]]:
    """Other processes that do nothing but keep processors busy."""
    running = [
        subprocess.Popen([sys.executable, "-c", BURN, *processor], stdout=subprocess.PIPE)
        for _ in range(number)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield [psutil.Process(process.pid) for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def is_noisy(load: Json) -> bool:
    """What the table of measurements says of a measurement under this load."""
    cost = records.cost_record(records.run_records(num_seeds=2)[:4], load=load)
    [row] = cost_tables(cost=cost)["measurements"].to_dict("records")
    return bool(row["noisy"])


def test_a_processs_own_time_is_told_from_that_of_all_others() -> None:
    spent, began = process_time(), perf_counter()
    with watched_load() as load:
        assert load == {}
        spin(0.3)
    spent, lasted = process_time() - spent, perf_counter() - began
    assert set(load) == {
        "wall_s",
        "own_cpu_s",
        "others_cpu_s",
        "steal_s",
        "involuntary_switches",
        "num_cpus",
    }
    assert 0.3 <= load["wall_s"] <= lasted
    assert load["own_cpu_s"] <= load["wall_s"] + TICK_S
    assert abs(load["own_cpu_s"] - spent) <= TICK_S
    assert 0 <= load["others_cpu_s"] <= load["num_cpus"] * load["wall_s"] + TICK_S
    assert load["num_cpus"] == psutil.cpu_count()


def test_the_others_have_what_is_left_of_all_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """On counters that are known, before and after."""
    own = iter([5, 9])
    own_cpu_s = iter([1.5, 3.5])
    all_cpus = iter([(10.0, 1.0, 0.0, 0.5), (16.0, 2.0, 1.0, 0.75)])

    class Process:
        def __init__(self) -> None:
            self.involuntary = next(own)

        def num_ctx_switches(self) -> Process:
            return self

    def cpu_times() -> SimpleNamespace:
        return SimpleNamespace(**dict(zip(("user", "system", "nice", "steal"), next(all_cpus), strict=True)))

    monkeypatch.setattr(psutil, "Process", Process)
    monkeypatch.setattr(psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(fgbench.cost.load, "process_time", lambda: next(own_cpu_s))
    with watched_load() as load:
        pass
    assert load["own_cpu_s"] == 2.0
    assert load["others_cpu_s"] == 8.0 - 2.0
    assert (load["steal_s"], load["involuntary_switches"]) == (0.25, 4)


def test_the_load_of_a_measurement_that_fails_is_there_too() -> None:
    with pytest.raises(RuntimeError, match="no memory"), watched_load() as load:
        raise RuntimeError("no memory")
    assert load["wall_s"] > 0


def test_what_a_system_does_not_count_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, whose counters know no steal."""
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=1.0, system=1.0))
    with watched_load() as load:
        spin(0.05)
    assert load["steal_s"] is None
    assert load["others_cpu_s"] == 0.0
    assert not is_noisy(load | {"own_cpu_s": load["wall_s"]})


def test_processes_that_burn_the_cpu_are_counted_and_the_table_says_that_the_machine_was_noisy() -> None:
    with burners(2) as processes:
        before = cpu_s(processes)
        with watched_load() as load:
            while (burnt := cpu_s(processes) - before) < 0.6:
                spin(0.01)
    assert load["others_cpu_s"] >= burnt - 2 * TICK_S
    assert load["others_cpu_s"] / load["wall_s"] > 0.25
    assert is_noisy(load)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux, to share one processor")
def test_a_process_that_shares_its_processor_was_made_to_wait() -> None:
    allowed = os.sched_getaffinity(0)
    processor = min(allowed)
    try:
        os.sched_setaffinity(0, {processor})
        with burners(1, str(processor)), watched_load() as load:
            spin(0.5)
    finally:
        os.sched_setaffinity(0, allowed)
    assert load["involuntary_switches"] > 0
    assert load["own_cpu_s"] < 0.9 * load["wall_s"]
    assert is_noisy(load)
