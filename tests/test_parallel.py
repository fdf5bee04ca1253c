"""Several processes: the results and errors of one, in their order; an interrupt leaves none behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from test_report import RUNS, report

from fgbench.errors import ResultError
from fgbench.parallel import num_cores, together, uncollected
from fgbench.wording import interval_text


def late(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value


def refuse() -> None:
    raise ResultError("runs.csv: was changed. Rebuild it.")


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_results_come_in_the_order_of_their_calls_whichever_is_first_done(processes: int) -> None:
    calls = [partial(late, value, 0.02 * (4 - value)) for value in range(5)]
    assert together(calls, processes=processes) == [0, 1, 2, 3, 4]


def test_nothing_to_call_is_no_error() -> None:
    assert together([], processes=4) == []


def test_one_process_or_one_call_is_made_here_and_several_elsewhere() -> None:
    here = os.getpid()
    assert together([os.getpid, os.getpid], processes=1) == [here, here]
    assert together([os.getpid], processes=4) == [here]
    assert here not in together([os.getpid, os.getpid], processes=2)


def test_a_call_may_be_what_cannot_be_pickled_and_a_quantity_comes_back_whole() -> None:
    quantities = together([lambda: interval_text(0.5, 0.25, 0.75)] * 2, processes=2)
    assert [(one, one.value, one.low, one.high) for one in quantities] == [
        ("0.50 [0.25, 0.75]", 0.5, 0.25, 0.75)
    ] * 2


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_call_is_raised_here_as_it_was(processes: int) -> None:
    with pytest.raises(ResultError, match=r"^runs\.csv: was changed\. Rebuild it\.$"):
        together([partial(late, 0, 0), refuse, partial(late, 1, 0)], processes=processes)


def test_a_process_that_is_ended_from_outside_is_told_and_not_waited_for() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(ResultError, match=r"as when memory runs out\. Free some memory"):
        together([partial(os._exit, 9), partial(late, 1, 0.1)], processes=2)
    assert set(psutil.Process().children()) <= before


def test_a_process_may_use_at_least_one_core_and_no_more_than_there_are() -> None:
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


def test_one_process_and_two_make_the_same_bytes_of_a_report() -> None:
    assert report(RUNS, processes=1) == report(RUNS, processes=2)


WAITING = """
import signal, sys, time
from functools import partial
from pathlib import Path
from fgbench.cli import _interrupt
from fgbench.parallel import together

def wait(path):
    Path(path).touch()
    time.sleep(600)

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, _interrupt)
try:
    together([partial(wait, path) for path in sys.argv[1:]], processes=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_while_calls_are_made_leaves_no_process_and_says_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C reaches all processes; SIGTERM only the one that started the others."""
    paths = [tmp_path / name for name in ("first", "second")]
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, *map(str, paths)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            while process.poll() is None and not all(path.exists() for path in paths):
                time.sleep(0.02)
            children = psutil.Process(process.pid).children(recursive=True)
            send = os.killpg if number == signal.SIGINT else os.kill
            send(process.pid, number)
            _, told = process.communicate(timeout=20)
        finally:
            process.kill()
    assert len(children) == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert (process.returncode, told) == (130, "")


def test_garbage_is_looked_for_again_afterwards() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
