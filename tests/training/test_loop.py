"""The loop: resumable by its counter, one program, members independent of their company."""

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import Interleaved, Paired
from icl_lab.models import Model, TransformerConfig, one_layer_config
from icl_lab.tasks import LinearRegression, Pool
from icl_lab.training import Member, TrainingSettings, TrainState, ensemble, init_state, loop, stack, train_chunk

FORMAT = Interleaved()
MODEL = Model(TransformerConfig(channels=3, tokens=7, width=8, heads=2, mlp=1))
SETTINGS = TrainingSettings(steps=100, batch=8, micro_batch=4, optimiser="adamw", learning_rate=1e-2, chunk=10)
TASK = LinearRegression(dimension=2, examples=3, noise=0.1, prior=Pool(4, 0))
MEMBERS = [
    Member(0, TASK, 1e-2, 0.0, False),
    Member(1, TASK.replace(noise=0.5, prior=Pool(64, 3)), 3e-2, 0.1, False),
    Member(0, TASK, 1e-2, 0.0, True),
    Member(0, TASK, 1e-2, 0.3, False),
]


def train(members: list[Member], *chunks: int, settings: TrainingSettings = SETTINGS) -> tuple[TrainState, list[dict]]:
    stacked = stack(members)
    state, metrics = init_state(MODEL, settings, stacked), []
    for steps in chunks:
        state, found = train_chunk(MODEL, FORMAT, settings, stacked, state, steps)
        metrics.append(jax.tree.map(np.asarray, found))
    return state, metrics


def close(a: object, b: object, tolerance: float = 1e-5) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


@pytest.fixture(scope="module")
def ten() -> tuple[TrainState, dict]:
    state, (metrics,) = train(MEMBERS, 10)
    return state, metrics


def test_metrics_have_a_member_axis(ten: tuple[TrainState, dict]) -> None:
    state, metrics = ten
    assert {name: values.shape for name, values in metrics.items()} == {"loss": (4, 10)}
    assert int(state.step) == 10


def test_chunks_of_any_length_are_one_training_and_one_program(ten: tuple[TrainState, dict]) -> None:
    programs = loop._chunk._cache_size()
    state, metrics = train(MEMBERS, 5, 2, 3)
    assert loop._chunk._cache_size() == programs
    np.testing.assert_array_equal(np.concatenate([m["loss"] for m in metrics], axis=1), ten[1]["loss"])
    jax.tree.map(np.testing.assert_array_equal, state, ten[0])


def test_a_state_from_the_host_resumes_without_another_program(ten: tuple[TrainState, dict]) -> None:
    members = stack(MEMBERS)
    state, _ = train(MEMBERS, 5)
    programs = loop._chunk._cache_size()
    copied = jax.tree.map(np.asarray, state)
    resumed, _ = train_chunk(MODEL, FORMAT, SETTINGS, members, copied, 5)
    assert loop._chunk._cache_size() == programs
    jax.tree.map(np.testing.assert_array_equal, resumed, ten[0])


def test_a_trained_state_is_where_it_belongs_and_is_not_moved(ten: tuple[TrainState, dict]) -> None:
    assert loop.place(ten[0]) is ten[0]
    moved = loop.place(jax.tree.map(np.asarray, ten[0]))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: a.sharding == b.sharding, moved, ten[0])))


def test_rates_of_the_settings_are_no_part_of_the_program(ten: tuple[TrainState, dict]) -> None:
    programs = loop._chunk._cache_size()
    settings = dataclasses.replace(SETTINGS, learning_rate=0.5, weight_decay=0.5)
    _, (metrics,) = train(MEMBERS, 10, settings=settings)
    assert loop._chunk._cache_size() == programs
    np.testing.assert_array_equal(metrics["loss"], ten[1]["loss"])  # members bring their own


def test_the_state_is_donated() -> None:
    members = stack(MEMBERS)
    state = init_state(MODEL, SETTINGS, members)
    leaf = state.params["embed"]["kernel"]
    train_chunk(MODEL, FORMAT, SETTINGS, members, state, 1)
    assert leaf.is_deleted()


def test_a_member_is_the_same_alone_and_in_company(ten: tuple[TrainState, dict]) -> None:
    state, (metrics,) = train(MEMBERS[1:2], 10)
    close(metrics["loss"][0], ten[1]["loss"][1])
    close(jax.tree.map(lambda leaf: leaf[0], state.params), jax.tree.map(lambda leaf: leaf[1], ten[0].params))


def test_map_and_vmap_are_the_same_ensemble(ten: tuple[TrainState, dict]) -> None:
    state, (metrics,) = train(MEMBERS, 10, settings=dataclasses.replace(SETTINGS, member_axis="vmap"))
    close(metrics, ten[1], 1e-4)
    close(state.params, ten[0].params, 1e-4)


def test_members_are_mapped_on_cpus_and_vmapped_on_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> str:
        return str(jax.make_jaxpr(ensemble.over_members(SETTINGS, jnp.sin))(jnp.ones(3)))

    assert "scan" in program()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "scan" not in program()


