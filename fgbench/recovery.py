"""What a killed study left in its folder: told apart from a study at work, then ended, unlocked and removed.

Only what is certainly this study's is touched: a process is known by the mark that its snakemake set, by the folder
it works in and by the results that it names; a lock by the files that it names; a file by the process in its name.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil

from fgbench.errors import ResultError
from fgbench.storage import host_name, write_text

MARK = "FGBENCH_STUDY"
"""The environment variable by which a study's jobs are known."""

OWNER = ".study.json"
"""The file in the results that names the process that makes them."""

GRACE_S = 5.0
"""How long a job may take to end when it is asked to, before it is killed."""


def mark() -> str:
    """Return what tells this process from every other one, past and to come: its host, id and start."""
    return _Identity.of(psutil.Process()).text


def mark_owner(folder: Path, results: Path) -> None:
    """Write into the results which process makes them: this one, at work in `folder`."""
    process = psutil.Process()
    # No command line, which may hold a password: a process that lives tells its own.
    owner = {**asdict(_Identity.of(process)), "since": _since(process), "folder": str(_real(folder))}
    write_text(folder / results / OWNER, json.dumps(owner, indent=1) + "\n")


def clear_leftovers(folder: Path, results: Path, *, config: Path) -> list[str]:
    """Return what was done: a study's folder enters; what a killed study left there is gone.

    That is its jobs that still run, its lock, and half-written files. Raises ResultError, which names the process,
    where a study is at work on these results: then nothing was touched.
    """
    study = _Study(_real(folder), _real(folder / results), config)
    _require_nobody_at_work(study)
    return [*_end_orphans(study), *_remove_lock(study), *_remove_temporaries(study)]


@dataclass(frozen=True)
class _Study:
    """Where a study lies: real paths, but for the config, which is shown as it was given."""

    folder: Path
    results: Path
    config: Path


@dataclass(frozen=True)
class _Identity:
    """A process, and no later one of the same id: `born` counts seconds from the machine's start."""

    host: str
    pid: int
    born: float

    @classmethod
    def of(cls, process: psutil.Process) -> _Identity:
        # Both times move when the clock is set; their difference does not.
        return cls(host_name(), process.pid, round(process.create_time() - psutil.boot_time(), 2))

    @classmethod
    def parse(cls, text: str) -> _Identity | None:
        found = re.fullmatch(r"([A-Za-z0-9._]+)-(\d+)-(-?\d+\.\d+)", text)
        return cls(found[1], int(found[2]), float(found[3])) if found else None

    @property
    def text(self) -> str:
        return f"{self.host}-{self.pid}-{self.born}"

    @property
    def is_here(self) -> bool:
        return self.host == host_name()

    def process(self) -> psutil.Process | None:
        """Return the process where it is alive on this host."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if _is_alive(process) and _Identity.of(process) == self:
                return process
        return None


@dataclass(frozen=True)
class _Owner:
    """Who made a study's results last, as recorded beside them."""

    identity: _Identity
    since: str
    folder: str


def _require_nobody_at_work(study: _Study) -> None:
    """Raise ResultError, which names the process, where a study is at work on these results."""
    owner, ourselves = _recorded_owner(study), _ourselves()
    for process, folder in _at_work(study, owner):
        if process.pid not in ourselves:
            raise ResultError(
                f"{study.results}: a study is at work on these results: process {process.pid}, since "
                f"{_since(process)}, in {folder}: `{_command(process)}`. Wait for it, or end it with "
                f"`kill {process.pid}` and run again: finished work is kept."
            )
    if owner and not owner.identity.is_here and _locks(study):
        raise ResultError(
            f"{study.results}: locked by a study on another machine, {owner.identity.host}: process "
            f"{owner.identity.pid}, since {owner.since}, in {owner.folder}; whether it is at work cannot be seen "
            f"from here. Wait for it, or end it there. If it no longer runs there, `snakemake --unlock "
            f"--configfile {shlex.quote(str(study.config))}`, then run again: finished work is kept."
        )


def _at_work(study: _Study, owner: _Owner | None) -> Iterator[tuple[psutil.Process, str]]:
    """Yield the processes of this host that make these results, each with its folder."""
    # With a lock or without: Snakemake takes all locks of a folder away when any of the studies in it ends.
    if owner and (process := owner.identity.process()):
        yield process, owner.folder
    # A snakemake holds its lock some moments before it leaves its name.
    for process in psutil.process_iter() if _locks(study) else ():
        with suppress(psutil.Error):
            if Path(process.cwd()) == study.folder and _runs_study(process.cmdline(), study):
                yield process, str(study.folder)


