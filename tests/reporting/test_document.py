"""A table in Markdown, LaTeX and HTML."""

from mmesid.reporting.document import Section, to_html, to_latex, to_markdown

HOSTILE = "a|b & 50 % of $x_1$ <b> \\ {y}"
SECTION = Section("Title & more", "Text with `code`.", ["head", "made by"], [[HOSTILE, "`mmesid x_y`"]])


def test_markdown_keeps_the_columns() -> None:
    lines = to_markdown([SECTION], "Top").splitlines()
    assert lines[0] == "# Top"
    assert lines[-2:] == ["|---|---|", "| a\\|b & 50 % of $x_1$ <b> \\ {y} | `mmesid x_y` |"]


def test_latex_escapes_what_it_reads_as_its_own() -> None:
    text = to_latex([SECTION], "Top")
    assert "a|b \\& 50 \\% of \\$x\\_1\\$ <b> \\textbackslash{} \\{y\\} & mmesid x\\_y \\\\" in text
    assert text.count("{") == text.count("}")
    assert "\\section*{Title \\& more}" in text


def test_html_escapes_and_marks_code() -> None:
    page = to_html([SECTION], "Top", "1.0")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<code>mmesid x_y</code>" in page
    assert "Text with <code>code</code>." in page
    assert "http" not in page.replace("http-equiv", "")
