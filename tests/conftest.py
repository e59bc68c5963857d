"""Settings that hold for every test: CPU, no deadline on property tests, same examples each time."""

import os
from pathlib import Path

# Before anything imports jax: the numbers that the tests expect are those of the CPU.
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS") or "cpu"
# Compiling is most of the tests' time: workers, processes that tests start, and later sessions share what one compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"))
# A third of that time goes into optimising programs that then run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

import hypothesis
import pytest

# The first example of a property compiles, so a deadline would fail at random; and a red run must be repeatable.
hypothesis.settings.register_profile("icl_lab", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("icl_lab")


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop what a file compiled: thousands of programs in one process use up the memory maps that it may have."""
    yield
    import jax

    jax.clear_caches()