def _recorded_owner(study: _Study) -> _Owner | None:
    """Return who made these results last, or None where no name was left that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        owner = json.loads((study.results / OWNER).read_text(encoding="utf-8"))
        identity = _Identity(str(owner["host"]), int(owner["pid"]), float(owner["born"]))
        return _Owner(identity, str(owner["since"]), str(owner["folder"]))
    return None


_LOOKS = {
    *("--lint", "--dry-run", "--dryrun", "--unlock", "--summary", "-S", "--detailed-summary", "-D", "-l"),
    *("--list", "--list-rules", "--list-target-rules", "--lt", "--dag", "--rulegraph", "--filegraph"),
    *("--version", "-v", "--help", "-h"),
}
"""With one of these snakemake makes nothing; nor with a dry run's -n, which may stand among other letters: -np."""


def _runs_study(command: list[str], study: _Study) -> bool:
    """Whether a command line, given in the study's folder, is the snakemake that runs the study."""
    arguments = _snakemake_arguments(command)
    if arguments is None or any(_only_looks(argument) for argument in arguments):
        return False
    configs = _config_files(arguments) or ["config/config.yaml"]
    return _real(study.config) in [_real(study.folder / config) for config in configs]


def _only_looks(argument: str) -> bool:
    return argument.partition("=")[0] in _LOOKS or bool(re.fullmatch("-[pkfFta]*n[pkfFtan]*", argument))


def _snakemake_arguments(command: list[str]) -> list[str] | None:
    """Return what a user's snakemake was given, or None where the command is another, or one job of a study.

    >>> _snakemake_arguments(["/usr/bin/python3", "-W", "error", "-m", "snakemake", "--cores", "4"])
    ['--cores', '4']
    >>> _snakemake_arguments(["tail", "-f", "snakemake"])
    """
    if command and Path(command[0]).name.startswith("python"):
        command = _after_interpreter(command[1:])
    is_snakemake = bool(command) and Path(command[0]).name == "snakemake"
    return command[1:] if is_snakemake and "--mode" not in command else None


def _after_interpreter(arguments: list[str]) -> list[str]:
    """Return the script or module that Python's arguments name, and what follows."""
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("-m", "-c"):
        arguments = arguments[2 if arguments[0] in ("-W", "-X") else 1 :]
    return arguments[1:] if arguments[:1] == ["-m"] else arguments


def _config_files(arguments: list[str]) -> list[str]:
    """Return the config files that snakemake's arguments name.

    >>> _config_files(["--configfile", "a.yaml", "b.yaml", "--cores", "4", "--configfiles=c.yaml"])
    ['a.yaml', 'b.yaml', 'c.yaml']
    """
    files, takes = [], False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if argument.startswith("-"):
            takes = name in ("--configfile", "--configfiles")
            files += [value] if takes and value else []
        elif takes:
            files.append(argument)
    return files


def _end_orphans(study: _Study) -> list[str]:
    """End the processes that a killed study left; return a sentence about them."""
    orphans = _orphans(study)
    for process in orphans:
        with suppress(psutil.Error):
            process.terminate()
    for process in _still_alive(orphans, wait_s=GRACE_S):
        with suppress(psutil.Error):
            process.kill()
    if left := _still_alive(orphans, wait_s=GRACE_S):
        raise ResultError(
            f"{study.results}: a killed study left jobs that cannot be ended: processes {_pids(left)}. End them "
            f"as the user who started them, with `kill -9`, and run again: finished work is kept."
        )
    return [f"ended the jobs that a killed study left: processes {_pids(orphans)}"] if orphans else []


def _orphans(study: _Study) -> list[psutil.Process]:
    """Return the marked processes that name the study's files, with those above and below that are marked too.

    A job is a shell and the Python below it; what a job starts in its turn may name no files.
    """
    lost = [process for process in psutil.process_iter() if _has_lost_its_study(process, study)]
    families: set[int] = set()
    for process in lost:
        with suppress(psutil.Error):
            if _names_results(process, study):
                relatives = [process, *process.parents(), *process.children(recursive=True)]
                families |= {relative.pid for relative in relatives}
    families -= _ourselves()
    return [process for process in lost if process.pid in families]


def _has_lost_its_study(process: psutil.Process, study: _Study) -> bool:
    """Whether a process works in the study's folder for a snakemake of this host that is dead."""
    with suppress(psutil.Error):
        lost = _Identity.parse(process.environ().get(MARK, ""))
        if lost and lost.is_here and not lost.process() and Path(process.cwd()) == study.folder:
            # From outside a container a snakemake has another id than it has for itself: so look above, too.
            return all(_snakemake_arguments(parent.cmdline()) is None for parent in process.parents())
    return False


