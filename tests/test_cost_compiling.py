"""What torch.compile makes is the eager value to rounding, of all methods or of none; why not is one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from references import flattened
from support import skip_or_fail
from workloads import BACKPROP, forward, workload

from fgbench.cost.compiling import COMPILED_FROM, compiled_estimates
from fgbench.cost.measuring import cost_of_experiment
from fgbench.cost.steps import COMPILED, COMPILED_TORCH_FUNC, Estimate, Problem, estimate_of, whole_step
from fgbench.errors import CostError
from fgbench.types import Json, LossAndGradient, LossFn, Params

METHODS = {"backprop": BACKPROP, "forward_gradient": forward(1)}
SMALL = workload("logistic_regression")


def standing_for_torch_compile(
    change: Callable[[LossAndGradient], LossAndGradient],
) -> Callable[..., Estimate]:
    """A compiler whose estimates are eager ones, changed."""

    def compiler(eager: Estimate, **options: Any) -> Estimate:
        assert options == {"fullgraph": True, "dynamic": False}
        return lambda *arguments: change(eager(*arguments))

    return compiler


def another_loss(right: LossAndGradient) -> LossAndGradient:
    return LossAndGradient(right.loss * 1.01, right.gradient)


def no_gradient(right: LossAndGradient) -> LossAndGradient:
    """As where the compiler drops the tangents of dual numbers."""
    return LossAndGradient(right.loss, {name: torch.zeros_like(v) for name, v in right.gradient.items()})


def another_entry(right: LossAndGradient) -> LossAndGradient:
    gradient = {name: value.clone() for name, value in right.gradient.items()}
    next(iter(gradient.values())).view(-1)[-1] += 0.01
    return LossAndGradient(right.loss, gradient)


def not_a_number(right: LossAndGradient) -> LossAndGradient:
    return LossAndGradient(right.loss, {name: value * torch.nan for name, value in right.gradient.items()})


def rounded_otherwise(right: LossAndGradient) -> LossAndGradient:
    gradient = {name: value * (1 + 1e-6) for name, value in right.gradient.items()}
    return LossAndGradient(right.loss * (1 - 1e-6), gradient)


@pytest.mark.parametrize("change", [another_loss, no_gradient, another_entry, not_a_number])
@pytest.mark.parametrize("engine", COMPILED_FROM)
def test_an_estimate_of_another_value_than_the_eager_one_is_refused(
    engine: str, change: Callable[[LossAndGradient], LossAndGradient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", standing_for_torch_compile(change))
    with pytest.raises(CostError, match=r"^backprop: the compiled estimate is another than the eager one$"):
        compiled_estimates(SMALL, METHODS, engine, device="cpu")


@pytest.mark.parametrize("engine", COMPILED_FROM)
def test_an_estimate_that_only_rounds_otherwise_is_taken(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", standing_for_torch_compile(rounded_otherwise))
    assert list(compiled_estimates(SMALL, METHODS, engine, device="cpu")) == list(METHODS)


class Peak:
    """Stands for `PeakMemory` where nobody asks for memory."""

    def of(self, *arguments: object, device: str) -> int:
        return 1


def skipped_and_engines(**methods: Any) -> tuple[list[Json], set[str]]:
    """What a measurement of cost skips where compiling is asked for, and the engines that it times."""
    measured = cost_of_experiment(
        SMALL,
        methods,
        device="cpu",
        rounds=1,
        block_s=1e-5,
        compiled=True,
        peak=Peak(),  # type: ignore[arg-type]
    )
    return measured["skipped"], {timed["engine"] for timed in measured["times"]}


def skipped_for(reason: str) -> list[Json]:
    """Both methods, by both compiled engines."""
    return [
        {"method": method, "engine": engine, "quantity": "step_time_s", "reason": reason}
        for engine in (COMPILED, COMPILED_TORCH_FUNC)
        for method in METHODS
    ]


def test_where_one_method_cannot_be_compiled_none_is_and_each_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, wrong = (standing_for_torch_compile(change) for change in (rounded_otherwise, no_gradient))
    takes_tangents = iter([False, True] * 2)

    def compiler(eager: Estimate, **options: Any) -> Estimate:
        return (wrong if next(takes_tangents) else right)(eager, **options)

    monkeypatch.setattr(torch, "compile", compiler)
    skipped, engines = skipped_and_engines(**METHODS)
    assert skipped == skipped_for("forward_gradient: the compiled estimate is another than the eager one")
    assert engines == {"eager", "torch.func"}


def test_where_both_can_be_compiled_both_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", standing_for_torch_compile(rounded_otherwise))
    skipped, engines = skipped_and_engines(**METHODS)
    assert skipped == []
    assert engines == {"eager", "torch.func", *COMPILED_FROM}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("\n\n  it failed  \nand here is why"), "it failed"),
        (RuntimeError(), "RuntimeError"),
        (NotImplementedError("no such thing"), "no such thing"),
    ],
)
def test_whatever_a_compiler_raises_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiler(eager: Estimate, **options: Any) -> Estimate:
        def failing(loss_fn: LossFn, params: Params, tangents: Params | None) -> LossAndGradient:
            raise error

        return failing

    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.raises(CostError, match=rf"^backprop: torch\.compile: {line}$"):
        compiled_estimates(SMALL, METHODS, COMPILED, device="cpu")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The real compiler, as in a process that never compiled anything, and that leaves nothing behind."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_missing_cpp_compiler_is_the_reason_and_no_noise(
    compiler: None, capfd: pytest.CaptureFixture[str]
) -> None:
    from torch._inductor import config

    before = psutil.Process().children()
    with config.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        skipped, engines = skipped_and_engines(**METHODS)
    [reason] = {one["reason"] for one in skipped}
    assert reason.startswith("backprop: torch.compile: No working C++ compiler found")
    assert "\n" not in reason
    assert skipped == skipped_for(reason)
    assert engines == {"eager", "torch.func"}
    assert capfd.readouterr() == ("", "")
    assert psutil.Process().children() == before


@pytest.mark.slow
def test_a_compiled_estimate_is_the_eager_one_on_other_tangents_too_and_is_compiled_once(
    compiler: None, capfd: pytest.CaptureFixture[str]
) -> None:
    if not shutil.which(os.environ.get("CXX", "g++")):
        skip_or_fail("a C++ compiler is missing; on Debian or Ubuntu: apt-get install g++")
    from torch._dynamo.utils import counters

    before = psutil.Process().children()
    for engine, eager_engine in COMPILED_FROM.items():
        estimates = compiled_estimates(SMALL, METHODS, engine, device="cpu")
        assert list(estimates) == list(METHODS)
        num_graphs = counters["stats"]["unique_graphs"]
        for name, method in METHODS.items():
            problem = Problem(SMALL, method, "cpu")
            for _ in range(3):
                arguments = problem.loss_fn, problem.params, problem.draw()
                expected = estimate_of(method, eager_engine)(*arguments)
                found = estimates[name](*arguments)
                torch.testing.assert_close(found.loss, expected.loss)
                torch.testing.assert_close(flattened(found.gradient), flattened(expected.gradient))
            for _ in ("original", "twin"):
                whole_step(SMALL, method, device="cpu", estimate=estimates[name])()
        assert counters["stats"]["unique_graphs"] == num_graphs > 0
    assert capfd.readouterr() == ("", "")
    assert psutil.Process().children() == before
