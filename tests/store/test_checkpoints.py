"""Checkpoints: any damage to the newest is found, said, and answered by the one before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.store.checkpoints import Checkpoints


def state(step: int) -> dict[str, jax.Array]:
    return {"params/kernel": jnp.arange(4096.0).reshape(2, 2048) + step, "step": jnp.asarray(step, jnp.int32)}


def history(step: int) -> dict[str, np.ndarray]:
    return {"loss": np.arange(2.0 * step).reshape(2, step)}


def target() -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding) for name, a in state(0).items()}


@pytest.fixture
def checkpoints(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        kept.save(step, state(step), history(step))
    return kept


def test_the_newest_two_are_kept_and_the_newest_comes_back(checkpoints):
    said = []
    assert checkpoints.steps() == [2, 3]
    restored = checkpoints.restore(target(), said.append)
    assert (restored.step, said) == (3, [])
    for name, value in state(3).items():
        np.testing.assert_array_equal(restored.state[name], value)
        assert restored.state[name].sharding == value.sharding
    np.testing.assert_array_equal(restored.history["loss"], history(3)["loss"])


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, lambda path: path.unlink()], ids=["cut", "flip", "unlink"])
@pytest.mark.parametrize("which", ["largest", "history", "manifest.json"])
def test_damage_falls_back_to_the_one_before_and_says_so(checkpoints, damage, which):
    files = [path for path in checkpoints.path(3).rglob("*") if path.is_file()]
    victim = max(files, key=lambda f: f.stat().st_size) if which == "largest" else checkpoints.path(3) / which
    damage(victim)
    said = []
    restored = checkpoints.restore(target(), said.append)
    assert restored.step == 2
    np.testing.assert_array_equal(restored.state["params/kernel"], state(2)["params/kernel"])
    assert len(said) == 1
    assert "the checkpoint of step 3 is damaged" in said[0]
    assert "going on from the one of step 2" in said[0]
    assert checkpoints.path(3).with_suffix(".damaged").is_dir()  # put aside, not deleted
    checkpoints.save(3, state(3), history(3))
    assert checkpoints.restore(target(), said.append).step == 3


def test_when_all_are_damaged_the_training_begins_again(checkpoints):
    for step in checkpoints.steps():
        flip_a_bit(checkpoints.path(step) / "history")
    said = []
    assert checkpoints.restore(target(), said.append) is None
    assert "going on from the beginning" in said[-1]


def test_other_shapes_are_not_restored(checkpoints):
    other = target() | {"params/kernel": jax.ShapeDtypeStruct((2, 7), jnp.float32, sharding=state(0)["step"].sharding)}
    said = []
    assert checkpoints.restore(other, said.append) is None
    assert len(said) == 2
    assert "arrays of other names or shapes" in said[0]


def test_what_a_killed_process_left_unfinished_is_never_read(checkpoints):
    checkpoints.path(3).rename(checkpoints.directory / "000000004.unfinished")
    assert checkpoints.restore(target(), print).step == 2
    checkpoints.save(5, state(5), history(5))
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["000000002", "000000005"]
