"""How programs that run for seconds at most are compiled: in a hurry, and side by side."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

# Less optimised, they compile a third faster, which is most of their time.
QUICKLY: dict[str, Any] = {"xla_backend_optimization_level": 1}
# Of programs that run once, compiling takes a hundred times as long as running: without optimisers it is halved.
FOR_ONE_RUN: dict[str, Any] = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
THREADS = 4  # that compile at the same time
Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function of every item, in order. Programs of different items are compiled at the same time."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
