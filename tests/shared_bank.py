"""Small reference banks for all tests that judge: each built once a session, whichever worker comes first.

Use them as fixtures: `from shared_bank import bank, each_bank` in a folder's conftest.
"""

import fcntl
import functools
import pickle
from pathlib import Path

import pytest

from icl_lab.judging.bank import Bank, build_bank
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain, ModularRules, Pool, Task

TASKS: dict[str, Task] = {
    "linear": LinearRegression(dimension=5, examples=12, noise=0.5, prior=Pool(32)),
    "chain": MarkovChain(states=3, examples=23, prior=Pool(8)),
    "boolean": BooleanRules(bits=4, examples=15, noise=0.05),
    "modular": ModularRules(modulus=5, examples=11, noise=0.05, prior=Pool(12)),
}
PROMPTS = {"linear": 192, "chain": 128, "boolean": 128, "modular": 96}


@pytest.fixture(scope="session", params=TASKS)
def each_bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bank:
    """The bank of every reference that applies, of one task per family."""
    return load(_shared(tmp_path_factory, worker_id), request.param)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bank:
    """The bank of linear regression: d=5, 12 examples, σ=.5, pool of 32."""
    return load(_shared(tmp_path_factory, worker_id), "linear")


@pytest.fixture(scope="session")
def chain_bank(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bank:
    """The bank of Markov chains: 3 states, 23 transitions, pool of 8."""
    return load(_shared(tmp_path_factory, worker_id), "chain")


def _shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@functools.cache
def load(folder: Path, name: str) -> Bank:
    """The bank stored in the folder, built first where there is none yet."""
    path = folder / f"{name}.pickle"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_bytes(
                pickle.dumps(build_bank(TASKS[name], seed=0, prompts=PROMPTS[name], calibration=PROMPTS[name]))
            )
        return pickle.loads(path.read_bytes())
