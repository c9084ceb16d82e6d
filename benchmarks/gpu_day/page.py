"""The page of a run: what was decided, what failed and why, every check and every figure with a limit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from edgedet.report.html_document import html_document

WORDS = {
    "passed": "passed", "failed": "FAILED", "not_measured": "not measured", "running": "running",
    "waiting": "waiting",
}  # fmt: skip
TONES = {"passed": ' class="better"', "failed": ' class="worse"'}
ENDS = {
    0: "Everything was measured, and passed.",
    1: "Something failed.",
    3: "Nothing could be measured.",
    4: "What could be measured passed; the rest was not measured.",
}
FIGURES_SHOWN = 20_000
"""Letters of a step's figures; the JSON has all of them."""


def page(content: Mapping[str, Any]) -> str:
    """``content``: of the journal."""
    steps = content["steps"]
    tone = "" if content["exit_code"] == 0 else " none"
    time = f"{content['spent_s']:.0f} of {content['budget_s']:.0f} s"
    title = f"edgedet on a GPU: {_device(steps) or 'no GPU was found'}"
    parts = [
        f'<div class="choice{tone}"><strong>{escape(_end(content))}</strong>'
        f"<p>{escape(_counts(content['counts']))}; {time}.</p></div>",
        "<h2>Steps</h2>",
        _table("Steps", ("step", "outcome", "seconds", "why"), map(_step, steps)),
        "<h2>Figures with a limit</h2>",
        _bars(steps),
        "<h2>What was checked</h2>",
        _table("Checks", ("step", "what", "outcome", "detail"), _checks(steps)),
        "<h2>All figures</h2>",
        *map(_figures, steps),
        "<h2>Of what</h2>",
        f'<dl class="facts">{"".join(_facts(content))}</dl>',
    ]
    return html_document(title, "\n".join(parts))


def _end(content: Mapping[str, Any]) -> str:
    if content["stopped_by"]:
        return f"Stopped by {content['stopped_by']}: this is what was done until then."
    if not content["complete"]:
        return "Still running, or ended without a word: this is what was done until then."
    return ENDS.get(content["exit_code"], f"Exit code {content['exit_code']}.")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {WORDS[kind].lower()}" for kind, count in counts.items() if count)


def _device(steps: Sequence[Mapping[str, Any]]) -> str:
    found = (check["detail"] for step in steps for check in step["checks"] if check["what"] == "GPU"
             and check["outcome"] == "passed")  # fmt: skip
    return next(found, "").partition(",")[0]


def _step(step: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = "" if step["seconds"] is None else f"{step['seconds']:.1f}"
    return _text(step["name"]), _outcome(step["outcome"]), f"<td>{seconds}</td>", _reason(step["reason"])


def _bars(steps: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        (_text(bar["name"]), *(_text(part) for part in bar["text"].split(" | ")[1:5]), _outcome(MET[bar["met"]]),
         _text(bar["why"]))
        for step in steps for bar in step["bars"]
    ]  # fmt: skip
    if not lines:
        return "<p>None was measured.</p>"
    return _table("Bars", ("bar", "measured", "against", "ratio", "limit", "met", "why not"), lines)


MET = {True: "passed", False: "failed", None: "not_measured"}


def _checks(steps: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for step in steps:
        for check in step["checks"]:
            yield _text(step["name"]), _text(check["what"]), _outcome(check["outcome"]), _text(check["detail"])


def _figures(step: Mapping[str, Any]) -> str:
    parts = [json.dumps(step["figures"], indent=1)[:FIGURES_SHOWN]] if step["figures"] else []
    parts += [f"last words:\n{step['last_words']}"] if step["last_words"] else []
    if not parts:
        return ""
    return f"<details><summary>{escape(step['name'])}</summary><pre>{escape(chr(10).join(parts))}</pre></details>"


def _facts(content: Mapping[str, Any]) -> Iterator[str]:
    for name in ("edgedet", "library", "started", "ended", "command"):
        yield f"<dt>{name}</dt><dd>{escape(str(content[name]))}</dd>"
    for name, value in content["inputs"].items():
        yield f"<dt>inputs: {escape(name)}</dt><dd>{escape(str(value))}</dd>"


def _table(label: str, heads: Sequence[str], lines: Any) -> str:
    titles = "".join(f'<th scope="col" class="text">{escape(head)}</th>' for head in heads)
    rows = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table class="sortable">'
        f"<thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _text(value: str) -> str:
    return f'<td class="text">{escape(value)}</td>'


def _reason(value: str) -> str:
    return f'<td class="text wide">{escape(value)}</td>'


def _outcome(outcome: str) -> str:
    return f'<td class="text"><span{TONES.get(outcome, "")}>{WORDS[outcome]}</span></td>'
