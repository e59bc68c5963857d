"""The report page: one self-contained HTML file, figures inline, nothing fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path

from icl_lab.core.files import write_atomically
from icl_lab.core.thresholds import Thresholds
from icl_lab.report.data import Run, load
from icl_lab.report.figures import SUBJECT_FIGURES, planted, scoreboard
from icl_lab.report.figures.files import inline, png, svg
from icl_lab.report.figures.layout import Drawing, LeftOut, styled
from icl_lab.report.numbers.tally import block
from icl_lab.report.pages.faults import faults_table
from icl_lab.report.pages.hypotheses import hypothesis_sections
from icl_lab.report.pages.tables import claims_table, provenance, references_table
from icl_lab.report.pages.viewer import SCRIPT, viewer
from icl_lab.report.subject import Subject
from icl_lab.report.text import glossary
from icl_lab.report.text.sentences import verdict_sentence
from icl_lab.report.text.vocabulary import HYPOTHESES, INKS

STYLESHEET = Path(__file__).with_name("page.css")


def build(run_directory: Path) -> Path:
    """Draw every figure of a finished run and write its page.

    Reads `results.nc` (one group per subject) and `claims.json` (optional) in `run_directory`; writes
    `figures/NAME.png`, `figures/NAME.svg` and `report.html` there, each atomically. A figure whose data are absent is
    left out, with a line on the page that says why. The same results give the same bytes.

    Returns the path of `report.html`. Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    with styled():
        page = "\n".join(_page(run, directory / "figures"))
    target = directory / "report.html"
    write_atomically(target, page.encode("utf-8"))
    return target


def _page(run: Run, figures: Path) -> Iterator[str]:
    anchors = {subject.name: f"subject-{_slug(subject.name)}" for subject in run.subjects}
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(run.name)}: in-context learning, explained by what?</title>"
    yield f"<style>{STYLESHEET.read_text(encoding='utf-8')}</style></head><body>"
    yield f"<h1>{escape(run.name)}: which explanation of in-context learning holds?</h1>"
    yield f"<p>{escape(_summary(run))}</p>"
    links = [("scoreboard", "Scoreboard"), ("claims", "Claims")]
    links += [(anchors[subject.name], subject.title) for subject in run.subjects]
    links += [("planted", "Planted learners")] if run.planted else []
    links += [("glossary", "Glossary"), ("provenance", "Provenance")]
    yield "<nav>" + " ".join(f'<a href="#{anchor}">{escape(text)}</a>' for anchor, text in links) + "</nav>"
    yield '<h2 id="scoreboard">Scoreboard</h2>'
    yield figure_html(figures, "scoreboard", lambda: scoreboard.draw(run), scoreboard.READING)
    yield '<h2 id="claims">Claims</h2>'
    yield claims_table(run)
    for subject in run.subjects:
        yield from _section(subject, anchors[subject.name], figures)
    if run.planted:
        yield '<h2 id="planted">Planted learners: is the judge to be trusted?</h2>'
    for subject in run.planted:
        yield f"<h3>{escape(subject.family or subject.title)}</h3>"
        yield figure_html(figures, _slug(subject.name), lambda s=subject: planted.draw(s), planted.READING)
    yield '<h2 id="glossary">Glossary</h2>'
    yield _glossary(run.subjects[0].thresholds if run.subjects else Thresholds())
    yield '<h2 id="provenance">Provenance</h2>'
    yield provenance(run)
    if any("attention_over_time" in subject.data for subject in run.subjects):
        yield f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"
    yield "</body></html>\n"