def test_precision_is_that_of_the_settings_whatever_the_rest_of_the_program_uses() -> None:
    def products(precision: str) -> set[str]:
        settings = dataclasses.replace(SETTINGS, precision=precision)
        member, state = MEMBERS[0], init_state(MODEL, SETTINGS, stack(MEMBERS[:1]))
        trained = jax.tree.map(lambda leaf: leaf[0], (state.params, state.optimiser))
        with jax.default_matmul_precision("high"):
            step = functools.partial(loop.train_step, MODEL, FORMAT, settings)
            text = jax.jit(step).lower(member, trained, jnp.zeros((), jnp.int32)).as_text()
        return {precision for precision in ("DEFAULT", "HIGH", "HIGHEST") if f"precision = [{precision}, " in text}

    assert products("highest") - {"HIGH"} == {"HIGHEST"}  # the task samples at the precision around
    assert products("default") - {"HIGH"} == {"DEFAULT"}


def test_everything_that_members_vary_has_an_effect(ten: tuple[TrainState, dict]) -> None:
    state, metrics = ten
    norm = np.sqrt(sum(np.square(leaf).sum(tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(state.params)))
    assert norm[3] < norm[0] - 1e-3  # decay shrinks
    assert metrics["loss"][0, 0] == metrics["loss"][3, 0]  # same seed, same prompts, same start
    assert np.abs(np.diff(metrics["loss"][:3, 0])).min() > 1e-3  # other seed; same seed with shuffled labels


def test_seeds_differ_in_initialisation_and_steps_in_prompts() -> None:
    members = stack([Member(0, TASK), Member(1, TASK)])
    kernel = init_state(MODEL, SETTINGS, members).params["embed"]["kernel"]
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1
    _, (metrics,) = train([Member(0, TASK, learning_rate=0.0)], 10)
    assert np.unique(metrics["loss"]).size == 10  # nothing learned, yet another loss at each step


def test_linear_attention_learns_its_optimum_and_shuffled_labels_teach_nothing() -> None:
    dimension, examples = 2, 4
    task = LinearRegression(dimension=dimension, examples=examples, noise=0.0)
    model = Model(one_layer_config(dimension, examples))
    settings = TrainingSettings(steps=600, batch=256, chunk=300)
    members = stack([Member(0, task, 1e-2), Member(0, task, 1e-2, shuffle_labels=True)])
    state, ends = init_state(model, settings, members), []
    for _ in range(2):
        state, metrics = train_chunk(model, Paired(), settings, members, state, 300)
        ends.append(metrics["loss"].mean(1))
    best = dimension * (1 - examples / (examples + dimension + 1))  # of one preconditioned step; Ahn et al. 2023
    assert float(ends[-1][0]) == pytest.approx(best, rel=0.03)
    assert float(ends[-1][1]) == pytest.approx(dimension, rel=0.03)  # E y², the best without x


def test_a_loss_that_is_not_finite_shows_in_the_metrics_of_that_member_only() -> None:
    broken = dataclasses.replace(MEMBERS[1], learning_rate=1e30)
    _, (metrics,) = train([MEMBERS[0], broken, *MEMBERS[2:]], 10)
    assert np.isfinite(metrics["loss"]).all(1).tolist() == [True, False, True, True]


def test_members_of_different_structure_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^members: tasks differ in structure"):
        stack([Member(0, TASK), Member(0, TASK.fresh())])
    with pytest.raises(ValueError, match=r"^members: an ensemble needs at least one"):
        stack([])


def test_sharded_over_two_devices_is_the_same_training(ten: tuple[TrainState, dict], tmp_path: Path) -> None:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, __file__, str(tmp_path / "sharded.npz")]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "sharded.npz")
    close(found["loss"], ten[1]["loss"])
    close(found["kernel"], ten[0].params["embed"]["kernel"])


def _train_sharded(path: str) -> None:
    """What the subprocess does; asserts there that every leaf is where it belongs."""
    state, metrics = train(MEMBERS, 5)
    programs = loop._chunk._cache_size()
    members = stack(MEMBERS)
    state, more = train_chunk(MODEL, FORMAT, SETTINGS, members, state, 5)
    assert loop._chunk._cache_size() == programs == 1, "the second chunk compiled again"
    assert len(jax.devices()) == 2
    assert loop.place(state) is state, "the program leaves the state elsewhere than it wants it"
    for each in (state, init_state(MODEL, SETTINGS, members)):
        for leaf in jax.tree.leaves((each.params, each.optimiser)):
            assert [shard.data.shape[0] for shard in leaf.addressable_shards] == [2, 2], leaf.sharding
        assert each.step.is_fully_replicated
    np.savez(path, loss=jnp.concatenate([metrics[0]["loss"], more["loss"]], 1), kernel=state.params["embed"]["kernel"])


if __name__ == "__main__":
    _train_sharded(sys.argv[1])
