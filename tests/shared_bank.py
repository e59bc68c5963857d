"""One small reference bank for all tests that judge: built once a session, whichever worker comes first.

Use it as a fixture: `from shared_bank import bank` in a folder's conftest.
"""

import fcntl
import functools
import pickle
from pathlib import Path

import pytest

from icl_lab.hypotheses.bank import Bank, build_bank
from icl_lab.tasks import LinearRegression, Pool

TASK = LinearRegression(dimension=5, examples=12, noise=0.5, prior=Pool(32))
PROMPTS = 192


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Bank:
    """The bank of every reference: d=5, 12 examples, σ=.5, pool of 32."""
    folder = tmp_path_factory.getbasetemp()
    return load(folder if worker_id == "master" else folder.parent)


@functools.cache
def load(folder: Path) -> Bank:
    """The bank stored in the folder, built first where there is none yet."""
    path = folder / "bank.pickle"
    with open(folder / "bank.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_bytes(pickle.dumps(build_bank(TASK, seed=0, prompts=PROMPTS, calibration=PROMPTS)))
        return pickle.loads(path.read_bytes())
