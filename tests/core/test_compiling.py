"""`exact` compiles at highest precision with the options of an effort; rooms that decide compile with nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

from icl_lab.core.compiling import OPTIONS, exact

PACKAGE = Path(__file__).parent.parent.parent / "icl_lab"
ROOMS = ("probes", "stress", "learners", "analysis", "calibration", "verify")
SQUARE = jnp.ones((2, 2), jnp.float32)
HIGHEST = {(jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)}


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    return a @ b


def dot_precisions(jaxpr) -> set:
    """Precisions of all matrix products of a jaxpr, those of inner jaxprs among them."""
    found = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found.add(equation.params["precision"])
        for inner in jaxprs_in_params(equation.params):
            found |= dot_precisions(inner)
    return found


def uncontrolled(tree: ast.AST) -> Iterator[int]:
    """Lines that name `jax.jit`, however it is imported."""
    names = {"jax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname for alias in node.names if alias.name == "jax" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "jax":
            yield from (node.lineno for alias in node.names if alias.name in ("jit", "pjit"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("jit", "pjit") and getattr(node.value, "id", "") in names:
            yield node.lineno


def test_products_are_at_highest_precision():
    with jax.default_matmul_precision("default"):  # it outranks what is set around it
        assert dot_precisions(jax.make_jaxpr(exact(product))(SQUARE, SQUARE).jaxpr) == HIGHEST
        assert dot_precisions(jax.make_jaxpr(jax.jit(product))(SQUARE, SQUARE).jaxpr).isdisjoint(HIGHEST)


def test_programs_inside_inherit_the_precision():
    outer = exact(lambda a, b: jax.jit(product)(a, b))
    assert dot_precisions(jax.make_jaxpr(outer)(SQUARE, SQUARE).jaxpr) == HIGHEST


def test_operations_one_by_one_are_at_highest_precision_too():
    seen = []

    @exact
    def look() -> jax.Array:
        seen.append(jax.config.jax_default_matmul_precision)
        return jnp.ones(())

    with jax.default_matmul_precision("default"), jax.disable_jit():  # commands set it to highest for their process
        look()
        assert jax.config.jax_default_matmul_precision == "default"
    assert seen == ["highest"]


def test_static_arguments_are_compiled_in_by_position_and_by_name():
    traced = []

    @exact(static=("count",))
    def powers(x: jax.Array, count: int) -> jax.Array:
        traced.append(count)
        return jnp.stack([x**k for k in range(count)])

    assert powers(jnp.asarray(2.0), 3).tolist() == [1.0, 2.0, 4.0]
    assert powers(jnp.asarray(3.0), 3).tolist() == [1.0, 3.0, 9.0]
    assert powers(jnp.asarray(2.0), count=2).tolist() == [1.0, 2.0]
    assert traced[:1] == [3]
    assert set(traced) == {2, 3}
    with pytest.raises(TypeError):
        exact(powers.__wrapped__)(jnp.asarray(2.0), 3)  # a traced count is no length


@pytest.mark.parametrize("effort", ["full", "quick", "once"])
def test_every_effort_compiles_and_computes_the_same(effort):
    found = exact(effort=effort)(product)(2 * SQUARE, SQUARE)
    assert found.tolist() == [[4.0, 4.0], [4.0, 4.0]]


@pytest.mark.parametrize("little", [False, True])
def test_efforts_are_options_of_the_compiler(monkeypatch, little):
    given = []
    monkeypatch.setattr(jax, "jit", lambda function, **options: given.append(options["compiler_options"]))
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", little)
    try:
        for effort in ("full", "quick", "once"):
            exact(product, effort=effort)
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    assert given == [None, OPTIONS["once" if little else "quick"], OPTIONS["once"]]


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_compiled_without_exact(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    found = [
        f"{file.name}:{line}" for file in files for line in uncontrolled(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == [], "compile with icl_lab.core.compiling.exact"


@pytest.mark.parametrize(
    "line",
    [
        "@jax.jit\ndef f(x): return x",
        "f = functools.partial(jax.jit, static_argnames='n')",
        "from jax import jit",
        "from jax import jit as quickly",
        "import jax as j\nf = j.jit(g)",
    ],
)
def test_the_walk_finds_every_form(line):
    assert len(list(uncontrolled(ast.parse(line)))) == 1
