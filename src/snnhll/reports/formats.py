"""Tables as text: Markdown, CSV, LaTeX, JSON, HTML, and for the terminal."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table as RichTable

from snnhll.reports.statistics import mean
from snnhll.reports.tables import Table, TableRow
from snnhll.sweeps.estimate import spoken

NONE = "–"


def ours(table: Table, row: TableRow) -> str:
    """Return the cell of what was reached here: mean ± std with n, or what is missing."""
    if row.n_wanted == 0:
        return "not run here"
    missing = f"{row.n}/{row.n_wanted} seeds"
    if row.mean is None:
        return "failed" if row.failed else missing
    value = table.metric.text(row.mean) + ("" if row.std is None else f" ± {table.metric.text(row.std)}")
    if row.status == "finished":
        return f"{value} (n={row.n})"
    return f"{value} ({missing}{', failed' if row.failed else ''})"


def columns(table: Table, brief: bool = False) -> dict[str, list[str]]:
    """Return the columns of a table as text, by their headings; columns without any entry are left out.

    brief: also without what describes a row, unless there is nothing else to show.
    """
    rows, metric = table.rows, table.metric
    brief = brief and any(row.published is not None or row.n_wanted for row in rows)
    abouts = [] if brief else list(dict.fromkeys(key for row in rows for key in row.about))
    details = list(dict.fromkeys(heading for row in rows for heading in row.details))
    found: dict[str, list[str]] = {"row": [row.name for row in rows]}
    for key in abouts:
        found[key] = [_about(row.about.get(key)) for row in rows]
    found["reference"] = [row.reference if row.reference and row.reference != row.name else NONE for row in rows]
    found["published"] = [_maybe(row.published, metric.text) for row in rows]
    found[f"ours: {metric.title}"] = [ours(table, row) for row in rows]
    found["difference"] = [_maybe(row.difference, lambda d: f"{d:+.2f}") for row in rows]
    found["p"] = [_maybe(row.p, lambda p: f"{p:.2g}") for row in rows]
    for heading in details:
        found[heading] = [_maybe(mean([*row.details.get(heading, {}).values()]), metric.text) for row in rows]
    found["epochs"] = [NONE if row.epochs is None else str(row.epochs) for row in rows]
    found["time a run"] = [_maybe(row.wall_seconds, spoken) for row in rows]
    found["peak memory"] = [_maybe(row.peak_memory_bytes, lambda b: f"{b / 2**20:.0f} MiB") for row in rows]
    found["commit"] = [row.commit or NONE for row in rows]
    keep = "row" if not any(row.n_wanted for row in rows) else f"ours: {metric.title}"
    return {
        h: cells for h, cells in found.items() if h == keep or any(cell not in (NONE, "not run here") for cell in cells)
    }


def _about(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return NONE if value is None else str(value)


def _maybe(value: float | None, text: Callable[[float], str]) -> str:
    return NONE if value is None else text(value)


def _is_best(table: Table, heading: str, i: int) -> bool:
    return heading.startswith("ours: ") and table.rows[i].best


def _lines(
    table: Table, cells: dict[str, list[str]], mark: Callable[[str], str], plain: Callable[[str], str]
) -> list[list[str]]:
    """Return the cells row by row: the best through `mark`, all through `plain` first."""
    return [
        [
            mark(plain(column[i])) if _is_best(table, heading, i) else plain(column[i])
            for heading, column in cells.items()
        ]
        for i in range(len(table.rows))
    ]


def to_markdown(table: Table) -> str:
    """Return the table with its title and notes as Markdown."""
    cells = columns(table)
    headings = list(cells)
    lines = _lines(table, cells, lambda cell: f"**{cell}**", lambda cell: cell.replace("|", "\\|"))
    body = [headings, ["---"] * len(headings), *lines]
    text = "\n".join("| " + " | ".join(line) + " |" for line in body)
    notes = "".join(f"\n- {note}" for note in table.notes)
    made_by = f"`{table.command}`\n\n" if table.command else ""
    return f"## {table.title}\n\n{made_by}{text}\n" + (f"{notes}\n" if notes else "")


def to_tex(table: Table) -> str:
    """Return the table for LaTeX, with booktabs."""
    cells = columns(table)
    headings = [_tex(heading) for heading in cells]
    lines = _lines(table, cells, lambda cell: f"\\textbf{{{cell}}}", _tex)
    rows = "\n".join("    " + " & ".join(line) + r" \\" for line in lines)
    notes = "".join(f"% {note}\n" for note in table.notes)
    head = " & ".join(headings) + r" \\"
    return (
        f"{notes}\\begin{{table}}\n  \\centering\n  \\caption{{{_tex(table.title)}}}\n  \\label{{tab:{table.name}}}\n"
        f"  \\begin{{tabular}}{{{'l' * len(headings)}}}\n    \\toprule\n    {head}\n    \\midrule\n"
        f"{rows}\n    \\bottomrule\n  \\end{{tabular}}\n\\end{{table}}\n"
    )


GREEK = ("alpha", "beta", "gamma", "theta", "lambda", "sigma")
TEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "²": r"$^2$",
    "×": r"$\times$",
    **{letter: rf"$\{name}$" for letter, name in zip("αβγθλσ", GREEK, strict=True)},
}


def _tex(text: str) -> str:
    return "".join(TEX.get(c, c) for c in text)


def as_json(table: Table) -> dict[str, Any]:
    """Return the table as the JSON contract has it: accuracies in %, None where there is nothing."""
    rows = [
        {
            "name": row.name,
            "published": row.published,
            "reference": row.reference,
            "mean": row.mean,
            "std": row.std,
            "n": row.n,
            "n_wanted": row.n_wanted,
            "status": row.status,
            "epochs": row.epochs,
            "wall_seconds": row.wall_seconds,
            "peak_memory_bytes": row.peak_memory_bytes,
        }
        for row in table.rows
    ]
    return {"table": table.name, "commit": table.commit, "rows": rows}


def to_json(tables: Sequence[Table]) -> str:
    """Return one table as an object, several as a list."""
    found = [as_json(table) for table in tables]
    return json.dumps(found[0] if len(found) == 1 else found, indent=2, ensure_ascii=False) + "\n"


def to_csv(table: Table) -> str:
    """Return the table as CSV: the numbers of the JSON contract and, beside them, what only the text formats show."""
    out = io.StringIO()
    abouts = list(dict.fromkeys(key for row in table.rows for key in row.about))
    details = list(dict.fromkeys(heading for row in table.rows for heading in row.details))
    records = as_json(table)["rows"]
    extra = ["metric", "difference", "p", "best", "commit"]
    writer = csv.DictWriter(
        out, [*records[0], *extra, *details, *(f"about {key}" for key in abouts)], lineterminator="\n"
    )
    writer.writeheader()
    for record, row in zip(records, table.rows, strict=True):
        record |= {"metric": table.metric.name, "difference": row.difference, "p": row.p, "best": row.best}
        record |= {"commit": row.commit}
        record |= {heading: mean([*values.values()]) for heading, values in row.details.items()}
        record |= {f"about {key}": value for key, value in row.about.items()}
        writer.writerow(record)
    return out.getvalue()


def to_html(table: Table) -> str:
    """Return the table as a section of a page."""
    cells = columns(table)
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in cells)
    lines = _lines(table, cells, lambda cell: f"<strong>{cell}</strong>", html.escape)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    shown = f"<p><code>{html.escape(table.command)}</code></p>" if table.command else ""
    return (
        f'{shown}<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
        f"<ul>{notes}</ul>"
    )


def to_rich(table: Table) -> RichTable:
    """Return the table for the terminal; notes are its caption."""
    shown = RichTable(title=escape(table.title), title_justify="left", caption_justify="left", box=None, pad_edge=False)
    shown.caption = escape("\n".join(([f"with {table.settings}"] if table.settings else []) + table.notes))
    cells = columns(table, brief=True)
    for heading in cells:
        shown.add_column(escape(heading), overflow="fold")
    for line in _lines(table, cells, lambda cell: f"[bold green]{cell} *[/]", escape):
        shown.add_row(*line)
    return shown


WRITERS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_tex,
    "json": lambda table: to_json([table]),
}
