"""What a killed study left is cleared away; a study at work is respected, and nobody else's process is touched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from fgbench import recovery
from fgbench.errors import ResultError
from fgbench.recovery import MARK, OWNER, clear_leftovers, mark
from fgbench.storage import host_name

SNAKEFILE = """
import os, sys, time
from pathlib import Path
from fgbench.recovery import MARK, mark, mark_owner

os.environ[MARK] = mark()
RESULTS = Path(config["results"])
PYTHON = sys.executable

rule all:
    input: [RESULTS / "0.txt", RESULTS / "deep/er/1.txt"]

rule one:
    output: RESULTS / "{name}.txt"
    shell: "export PATH=\\"/bin:$PATH\\"; {PYTHON} tools/fgbench train --output {output:q} && true"

onstart:
    if os.environ.get("SLOW_START"):
        time.sleep(60)
    mark_owner(Path.cwd(), RESULTS)
"""

JOB = """
import subprocess, sys, time
from pathlib import Path
from fgbench.storage import write_with

def write(temporary):
    if not Path("finish").exists():
        temporary.write_text("half")
        subprocess.run(["sleep", "60"])
    temporary.write_text("done")

write_with(Path(sys.argv[-1]), write)
"""

SLEEP = "import time; print(flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
STARTS_A_JOB = """
import subprocess, sys
with subprocess.Popen([sys.executable, "tools/sleep/fgbench", "train", "results/0.txt"]): pass
"""
CLEARS = """
import subprocess, sys
from pathlib import Path
from fgbench.recovery import clear_leftovers, mark_owner
if sys.argv[-1] != "in a child":
    mark_owner(Path(), Path("results"))
    sys.exit(subprocess.run([sys.executable, *sys.argv, "in a child"]).returncode)
print(clear_leftovers(Path(), Path("results"), config=Path("config/config.yaml")))
"""

ENDS_AS_ANOTHER_STARTS = """
import signal, subprocess, sys, time
def start(*_):
    command = [sys.executable, "tools/sleep/snakemake", "--cores", "4"]
    subprocess.Popen(command, stdout=subprocess.PIPE).stdout.readline()
    sys.exit()
signal.signal(signal.SIGTERM, start)
print(flush=True)
time.sleep(60)
"""

PROGRAMS = {
    "fgbench": JOB,
    "editor": SLEEP,
    "sleep/fgbench": SLEEP,
    "sleep/snakemake": SLEEP,
    "stubborn/fgbench": STUBBORN,
    "parent/snakemake": STARTS_A_JOB,
    "clear/snakemake": CLEARS,
    "clear/fgbench": CLEARS,
    "ending/fgbench": ENDS_AS_ANOTHER_STARTS,
}

Started = subprocess.Popen[str]


class Place:
    """A folder with a small workflow in it, and the processes that a test started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Started] = []
        folder.mkdir()
        self.write("Snakefile", SNAKEFILE)
        for name, text in PROGRAMS.items():
            self.write(f"tools/{name}", text)
        for config, results in {"config/config": "results", "other": "results-other"}.items():
            self.write(f"{config}.yaml", f"results: {results}\n")

    def write(self, name: str, text: str = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *command: str, cwd: str = ".", **environment: str) -> Started:
        """Start Python on a command, as leader of a group of its own."""
        clean = {name: value for name, value in os.environ.items() if name != MARK}
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder / cwd,
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def snakemake(self, *arguments: str, config: str = "config/config.yaml", **environment: str) -> Started:
        return self.start(
            "-m", "snakemake", "--cores", "2", "--configfile", config, *arguments, **environment
        )

    def study(self, results: str = "results", config: str = "config/config.yaml") -> Started:
        """Start a study; return when both of its jobs are half-way through a file."""
        process = self.snakemake(config=config)
        until(lambda: len(self.temporaries(results)) == 2)
        until(lambda: len(jobs_of(process)) == 6)
        return process

    def asleep(self, *command: str, **environment: str) -> Started:
        """Start one of the programs that say when they sleep; return when it does."""
        process = self.start(*command, **environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        return process

    def clear(self, results: str = "results", config: str = "config/config.yaml") -> list[str]:
        return clear_leftovers(self.folder, Path(results), config=self.folder / config)

    def temporaries(self, results: str = "results") -> list[Path]:
        """The half-written files."""
        return [path for path in self.folder.glob(f"{results}/**/.*.txt") if path.read_text("utf-8")]

    def locks(self) -> dict[str, str]:
        """Snakemake's lock files, with the files that they name."""
        return {path.name: path.read_text("utf-8") for path in self.folder.glob(".snakemake/locks/*.lock")}

    def lock(self, results: str = "results", index: int = 0) -> None:
        """Leave the lock of a study that is not there any more."""
        for kind in ("input", "output"):
            self.write(f".snakemake/locks/{index}.{kind}.lock", f"{results}/0.txt\n{results}/deep/er/1.txt\n")


@contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    """A place that is left without a process."""
    place = Place(folder)
    try:
        yield place
    finally:
        for process in place.started:
            with process:
                end_group(process)


def end_group(process: Started) -> None:
    """End a process that a test started, and what it started in its turn."""
    members = [one for one in psutil.process_iter() if group_of(one) == process.pid]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    until(lambda: not alive(members))


def group_of(process: psutil.Process) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(process.pid)
    return None


def kill(process: Started) -> None:
    """End a process alone, at once."""
    process.kill()
    process.wait(timeout=60)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited for in vain"
        time.sleep(0.02)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if is_alive(one)]


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def pids(processes: list[psutil.Process] | list[Started]) -> str:
    return ", ".join(str(pid) for pid in sorted(process.pid for process in processes))


