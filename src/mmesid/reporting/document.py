"""Tables that are printed in several languages: Markdown, LaTeX and HTML say the same."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mmesid.reporting.jinja import environment
from mmesid.reporting.latex import escaped

SMALLEST = 6  # columns from which a LaTeX table is set smaller


class Section(NamedTuple):
    """A table with its head and what has to be said about it; cells are plain text, code stands between backticks."""

    title: str
    text: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def to_markdown(sections: Sequence[Section], title: str = "") -> str:
    """Headings, paragraphs and pipe tables."""
    parts = [f"# {title}"] if title else []
    for section in sections:
        parts += [f"## {section.title}", *([section.text] if section.text else []), markdown_table(section)]
    return "\n\n".join(parts) + "\n"


def markdown_table(section: Section) -> str:
    """Its table alone."""
    lines = [_pipes(section.heads), "|" + "---|" * len(section.heads), *(_pipes(row) for row in section.rows)]
    return "\n".join(lines)


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"


def to_latex(sections: Sequence[Section], title: str) -> str:
    """A document of its own; needs nothing but the packages booktabs, longtable, textcomp and geometry."""
    body = "\n\n".join(_latex_section(section) for section in sections)
    return (
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n"
        "\\usepackage{booktabs,longtable,textcomp}\n\\usepackage[landscape,margin=15mm]{geometry}\n"
        f"\\title{{{escaped(title)}}}\n\\date{{}}\n\\begin{{document}}\n\\maketitle\n\n{body}\n\n\\end{{document}}\n"
    )


def _latex_section(section: Section) -> str:
    columns = "".join(f"p{{\\dimexpr{share:.3f}\\linewidth-4pt\\relax}}" for share in _shares(section))
    lines = [" & ".join(escaped(cell) for cell in row) + r" \\" for row in (section.heads, *section.rows)]
    size = "\\footnotesize" if len(section.heads) < SMALLEST else "\\scriptsize"
    table = [
        f"{{{size}\\setlength{{\\tabcolsep}}{{2pt}}",
        f"\\begin{{longtable}}{{{columns}}}",
        "\\toprule",
        lines[0],
        "\\midrule\n\\endhead",
        *lines[1:],
        "\\bottomrule",
        "\\end{longtable}}",
    ]
    return "\n".join([f"\\section*{{{escaped(section.title)}}}", escaped(section.text), "", *table])


def _shares(section: Section) -> list[float]:
    """Of the line's width for each column: its longest word has to fit, and long cells get lines more than width."""
    columns = list(zip(section.heads, *section.rows, strict=True))
    words = [max(len(word) for cell in column for word in re.split(r"[ _\n]", cell)) for column in columns]
    sizes = [max(word, 2 * max(map(len, column)) ** 0.5) for word, column in zip(words, columns, strict=True)]
    return [size / sum(sizes) for size in sizes]


def to_html(sections: Sequence[Section], title: str, version: str) -> str:
    """One page that needs nothing beside itself."""
    template = environment({}).get_template("document.html.j2")
    return template.render(sections=[html_view(section) for section in sections], title=title, version=version)


def html_view(section: Section) -> dict[str, object]:
    """As templates use it: each cell in parts, every second one code."""
    rows = [[cell.split("`") for cell in row] for row in section.rows]
    return {"title": section.title, "text": section.text.split("`"), "heads": section.heads, "rows": rows}
