"""Training on disk: killed at any moment, damaged, or diverging, it ends as it should."""

import itertools
import random
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import trainer

from icl_lab.commands.train import boundaries, train_subject
from icl_lab.config.config import parse_config
from icl_lab.core.errors import InputError, RunError
from icl_lab.store.snapshots import Snapshots, snapshot_steps
from icl_lab.training import TrainingSettings


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The training that was left alone."""
    return trainer.train(tmp_path_factory.mktemp("undisturbed"))


def same_history(found, expected) -> None:
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def start(directory: Path, result: Path) -> subprocess.Popen:
    command = [sys.executable, trainer.__file__, str(directory), str(result)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def newest(directory: Path) -> int:
    return max((int(p.name) for p in (directory / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def kill_again_and_again(tmp_path: Path, kills: int, chance: random.Random) -> tuple[dict, list[int]]:
    """Kill a training at random moments, each after it wrote at least one checkpoint; let the last start finish."""
    directory, result = tmp_path / "run", tmp_path / "result.npz"
    died_at: list[int] = []
    for _ in range(kills):
        process, before, patience = start(directory, result), newest(directory), time.monotonic() + 120
        while newest(directory) == before and process.poll() is None and time.monotonic() < patience:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.2))
        process.kill()
        assert process.wait() == -9, "the training was over before it could be killed"
        died_at.append(newest(directory))
    assert start(directory, result).wait(timeout=300) == 0
    return dict(np.load(result)), died_at


def test_a_killed_training_ends_in_the_same_metrics(tmp_path, undisturbed):
    history, died_at = kill_again_and_again(tmp_path, kills=2, chance=random.Random(0))
    assert 0 < died_at[0] < died_at[1] < 240  # it went on where it was, twice
    same_history(history, undisturbed.history)
    final = Snapshots(tmp_path / "run" / "snapshots").load(240)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), final, undisturbed.params)


@pytest.mark.slow
def test_ten_kills_end_in_the_same_metrics(tmp_path, undisturbed):
    history, died_at = kill_again_and_again(tmp_path, kills=10, chance=random.Random(1))
    assert died_at == sorted(set(died_at))
    same_history(history, undisturbed.history)


def test_a_finished_training_is_loaded(undisturbed, monkeypatch):
    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("icl_lab.commands.train.train_chunk", never)
    again = trainer.train(undisturbed.snapshots.directory.parent)
    same_history(again.history, undisturbed.history)
    jax.tree.map(np.testing.assert_array_equal, again.params, undisturbed.params)


def test_snapshots_lead_from_untrained_to_final(undisturbed):
    assert undisturbed.steps == [0, 10, 29, 83, 240]
    loaded = [undisturbed.snapshots.load(step) for step in undisturbed.steps]
    jax.tree.map(np.testing.assert_array_equal, loaded[-1], undisturbed.params)
    untrained = jax.vmap(undisturbed.model.init)(jax.vmap(jax.random.key)(np.arange(2)))
    assert jax.tree.structure(loaded[0]) == jax.tree.structure(untrained)
    for earlier, later in itertools.pairwise(loaded):
        assert not np.array_equal(jax.tree.leaves(earlier)[0], jax.tree.leaves(later)[0])


def test_chunks_end_at_snapshots_and_multiples_whatever_the_time(undisturbed):
    settings = TrainingSettings(steps=240, chunk=10)
    ends = boundaries(settings, undisturbed.steps)
    assert ends == sorted({*range(10, 241, 10), 29, 83})
    assert {name: values.shape for name, values in undisturbed.history.items()} == {"loss": (2, 240)}


def test_the_training_log_keeps_the_mean(undisturbed):
    steps, loss = undisturbed.training_log(points=20)
    assert len(steps) <= 20
    assert steps[-1] == 240
    widths = np.diff([0, *steps])
    np.testing.assert_allclose((loss * widths).sum(1) / 240, undisturbed.history["loss"].mean(1), rtol=1e-5)


def small_subject(**training):
    config = parse_config(trainer.CONFIG, "x").resolved()["subjects"]["a"]
    config["training"] |= {"steps": 30} | training
    return parse_config({"name": "x", "subjects": {"a": config}}, "x").subjects["a"]


def test_a_damaged_newest_checkpoint_falls_back_and_says_so(tmp_path, capsys):
    train_subject("a", small_subject(), tmp_path, snapshots=2, checkpoint_seconds=0)
    expected = train_subject("a", small_subject(), tmp_path / "other", snapshots=2)
    history = tmp_path / "checkpoints" / "000000030" / "history"
    history.write_bytes(history.read_bytes()[:-8])
    capsys.readouterr()
    again = train_subject("a", small_subject(), tmp_path, snapshots=2)
    said = capsys.readouterr().err
    assert "a: the checkpoint of step 30 is damaged" in said
    assert "going on from the one of step 20" in said
    same_history(again.history, expected.history)


def test_a_lost_snapshot_costs_no_more_than_what_is_lost(tmp_path, capsys):
    """The checkpoint of its own step still holds it."""
    trained = train_subject("a", small_subject(), tmp_path, snapshots=2, checkpoint_seconds=0)
    expected = trained.snapshots.load(30)
    trained.snapshots.path(30).unlink()
    again = train_subject("a", small_subject(), tmp_path, snapshots=2)
    assert "snapshot" not in capsys.readouterr().err
    jax.tree.map(np.testing.assert_array_equal, again.snapshots.load(30), expected)


def test_training_goes_on_from_an_earlier_checkpoint_where_a_snapshot_is_lost(tmp_path, capsys):
    trained = train_subject("a", small_subject(), tmp_path, snapshots=6, checkpoint_seconds=0)
    expected = trained.snapshots.load(23)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["000000023", "000000030"]
    trained.snapshots.path(23).unlink()
    again = train_subject("a", small_subject(), tmp_path, snapshots=6)
    assert "the snapshot of step 23 is missing or damaged; going on from step 23" in capsys.readouterr().err
    jax.tree.map(np.testing.assert_array_equal, again.snapshots.load(23), expected)
    same_history(again.history, trained.history)


def test_a_lost_snapshot_is_made_again(tmp_path, capsys):
    trained = train_subject("a", small_subject(), tmp_path, snapshots=3)
    trained.snapshots.path(10).write_bytes(b"not a snapshot")
    with pytest.raises(InputError, match=r"step-000000010\.safetensors: cannot be read"):
        trained.snapshots.load(10)
    again = train_subject("a", small_subject(), tmp_path, snapshots=3)
    assert "the snapshot of step 10 is missing or damaged; training again" in capsys.readouterr().err
    assert again.snapshots.readable(10)
    same_history(again.history, trained.history)


def test_a_loss_that_is_not_finite_stops_with_step_member_and_last_good_checkpoint(tmp_path):
    subject = small_subject(learning_rate=1e30, optimiser="sgd", schedule="constant")
    with pytest.raises(RunError) as stopped:
        train_subject("a", subject, tmp_path, snapshots=2, checkpoint_seconds=0)
    message = str(stopped.value)
    assert "a: the loss is not finite at step " in message
    assert "member 0 (seed 0, pool 2)" in message
    assert "last good checkpoint: none yet" in message
    assert Snapshots(tmp_path / "snapshots").readable(0)


def test_the_last_good_checkpoint_is_named_and_stays(tmp_path, monkeypatch):
    import icl_lab.commands.train as module

    real = module.train_chunk

    def spoilt(*arguments):
        state, metrics = real(*arguments)
        if int(state.step) == 30:
            metrics["loss"] = metrics["loss"].at[1, 4].set(np.nan)
        return state, metrics

    monkeypatch.setattr(module, "train_chunk", spoilt)
    with pytest.raises(RunError, match=r"not finite at step 24, member 1 .*last good checkpoint: step 20 \(.*20\)"):
        train_subject("a", small_subject(), tmp_path, snapshots=2, checkpoint_seconds=0)
    assert (tmp_path / "checkpoints" / "000000020").is_dir()
    assert not (tmp_path / "checkpoints" / "000000030").exists()


def test_a_parameter_that_is_not_finite_is_not_kept_as_good(tmp_path, monkeypatch):
    import icl_lab.commands.train as module

    real = module.train_chunk

    def spoilt(*arguments):
        state, metrics = real(*arguments)
        if int(state.step) == 20:  # the loss was taken before the update, so it shows nothing yet
            state.params["embed"]["kernel"] = state.params["embed"]["kernel"].at[0].set(np.inf)
        return state, metrics

    monkeypatch.setattr(module, "train_chunk", spoilt)
    with pytest.raises(RunError, match=r"parameter embed/kernel is not finite at step 20, member 0 "):
        train_subject("a", small_subject(), tmp_path, snapshots=2, checkpoint_seconds=0)


def test_seconds_between_checkpoints_must_be_a_number(tmp_path, monkeypatch):
    for given in ("often", "nan", "-1"):
        monkeypatch.setenv("ICL_LAB_CHECKPOINT_SECONDS", given)
        with pytest.raises(InputError, match=f"ICL_LAB_CHECKPOINT_SECONDS: '{given}'"):
            train_subject("a", small_subject(), tmp_path)


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [(1000, 5, [0, 10, 46, 215, 1000]), (1000, 0, [0, 1000]), (3, 12, [0, 3]), (1, 4, [0, 1])],
)
def test_snapshot_steps(steps, count, expected):
    assert snapshot_steps(steps, count) == expected