def jobs_of(snakemake: Started) -> list[psutil.Process]:
    """The processes below a snakemake: of each job the shell, the Python and what that waits for."""
    return psutil.Process(snakemake.pid).children(recursive=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_place(tmp_path / "a folder") as place:
        yield place


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Started]]:
    """A place where a study is at work; no test ends it."""
    with a_place(tmp_path_factory.mktemp("at_work") / "folder") as place:
        yield place, place.study()


@pytest.fixture(scope="module")
def dead_mark() -> str:
    """The mark of a process that is no more."""
    script = "from fgbench.recovery import mark; print(mark())"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


# A killed study


def test_where_nothing_was_left_nothing_is_done(place: Place) -> None:
    assert place.clear() == []
    assert not (place.folder / "results").exists()


@pytest.mark.parametrize("end", [kill, end_group], ids=["snakemake alone", "its whole group"])
def test_a_killed_study_is_cleared_away_and_runs_again(place: Place, end: Callable[[Started], None]) -> None:
    snakemake = place.study()
    jobs = jobs_of(snakemake)
    end(snakemake)
    orphans, temporaries = alive(jobs), place.temporaries()
    assert len(orphans) == (6 if end is kill else 0)
    assert len(temporaries) == len(place.locks()) == 2

    done = place.clear()

    told = [f"ended the jobs that a killed study left: processes {pids(orphans)}"] if orphans else []
    *first, last = done
    assert first == [*told, "removed the lock that a killed study left"]
    assert all(str(path.relative_to(place.folder / "results")) in last for path in temporaries)
    assert not alive(jobs)
    assert not place.temporaries()
    assert not place.locks()
    assert place.clear() == []

    place.write("finish")
    again = place.snakemake("--rerun-incomplete")
    printed, _ = again.communicate(timeout=60)
    assert again.returncode == 0, printed
    assert (place.folder / "results/deep/er/1.txt").read_text("utf-8") == "done"
    assert not place.locks()


def test_before_a_study_leaves_its_name_it_is_known_by_its_command(place: Place) -> None:
    snakemake = place.snakemake(SLOW_START="1")
    until(lambda: len(place.locks()) == 2)
    with pytest.raises(
        ResultError, match=rf"at work on these results: process {snakemake.pid}, since .*snakemake"
    ):
        place.clear()
    assert not (place.folder / "results" / OWNER).exists()
    kill(snakemake)
    assert place.clear() == ["removed the lock that a killed study left"]
    assert not place.locks()


def test_a_lock_that_cannot_be_removed_is_told_with_what_snakemake_says(place: Place) -> None:
    place.lock()
    place.write("Snakefile", 'raise ValueError("broken workflow")')
    with pytest.raises(ResultError, match=r"cannot be removed\. `.* --unlock .*(?s:.*)broken workflow"):
        place.clear()
    assert place.locks()


# A study at work


def test_a_study_at_work_is_named(at_work: tuple[Place, Started]) -> None:
    place, snakemake = at_work
    jobs, locks = jobs_of(snakemake), place.locks()
    with pytest.raises(ResultError) as raised:
        place.clear()
    message = str(raised.value)
    assert f"process {snakemake.pid}, since " in message
    assert (
        f", in {place.folder}: `{sys.executable} -m snakemake --cores 2 --configfile config/config.yaml`"
        in message
    )
    assert f"`kill {snakemake.pid}` and run again: finished work is kept." in message
    assert len(alive(jobs)) == 6
    assert len(place.temporaries()) == 2
    assert place.locks() == locks


def test_a_study_at_work_is_respected_when_a_neighbours_end_took_its_lock(
    at_work: tuple[Place, Started],
) -> None:
    place, snakemake = at_work
    lock, aside = place.folder / ".snakemake/locks", place.folder / "aside"
    lock.rename(aside)
    try:
        with pytest.raises(ResultError, match=f"process {snakemake.pid}"):
            place.clear()
    finally:
        aside.rename(lock)


