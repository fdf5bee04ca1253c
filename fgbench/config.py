"""A config file enters; a checked study leaves: its cells, their settings and chunks of seeds. No torch."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from fgbench.digests import json_sha256
from fgbench.errors import ConfigError
from fgbench.sources import registered, signature
from fgbench.storage import write_text
from fgbench.types import Json
from fgbench.wording import address_text

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
        raise ConfigError(
            f"{path}: no such config. Copy config/config.yaml, the commented manual of a study."
        ) from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None


def checked(config: Any, *, source: str = "config") -> Json:
    """Return the config as plain values.

    Raises ConfigError with every complaint: the key, the value received, what is accepted.
    """
    if not isinstance(config, Mapping):
        found = "nothing" if config is None else f"a {type(config).__name__}"
        raise ConfigError(
            f"{source}: a mapping of keys to values was expected, {found} found. "
            "Start from config/config.yaml, the commented manual of a study."
        )
    try:
        plain: Json = _plain(config)
    except RecursionError:
        raise ConfigError(f"{source}: an alias holds itself; write its value out.") from None
    # Names are looked at only in a config of the right shape, how parts fit only where all names are known.
    stages = (_shape_complaints, _name_complaints, _study_complaints)
    complaints = next((found for found in (dict.fromkeys(stage(plain)) for stage in stages) if found), {})
    _refuse(complaints, f"{source} does not describe a study")
    return plain


def require_places(config: Json, *, source: str = "config") -> None:
    """Refuse a study that cannot run here: its results cannot be written, or a reference is missing.

    Raises ConfigError.
    """
    complaints = dict.fromkeys((*_folder_complaints(config["results"]), *_reference_complaints(config)))
    _refuse(complaints, f"{source}: this study cannot run here")


def write_config(path: Path, config: Json) -> None:
    """Write a checked config whole, as every command reads it."""
    write_text(path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def cells(config: Json) -> list[Cell]:
    """Return every experiment with every method, in the config's order."""
    return [
        Cell(experiment["dataset"], experiment["model"], method)
        for experiment in config["experiments"]
        for method in config["methods"]
    ]


def cell_settings(config: Json, cell: Cell) -> Json:
    """Return all that decides a cell's runs, its data and seeds apart: the arguments of `training.Settings`.

    Raises ConfigError where the study has no such cell.
    """
    if cell not in cells(config):
        names = ["/".join(astuple(known)) for known in cells(config)]
        raise ConfigError(f"unknown cell {_choice('/'.join(astuple(cell)), names)} (data set/model/method)")
    experiment = next(
        e for e in config["experiments"] if (e["dataset"], e["model"]) == (cell.dataset, cell.model)
    )
    method = config["methods"][cell.method]
    return {
        **{key: value for key, value in experiment.items() if key not in ("dataset", "model")},
        "model": {"name": cell.model, **config["models"][cell.model]},
        **_estimating(method),
        "learning_rate": _rate(method["learning_rate"], cell.dataset, cell.model),
    }


def operations_settings(config: Json) -> Json:
    """Return all that decides the operations of a study's steps, the data sets' shapes apart.

    `experiments` have the arguments of `cost.steps.Workload` that hang on no data; `methods`, by name, those of
    `cost.steps.Method`: the study's own, then those that are measured only.
    """
    experiments = [
        {
            "dataset": experiment["dataset"],
            "model": {"name": experiment["model"], **config["models"][experiment["model"]]},
            "batch_size": experiment["batch_size"],
            "optimizer": experiment["optimizer"],
        }
        for experiment in config["experiments"]
    ]
    methods = {**config["methods"], **config["cost"]["methods"]}
    return {
        "experiments": experiments,
        "methods": {name: _estimating(method) for name, method in methods.items()},
    }


def cost_settings(config: Json) -> Json:
    """Return all that decides what is measured of a study's steps, the data sets' shapes apart."""
    return operations_settings(config) | {
        key: config["cost"][key] for key in ("rounds", "block_s", "compiled")
    }


