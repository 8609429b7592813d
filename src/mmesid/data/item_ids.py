"""Item ids in one form, whoever writes them: outer spaces trimmed, whole floats without their fraction."""

import re

WHOLE = re.compile(r"(-?\d+)\.0+")


def canonical(item_id: str) -> str:
    """The id as every table, embedding and picture is joined by: ` 12.0` is `12`."""
    trimmed = item_id.strip()
    whole = WHOLE.fullmatch(trimmed)
    return whole[1] if whole else trimmed