def _names_results(process: psutil.Process, study: _Study) -> bool:
    """Whether a process is fgbench's, or the shell of one, and is given a path within the study's results."""
    words = list(_words(process.cmdline()))
    is_ours = any(Path(word).name == "fgbench" for word in words)
    return is_ours and any(_lies_in(study.results, study.folder / word) for word in words)


def _words(command: list[str]) -> Iterator[str]:
    """Yield the arguments of a command, and the words within each: a shell is given its command as one.

    >>> list(_words(["bash", "-c", "fgbench data"]))
    ['bash', 'bash', '-c', '-c', 'fgbench data', 'fgbench', 'data']
    """
    for argument in command:
        yield argument
        try:
            yield from shlex.split(argument)
        except ValueError:  # a quote without its twin
            yield from argument.split()


def _still_alive(processes: list[psutil.Process], *, wait_s: float) -> list[psutil.Process]:
    """Return the processes that are alive after `wait_s` seconds, or none as soon as none is."""
    # Not psutil.wait_procs: where nobody collects orphans, as in many containers, it waits for the dead.
    end = time.monotonic() + wait_s
    while (alive := [process for process in processes if _is_alive(process)]) and time.monotonic() < end:
        time.sleep(0.02)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _ourselves() -> set[int]:
    """Return the ids of this process and of those above it."""
    process = psutil.Process()
    return {process.pid, *(parent.pid for parent in process.parents())}


def _remove_lock(study: _Study) -> list[str]:
    """Remove the lock, which no living process holds; return a sentence about it."""
    if not (locks := _locks(study)):
        return []
    _require_nobody_at_work(study)  # again: jobs may have taken seconds to end
    if len(locks) == len(_locks_of_folder(study)):
        _unlock_folder(study)
    else:  # `snakemake --unlock` removes every lock of the folder, a neighbour's too
        for lock in locks:
            lock.unlink(missing_ok=True)
    return ["removed the lock that a killed study left"]


def _unlock_folder(study: _Study) -> None:
    config = str(_real(study.config))
    command = [sys.executable, "-m", "snakemake", "--unlock", "--configfile", config, "--cores", "1"]
    ran = subprocess.run(command, cwd=study.folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ResultError(
            f"{study.folder}: the lock that a killed study left cannot be removed. `{shlex.join(command)}` "
            f"says:\n{(ran.stderr or ran.stdout).strip()}"
        )


def _locks(study: _Study) -> list[Path]:
    """Return the study's own lock files."""
    return [lock for lock in _locks_of_folder(study) if _locks_results(lock, study)]


def _locks_of_folder(study: _Study) -> list[Path]:
    return sorted((study.folder / ".snakemake" / "locks").glob("*.lock"))


def _locks_results(lock: Path, study: _Study) -> bool:
    """Whether most of the files that a lock names are the study's: a neighbour's may name one that it reads."""
    try:
        names = lock.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # gone: its study has just ended
        return False
    return 2 * sum(_lies_in(study.results, study.folder / name) for name in names) > len(names)


_TEMPORARY = re.compile(r"\..*-(?P<host>[A-Za-z0-9._]+)-(?P<pid>\d{1,9})-[a-z0-9_]{8}(\.[^.]*)?", re.DOTALL)
"""The name that `storage` gives to a file while it is written."""


def _remove_temporaries(study: _Study) -> list[str]:
    """Remove the half-written files of this host's dead processes; return a sentence about them."""
    left = [path for path in sorted(study.results.rglob(".*")) if _has_lost_its_writer(path)]
    if not left:
        return []
    try:
        for path in left:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ResultError(
            f"{error.filename}: a half-written file that a killed study left cannot be removed "
            f"({error.strerror}). Remove it, and run again: finished work is kept."
        ) from error
    names = ", ".join(str(path.relative_to(study.results)) for path in left)
    return [f"removed half-written files that a killed study left in {study.results}: {names}"]


def _has_lost_its_writer(path: Path) -> bool:
    named = _TEMPORARY.fullmatch(path.name)
    if not named or named["host"] != host_name() or not path.is_file():
        return False
    with suppress(psutil.NoSuchProcess):
        return not _is_alive(psutil.Process(int(named["pid"])))
    return True


def _lies_in(results: Path, path: Path) -> bool:
    return _real(path).is_relative_to(results)


def _real(path: Path) -> Path:
    # Not Path.resolve: it raises where a link leads back to itself.
    return Path(os.path.realpath(path))


def _since(process: psutil.Process) -> str:
    return datetime.fromtimestamp(process.create_time()).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return shlex.join(process.cmdline())
    return "its command is not told"


def _pids(processes: list[psutil.Process]) -> str:
    return ", ".join(str(process.pid) for process in processes)
