"""Texts that people read and edit, written whole or not at all; `files` has the formats of data."""

from pathlib import Path

from mmesid.artifacts.files import write_atomically


def save_text(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
