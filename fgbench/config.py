"""A config file enters; a checked study leaves: its cells, their settings and their chunks of seeds. No torch."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fgbench.errors import ConfigError
from fgbench.sources import registered, signature
from fgbench.types import Json

SCHEMA = Path(__file__).parents[1] / "workflow" / "schemas" / "config.schema.yaml"


@dataclass(frozen=True)
class Cell:
    """A data set, a model and a method: what is trained at every seed."""

    dataset: str
    model: str
    method: str


def read_config(path: Path) -> Json:
    """Return a checked config.

    Raises ConfigError where the file cannot be read, is not a mapping, or does not describe a study.
    """
    return checked(read_yaml(path), source=str(path))


def read_yaml(path: Path) -> Any:
    """Return a YAML file's value.

    Raises ConfigError where it cannot be read, or gives a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config. Copy config/config.yaml, the commented manual of a study.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None


def checked(config: Any, *, source: str = "config") -> Json:
    """Return the config as plain values.

    Raises ConfigError with every complaint: the key, the value received, what is accepted.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"{source}: a mapping of keys to values was expected, a {type(config).__name__} found. "
            "Start from config/config.yaml, the commented manual of a study."
        )
    plain = _plain(config)
    # Names are looked at only in a config of the right shape, and how parts fit only where all names are known.
    stages = (_shape_complaints, _name_complaints, _study_complaints)
    complaints = next((found for found in (list(stage(plain)) for stage in stages) if found), [])
    if complaints:
        lines = "\n".join(f"  {complaint}" for complaint in complaints)
        raise ConfigError(f"{source} does not describe a study:\n{lines}\nconfig/config.yaml explains every key.")
    return plain


def cells(config: Json) -> list[Cell]:
    """Return every experiment with every method, in the config's order."""
    return [
        Cell(experiment["dataset"], experiment["model"], method)
        for experiment in config["experiments"]
        for method in config["methods"]
    ]


def cell_settings(config: Json, cell: Cell) -> Json:
    """Return all that decides a cell's runs, its data and seeds apart: the arguments of `training.Settings`."""
    experiment = next(e for e in config["experiments"] if (e["dataset"], e["model"]) == (cell.dataset, cell.model))
    method = dict(config["methods"][cell.method])
    return {
        **{key: value for key, value in experiment.items() if key not in ("dataset", "model")},
        "model": {"name": cell.model, **config["models"][cell.model]},
        "tangents": method.pop("tangents", None),
        "num_tangents": method.pop("num_tangents", None),
        "learning_rate": _rate(method.pop("learning_rate"), cell.dataset, cell.model),
        "estimator": {"name": method.pop("estimator"), **method},
    }


def chunks(config: Json, seeds: Iterable[int]) -> dict[int, list[int]]:
    """Return seeds by chunk, the seeds of one job: chunk c holds those from c · seeds_per_job on.

    The chunk hangs on the seed's value alone, so adding a seed leaves every other chunk as it was.

    >>> chunks({"seeds_per_job": 5}, [0, 1, 7, 5])
    {0: [0, 1], 1: [5, 7]}
    """
    found: dict[int, list[int]] = {}
    for seed in sorted(seeds):
        found.setdefault(seed // config["seeds_per_job"], []).append(seed)
    return found


def data_settings(config: Json, dataset: str) -> Json:
    """Return what decides which data a data set's name stands for."""
    stand_ins = config["data"]["stand_ins"]
    return {
        "folder": config["data"]["folder"],
        "mirrors": config["data"]["mirrors"],
        "stand_ins": stand_ins if stand_ins is False else {dataset: stand_ins.get(dataset, [])},
    }


def split_settings(config: Json, dataset: str) -> Json:
    """Return what decides a data set's splits: its own sizes and those of its stand-ins, by true name."""
    stand_ins = config["data"]["stand_ins"]
    names = [dataset, *(stand_ins.get(dataset, []) if stand_ins else [])]
    return {"sizes": {name: config["datasets"][name] for name in names}, **config["splits"]}


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"key {key!r} is given twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _shape_complaints(config: Json) -> Iterator[str]:
    import jsonschema

    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda error: str(error.path)):
        inner = [e for e in error.context or () if e.path]
        yield _complaint(jsonschema.exceptions.best_match(inner) if inner else error)


def _complaint(error: Any) -> str:
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        accepted = list(error.schema["properties"])
        unknown = [key for key in error.instance if key not in accepted]
        return "; ".join(f"{where}unknown key {_choice(key, accepted)}" for key in unknown)
    if error.validator == "uniqueItems":
        twice = sorted({value for value in error.instance if error.instance.count(value) > 1})
        return f"{where}{', '.join(map(str, twice))} given more than once; each at most once is accepted"
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{where}missing {', '.join(missing)}"
    if error.validator in ("type", "oneOf") and isinstance(error.instance, str) and _is_number(error.instance):
        return f"{where}{error.instance!r} is a text to YAML; write a number with a dot and a sign, as in 1.0e-3"
    if "description" in error.schema:
        return f"{where}{error.instance!r} is not accepted; accepted: {error.schema['description']}"
    return f"{where}{error.message}"


