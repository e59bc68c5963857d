"""Every figure: drawn, legible, and left out with a reason where there is nothing to draw."""

from __future__ import annotations

import itertools

import matplotlib
import numpy as np
import pytest
import synthetic
import synthetic_stress
import xarray as xr
from matplotlib.text import Text

from icl_lab.core.statistics import Bracket
from icl_lab.report.data import Run
from icl_lab.report.figures import SUBJECT_FIGURES, planted, scoreboard
from icl_lab.report.figures.files import png, svg
from icl_lab.report.figures.layout import Drawing, LeftOut, end_labels, spread, styled
from icl_lab.report.figures.training import last_changed
from icl_lab.report.numbers.inside import open_to_doubt
from icl_lab.report.pages.tables import faults_table
from icl_lab.report.subject import Subject

SLACK = 1.5  # pixels that the boxes of neighbouring texts may share
SUBJECTS = ["linear_attention", "softmax"]


def drawings(run: Run) -> dict[str, Drawing | LeftOut]:
    with styled():
        found = {"scoreboard": scoreboard.draw(run), "planted": planted.draw(next(iter(run.planted), None))}
        for subject in run.subjects:
            found |= {f"{subject.name} {name}": entry.draw(subject) for name, entry in SUBJECT_FIGURES.items()}
    return found


@pytest.fixture(scope="module")
def drawn(run: Run) -> dict[str, Drawing | LeftOut]:
    return drawings(run)


def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than the slack, and texts that leave the figure."""
    with styled():
        drawing.figure.canvas.draw()
        renderer = drawing.figure.canvas.get_renderer()
    texts = [text for text in drawing.figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = undrawn(drawing)
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if id(text) not in hidden]
    width, height = drawing.figure.canvas.get_width_height()
    found = [
        (text, "the edge")
        for text, box in boxes
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK
    ]
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > SLACK and down > SLACK:
            found.append((one, other))
    return found


def undrawn(drawing: Drawing) -> set[int]:
    """Labels of ticks outside their axis' limits, which matplotlib keeps but never draws."""
    found = set()
    for axes, name in itertools.product(drawing.figure.axes, ("xaxis", "yaxis")):
        axis = getattr(axes, name)
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not low <= tick.get_loc() <= high or not axes.axison:
                found |= {id(tick.label1), id(tick.label2)}
    return found


NAMES = ["scoreboard", "planted", *(f"{subject} {name}" for subject in SUBJECTS for name in SUBJECT_FIGURES)]


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (Bracket(-np.inf, 12), "verdicts the same since the first look, at step 12"),
        (Bracket(2000, np.inf), "verdicts still changing after step 2,000"),
        (Bracket(12, 40), "verdicts last changed at steps 12–40"),
    ],
)
def test_the_time_of_the_last_change_is_told_as_it_is_known(at, words):
    assert last_changed(at) == words


@pytest.mark.parametrize("name", NAMES)
def test_figure_is_drawn_and_no_text_overlaps(drawn: dict[str, Drawing | LeftOut], name: str) -> None:
    drawing = drawn[name]
    assert isinstance(drawing, Drawing), drawing
    assert overlapping(drawing) == []
    assert drawing.takeaway.endswith(".")
    inked = (np.asarray(drawing.figure.canvas.buffer_rgba())[..., :3] < 250).any(axis=-1)
    assert inked.mean() > 0.01
    assert min(half.mean() for half in np.array_split(inked, 2, axis=1)) > 0.001


def test_the_mechanism_over_time_is_drawn_beside_the_function(run: Run) -> None:
    data = run.subjects[0].data
    inside = np.where(data["step"] >= data["step"][2], '{"supported": ["H2"]}', '{"supported": []}')
    rows = np.broadcast_to(inside, data["trajectory_verdict"].shape).astype(object)
    with styled():
        both = SUBJECT_FIGURES["training"].draw(
            Subject("both", data.assign(trajectory_mechanism=(("member", "step"), rows)))
        )
        alone = SUBJECT_FIGURES["training"].draw(run.subjects[0])
    assert isinstance(both, Drawing)
    assert isinstance(alone, Drawing)
    assert overlapping(both) == []
    strips = {axes.get_title(): axes for axes in both.figure.axes if axes.get_title() in ("function", "mechanism")}
    assert set(strips) == {"function", "mechanism"}
    assert len(strips["mechanism"].collections) == data.sizes["step"]  # H2 or none at every snapshot
    assert not {"function", "mechanism"} & {axes.get_title() for axes in alone.figure.axes}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("name", list(SUBJECT_FIGURES))
def test_axes_are_labelled(drawn: dict[str, Drawing | LeftOut], subject: str, name: str) -> None:
    drawing = drawn[f"{subject} {name}"]
    assert isinstance(drawing, Drawing)
    labels = {axes.get_xlabel() for axes in drawing.figure.axes} | {axes.get_ylabel() for axes in drawing.figure.axes}
    expected = {
        "loss": "squared error",
        "training": "distance (nats)",
        "sensitivity": "cosine",
        "attention": "attended token",
        "maps": "rise of the loss (nats)",
        "learning": "squared error",
        "near_set": "",
        "predictions": "",
        "stress": "nats per answer",
    }[name]
    assert any(expected in label for label in labels)


