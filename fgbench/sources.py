"""The package's own source text enters; registries' names and content hashes leave. It imports none of it.

Reading the text instead of importing it keeps torch, a second or more, out of whoever only checks a config.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from fgbench.errors import ConfigError

PACKAGE = Path(__file__).parent

REGISTRIES = {
    "dataset": ("datasets", "DATASETS"),
    "model": ("models", "MODELS"),
    "estimator": ("estimators", "ESTIMATORS"),
    "tangents": ("tangents", "TANGENTS"),
    "optimizer": ("optimizers", "OPTIMIZERS"),
    "schedule": ("optimizers", "SCHEDULES"),
}
"""Where each family keeps its dict literal: module and name. A plugin's stands in its own file, by the same name."""

Plugins: TypeAlias = Sequence[str]
"""Paths of Python files outside the package that register more."""


@dataclass(frozen=True)
class Signature:
    """What a registered function asks for: arguments without a default, and options (after `*`)."""

    required: tuple[str, ...]
    options: tuple[str, ...]


def registered(family: str, plugins: Plugins = ()) -> tuple[str, ...]:
    """Return the names in a family's registry, in its order, then those of plugins.

    Raises ConfigError where a plugin cannot be read, or takes a name that is taken.

    >>> registered("estimator")[:2]
    ('backprop', 'checkpointed_backprop')
    """
    return tuple(_registry(family, tuple(plugins)))


def signature(family: str, name: str, plugins: Plugins = ()) -> Signature:
    """Return the signature of a registered function.

    >>> signature("model", "mlp").options
    ('hidden_widths',)
    """
    path, own_name = _registry(family, tuple(plugins))[name]
    function = _function(path, own_name)
    positional = function.args.posonlyargs + function.args.args
    required = positional[: len(positional) - len(function.args.defaults)]
    return Signature(
        tuple(argument.arg for argument in required),
        tuple(argument.arg for argument in function.args.kwonlyargs),
    )


def families_of(plugin: str) -> list[str]:
    """Return the families that a plugin adds to.

    Raises ConfigError where it cannot be read.
    """
    return [family for family, (_, variable) in REGISTRIES.items() if variable in _of_plugin(plugin)]


def plugins_hash(plugins: Plugins) -> str:
    """Return a hash of the plugins' content, whatever their places.

    Raises ConfigError where one cannot be read.
    """
    return _digest([_plugin_text(plugin) for plugin in plugins])


def code_hash(command: str) -> str:
    """Return a hash of the code that a command, or another function of `cli`, runs.

    That are the parts of `cli` it uses, and whole modules below, each with the data file of its name beside it.

    Changes with any edit of that code, and with no other; the time of a file plays no part.

    >>> code_hash("train") == code_hash("tables")
    False
    """
    texts, modules = _reachable(command)
    for module in sorted(_imported_by(modules)):
        for path in (_path(module), _path(module).with_suffix(".yaml")):
            if path.is_file():
                texts.append(f"{module}\n{path.read_text(encoding='utf-8')}")
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
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fgbench"):
            base = node.module.removeprefix("fgbench").removeprefix(".")
            yield from (base,) if base else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("fgbench.")
                for alias in node.names
                if alias.name.startswith("fgbench.")
            )


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield a piece of source and all statements in it: expressions, most of its nodes, import nothing."""
    yield tree
    for part in ("body", "handlers", "cases", "orelse", "finalbody"):
        for inner in getattr(tree, part, ()):
            yield from _statements(inner)


def _registry(family: str, plugins: tuple[str, ...]) -> dict[str, tuple[Path, str]]:
    """Return a registry's names, each with the file and the name of its function."""
    module, variable = REGISTRIES[family]
    found = _literal(_path(module), variable)
    for plugin in plugins:
        if variable not in _of_plugin(plugin):
            continue
        more = _literal(Path(plugin), variable)
        if taken := sorted(more.keys() & found.keys()):
            raise ConfigError(
                f"plugins: {plugin!r} registers {family} {taken[0]!r}, a name that is taken; give it another"
            )
        found |= more
    return found


def _literal(path: Path, variable: str) -> dict[str, tuple[Path, str]]:
    literal = getattr(_defined_in(path)[variable], "value", None)
    if not isinstance(literal, ast.Dict):
        raise ConfigError(f"{path}: {variable} is no registry; write a dict literal of names and functions")
    return {
        str(ast.literal_eval(key)): (path, ast.unparse(value))
        for key, value in zip(literal.keys, literal.values, strict=True)
        if key is not None
    }


def _function(path: Path, name: str) -> ast.FunctionDef:
    """Return a function that a file defines, or imports from this package."""
    node = _defined_in(path).get(name)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fgbench."):
        return _function(_path(str(node.module).removeprefix("fgbench.")), node.names[0].name)
    if not isinstance(node, ast.FunctionDef):
        raise ConfigError(f"{path}: {name} is registered, but is no function that this file defines")
    return node


def _of_plugin(plugin: str) -> dict[str, ast.stmt]:
    _plugin_text(plugin)
    return _defined_in(Path(plugin))


def _plugin_text(plugin: str) -> str:
    try:
        text = Path(plugin).read_text(encoding="utf-8")
        _parsed(text)
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(
            f"plugins: {plugin!r} cannot be read ({error}); accepted: Python files, from where the study is run"
        ) from None
    return text


def _tree_of(path: Path) -> ast.Module:
    return _parsed(path.read_text(encoding="utf-8"))


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def imports_in(text: str) -> tuple[str, ...]:
    """Return the modules of this package that a module's text imports: found by lines: to parse it takes far longer.

    >>> imports_in("from fgbench.svg import INK" + chr(10) + "from fgbench import axes, svg")
    ('svg', 'axes', 'svg')
    """
    found = []
    for base, names, module in _IMPORT.findall(text):
        found += [base] if base else [module] if module else _NAMES.findall(names)
    return tuple(found)


def _path(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _definitions(module: str) -> dict[str, ast.stmt]:
    """Return a module's top-level functions, classes, variables and imports by name."""
    return _defined_in(_path(module))


def _defined_in(path: Path) -> dict[str, ast.stmt]:
    return {name: definition for node in _tree_of(path).body for name, definition in _defined(node)}


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
            waiting += imports_in(_path(module).read_text(encoding="utf-8"))
    return found


_IMPORT = re.compile(
    r"^[ ]*(?:from fgbench(?:\.([\w.]+) import|( import (?:\([^)]*\)|.*)))|import fgbench\.([\w.]+))",
    re.MULTILINE,
)
_NAMES = re.compile(r"(?:import|[(,])\s*(\w+)")
"""What a line imports; and of `from fgbench import`, each name."""


def _digest(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
