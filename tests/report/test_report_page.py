"""The page: self-contained, complete, tolerant of what is missing, and the same on every drawing."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic

from icl_lab.report import build
from icl_lab.report.text.glossary import CLAIMS


@pytest.fixture(scope="module")
def page(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(stored, directory)
    return build(directory)


class Ids(HTMLParser):
    """Collects ids, references to them, and whatever a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.used: set[str] = set()
        self.fetched: list[str] = []
        self.scripts: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append(dict(attrs))
        for name, value in attrs:
            text = value or ""
            if name == "id":
                self.ids.append(text)
            if name in ("href", "xlink:href") and text.startswith("#"):
                self.used.add(text[1:])
            self.used |= set(re.findall(r"url\(#([^)]+)\)", text))
            if tag in ("link", "iframe", "object", "embed"):
                self.fetched.append(tag)
            if name in ("src", "href", "xlink:href") and re.match(r"(https?:)?//", text):
                self.fetched.append(text)


def read(path: Path) -> Ids:
    parser = Ids()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_inline_ids_are_unique_and_every_reference_resolves(page: Path) -> None:
    found = read(page)
    assert len(found.ids) == len(set(found.ids))
    assert found.used <= set(found.ids)


def test_nothing_is_fetched(page: Path) -> None:
    assert read(page).fetched == []
    assert [script for script in read(page).scripts if "src" in script] == []
    text = re.sub(r'xmlns(:xlink)?="[^"]+"', "", page.read_text(encoding="utf-8"))
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text


def test_every_figure_lies_beside_the_page_as_png_and_svg(page: Path) -> None:
    folder = page.parent / "figures"
    names = {file.stem for file in folder.iterdir()}
    assert len(names) == 20
    for name in names:
        assert (folder / f"{name}.png").stat().st_size > 8_000
        assert (folder / f"{name}.svg").read_bytes().count(b"<path") > 20
    assert not list(folder.glob(".*"))


def test_scoreboard_comes_first_and_the_failing_claim_is_visible(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    order = [text.index(f'id="{anchor}"') for anchor in ("scoreboard", "claims", "subject-softmax", "glossary")]
    assert order == sorted(order)
    assert "1 of 2 claims hold; failing: A8." in text
    assert '<tr class="fails">' in text
    assert "small pool &lt;16&gt;" in text


def test_every_hypothesis_has_its_claim_predictions_and_both_verdicts(page: Path) -> None:
    text = page.read_text(encoding="utf-8").split('id="subject-softmax"')[1].split("<h2")[0]
    sections = text.split('<details class="hypothesis"')[1:]
    assert len(sections) == 5
    claims = [claim for claim, _ in CLAIMS.values()]
    for name, section, claim in zip(synthetic.HYPOTHESES, sections, claims, strict=True):
        assert f">{name}</span>" in section
        assert claim in section
        assert section.index("Answers:") < section.index("Mechanism:") < section.index("Probes:")
    kernel, retrieval = sections[1], sections[3]
    assert "pool of 16 tasks: function ✘ 3 of 3, mechanism ✔ 3 of 3" in kernel
    assert "<td>causal: more than 0.9</td><td>0.97 (3 of 3)</td><td>0.97 (3 of 3)</td><td>0.25 (0 of 3)</td>" in kernel
    assert "predicted: the answers of nearest example to" in retrieval
    row = retrieval.split("<td>sum</td>")[1].split("</tr>")[0]
    assert re.findall(r">([^<]+)</td>", row)[0] == "1.0"
    assert "3 of 3" in row
    assert "does not distinguish" in retrieval.split("<td>distance</td>")[1].split("</tr>")[0]
    assert "does not apply" in sections[4]


def test_without_battery_and_mechanism_the_page_says_so(tmp_path: Path) -> None:
    data = synthetic.groups()["linear_attention"][["verdict", "hypothesis_distance"]]
    synthetic.write(tmp_path, {"linear_attention": data})
    text = build(tmp_path).read_text(encoding="utf-8")
    assert text.count("No circuit of this hypothesis was tested.") == 5
    assert text.count("The probes were not run.") == 5
    assert "left out: the battery of probes was not asked." in text
    assert "<script" not in text


def test_provenance_is_shown(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for expected in ("cpu, 2 cores", "jax 0.10.2", "2030-01-02", "3 min", "linear_attention: {layers: 1}"):
        assert expected in text


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    data = synthetic.groups()["linear_attention"][["attention", "train_loss", "verdict"]]
    synthetic.write(tmp_path, {"linear_attention": data})
    before = build(tmp_path).read_bytes()
    assert build(tmp_path).read_bytes() == before


@pytest.mark.parametrize("claims", [None, "[1, 2", '{"id": 1}', "[]"])
def test_claims_may_be_absent_or_damaged(tmp_path: Path, claims: str | None) -> None:
    synthetic.write(tmp_path / "run", {"planted": synthetic.planted()}, claims=None)
    if claims is not None:
        (tmp_path / "run" / "claims.json").write_text(claims)
    text = build(tmp_path / "run").read_text(encoding="utf-8")
    assert 'class="missing"' in text.split('id="claims"')[1].split("<h2")[0]


def test_root_attributes_may_be_absent(tmp_path: Path) -> None:
    synthetic.write(tmp_path / "a-run", {"planted": synthetic.planted()}, root={})
    assert "a-run" in build(tmp_path / "a-run").read_text(encoding="utf-8")


def test_a_figure_that_lost_its_data_is_removed(tmp_path: Path) -> None:
    data = synthetic.groups()["linear_attention"][["attention", "verdict"]]
    synthetic.write(tmp_path, {"linear_attention": data})
    build(tmp_path)
    assert (tmp_path / "figures" / "linear-attention-attention.png").exists()
    synthetic.write(tmp_path, {"linear_attention": data.drop_vars("attention")})
    text = build(tmp_path).read_text(encoding="utf-8")
    assert "left out: no attention patterns are stored." in text
    assert not (tmp_path / "figures" / "linear-attention-attention.png").exists()


def test_missing_and_damaged_results_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run the configuration first") as missing:
        build(tmp_path)
    (tmp_path / "results.nc").write_bytes(b"not a results file")
    with pytest.raises(ValueError, match="cannot be read as results") as damaged:
        build(tmp_path)
    for error in (missing, damaged):
        assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_names_that_users_write_are_escaped(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>&\"'"
    data = synthetic.groups()["softmax"][["verdict", "attention_over_time", "look_labels", "fitted", "distance"]]
    data = data.assign_attrs(dict.fromkeys(("title", "description", "family"), attack))
    data = data.assign_attrs(parameter_names=f'{{"ridge": ["{attack[:25]}"]}}')
    data = data.assign_coords(title=("reference", [attack] * data.sizes["reference"]))
    data = data.assign_coords(label=("member", [attack] * data.sizes["member"]))
    claims = [{"id": attack, "statement": attack, "source": attack, "measured": attack, "holds": False}]
    root = synthetic.ROOT | {"name": attack, "config": attack, "device": attack}
    synthetic.write(tmp_path, {"softmax": data}, claims, root)
    text = build(tmp_path).read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("</script>") == 2  # the viewer and its data
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;") > 20