def _dotted(path: Iterable[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return f"{''.join(parts).lstrip('.')}: " if parts else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _choice(received: Any, accepted: Iterable[str]) -> str:
    """Return "'received'; accepted: …", with the nearest accepted name where one is near."""
    names = list(accepted)
    near = difflib.get_close_matches(str(received), names, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{received!r}{guess}; accepted: {', '.join(names) or 'none'}"


def _name_complaints(config: Json) -> Iterator[str]:
    for family in ("dataset", "model"):
        for name in config[f"{family}s"]:
            if name not in registered(family):
                yield f"{family}s: unknown {family} {_choice(name, registered(family))}"
    for name, options in config["models"].items():
        yield from _option_complaints(f"models.{name}", "model", {"name": name, **options})
    for name, method in config["methods"].items():
        yield from _method_complaints(f"methods.{name}", method)
    for index, experiment in enumerate(config["experiments"]):
        yield from _experiment_complaints(f"experiments[{index}]", experiment, config)


def _study_complaints(config: Json) -> Iterator[str]:
    pairs = [(experiment["dataset"], experiment["model"]) for experiment in config["experiments"]]
    for twice in sorted({pair for pair in pairs if pairs.count(pair) > 1}):
        yield f"experiments: {'/'.join(twice)} stands there more than once; each pair at most once is accepted"
    strangers = [seed for seed in config["timed_seeds"] if seed not in config["seeds"]]
    if strangers:
        yield f"timed_seeds: {', '.join(map(str, strangers))} not among seeds; accepted: some of seeds"
    for name in {dataset for dataset, _ in pairs}:
        for stand_in in (config["data"]["stand_ins"] or {}).get(name, []):
            if stand_in not in config["datasets"]:
                accepted = _choice(stand_in, config["datasets"])
                yield f"data.stand_ins.{name}: {accepted} (the sizes of more can be given in datasets)"
    for name, method in config["methods"].items():
        if isinstance(method["learning_rate"], dict):
            yield from _rate_complaints(f"methods.{name}.learning_rate", method["learning_rate"], pairs)
    yield from _folder_complaints(config["results"])


def _folder_complaints(results: str) -> Iterator[str]:
    folder = Path(results)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield f"results: {results!r} cannot be a folder, {str(existing)!r} is a file; name another place"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield f"results: {results!r} cannot be written, {str(existing)!r} is read-only; name another place"


def _experiment_complaints(where: str, experiment: Json, config: Json) -> Iterator[str]:
    for family in ("dataset", "model"):
        name = experiment[family]
        if name not in config[f"{family}s"]:
            yield f"{where}.{family}: unknown {family} {_choice(name, config[f'{family}s'])}"
    for family in ("optimizer", "schedule"):
        yield from _option_complaints(f"{where}.{family}", family, experiment[family])
    if experiment["schedule"] == {"name": "exponential", "final_fraction": 0}:
        yield f"{where}.schedule.final_fraction: 0 is out of an exponential's reach; accepted: above 0, up to 1"


def _rate_complaints(where: str, rates: Json, experiments: Iterable[tuple[str, str]]) -> Iterator[str]:
    pairs = ["/".join(experiment) for experiment in experiments]
    for pair in pairs:
        if pair not in rates:
            yield f"{where}: no rate for {pair}; add a line `{pair}: RATE`"
    for pair in rates:
        if pair not in pairs:
            yield f"{where}: {_choice(pair, pairs)}"


def _method_complaints(where: str, method: Json) -> Iterator[str]:
    if method["estimator"] not in registered("estimator"):
        yield f"{where}.estimator: unknown estimator {_choice(method['estimator'], registered('estimator'))}"
        return
    needs_tangents = "tangents" in signature("estimator", method["estimator"]).required
    for key in ("tangents", "num_tangents"):
        if needs_tangents and key not in method:
            yield f"{where}.{key}: missing; estimator {method['estimator']!r} draws tangents"
        if not needs_tangents and key in method:
            yield f"{where}.{key}: estimator {method['estimator']!r} draws no tangents; remove the key"
    if "tangents" in method and method["tangents"] not in registered("tangents"):
        yield f"{where}.tangents: unknown tangents {_choice(method['tangents'], registered('tangents'))}"
    own = {key: value for key, value in method.items() if key not in _METHOD_KEYS}
    yield from _option_complaints(where, "estimator", {"name": method["estimator"], **own}, _METHOD_KEYS)


def _option_complaints(where: str, family: str, choice: Json, known: tuple[str, ...] = ("name",)) -> Iterator[str]:
    """Complain of options that a registered function does not take, or lacks."""
    name = choice["name"]
    if name not in registered(family):
        if family in ("optimizer", "schedule"):
            yield f"{where}: unknown {family} {_choice(name, registered(family))}"
        return
    options = signature(family, name).options
    for key in choice:
        if key != "name" and key not in options:
            yield f"{where}: unknown key {_choice(key, (*known, *options))}"
    for key in options:
        if key not in choice:
            yield f"{where}: missing {key}, an option of {family} {name!r}"


def _rate(rate: Any, dataset: str, model: str) -> float:
    """Return a method's learning rate for a data set and model: one for all, or the line "dataset/model"."""
    return float(rate[f"{dataset}/{model}"] if isinstance(rate, dict) else rate)


_METHOD_KEYS = ("estimator", "tangents", "num_tangents", "learning_rate")
