"""How programs that decide something are compiled: at highest precision, optimised as much as they are worth."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax

Effort = Literal["full", "quick", "once"]
# Less optimised, programs that run for seconds compile a third faster; those that run once compile in half the time.
OPTIONS: dict[Effort, dict[str, Any]] = {
    "full": {},
    "quick": {"xla_backend_optimization_level": 1},
    "once": {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True},
}


def compiler_options(effort: Effort) -> dict[str, Any] | None:
    """XLA's options for an effort; where JAX is told to optimise little (as in tests), "quick" becomes "once"."""
    least = effort == "quick" and jax.config.read("jax_disable_most_optimizations")
    return OPTIONS["once" if least else effort] or None


def exact(function: Callable[..., Any] | None = None, /, *, effort: Effort = "full", static: Sequence[str] = ()) -> Any:
    """Compile a function with `jax.jit`, its float32 matrix products at highest precision.

    Accelerators multiply float32 matrices with fewer bits by default (bfloat16 on a TPU, TF32 on a GPU), which moves
    the numbers that a verdict rests on. Use it as `@exact` or `@exact(effort="quick", static=("count",))`.

    Args:
        function: pure; arrays and pytrees in and out.
        effort: "full" for programs that run long or often, "quick" for seconds, "once" for a single short run.
        static: names of arguments that are compiled in.
    """
    if function is None:
        return functools.partial(exact, effort=effort, static=static)

    @functools.wraps(function)
    def precise(*arguments: Any, **named: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return function(*arguments, **named)

    return jax.jit(precise, static_argnames=tuple(static), compiler_options=compiler_options(effort))


QUICKLY, FOR_ONE_RUN = OPTIONS["quick"], OPTIONS["once"]
