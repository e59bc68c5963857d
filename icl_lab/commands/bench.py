"""Speed as ratios within one run, so that they mean the same on every machine.

Times are the shortest of several repetitions, taken in turn with what they are compared to, compilation excluded. On a
CPU everything is pinned to one core, because the model's small matrix products gain little from a second one, and
processor time is counted, so that other programs of a busy machine disturb little.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.formats import Interleaved
from icl_lab.learners import TransformerLearner
from icl_lab.learners.linear import ridge
from icl_lab.models import Model, TransformerConfig
from icl_lab.models.flops import performed_step_flops, step_flops
from icl_lab.probes.inside.patching import interchange_effect
from icl_lab.tasks import LinearRegression
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk
from icl_lab.training.loop import train_step

FORMAT = Interleaved()
MATRIX = 2048
MEMBERS = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured figure; `expected` says what it should be, on a CPU core unless it says otherwise."""

    name: str
    value: float
    unit: str
    expected: str = ""


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model and how it is trained: d inputs, N examples interleaved, `batch` prompts a step."""

    layers: int
    heads: int
    width: int
    batch: int
    dimension: int
    examples: int

    @property
    def task(self) -> LinearRegression:
        return LinearRegression(dimension=self.dimension, examples=self.examples)

    @property
    def tokens(self) -> int:
        return FORMAT.tokens(self.examples + 1)

    @property
    def config(self) -> TransformerConfig:
        return TransformerConfig(
            FORMAT.channels(self.dimension), self.tokens, layers=self.layers, heads=self.heads, width=self.width
        )

    def __str__(self) -> str:
        return f"{self.layers} layers × {self.heads} heads × width {self.width}, batch {self.batch}"


REFERENCE = Shape(layers=4, heads=4, width=64, batch=256, dimension=8, examples=15)
PATCHED = Shape(layers=4, heads=4, width=64, batch=256, dimension=8, examples=12)
SMALL = Shape(layers=2, heads=2, width=32, batch=64, dimension=4, examples=7)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Pin this process to one core, if JAX was not used before (its threads inherit it) and the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        if jax.default_backend() != "cpu":
            os.sched_setaffinity(0, allowed)
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def clock() -> float:
    """Seconds: processor time of a process pinned to one core, else wall time."""
    pinned = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1
    return time.process_time() if pinned else time.perf_counter()


def shortest(actions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of each action: the shortest of its repetitions, the actions taking turns, after one unmeasured round."""
    best = dict.fromkeys(actions, float("inf"))
    for repetition in range(repetitions + 1):
        for name, action in actions.items():
            start = clock()
            jax.block_until_ready(action())
            seconds = clock() - start
            best[name] = min(best[name], seconds) if repetition else best[name]
    return best


class Run:
    """A training that goes on each time it is called, `steps` steps a call."""

    def __init__(self, shape: Shape, members: int, steps: int, first_seed: int = 0):
        self.model, self.steps = Model(shape.config), steps
        self.settings = TrainingSettings(steps=10**6, batch=shape.batch, chunk=steps)
        self.members = stack([Member(first_seed + i, shape.task) for i in range(members)])
        self.state = init_state(self.model, self.settings, self.members)

    def __call__(self) -> object:
        self.state, metrics = train_chunk(self.model, FORMAT, self.settings, self.members, self.state, self.steps)
        return self.state, metrics


class Dispatched(Run):
    """The same training, every step dispatched from Python by itself."""

    def __init__(self, shape: Shape, steps: int):
        super().__init__(shape, 1, steps)
        self.member, params, optimiser = jax.tree.map(
            lambda leaf: leaf[0], (self.members, self.state.params, self.state.optimiser)
        )
        self.trained, self.done = (params, optimiser), 0
        self.step = jax.jit(partial(train_step, self.model, FORMAT, self.settings), donate_argnums=1)

    def __call__(self) -> object:
        metrics: object = None
        for _ in range(self.steps):
            self.trained, metrics = self.step(self.member, self.trained, jnp.asarray(self.done, jnp.int32))
            self.done += 1
        return self.trained, metrics


def training_rows() -> list[Row]:
    """Steps per second, the share of a large matrix product's speed, and what the compiled loop saves.

    Utilisation = counted FLOPs of a step · steps/s / FLOP/s of a 2048² float32 product. Headline count: 6 · parameters
    in products · all tokens, and attention over all token pairs (`models.flops.step_flops`); the strict one leaves out
    what the last layer need not compute (`performed_step_flops`).
    """
    matrix = jax.random.normal(jax.random.key(0), (MATRIX, MATRIX))
    product = jax.jit(jnp.matmul)
    steps = 4
    scan, single = Run(REFERENCE, 1, steps), Dispatched(REFERENCE, steps)
    seconds = shortest({"product": lambda: product(matrix, matrix), "scan": scan, "single": single}, repetitions=5)
    flops, rate = 2 * MATRIX**3 / seconds["product"], steps / seconds["scan"]
    tokens, read = REFERENCE.tokens, REFERENCE.examples + 1
    counted = step_flops(REFERENCE.config, REFERENCE.batch, tokens)
    strict = performed_step_flops(REFERENCE.config, REFERENCE.batch, tokens, read)
    small = shortest({"scan": Run(SMALL, 1, 25), "single": Dispatched(SMALL, 25)}, repetitions=6)
    return [
        Row(f"matrix product {MATRIX}²", flops / 1e9, "GFLOP/s"),
        Row(f"training, {REFERENCE}, d=8, 16 positions", rate, "steps/s"),
        Row("its share of the matrix product's speed, all tokens counted", counted * rate / flops, "", "≥ 0.60"),
        Row("the same, only work performed counted", strict * rate / flops, ""),
        Row("compiled loop against one dispatch per step", seconds["single"] / seconds["scan"], "×", "0.95–1.1"),
        Row(f"the same, {SMALL}", small["single"] / small["scan"], "×", "1.05–1.5"),
    ]


