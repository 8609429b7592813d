"""Texts for people: short, and without secrets."""

import pytest

from mmesid.errors import LINE_LENGTH, first_line, without_secret


def test_secrets_leave_every_text() -> None:
    assert (
        without_secret("to http://a:b@c/ and postgresql+asyncpg://d:e@f") == "to http://c/ and postgresql+asyncpg://f"
    )


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ("one\ntwo", "one"),
        ("\n  one \ntwo", "one"),
        ("", ""),
        (ValueError("one\ntwo"), "one"),
        (ValueError(" \n"), "ValueError"),
        (OSError("no answer from http://me:secret@host:1/"), "no answer from http://host:1/"),
        (ValueError("x" * 1000), "x" * LINE_LENGTH),
    ],
)
def test_of_an_error_the_first_line_is_repeated(problem: object, line: str) -> None:
    assert first_line(problem) == line
