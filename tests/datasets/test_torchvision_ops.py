"""torchvision imports beside any torch, and real operators are left alone."""

from __future__ import annotations

import subprocess
import sys

from fgbench.datasets.torchvision_ops import declared_operators, load_torchvision


def test_datasets_and_transforms_work() -> None:
    torchvision = load_torchvision()
    assert torchvision.datasets.KMNIST
    assert torchvision.transforms.v2.Resize


def test_nothing_is_declared_where_the_operators_exist() -> None:
    """By now they do: the real ones, or those that loading torchvision declared."""
    load_torchvision()
    assert declared_operators() == []


def test_real_operators_are_not_declared_over() -> None:
    """Simulated: something else defines them first, as loading torchvision's compiled library would."""
    run_python(
        """
        import torch
        from fgbench.datasets import torchvision_ops

        def load_library(path):
            real.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            real.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

        real = torch.library.Library("torchvision", "DEF")
        torch.ops.load_library = load_library
        assert torchvision_ops.declared_operators() == []
        assert torch.ops.torchvision.nms
        """
    )


def test_missing_operators_are_declared_and_torchvision_then_imports() -> None:
    """Simulated: torchvision's compiled library does not load, as beside a torch it was not built for."""
    run_python(
        """
        import torch
        from fgbench.datasets import torchvision_ops

        def load_library(path):
            raise OSError("built for another torch")

        torch.ops.load_library = load_library
        torchvision = torchvision_ops.load_torchvision()
        assert torch.ops.torchvision.nms and torch.ops.torchvision.qnms
        assert not torchvision.extension._has_ops()
        assert torchvision.transforms.v2.Resize((4, 4))(torch.zeros(1, 2, 2)).shape == (1, 4, 4)
        """
    )


def run_python(script: str) -> None:
    """Run an indented script in a fresh process, where nothing has imported torchvision yet."""
    lines = [line.removeprefix(" " * 8) for line in script.splitlines()]
    finished = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr.decode()
