"""What lies in a catalogue's folder and is not read: files beside the tables, columns of the interactions."""

from collections.abc import Mapping
from pathlib import Path

from mmesid.data.columns import NO_NAME, Wanted, listed
from mmesid.data.embedding_files import FOLDER, unused_files, why_no_table
from mmesid.data.files import INTERACTIONS
from mmesid.data.formats import How, find_parts
from mmesid.data.pictures import ARCHIVE
from mmesid.data.pictures import FOLDER as PICTURES
from mmesid.data.readers import names_of

TABLES = ("interactions", "items")
SHOWN = 8  # names in a row
ALL_COUNT = "every row of the interactions counts, whatever stands there"


def rows(folder: Path, how: How) -> list[tuple[str, str]]:
    """The names of what is not read, as (subject, detail) for a person; no row where all is read.

    Args:
        folder: of a catalogue that can be read.
        how: what its files do not say themselves.
    """
    files, columns = _files(folder, how), _columns(folder, how)
    embeddings = {name: why for name in files if (why := why_no_table(folder / name))}
    others = [name for name in files if name not in embeddings]
    return [
        *(("not used", f"{name}: {why}") for name, why in embeddings.items()),
        *([("files not read", listed(others, SHOWN))] if others else []),
        *([("columns not read", f"{listed(columns, SHOWN)}; {ALL_COUNT}")] if columns else []),
    ]


def _files(folder: Path, how: How) -> list[str]:
    """Files and folders beside those that are read or told otherwise; what is called like a table comes first."""
    read = {FOLDER, PICTURES, ARCHIVE, *(path.name for path, _ in unused_files(folder) if path.parent == folder)}
    for table, named in zip(TABLES, (how.interactions, how.items), strict=True):
        read |= {part.path.relative_to(folder).parts[0] for part in find_parts(folder, table, named)}
    names = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if path.name not in read and path.name[0] not in "._"
    ]
    return sorted(names, key=lambda name: (not name.startswith(TABLES), name))


def _columns(folder: Path, how: How) -> list[str]:
    """Columns of the interactions' first file that are not read."""
    wanted = Wanted(how.names(TABLES[0]), INTERACTIONS, only=True)
    names = names_of(find_parts(folder, TABLES[0], how.interactions)[0], wanted, how.encoding)
    read = set(wanted.find(names).values())
    others = [name for place, name in enumerate(names) if place not in read and not NO_NAME.fullmatch(name)]
    return others if wanted.has_header() else [f"column{name}" for name in others]


def left_out(columns: Mapping[str, str]) -> str:
    """Columns of the items table that are no text, by reason, and how to take one in."""
    by_reason: dict[str, list[str]] = {}
    for column, reason in columns.items():
        by_reason.setdefault(reason, []).append(column)
    said = "; ".join(f"{reason}: {', '.join(names)}" for reason, names in by_reason.items())
    return f"{said} (no text by their values; ingest.text: [COLUMN, ...] names those to take)"