def test_a_study_at_work_elsewhere_on_the_same_results_is_respected(
    at_work: tuple[Place, Started], place: Place
) -> None:
    busy, snakemake = at_work
    with pytest.raises(ResultError, match=rf"process {snakemake.pid}, .* in {re.escape(str(busy.folder))}: "):
        place.clear(results=str(busy.folder / "results"))


def test_a_neighbour_at_work_keeps_its_lock_and_its_jobs(at_work: tuple[Place, Started]) -> None:
    place, snakemake = at_work
    jobs, locks = jobs_of(snakemake), place.locks()
    killed = place.study("results-other", "other.yaml")
    left = jobs_of(killed)
    kill(killed)
    assert len(place.locks()) == len(locks) + 2

    assert len(place.clear("results-other", "other.yaml")) == 3

    assert not alive(left)
    assert not place.temporaries("results-other")
    assert place.locks() == locks
    assert len(alive(jobs)) == 6
    assert len(place.temporaries()) == 2


def test_a_study_leaves_its_name_and_no_command_line(at_work: tuple[Place, Started]) -> None:
    place, snakemake = at_work
    owner = json.loads((place.folder / "results" / OWNER).read_text("utf-8"))
    assert (owner["host"], owner["pid"], owner["folder"]) == (host_name(), snakemake.pid, str(place.folder))
    assert owner.keys() == {"host", "pid", "born", "since", "folder"}


AT_WORK = {
    "by its default config": ["tools/sleep/snakemake", "--cores", "4"],
    "by a config of that name": ["tools/sleep/snakemake", "--configfile", "config/config.yaml", "-p"],
    "by one of two configs": [
        "tools/sleep/snakemake",
        "--configfiles",
        "other.yaml",
        "config/../config/config.yaml",
    ],
    "after Python's own options": [
        "-X",
        "dev",
        "-u",
        "tools/sleep/snakemake",
        "--configfile=config/config.yaml",
    ],
    "with a value that looks like a flag": ["tools/sleep/snakemake", "-Rtrain", "--jobs", "2"],
}


@pytest.mark.parametrize("command", AT_WORK.values(), ids=AT_WORK)
def test_a_snakemake_that_runs_the_study_is_at_work(place: Place, command: list[str]) -> None:
    place.lock()
    process = place.asleep(*command)
    with pytest.raises(ResultError, match=f"process {process.pid}"):
        place.clear()
    assert place.locks()


NOT_AT_WORK = [
    *(
        ["tools/sleep/snakemake", flag]
        for flag in ("--lint", "--dry-run", "-n", "-np", "-pn", "--unlock", "--summary")
    ),
    ["tools/sleep/snakemake", "--configfile", "other.yaml"],
    ["tools/sleep/snakemake", "--mode", "subprocess"],
    ["tools/editor", "snakemake"],
    ["-c", SLEEP, "snakemake"],
]


def test_what_only_looks_at_a_study_is_not_at_work(place: Place) -> None:
    place.lock()
    place.lock("results-other", 1)
    looking = [place.asleep(*command) for command in NOT_AT_WORK]
    looking.append(place.asleep("../tools/sleep/snakemake", "--cores", "4", cwd="config"))
    assert place.clear() == ["removed the lock that a killed study left"]
    assert [process.poll() for process in looking] == [None] * len(looking)
    assert place.locks().keys() == {"1.input.lock", "1.output.lock"}


@pytest.mark.parametrize("command", ["snakemake", "fgbench"])
def test_who_clears_is_neither_at_work_nor_an_orphan_nor_is_who_started_it(
    place: Place, dead_mark: str, command: str
) -> None:
    place.lock()
    place.lock("results-other", 1)
    process = place.start(f"tools/clear/{command}", "results/0.txt", **{MARK: dead_mark})
    printed, _ = process.communicate(timeout=60)
    assert printed == "['removed the lock that a killed study left']\n"
    assert process.returncode == 0


def test_a_study_that_starts_while_orphans_end_keeps_its_lock(place: Place, dead_mark: str) -> None:
    place.lock()
    place.asleep("tools/ending/fgbench", "results/0.txt", **{MARK: dead_mark})
    with pytest.raises(ResultError, match=r"at work on these results: .* tools/sleep/snakemake --cores 4`"):
        place.clear()
    assert place.locks()


def test_a_neighbours_lock_that_names_a_file_it_reads_here_is_left(place: Place) -> None:
    names = "results-other/0.txt\nresults-other/1.txt\nresults/0.txt\n"
    place.write(".snakemake/locks/0.input.lock", names)
    assert place.clear() == []
    assert place.locks() == {"0.input.lock": names}


# A study on another machine


def recorded(place: Place, **changes: object) -> None:
    """Leave the name of a process in the results: of one on another machine, by default."""
    owner = {"host": "elsewhere", "pid": 4711, "born": 1.5, "since": "yesterday", "folder": "/far"}
    place.write(f"results/{OWNER}", json.dumps(owner | changes))