def _summary(run: Run) -> str:
    """One paragraph: what was run."""
    trained = sum(len(condition.members) for subject in run.subjects for condition in subject.trained)
    titles = [subject.title for subject in run.subjects]
    tasks = list(dict.fromkeys(filter(None, (subject.text("task") for subject in run.subjects))))
    about = f" ({'; '.join(tasks)})." if tasks else "."
    if run.subjects and all(subject.text("origin") == "outside" for subject in run.subjects):
        parts = [f"{'; '.join(titles)}, brought from outside, was asked to predict from examples in the prompt{about}"]
    else:
        parts = [
            f"{_count(trained, 'network')} of {_count(len(titles), 'kind')} ({'; '.join(titles)}) "
            f"{'was' if trained == 1 else 'were'} trained to predict from examples in the prompt{about}"
        ]
    owned = [sum(bool(set(groups) & set(HYPOTHESES)) for groups in subject.groups) for subject in run.subjects]
    references = max(owned, default=0)
    if references:
        parts.append(
            f"Their answers were compared with those of {references} reference algorithms, which stand for five "
            "explanations of in-context learning, on prompts like those in training and on prompts unlike them."
        )
    parts.append("Small distances mean that the explanation predicts what the network answers.")
    return " ".join(parts)


def _section(subject: Subject, anchor: str, figures: Path) -> Iterator[str]:
    yield f'<h2 id="{anchor}">{escape(subject.title)}</h2>'
    described = [subject.text("description")]
    described += [
        f"{name}: {subject.text(key)}." for name, key in (("Model", "model"), ("Task", "task")) if subject.text(key)
    ]
    yield f"<p>{escape(' '.join(filter(None, described)))}</p>"
    entries = [block(subject, condition) for condition in subject.trained]
    entries += [block(subject, condition, summary=True) for condition in subject.nulls]
    yield (
        '<ul class="verdicts">' + "".join(f"<li>{escape(verdict_sentence(entry))}</li>" for entry in entries) + "</ul>"
    )
    yield from hypothesis_sections(subject)
    for name, entry in SUBJECT_FIGURES.items():
        yield f"<h3>{escape(entry.heading)}</h3>"
        yield figure_html(
            figures, f"{_slug(subject.name)}-{name}", lambda draw=entry.draw: draw(subject), entry.reading
        )
        if name == "attention":
            yield viewer(subject, anchor)
        if name == "stress":
            yield from left_out(subject)
            yield from faults_table(subject)
    for condition in subject.trained:
        yield references_table(subject, condition)


def left_out(subject: Subject) -> Iterator[str]:
    """Why stress tests are missing from the profile."""
    titles, reasons = subject.json("stress", {}), subject.json("stress_left_out", {})
    told = [f"{titles[name]['title']} ({why})" for name, why in reasons.items() if name in titles]
    if told:
        yield f'<p class="muted">Left out, for some of the tasks at least: {escape("; ".join(told))}.</p>'


def figure_html(figures: Path, name: str, draw: Callable[[], Drawing | LeftOut], reading: str) -> str:
    """Draw, store as PNG and SVG, and return the HTML; a line with the reason where there is nothing to draw."""
    drawn = draw()
    if isinstance(drawn, LeftOut):
        for suffix in ("png", "svg"):  # a picture of earlier results must not stay beside a page that lacks it
            (figures / f"{name}.{suffix}").unlink(missing_ok=True)
        return f'<p class="missing">This figure is left out: {escape(drawn.reason)}.</p>'
    document = svg(drawn.figure)
    write_atomically(figures / f"{name}.png", png(drawn.figure))
    write_atomically(figures / f"{name}.svg", document)
    files = f'<a href="figures/{name}.png">PNG</a> <a href="figures/{name}.svg">SVG</a>'
    return (
        f"<figure>{inline(document, name, drawn.takeaway)}<figcaption>{escape(reading)} {files}</figcaption></figure>"
    )


def _glossary(limits: Thresholds) -> str:
    rows = [
        f'<tr><td><span class="chip" style="color:{INKS[name]}">{name}</span> {escape(title)}</td>'
        f"<td>{escape(glossary.CLAIMS[name][0])}</td><td>{escape(glossary.CLAIMS[name][1])}</td></tr>"
        for name, title in HYPOTHESES.items()
    ]
    rule = "".join(f"<li>{escape(sentence)}</li>" for sentence in glossary.verdict_rule(limits))
    terms = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in glossary.TERMS.items())
    return (
        f"<table><tr><th>hypothesis</th><th>it says</th><th>its references</th></tr>{''.join(rows)}</table>"
        f"<h3>The verdict rule</h3><ol>{rule}</ol><p>{escape(glossary.LEVELS)}</p><h3>Terms</h3><dl>{terms}</dl>"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "subject"
