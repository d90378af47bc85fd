"""One self-contained page of tables and figures: no file beside it, no script, nothing fetched."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from snnhll.reports import style
from snnhll.reports.figures import draw
from snnhll.reports.formats import to_html
from snnhll.reports.tables import Table
from snnhll.version import __version__

LOOK = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid #ccc; padding-bottom: .3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #333; vertical-align: bottom; } tbody tr:hover { background: #f5f5f5; }
ul { font-size: .85rem; color: #444; } code { background: #f2f2f2; padding: .1rem .3rem; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; }
nav a { margin-right: 1rem; white-space: nowrap; }
@page { size: A4 landscape; margin: 1cm; }
@media print { section + section { break-before: page; } .wide { overflow: visible; } td { white-space: normal; }
  body { margin: 0; max-width: none; } table { font-size: .6rem; } th, td { padding: .15rem .3rem; } }
"""


def page(tables: Sequence[Table]) -> str:
    """Return the page of all tables, each with its figures."""
    links = "\n".join(f'<a href="#{table.name}">{html.escape(table.name)}</a>' for table in tables)
    commits = sorted({table.commit for table in tables if table.commit})
    made = f"snnhll {__version__}" + (f", runs of commit {', '.join(commits)}" if commits else "")
    sections = "\n".join(_section(table) for table in tables)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>snnhll: results</title>\n'
        f"<style>{LOOK}</style></head>\n<body><h1>Results</h1><p>{html.escape(made)}</p><nav>{links}</nav>\n"
        f"{sections}\n</body></html>\n"
    )


def _section(table: Table) -> str:
    title = html.escape(table.title)
    figures = "\n".join(
        f'<figure role="img" aria-label="{title}: {name}">{svg(picture, f"{table.name}-{name}")}</figure>'
        for name, picture in draw(table).items()
    )
    return f'<section id="{table.name}"><h2>{title}</h2>\n{to_html(table)}\n{figures}</section>'


def svg(picture: Figure, name: str) -> str:
    """Return a figure as an SVG element. name: keeps its inner references apart from those of other figures."""
    out = io.StringIO()
    with rc_context(style.SETTINGS | {"svg.hashsalt": name}):
        picture.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
