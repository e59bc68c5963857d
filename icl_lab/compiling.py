"""How programs that run for seconds at most are compiled."""

from typing import Any

# Less optimised, they compile a third faster, which is most of their time.
QUICKLY: dict[str, Any] = {"xla_backend_optimization_level": 1}
