"""The findings of a run as shown in a notebook."""

from collections.abc import Sequence
from html import escape

from keras_concepts._documentation import page_link
from keras_concepts.reports.doctor.verdict import (
    Problem,
    Verdict,
    began,
    measured,
    noticed,
    place,
)
from keras_concepts.reports.drawing.names import printable
from keras_concepts.rules import Finding

_NAMES = {"error": "Error", "warning": "Warning", "info": "Note"}
# A notebook may be light or dark, and which is not known: text keeps its
# colour, and coloured text has its own background.
_STYLE = """
.kc-doctor{max-width:52em;line-height:1.5;overflow-wrap:anywhere}
.kc-doctor p,.kc-doctor ul{margin:.3em 0}
.kc-doctor ol{padding-left:1.5em}
.kc-doctor li{margin-bottom:1em}
.kc-doctor li li{margin-bottom:0}
.kc-doctor pre{white-space:pre-wrap;background:rgba(127,127,127,.16);\
color:inherit;padding:.4em .6em;margin:.3em 0;border-radius:4px}
.kc-doctor a{color:inherit}
.kc-doctor .kc-badge{color:#fff;padding:.05em .5em;border-radius:4px}
.kc-doctor .kc-error{background:#b3261e}
.kc-doctor .kc-warning{background:#8a5300}
.kc-doctor .kc-info{background:#00639b}
"""


def verdict_html(verdict: Verdict, most: int | None = None) -> str:
    """A verdict as part of a page, which wraps if the page is narrow.

    Args:
        verdict: What was found.
        most: Maximum number of problems; `None` for all.
    """
    problems = verdict.problems[:most]
    left_out = len(verdict.problems) - len(problems)
    parts = [f"<p><strong>{_text(verdict.headline)}</strong></p>"]
    if problems:
        parts.append(f"<ol>{''.join(map(_problem, problems))}</ol>")
    if left_out:
        parts.append(f"<p>{left_out} more are left out.</p>")
    parts += [f"<p><small>{_text(note)}</small></p>" for note in verdict.notes]
    body = "\n".join(parts)
    return f'<div class="kc-doctor"><style>{_STYLE}</style>\n{body}\n</div>'


def _problem(problem: Problem) -> str:
    cause = problem.cause
    parts = [
        f"<p>{_badge(cause)} <strong>{_text(place(cause))}</strong>, "
        f"{began(cause)}{noticed(cause)}</p>"
    ]
    for label, text in (
        ("", cause.why),
        ("Measured", measured(cause)),
        ("Change", cause.advice),
    ):
        if text:
            label = f"<strong>{label}:</strong> " if label else ""
            parts.append(f"<p>{label}{_text(text)}</p>")
    if cause.code:
        parts.append(f"<pre><code>{_text(cause.code)}</code></pre>")
    parts.append(_effects(problem.effects))
    if link := page_link(cause.page):
        parts.append(f'<p><a href="{_text(link)}">Read more</a></p>')
    return f"<li>{''.join(parts)}</li>\n"


def _effects(effects: Sequence[Finding]) -> str:
    if not effects:
        return ""
    lines = []
    for effect in effects:
        numbers = measured(effect, most=1)
        lines.append(
            f"<li>{_text(place(effect))}, {began(effect)}"
            f"{': ' if numbers else ''}{_text(numbers)}</li>"
        )
    return f"<p><strong>Leads to:</strong></p><ul>{''.join(lines)}</ul>"


def _badge(finding: Finding) -> str:
    severity = finding.severity
    name = _NAMES[severity]
    return f'<span class="kc-badge kc-{severity}">{name}</span>'


def _text(text: str) -> str:
    return escape(printable(text))