def test_a_lock_of_another_machine_is_left_with_a_way_out(place: Place) -> None:
    place.lock()
    recorded(place)
    with pytest.raises(ResultError) as raised:
        place.clear()
    message = str(raised.value)
    assert "another machine, elsewhere: process 4711, since yesterday, in /far" in message
    assert f"`snakemake --unlock --configfile '{place.folder}/config/config.yaml'`, then run again" in message
    assert len(place.locks()) == 2


def test_without_a_lock_the_name_of_another_machine_says_nothing(place: Place) -> None:
    recorded(place)
    assert place.clear() == []


def test_a_name_whose_process_is_dead_holds_no_lock_though_another_has_its_id(place: Place) -> None:
    place.lock()
    place.lock("results-other", 1)
    process = place.asleep("tools/editor")
    recorded(place, host=host_name(), pid=process.pid)
    assert place.clear() == ["removed the lock that a killed study left"]
    assert process.poll() is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": "elsewhere", "pid": "4711x"}', "\x00"])
def test_a_damaged_name_holds_no_lock(place: Place, text: str) -> None:
    place.lock()
    place.lock("results-other", 1)
    place.write(f"results/{OWNER}", text)
    assert place.clear() == ["removed the lock that a killed study left"]


# Processes that look alike

ORPHAN = ("tools/sleep/fgbench", "train", "--output", "results/0.txt")


def test_only_jobs_of_a_dead_study_of_these_results_are_ended(place: Place, dead_mark: str) -> None:
    place.write("elsewhere/results/0.txt")
    host, pid, born = dead_mark.split("-")
    reused = f"{host_name()}-{os.getpid()}-{born}"
    ours = [
        place.asleep(*ORPHAN, **{MARK: dead_mark}),
        place.asleep(*ORPHAN, **{MARK: reused}),
        place.asleep(*ORPHAN[:-1], str(place.folder / "results/a b.txt"), **{MARK: dead_mark}),
    ]
    others = {
        "a job by hand": place.asleep(*ORPHAN),
        "one of a study that lives": place.asleep(*ORPHAN, **{MARK: mark()}),
        "one of other results": place.asleep(*ORPHAN[:-1], "results-other/0.txt", **{MARK: dead_mark}),
        "one in another folder": place.asleep(
            str(place.folder / ORPHAN[0]), *ORPHAN[1:], cwd="elsewhere", **{MARK: dead_mark}
        ),
        "another program": place.asleep("tools/editor", "results/0.txt", **{MARK: dead_mark}),
        "one of another machine": place.asleep(*ORPHAN, **{MARK: f"elsewhere-{pid}-{born}"}),
        "one with another mark": place.asleep(*ORPHAN, **{MARK: "1"}),
        "one below a snakemake that lives": place.asleep("tools/parent/snakemake", **{MARK: dead_mark}),
    }
    assert host == host_name()
    assert place.clear() == [f"ended the jobs that a killed study left: processes {pids(ours)}"]
    assert [process.wait(timeout=60) for process in ours] == [-signal.SIGTERM] * len(ours)
    assert [name for name, process in others.items() if process.poll() is not None] == []
    assert len(jobs_of(others["one below a snakemake that lives"])) == 1


def test_a_job_that_does_not_end_when_asked_is_killed(
    place: Place, dead_mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "GRACE_S", 0.2)
    process = place.asleep("tools/stubborn/fgbench", "train", "results/0.txt", **{MARK: dead_mark})
    assert len(place.clear()) == 1
    assert process.wait(timeout=60) == -signal.SIGKILL


# Half-written files


def test_only_half_written_files_of_dead_processes_of_this_host_are_removed(
    place: Place, dead_mark: str
) -> None:
    host, dead, _ = dead_mark.split("-")
    kept = [
        f".0-{host}-{os.getpid()}-abcdefgh.json",
        f".0-elsewhere-{dead}-abcdefgh.json",
        f"0-{host}-{dead}-abcdefgh.json",
        f".0-{host}-{dead}.json",
        ".snakemake_timestamp",
        "tables/.snakemake_timestamp",
        "0.json",
    ]
    removed = [
        f".0-{host}-{dead}-abcdefgh.json",
        f"tables/.runs-of-{host}-1-{host}-{dead}-abcd_123",
        f".nested/.a.b-c-{host}-{dead}-abcd_123.parquet",
    ]
    for name in (*kept, *removed):
        place.write(f"results/{name}", "half")
    beside = place.write(removed[0], "half")
    done = place.clear()
    assert len(done) == 1
    assert all(name in done[0] for name in removed)
    left = [path for path in (place.folder / "results").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(place.folder / "results")) for path in left) == sorted(kept)
    assert beside.exists()
