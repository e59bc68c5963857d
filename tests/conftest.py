"""Settings that hold for every test: CPU, no deadline on property tests, same examples each time."""

import os
from importlib.metadata import version
from pathlib import Path

# Before anything imports jax: the numbers that the tests expect are those of the CPU.
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS") or "cpu"
# Compiling is most of the tests' time: workers, processes that tests start, and later sessions share what one compiled.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "compiled"))
# A third of that time goes into optimising programs that then run for milliseconds.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
# Without its newer code generator XLA compiles in half the time. Where a release lacks the flag, setting it is fatal.
if version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_use_fusion_emitters=false"

import hypothesis
import pytest

# The first example of a property compiles, so a deadline would fail at random; and a red run must be repeatable.
hypothesis.settings.register_profile("icl_lab", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("icl_lab")


def pytest_sessionstart() -> None:
    """Nor are programs optimised that ask for a little of it: the lab's options outrank the variable above."""
    from icl_lab.core.compiling import FOR_ONE_RUN, QUICKLY

    QUICKLY.update(FOR_ONE_RUN)


# Workers that begin with the longest files end together; left to itself xdist begins with those of the most tests.
LONGEST = (
    "test_notebooks.py",
    "test_hypothesis_contracts.py",
    "test_learner_contracts.py",
    "test_calibration.py",
    "test_task_contracts.py",
    "test_train.py",
    "test_identification.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Drop what a file compiled: thousands of programs in one process use up the memory maps that it may have."""
    yield
    import jax

    jax.clear_caches()
