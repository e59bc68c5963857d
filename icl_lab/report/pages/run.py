"""The report page of a run: one self-contained HTML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from icl_lab.core.thresholds import Thresholds
from icl_lab.report.data import Run, load
from icl_lab.report.figures import SUBJECT_FIGURES, planted, scoreboard
from icl_lab.report.figures.layout import styled
from icl_lab.report.numbers.tally import block
from icl_lab.report.pages.hypotheses import hypothesis_sections
from icl_lab.report.pages.render import picture, write_page
from icl_lab.report.pages.tables import faults_table, references_table
from icl_lab.report.pages.viewer import viewer_data
from icl_lab.report.subject import Subject
from icl_lab.report.text import glossary
from icl_lab.report.text.sentences import verdict_sentence
from icl_lab.report.text.vocabulary import HYPOTHESES, INKS


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
        values = _values(run, directory / "figures")
    return write_page("run.html", run, directory, **values)


def _values(run: Run, figures: Path) -> dict[str, Any]:
    subjects = [_subject(subject, figures) for subject in run.subjects]
    links = [("scoreboard", "Scoreboard"), ("claims", "Claims")]
    links += [(subject["anchor"], subject["title"]) for subject in subjects]
    links += [("planted", "Planted learners")] if run.planted else []
    return {
        "title": f"{run.name}: which explanation of in-context learning holds?",
        "about": _summary(run),
        "links": [*links, ("glossary", "Glossary"), ("provenance", "Provenance")],
        "scoreboard": picture(figures, "scoreboard", lambda: scoreboard.draw(run), scoreboard.READING),
        "subjects": subjects,
        "planted": [
            {
                "title": subject.family or subject.title,
                "picture": picture(figures, _slug(subject.name), lambda s=subject: planted.draw(s), planted.READING),
            }
            for subject in run.planted
        ],
        "glossary": {
            "hypotheses": [(name, title, INKS[name], *glossary.CLAIMS[name]) for name, title in HYPOTHESES.items()],
            "rule": glossary.verdict_rule(run.subjects[0].thresholds if run.subjects else Thresholds()),
            "levels": glossary.LEVELS,
            "terms": glossary.TERMS,
        },
    }


def _summary(run: Run) -> str:
    """Return one paragraph on what was run."""
    trained = sum(len(condition.members) for subject in run.subjects for condition in subject.trained)
    titles = [subject.title for subject in run.subjects]
    tasks = list(dict.fromkeys(filter(None, (subject.text("task") for subject in run.subjects))))
    about = f" ({'; '.join(tasks)})." if tasks else "."
    if run.subjects and all(subject.text("origin") == "outside" for subject in run.subjects):
        parts = [f"{'; '.join(titles)}, trained elsewhere, answered prompts that hold examples and a question{about}"]
    else:
        parts = [
            f"{_count(trained, 'network')} of {_count(len(titles), 'kind')} ({'; '.join(titles)}) "
            f"{'was' if trained == 1 else 'were'} trained to predict from examples in the prompt{about}"
        ]
    owned = [sum(bool(set(groups) & set(HYPOTHESES)) for groups in subject.groups) for subject in run.subjects]
    if references := max(owned, default=0):
        parts.append(
            f"Their answers were compared with those of {references} reference algorithms, which stand for five "
            "explanations of in-context learning, on prompts like those in training and on prompts unlike them."
        )
    parts.append("A small distance means that the explanation predicts what the network answers.")
    return " ".join(parts)


def _subject(subject: Subject, figures: Path) -> dict[str, Any]:
    described = [subject.text("description")]
    described += [
        f"{name}: {subject.text(key)}." for name, key in (("Model", "model"), ("Task", "task")) if subject.text(key)
    ]
    entries = [block(subject, condition) for condition in subject.trained]
    entries += [block(subject, condition, summary=True) for condition in subject.nulls]
    tests, reasons = subject.json("stress", {}), subject.json("stress_left_out", {})
    slug = _slug(subject.name)
    references = [references_table(subject, condition) for condition in subject.trained]
    return {
        "anchor": f"subject-{slug}",
        "title": subject.title,
        "about": " ".join(filter(None, described)),
        "verdicts": [verdict_sentence(entry) for entry in entries],
        "hypotheses": hypothesis_sections(subject),
        "pictures": [
            (
                name,
                entry.heading,
                picture(figures, f"{slug}-{name}", lambda draw=entry.draw: draw(subject), entry.reading),
            )
            for name, entry in SUBJECT_FIGURES.items()
        ],
        "viewer": viewer_data(subject),
        "left_out": "; ".join(f"{tests[name]['title']} ({why})" for name, why in reasons.items() if name in tests),
        "faults": faults_table(subject),
        "references": [table for table in references if table is not None],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "subject"
