"""Texts for people: short, and without secrets."""

import errno

import pytest

from mmesid.errors import LINE_LENGTH, first_line, unloadable, without_secret


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


class GatedRepoError(Exception):
    """As the hub's package names it."""


class LocalEntryNotFoundError(OSError):
    """Likewise: a file that is neither in the cache nor to be had."""


def caused(cause: Exception) -> OSError:
    """An error as transformers raises it: from one of the package below."""
    try:
        raise OSError("cannot load\nread on at ...") from cause
    except OSError as error:
        return error


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (
            GatedRepoError("403"),
            "is gated: accept its terms at https://huggingface.co/shop/model, then `hf auth login`",
        ),
        (LocalEntryNotFoundError("nothing"), "shop/model does not lie in this machine's cache"),
        (ConnectionError("no network"), "HF_ENDPOINT for a mirror"),
        (OSError(errno.ENOSPC, "no space left"), "the disk is full, shop/model does not fit"),
        (EOFError(), "is cut short or damaged; fetch it again"),
        (ValueError("bad"), "expected a folder; 'shop/model' does not load (cannot load)"),
    ],
)
def test_a_model_that_does_not_load_says_what_to_do(cause: Exception, said: str) -> None:
    error = unloadable("section.key", "shop/model", "a folder", caused(cause))
    assert said in str(error)
    assert str(error).startswith("section.key: ")
    assert "\n" not in str(error)
