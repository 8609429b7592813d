"""Cells that hold lists or dictionaries, as values or written out as Python, NumPy or JSON write them."""

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

BRACKETED = re.compile(r"[\[{](?!null\b|None\b|nan\b)[\w.+-]+[\]}]", re.IGNORECASE)  # [1408] and {2} are titles
LITERAL_GAP = re.compile(r"(?<=['\"])\s+(?=['\"])")  # NumPy prints lists without commas


def flatten(value: object) -> str:
    """A value written out, lists and what they hold joined by a comma; empty for null.

    Text that is a list as Python, NumPy or JSON write one is read as such.
    """
    if isinstance(value, str):
        held = parsed(value.strip()) if "[" in value or "{" in value else None
        return value if held is None else flatten(held)
    if isinstance(value, Mapping):
        parts = [(key, flatten(part)) for key, part in value.items()]
        return ", ".join(f"{key}: {part}" for key, part in parts if part)
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return ", ".join(filter(None, map(flatten, value)))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        return "" if math.isnan(value) else f"{value:.0f}" if float(value).is_integer() else str(value)
    return str(value)


def leaves(value: object) -> list[str]:
    """Every text that a list or dictionary holds, however deep, in their order."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
    return [leaf for part in parts for leaf in leaves(part)]


def parsed(text: str) -> Any:
    """The list or dictionary that the text is, None where it is none."""
    if text[:1] + text[-1:] not in ("[]", "{}") or BRACKETED.fullmatch(text):
        return None
    for parse in (json.loads, _literal):
        try:
            held = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return held if isinstance(held, list | dict | set) else None
    return None


def _literal(text: str) -> Any:
    """A list or dictionary as Python or NumPy prints it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of backslashes that Python would not write
        return ast.literal_eval(LITERAL_GAP.sub(", ", text))
