"""Nothing enters; torchvision leaves, also beside a torch that its compiled operators were not built for.

A CPU build of torch beside a torchvision built for CUDA cannot load torchvision's compiled operators. Its
data sets and transforms need none of them, and yet `import torchvision` fails: it describes two of them (nms,
qnms) to torch's compiler, and torch refuses to have an operator described that it does not know. Declaring
the two, without an implementation, is all it takes. Where the real operators load, nothing is declared.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.library import Library

_SCHEMAS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)


@cache
def load_torchvision() -> ModuleType:
    """Return the module torchvision, with `datasets` and `transforms.v2` loaded."""
    if "torchvision" not in sys.modules:
        _kept_alive.extend(declared_operators())
    importlib.import_module("torchvision.transforms.v2")
    return importlib.import_module("torchvision")


def declared_operators() -> list[Library]:
    """Declare nms and qnms where the real ones are missing; return the owner of the declarations, or nothing.

    They live as long as the returned object.
    """
    import torch

    if _operators_exist():
        return []
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return [library]


_kept_alive: list[Library] = []


def _operators_exist() -> bool:
    """Load torchvision's compiled operators, without importing torchvision, where they can be loaded."""
    import torch

    spec = find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in (
        Path(folder) / f"_C{suffix}" for folder in folders or () for suffix in EXTENSION_SUFFIXES
    ):
        if library.exists():
            with suppress(OSError):  # built for another torch
                torch.ops.load_library(str(library))
    return hasattr(torch.ops.torchvision, "nms")
