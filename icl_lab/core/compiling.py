"""How programs that run for seconds at most are compiled."""

from typing import Any

# Less optimised, they compile a third faster, which is most of their time.
QUICKLY: dict[str, Any] = {"xla_backend_optimization_level": 1}
# Of programs that run once, compiling takes a hundred times as long as running: without optimisers it is halved.
FOR_ONE_RUN: dict[str, Any] = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