def test_redrawing_gives_the_same_bytes(run: Run) -> None:
    for draw in (lambda: scoreboard.draw(run), lambda: SUBJECT_FIGURES["attention"].draw(run.subjects[0])):
        with styled():
            first, second = draw(), draw()
            assert isinstance(first, Drawing)
            assert isinstance(second, Drawing)
            assert png(first.figure) == png(second.figure)
            assert svg(first.figure) == svg(second.figure)


def test_style_does_not_leak_and_ignores_the_users(run: Run) -> None:
    before = dict(matplotlib.rcParams)
    with styled():
        assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["svg.fonttype"] == "path"
    assert dict(matplotlib.rcParams) == before


VARIABLES = {
    "loss": ["loss"],
    "near_set": ["distance"],
    "training": ["trajectory_distance"],
    "sensitivity": ["sensitivity_cosine", "influence"],
    "attention": ["attention"],
    "maps": ["interchange", "head_ablation"],
    "predictions": ["probe_seen"],
    "stress": ["stress_bias", "stress_moved"],
    "learning": ["train_loss"],
}


@pytest.mark.parametrize("name", list(SUBJECT_FIGURES))
@pytest.mark.parametrize("how", ["absent", "all NaN", "other dimensions"])
def test_figure_without_data_is_left_out_with_a_reason(run: Run, name: str, how: str) -> None:
    data = run.subjects[0].data
    for variable in VARIABLES[name]:
        if how == "absent":
            data = data.drop_vars(variable)
        elif how == "all NaN":
            data = data.assign({variable: data[variable] * np.nan})
        else:
            data = data.assign({variable: ("other", np.ones(3))})
    with styled():
        left_out = SUBJECT_FIGURES[name].draw(Subject("bare", data))
    assert isinstance(left_out, LeftOut)
    assert left_out.reason


# Of what only the viewer, or only one figure, looks at, one variable is enough.
FEW = {"attention_over_time", "look_labels"} | {f"probe_{name}" for name in ("seen", "p", "effect", "reference")}
FEW |= {f"probe_difference{end}" for end in ("", "_low", "_high")}
FEW |= {f"{name}{end}" for name in synthetic.MAPS for end in ("", "_low", "_high")}
FEW |= {str(name) for name in synthetic_stress.stress(1, np.random.default_rng(0)).data_vars}


@pytest.mark.parametrize("variable", sorted(set(synthetic.groups()["linear_attention"].data_vars) - FEW))
def test_no_single_variable_is_needed_by_all(run: Run, variable: str) -> None:
    data = run.subjects[0].data.drop_vars(variable)
    bare = Run("bare", [Subject("bare", data)], [], {}, None)
    found = drawings(bare)
    drawn = [drawing for drawing in found.values() if isinstance(drawing, Drawing)]
    assert len(drawn) >= 5
    assert not any("nan" in drawing.takeaway for drawing in drawn)


def test_an_empty_group_draws_nothing_and_does_not_fail() -> None:
    found = drawings(Run("empty", [Subject("empty", xr.Dataset())], [], {}, None))
    assert all(isinstance(drawing, LeftOut) for drawing in found.values())


@pytest.mark.parametrize(("pools", "read_all"), [(2, False), (7, True)])
def test_many_conditions_and_long_names_stay_legible(pools: int, read_all: bool) -> None:
    random = np.random.default_rng(pools)
    places = {f"trained:{2 ** (k + 1)}": list(random.normal(0.5, 0.4, 3)) for k in range(pools)}
    tokens = [f"x{k}" if k % 2 else f"y{k}" for k in range(41)]
    long = "a subject whose title is much longer than anyone would wish for, with sixteen layers and sixteen heads"
    data = synthetic.subject(long, places, 21, read_all, 3, 8, tokens, pools)
    data = data.assign_coords(title=("reference", [f"{t}, with a long qualification" for t in data["title"].values]))
    found = drawings(Run("many", [Subject("many", data)], [], {}, None))
    for name, drawing in found.items():
        if name != "planted":
            assert isinstance(drawing, Drawing)
            assert overlapping(drawing) == [], name


def test_spread_keeps_labels_apart_and_in_order() -> None:
    placed = spread([0.5, 0.5, 0.5, 0.1], 0.2, 0.0, 1.0)
    assert placed[3] == min(placed)
    assert np.diff(sorted(placed)).min() >= 0.2 - 1e-9
    crowded = spread([0.5] * 9, 0.2, 0.0, 1.0)
    assert np.diff(sorted(crowded)).min() >= 0.2 - 1e-9
    assert end_labels.__doc__


