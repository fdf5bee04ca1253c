"""The package's own source text enters; registries' names and content hashes leave. It imports none of it.

Reading the text instead of importing it keeps torch, a second or more, out of whoever only checks a config.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent

REGISTRIES = {
    "dataset": ("datasets", "DATASETS"),
    "model": ("models", "MODELS"),
    "estimator": ("estimators", "ESTIMATORS"),
    "tangents": ("tangents", "TANGENTS"),
    "optimizer": ("optimizers", "OPTIMIZERS"),
    "schedule": ("optimizers", "SCHEDULES"),
}
"""Where each family keeps its dict literal: module and name."""


@dataclass(frozen=True)
class Signature:
    """What a registered function asks for: arguments without a default, and options (after `*`)."""

    required: tuple[str, ...]
    options: tuple[str, ...]


def registered(family: str) -> tuple[str, ...]:
    """Return the names in a family's registry, in its order.

    >>> registered("estimator")[:2]
    ('backprop', 'checkpointed_backprop')
    """
    return tuple(_registry(family))


def signature(family: str, name: str) -> Signature:
    """Return the signature of a registered function that stands in its registry's own module.

    >>> signature("model", "mlp").options
    ('hidden_widths',)
    """
    function = _definitions(REGISTRIES[family][0])[_registry(family)[name]]
    if not isinstance(function, ast.FunctionDef):
        raise TypeError(f"{family} {name}: the registry's value is no function of its module")
    positional = function.args.posonlyargs + function.args.args
    required = positional[: len(positional) - len(function.args.defaults)]
    return Signature(
        tuple(argument.arg for argument in required),
        tuple(argument.arg for argument in function.args.kwonlyargs),
    )


def code_hash(command: str) -> str:
    """Return a hash of the code that a command, or another function of `cli`, runs.

    That are the parts of `cli` it uses, and whole modules below.

    Changes with any edit of that code, and with no other; the time of a file plays no part.

    >>> code_hash("train") == code_hash("tables")
    False
    """
    texts, modules = _reachable(command)
    for module in sorted(_imported_by(modules)):
        texts.append(f"{module}\n{_path(module).read_text(encoding='utf-8')}")
    return _digest(texts)


def folder_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return _digest(
        [f"{path.relative_to(folder)}\n{content}" for path, content in zip(files, contents, strict=True)]
    )


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield the modules of this package that a piece of source imports, by their names below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fgbench"):
            base = node.module.removeprefix("fgbench").removeprefix(".")
            yield from (base,) if base else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("fgbench.")
                for alias in node.names
                if alias.name.startswith("fgbench.")
            )


def _registry(family: str) -> dict[str, str]:
    """Return a registry's names, each with the name of its function."""
    module, variable = REGISTRIES[family]
    literal = getattr(_definitions(module)[variable], "value", None)
    if not isinstance(literal, ast.Dict):
        raise TypeError(f"{module}.{variable}: a registry is a dict literal")
    return {
        str(ast.literal_eval(key)): ast.unparse(value)
        for key, value in zip(literal.keys, literal.values, strict=True)
        if key is not None
    }


def _tree(module: str) -> ast.Module:
    return _parsed(_path(module).read_text(encoding="utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _path(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return a module's top-level functions, classes, variables and imports by name."""
    return {name: definition for node in _tree(module).body for name, definition in _defined(node)}


def _defined(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a statement defines, by name; of an import of several names, each name's own part."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name, node
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, ast.ImportFrom(node.module, [alias], node.level)
    elif isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name, ast.Import([alias])) for alias in node.names)


def _reachable(command: str) -> tuple[list[str], set[str]]:
    """Return the pieces of `cli` that its function `command` uses, as text, and the modules they import."""
    definitions = _definitions("cli")
    texts: dict[str, str] = {}
    modules: set[str] = set()
    waiting = [command]
    while waiting:
        name = waiting.pop()
        if name in texts or name not in definitions:
            continue
        node = definitions[name]
        texts[name] = ast.unparse(node)
        modules |= set(imports_of(node))
        waiting += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    return [texts[name] for name in sorted(texts)], modules


def _imported_by(modules: set[str]) -> set[str]:
    """Return these modules and all that they import, at any depth."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports_of(_tree(module))
    return found


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
