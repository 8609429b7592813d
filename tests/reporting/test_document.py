"""A table in Markdown, LaTeX and HTML."""

import pytest

from mmesid.reporting.document import Section, to_html, to_latex, to_markdown
from mmesid.reporting.latex import escaped

HOSTILE = "a|b & 50 % of $x_1$ <b> \\ {y}"
SECTION = Section("Title & more", "Text with `code`.", ["head", "made by"], [[HOSTILE, "`mmesid x_y --seeds 1`"]])


def test_markdown_keeps_the_columns() -> None:
    lines = to_markdown([SECTION], "Top").splitlines()
    assert lines[0] == "# Top"
    assert lines[-2:] == ["|---|---|", "| a\\|b & 50 % of $x_1$ <b> \\ {y} | `mmesid x_y --seeds 1` |"]


def test_latex_escapes_what_it_reads_as_its_own() -> None:
    text = to_latex([SECTION], "Top")
    assert "a|b \\& 50 \\% of \\$x\\_\\allowbreak{}1\\$ <b> \\textbackslash{} \\{y\\} & " in text
    assert " & \\texttt{mmesid x\\_\\allowbreak{}y -{}-seeds 1} \\\\\n" in text
    assert text.count("{") == text.count("}")
    assert "\\section*{Title \\& more}" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("≈ .056 ± 1 − 2 × 3", r"$\approx$ .056 $\pm$ 1 $-$ 2 $\times$ 3"),
        ("α τ Ω ✓", r"$\alpha$ $\tau$ $\Omega$ $\surd$"),
        ("1–2 — …", r"1--2 --- \ldots{}"),
        ("“a” ‘b’ „c“ «d»", r"``a'' `b' \quotedblbase{}c`` \guillemotleft{}d\guillemotright{}"),
        ("é ü Ş ñ ß ø e\u0301 ế", r"\'{e} \"{u} \c{S} \~{n} \ss{} \o{} \'{e} \'{\^{e}}"),
        ("中 \U0001f600 \x07", r"\texttt{U+4E2D} \texttt{U+1F600} \texttt{U+0007}"),
        ("10\u00a0%", r"10~\%"),
        ("a--b <<c>> ,,d''", r"a-{}-b <{}<c>{}> ,{},d'{}'"),
        ("`x --only 'a'`", r"\texttt{x -{}-only \textquotesingle{}a\textquotesingle{}}"),
    ],
)
def test_latex_is_ascii_for_every_engine_and_commands_stay_what_they_are(text: str, expected: str) -> None:
    assert escaped(text) == expected
    assert escaped(text).isascii()


def test_html_escapes_and_marks_code() -> None:
    page = to_html([SECTION], "Top", "1.0")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<code>mmesid x_y --seeds 1</code>" in page
    assert "Text with <code>code</code>." in page
    assert "http" not in page.replace("http-equiv", "")
