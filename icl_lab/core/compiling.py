"""Compile functions at highest precision, with as much optimisation as their run time is worth."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax

Effort = Literal["full", "quick", "once"]
# With less optimisation, programs that run for seconds compile a third faster, and short ones in half the time.
OPTIONS: dict[Effort, dict[str, Any]] = {
    "full": {},
    "quick": {"xla_backend_optimization_level": 1},
    "once": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
}


def compiler_options(effort: Effort) -> dict[str, Any] | None:
    """Return XLA's options for an effort. If JAX is set to optimise little, as in tests, "quick" becomes "once"."""
    least = effort == "quick" and jax.config.read("jax_disable_most_optimizations")
    return OPTIONS["once" if least else effort] or None


def exact(function: Callable[..., Any] | None = None, /, *, effort: Effort = "full", static: Sequence[str] = ()) -> Any:
    """Compile a function with `jax.jit`, its float32 matrix products at highest precision.

    By default, accelerators multiply float32 matrices with fewer bits (bfloat16 on a TPU, TF32 on a GPU), which changes
    the numbers that a verdict rests on. Use it as `@exact` or `@exact(effort="quick", static=("count",))`.

    Args:
        function: pure; arrays and pytrees in and out.
        effort: "full" for programs that run long or often, "quick" for seconds, "once" for a single short run.
        static: names of arguments that are compile-time constants.
    """
    if function is None:
        return functools.partial(exact, effort=effort, static=static)

    @functools.wraps(function)
    def precise(*arguments: Any, **named: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arguments, **named)

    return jax.jit(precise, static_argnames=tuple(static), compiler_options=compiler_options(effort))


QUICKLY, FOR_ONE_RUN = OPTIONS["quick"], OPTIONS["once"]
