"""The attention viewer: what it is given, and what a browser draws when its controls are moved."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from icl_lab.report import build
from icl_lab.report.data import load
from icl_lab.report.pages.viewer import LEVELS, viewer_data

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install one that calls itself chromium (Debian: apt-get install chromium)"
)
SUBJECT = "softmax"


@pytest.fixture(scope="module")
def patterns() -> np.ndarray:
    """[member, look, snapshot, layer, head, token, token_key] of the members that the viewer shows."""
    data = synthetic.groups()[SUBJECT]["attention_over_time"].values
    return data[np.isfinite(data).any(axis=tuple(range(1, 7)))]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one subject only, so that its page is drawn quickly."""
    data = synthetic.groups()[SUBJECT][["attention_over_time", "look_labels", "verdict"]]
    return synthetic.write(tmp_path_factory.mktemp("viewer"), {SUBJECT: data})


def test_stored_bytes_are_the_patterns_to_half_a_level(directory: Path, patterns: np.ndarray) -> None:
    data = viewer_data(load(directory).subjects[0])
    assert data is not None
    levels = np.frombuffer(base64.b64decode(data["values"]), np.int8).reshape(patterns.shape).astype(float)
    scales = np.array(data["scales"])[..., None, None, None, None]
    assert np.abs(levels * scales / LEVELS - patterns).max() <= 0.51 * scales.max() / LEVELS
    assert data["steps"] == synthetic.OVER_TIME
    assert len(data["members"]) == len(patterns) == 6
    assert data["tokens"][-1] == "x8"
    assert not data["signed"]


@pytest.fixture(scope="module")
def viewer(directory: Path) -> Iterator[Any]:
    """The page in a browser, at the viewer; fails on any error of the script."""
    assert BROWSER is not None  # tests without `needs_browser` must not ask for it
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if "://" in request.url[5:] else None)
        page.goto(build(directory).as_uri())
        yield page
        browser.close()
        assert errors == []


def drawn(page: Any) -> np.ndarray:
    """Values of the cells, [token, token_key]."""
    values = page.eval_on_selector_all(".viewer .cell", "cells => cells.map(c => Number(c.dataset.value))")
    return np.array(values).reshape(17, 17)


def fills(page: Any) -> list[str]:
    return page.eval_on_selector_all(".viewer .cell", "cells => cells.map(c => c.getAttribute('fill'))")


def move(page: Any, name: str, value: int) -> None:
    """As a user's hand does: the value, then the event."""
    script = "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }"
    page.eval_on_selector(f".viewer [name={name}]", script, str(value))


@needs_browser
def test_every_control_changes_the_cells_to_those_of_the_data(viewer: Any, patterns: np.ndarray) -> None:
    state = {"member": 0, "look": 0, "step": 2, "layer": 0, "head": 0}
    for name, value in [("head", 3), ("layer", 1), ("step", 1), ("look", 2), ("member", 4), ("step", 0)]:
        before, colours = drawn(viewer), fills(viewer)
        state[name] = value
        move(viewer, name, value)
        expected = patterns[tuple(state.values())]
        np.testing.assert_allclose(drawn(viewer), expected, atol=0.6 / LEVELS)
        assert np.abs(drawn(viewer) - before).max() > 0.05
        assert fills(viewer) != colours
    assert viewer.text_content(".viewer [name=step] + output") == str(synthetic.OVER_TIME[0])
    labels = viewer.eval_on_selector_all(".viewer .tick:not(.bar)", "ticks => ticks.map(t => t.textContent)")
    assert len(labels) == 2 * 17
    assert set(labels) == {f"{name} = 2" for name in viewer_tokens()}


def viewer_tokens() -> list[str]:
    return [item for i in range(8) for item in (f"x{i}", f"y{i}")] + ["x8"]


@needs_browser
def test_sliders_move_by_keys_and_the_map_reads_values_by_mouse_and_keys(viewer: Any, patterns: np.ndarray) -> None:
    for name in ("member", "look", "layer", "head", "step"):
        move(viewer, name, 0)
    viewer.focus(".viewer [name=head]")
    viewer.keyboard.press("ArrowRight")
    expected = patterns[0, 0, 0, 0, 1]
    np.testing.assert_allclose(drawn(viewer), expected, atol=0.6 / LEVELS)

    def told() -> tuple[str, float]:
        text = viewer.text_content(".viewer .readout")
        where, _, value = text.partition(": weight ")
        return where, float(value)

    viewer.hover(".viewer .cell[data-row='9'][data-key='4']")
    where, value = told()
    assert where == "y4 looks at x2"
    assert value == pytest.approx(expected[9, 4], abs=0.6 / LEVELS)
    viewer.focus(".viewer .map")
    viewer.keyboard.press("ArrowUp")
    viewer.keyboard.press("ArrowLeft")
    where, value = told()
    assert where == "x4 looks at y1"
    assert value == pytest.approx(expected[8, 3], abs=0.6 / LEVELS)
    assert "layer 0, head 1, after step 0" in viewer.get_attribute(".viewer .map", "aria-label")


@needs_browser
def test_darker_is_more_and_the_colour_bar_says_how_much(viewer: Any, patterns: np.ndarray) -> None:
    for name in ("member", "look", "layer", "head", "step"):
        move(viewer, name, 0)
    values, light = drawn(viewer).ravel(), []
    for fill in fills(viewer):
        light.append(sum(map(int, fill[4:-1].split(","))))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(light)[order]) <= 0).all()
    ends = viewer.eval_on_selector_all(".viewer .tick.bar", "ticks => ticks.map(t => Number(t.textContent))")
    top = float(np.abs(patterns[0, 0]).max())
    assert ends == pytest.approx([top, top / 4, 0], rel=0.01)


def test_results_without_attention_have_no_viewer(tmp_path: Path) -> None:
    data = synthetic.groups()[SUBJECT][["verdict"]]
    assert viewer_data(load(synthetic.write(tmp_path, {SUBJECT: data})).subjects[0]) is None
    assert json.dumps("viewer") not in build(tmp_path).read_text(encoding="utf-8")