def ladder_settings(config: Json) -> Json:
    """Return all that decides what is measured on the ladder; `methods` as in `operations_settings`."""
    ladder, methods = config["cost"]["ladder"], operations_settings(config)["methods"]
    chosen = {name: methods[name] for name in ladder["methods"]}
    return {**ladder, "methods": chosen, "block_s": config["cost"]["block_s"]}


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
    return {"stand_ins": stand_ins if stand_ins is False else {dataset: stand_ins.get(dataset, [])}}


def mirrors_hash(config: Json, environment: Mapping[str, str]) -> str:
    """Return a hash of the mirrors that FGBENCH_MIRROR and the config name; an address may hold a password."""
    named = [environment.get("FGBENCH_MIRROR", ""), *config["data"]["mirrors"]]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]


def config_sha256(config: Json) -> str:
    """Return the hash of a checked config, less what decides no number that a rerun must repeat.

    That is where its files lie, and how its steps are timed; which methods are measured decides what is counted.
    """
    data = {key: value for key, value in config["data"].items() if key not in ("folder", "mirrors")}
    numbers = {key: value for key, value in config.items() if key not in ("results", "references")}
    return json_sha256(numbers | {"data": data, "cost": {"methods": config["cost"]["methods"]}})


def shown_config(config: Json) -> Json:
    """Return the config as it may be published: without the passwords in mirrors' addresses."""
    mirrors = [address_text(mirror) for mirror in config["data"]["mirrors"]]
    return config | {"data": config["data"] | {"mirrors": mirrors}}


def split_settings(config: Json, dataset: str) -> Json:
    """Return what decides a data set's splits: its own sizes and those of its stand-ins, by true name.

    Raises ConfigError where the config gives no sizes.
    """
    names = [dataset, *(config["data"]["stand_ins"] or {}).get(dataset, [])]
    for name in names:
        if name not in config["datasets"]:
            raise ConfigError(f"datasets: no sizes for {_choice(name, config['datasets'])}")
    return {"sizes": {name: config["datasets"][name] for name in names}, **config["splits"]}


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.YAMLError(f"key {key!r} is given twice\n{key_node.start_mark}")
            keys.append(key)
        return super().construct_mapping(node, deep)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _shape_complaints(config: Json) -> Iterator[str]:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # JSON's own types would let 1.0 pass for a seed, and NaN for a learning rate.
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            ),
        }
    )
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    validator = extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    errors = validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda error: str(error.path)):
        for inner in [inner for inner in error.context or () if inner.path] or [error]:
            yield from _complaints(inner)


def _complaints(error: Any) -> Iterator[str]:
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        keys = error.schema["properties"]
        yield from (f"{where}unknown key {_choice(key, keys)}" for key in error.instance if key not in keys)
    elif error.validator == "uniqueItems":
        twice = dict.fromkeys(str(value) for value in error.instance if error.instance.count(value) > 1)
        yield f"{where}{', '.join(twice)} given more than once; each at most once is accepted"
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield f"{where}missing {', '.join(missing)}"
    elif _is_number(error.instance) and (error.validator == "oneOf" or {"number", "integer"} & _types(error)):
        yield (
            f"{where}{error.instance!r} is a text to YAML; "
            "write a number: no quotes, and an exponent with a dot and a sign, as in 1.0e-3"
        )
    else:
        accepted = error.schema.get("description") or _accepted(error)
        yield f"{where}{error.instance!r} is not accepted; accepted: {accepted}"


def _accepted(error: Any) -> str:
    """Return in words what a keyword of the schema accepts."""
    if error.validator == "type":
        return " or ".join(_TYPES[name] for name in sorted(_types(error)))
    return _BOUNDS[error.validator].format(error.validator_value)


def _types(error: Any) -> set[str]:
    """Return the types that a complaint about a type would accept."""
    accepted = error.validator_value if error.validator == "type" else []
    return {accepted} if isinstance(accepted, str) else set(accepted)