def test_the_stress_profile_says_what_is_avoidable_and_what_cannot_be_read(drawn: dict[str, Drawing | LeftOut]) -> None:
    drawing = drawn["softmax stress"]
    assert isinstance(drawing, Drawing)
    assert "its networks lose most by task switches (+0.2" in drawing.takeaway
    assert "another order moves them most (0.00" in drawing.takeaway
    notes = [text.get_text() for text in drawing.figure.texts]
    assert "Cannot be read by this model, such as for want of positions: longer than in training." in notes
    bars = [bar for axes in drawing.figure.axes for bar in axes.patches]
    assert {round(bar.get_x() + bar.get_width(), 6) for bar in bars} == {0.1}


def test_faults_are_listed_with_strength_interval_and_share(run: Run) -> None:
    table = faults_table(run.subjects[0])
    assert table is not None
    assert table.rows == [["forgets exponentially", "rate per example", "\n".join(["0.10 [0.080, 0.12], 70%"] * 3)]]


def test_effects_are_those_stored_and_the_takeaway_names_the_nearest(drawn: dict[str, Drawing | LeftOut]) -> None:
    drawing = drawn["softmax predictions"]
    assert isinstance(drawing, Drawing)
    panels = [axes for axes in drawing.figure.axes if axes.texts]
    assert len(panels) == 2  # two pools of trained members
    stored = synthetic.groups()["softmax"]["probe_effect"].values
    for axes, members in zip(panels, (slice(0, 3), slice(3, 6)), strict=True):
        expected = np.median(stored[members], axis=0)[:, :2].T  # of the third statistic all predictions are equal
        found = np.array([float(text.get_text()) for text in axes.texts]).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=0.006)
    assert "nearest to H5 implicit gradient descent (pool of 16 tasks)" in drawing.takeaway
    assert "against 0.99 for H4" in drawing.takeaway


@pytest.mark.parametrize("name", sorted(synthetic.MAPS))
def test_maps_are_drawn_without_what_is_not_stored(run: Run, name: str) -> None:
    """Of models without MLPs, of runs without intervals; without the map itself or the heads nothing is drawn."""
    data = run.subjects[1].data
    bare = data.drop_vars([f"{name}_low", f"{name}_high"])
    with styled():
        for shown in (bare, bare.drop_vars(name)):
            drawing = SUBJECT_FIGURES["maps"].draw(Subject("bare", shown))
            if shown is bare or name not in ("interchange", "head_ablation"):
                assert isinstance(drawing, Drawing)
                assert overlapping(drawing) == []
            else:
                assert isinstance(drawing, LeftOut)


def test_maps_show_medians_in_the_order_of_what_is_lost(drawn: dict[str, Drawing | LeftOut]) -> None:
    drawing = drawn["softmax maps"]
    assert isinstance(drawing, Drawing)
    assert "pool of 16 tasks: the answer reaches x8 in layer 1" in drawing.takeaway
    assert "the loss needs layer 1's 1st head most (+0.82 nats)" in drawing.takeaway
    stored = synthetic.groups()["softmax"].sel(member=[0, 1, 2])
    carried, lost, alike = drawing.figure.axes[:3]
    meshes = [mesh.get_array().ravel() for mesh in carried.collections if mesh.get_array() is not None]
    expected = [stored["interchange_input"], *stored["interchange"].transpose("layer", "member", "token")]
    for found, each in zip(meshes, expected, strict=True):
        np.testing.assert_allclose(found, each.median("member"))
    heads = -np.sort(-stored["head_ablation"].values, axis=-1)
    parts = np.concatenate([heads, stored["mlp_ablation"].values[..., None]], axis=-1)
    widths = [bar.get_width() for bar in lost.patches]
    np.testing.assert_allclose(widths, np.median(parts, axis=0).ravel())
    assert [label.get_text() for label in lost.get_yticklabels()][:2] == ["layer 0, 1st head", "layer 0, 2nd head"]
    # The most needed head of every member, whatever its number; no prompt has the third pattern.
    first = stored["head_ablation"].isel(layer=1).argmax("head")
    likeness = stored["attention_likeness"].isel(layer=1, pattern=[0, 3, 1]).isel(head=first).median("member")
    rows = [mesh.get_array().ravel() for mesh in alike.collections if mesh.get_array() is not None]
    np.testing.assert_allclose(rows[4], likeness)
    assert any("controls: untrained 0 nats" in text.get_text() for text in drawing.figure.texts)


def test_a_dot_stands_where_half_of_the_intervals_include_zero() -> None:
    ends = np.zeros((3, 2, 4))
    ends[:, :, 0] = np.array([[0.1, 0.05, 0.2], [0.1, -0.05, 0.2]]).T
    ends[:, :, 1] = np.array([[0.1, 0.05, 0.2], [0.1, 0.01, 0.2]]).T
    ends[1:, :, 2] = np.nan
    np.testing.assert_array_equal(open_to_doubt(ends), [True, False, False, False])