def ensemble_rows() -> list[Row]:
    """Eight members in one program against eight runs one after another, in model-steps per second."""
    together, steps = Run(SMALL, MEMBERS, 25), 25
    runs = [Run(SMALL, 1, steps, first_seed=seed) for seed in range(MEMBERS)]
    seconds = shortest({"together": together, "apart": lambda: [run() for run in runs]}, repetitions=5)
    rates = {name: MEMBERS * steps / value for name, value in seconds.items()}
    return [
        Row(f"ensemble of {MEMBERS}, {SMALL}", rates["together"], "model-steps/s"),
        Row(f"against {MEMBERS} runs", rates["together"] / rates["apart"], "×", "0.95–1.1; accelerators > 2"),
    ]


def lstsq_loop(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares at every prefix as scripts in the field do it: `numpy.linalg.lstsq` per prompt and prefix."""
    answers = np.zeros(y.shape)
    for prompt in range(len(x)):
        for position in range(1, y.shape[1]):
            weights = np.linalg.lstsq(x[prompt, :position], y[prompt, :position], rcond=None)[0]
            answers[prompt, position] = x[prompt, position] @ weights
    return answers


def learner_rows(prompts: int = 1280, loop_prompts: int = 64) -> list[Row]:
    """All-prefix ridge against the loop, per prompt. The loop's time grows with prompts, so it is timed on fewer."""
    task = LinearRegression(dimension=20, examples=40)
    batch = jax.jit(lambda key: task.sample(key, prompts))(jax.random.key(0))
    x, y = np.asarray(batch.x[:loop_prompts]), np.asarray(batch.y[:loop_prompts])
    compiled = jax.jit(lambda batch: ridge(task, batch, 0.25).mean_target())
    seconds = shortest({"ridge": lambda: compiled(batch), "loop": lambda: lstsq_loop(x, y)}, repetitions=3)
    ours, theirs = seconds["ridge"] / prompts, seconds["loop"] / loop_prompts
    return [
        Row(f"ridge at all 41 prefixes, d=20, {prompts} prompts", 1e6 * ours, "µs/prompt"),
        Row(f"numpy.linalg.lstsq per prefix, timed on {loop_prompts} prompts", 1e6 * theirs, "µs/prompt"),
        Row("ridge against the loop, per prompt", theirs / ours, "×", "≥ 100"),
    ]


class Patching:
    """Interchange patching of one site at all layers and tokens, compiled; calls give the effects."""

    def __init__(self, shape: Shape, site: str = "resid_post"):
        model = Model(shape.config)
        keys = jax.random.split(jax.random.key(0), 3)
        self.learner = TransformerLearner(model.init(keys[0]), model, FORMAT)
        self.target, self.source = (jax.jit(shape.task.sample, static_argnums=1)(key, shape.batch) for key in keys[1:])
        self.compiled = interchange_effect.lower(self.learner, self.source, self.target, site=site).compile()

    def __call__(self) -> jax.Array:
        return self.compiled(self.learner, self.source, self.target)

    @property
    def memory(self) -> int:
        """Bytes that the program works in, besides what it is given and gives; 0 where the compiler does not say."""
        return int(getattr(self.compiled.memory_analysis(), "temp_size_in_bytes", 0))


def patching_rows(shape: Shape = PATCHED) -> list[Row]:
    """Patched answers per second against plain ones, and the memory it takes.

    Of a patch at `resid_post` of layer l only the layers above l are run, 1.5 of 4 on average: 2.7 times as many
    patched answers as plain ones could be had, were recording free. Pairs are run some at a time, patches one by one.
    """
    patching = Patching(shape)
    forward = jax.jit(lambda learner, prompts: learner(prompts).mean_target())
    actions: dict[str, Callable[[], object]] = {
        "patched": patching,
        "forward": lambda: forward(patching.learner, patching.target),
    }
    seconds = shortest(actions, repetitions=3)
    patches = shape.layers * shape.tokens * shape.batch
    rates = {"patched": patches / seconds["patched"], "forward": shape.batch / seconds["forward"]}
    where = f"{shape.layers} layers × {shape.tokens} tokens, {shape.batch} pairs"
    return [
        Row(f"patching {where}, width {shape.width}", seconds["patched"], "s"),
        Row("its patched answers against plain answers, per second", rates["patched"] / rates["forward"], "×", "2–3"),
        Row("its working memory", patching.memory / 2**20, "MiB", "≤ 16"),
    ]


def measure() -> list[Row]:
    """All figures, in under a minute and a half, most of it compilation."""
    return [*training_rows(), *ensemble_rows(), *learner_rows(), *patching_rows()]


def run() -> int:
    """Measure on one core and print the table; the exit code of `icl-lab bench`."""
    from rich.console import Console
    from rich.table import Table

    with one_core():
        rows = measure()
        device = jax.devices()[0]
    table = Table("measured", "value", "unit", "expected", title=f"{device.platform}: {device.device_kind}")
    for row in rows:
        table.add_row(row.name, f"{row.value:.3g}" if row.value < 1000 else f"{row.value:.0f}", row.unit, row.expected)
    Console().print(table)
    return 0