def _dotted(path: Iterable[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return f"{''.join(parts).lstrip('.')}: " if parts else ""


def _is_number(value: Any) -> bool:
    """Return whether a text reads as a number."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


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
        if name in registered("model"):
            yield from _option_complaints(f"models.{name}", "model", name, options)
    for name, stand_ins in (config["data"]["stand_ins"] or {}).items():
        for where, dataset in [("", name), *((f".{name}", stand_in) for stand_in in stand_ins)]:
            if dataset not in registered("dataset"):
                yield f"data.stand_ins{where}: unknown dataset {_choice(dataset, registered('dataset'))}"
    for name, method in config["methods"].items():
        yield from _method_complaints(f"methods.{name}", method, ("estimator", "learning_rate"))
    for name, method in config["cost"]["methods"].items():
        yield from _method_complaints(f"cost.methods.{name}", method, ("estimator",))
    for index, experiment in enumerate(config["experiments"]):
        yield from _experiment_complaints(f"experiments[{index}]", experiment, config)


def _study_complaints(config: Json) -> Iterator[str]:
    pairs = [(experiment["dataset"], experiment["model"]) for experiment in config["experiments"]]
    for twice in sorted({pair for pair in pairs if pairs.count(pair) > 1}):
        yield f"experiments: {'/'.join(twice)} stands there more than once; accepted: each pair once"
    yield from _cost_complaints(config["methods"], config["cost"])
    for name, _ in pairs:
        for stand_in in (config["data"]["stand_ins"] or {}).get(name, []):
            if stand_in not in config["datasets"]:
                sizes = f"{stand_in}: {{num_train: N, num_test: N}}"
                yield f"datasets: no sizes for {stand_in}, a stand-in of {name}; add a line `{sizes}`"
    for index, experiment in enumerate(config["experiments"]):
        yield from _batch_complaints(f"experiments[{index}].batch_size", experiment, config)
    for name, method in config["methods"].items():
        if isinstance(method["learning_rate"], dict):
            yield from _rate_complaints(
                f"methods.{name}.learning_rate", method["learning_rate"], pairs, config
            )


def _cost_complaints(methods: Json, cost: Json) -> Iterator[str]:
    for name in cost["methods"]:
        if name in methods:
            yield f"cost.methods: {name!r} is a method of the study, which is measured anyway; accepted: other names"
    for name in cost["ladder"]["methods"]:
        if name not in {**methods, **cost["methods"]}:
            yield f"cost.ladder.methods: unknown method {_choice(name, {**methods, **cost['methods']})}"


def _refuse(complaints: Iterable[str], what: str) -> None:
    if lines := "\n".join(f"  {complaint}" for complaint in complaints):
        raise ConfigError(f"{what}:\n{lines}\nconfig/config.yaml explains every key.")


def _reference_complaints(config: Json) -> Iterator[str]:
    for reference in config["references"]:
        if not Path(reference).is_file():
            yield f"references: {reference!r} is no file; accepted: files that `fgbench reference` wrote, or []"


def _folder_complaints(results: str) -> Iterator[str]:
    folder = Path(results)
    existing = next(path for path in (folder, *folder.absolute().parents) if os.access(path, os.F_OK))
    if not existing.is_dir():
        yield f"results: {results!r} cannot be a folder, {str(existing)!r} is a file; name another place"
        return
    inside = (path for path in folder.rglob("*") if path.is_dir()) if existing == folder else ()
    for place in (existing, *inside):
        if not os.access(place, os.W_OK | os.X_OK):
            yield f"results: {str(place)!r} cannot be written; make it writable, or name another place"


def _experiment_complaints(where: str, experiment: Json, config: Json) -> Iterator[str]:
    for family in ("dataset", "model"):
        name = experiment[family]
        if name not in config[f"{family}s"]:
            yield f"{where}.{family}: unknown {family} {_choice(name, config[f'{family}s'])}"
    for family in ("optimizer", "schedule"):
        options = dict(experiment[family])
        name = options.pop("name")
        if name in registered(family):
            yield from _option_complaints(f"{where}.{family}", family, name, options, ("name",))
        else:
            yield f"{where}.{family}.name: unknown {family} {_choice(name, registered(family))}"
    if experiment["schedule"] == {"name": "exponential", "final_fraction": 0}:
        yield f"{where}.schedule.final_fraction: no exponential reaches 0; accepted: above 0, up to 1"


def _batch_complaints(where: str, experiment: Json, config: Json) -> Iterator[str]:
    """Complain of a batch that the training part cannot fill, of the data set or of one that may stand in."""
    fraction, stand_ins = config["splits"]["validation_fraction"], config["data"]["stand_ins"] or {}
    names = (experiment["dataset"], *stand_ins.get(experiment["dataset"], []))
    for name in (name for name in names if name in config["datasets"]):
        num_train = config["datasets"][name]["num_train"]
        left = num_train - round(num_train * fraction)
        if experiment["batch_size"] > left:
            yield f"{where}: {experiment['batch_size']} is more than {name}'s training part; accepted: up to {left}"


def _rate_complaints(
    where: str, rates: Json, experiments: Sequence[tuple[str, str]], config: Json
) -> Iterator[str]:
    """Complain of experiments without a rate, and of lines that no data set and model of the config could use."""
    accepted = [
        *config["models"],
        *("/".join(pair) for pair in product(config["datasets"], config["models"])),
    ]
    for dataset, model in experiments:
        if not any(name in rates for name in _rate_names(dataset, model)):
            yield f"{where}: no rate for {dataset}/{model}; add a line `{model}: RATE`"
    for name in rates:
        if name not in accepted:
            yield f"{where}: unknown line {_choice(name, accepted)}"


def _method_complaints(where: str, method: Json, required: tuple[str, ...]) -> Iterator[str]:
    if method["estimator"] not in registered("estimator"):
        yield f"{where}.estimator: unknown estimator {_choice(method['estimator'], registered('estimator'))}"
        return
    needs_tangents = "tangents" in signature("estimator", method["estimator"]).required
    for key in _TANGENT_KEYS:
        if needs_tangents and key not in method:
            yield f"{where}.{key}: missing; estimator {method['estimator']!r} draws tangents"
        if not needs_tangents and key in method:
            yield f"{where}.{key}: estimator {method['estimator']!r} draws no tangents; remove the key"
    if "tangents" in method and method["tangents"] not in registered("tangents"):
        yield f"{where}.tangents: unknown tangents {_choice(method['tangents'], registered('tangents'))}"
    keys = (*required, *(_TANGENT_KEYS if needs_tangents else ()))
    own = {key: value for key, value in method.items() if key not in (*keys, *_TANGENT_KEYS)}
    yield from _option_complaints(where, "estimator", method["estimator"], own, keys)


def _option_complaints(
    where: str, family: str, name: str, options: Json, keys: tuple[str, ...] = ()
) -> Iterator[str]:
    """Complain of options that a registered function does not take, or lacks; `keys` stand beside them."""
    accepted = signature(family, name).options
    for key in options:
        if key not in accepted:
            yield f"{where}: unknown key {_choice(key, (*keys, *accepted))}"
    for key in accepted:
        if key not in options:
            yield f"{where}: missing {key}, an option of {family} {name!r}"


def _estimating(method: Json) -> Json:
    """Return a method's estimator, as {name, options}, and what draws its tangents."""
    own = {key: value for key, value in method.items() if key != "learning_rate"}
    return {
        "tangents": own.pop("tangents", None),
        "num_tangents": own.pop("num_tangents", None),
        "estimator": {"name": own.pop("estimator"), **own},
    }


def _rate(rate: Any, dataset: str, model: str) -> float:
    """Return a method's learning rate for a data set and model: one for all, or the nearest of its lines."""
    if not isinstance(rate, dict):
        return float(rate)
    return float(next(rate[name] for name in _rate_names(dataset, model) if name in rate))


def _rate_names(dataset: str, model: str) -> tuple[str, str]:
    """Return the lines that can give an experiment its rate, the one that goes first in front."""
    return f"{dataset}/{model}", model


_TANGENT_KEYS = ("tangents", "num_tangents")

_TYPES = {
    "object": "a mapping of keys to values",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
    "null": "null",
}

_BOUNDS = {
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} entry",
    "minProperties": "at least {} entry",
    "minLength": "at least {} character",
}
