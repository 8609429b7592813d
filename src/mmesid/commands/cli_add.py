"""`mmesid add` on the command line: a folder, or review files at an address, becomes a dataset."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from mmesid.commands.project import find_root
from mmesid.commands.screen import plain, table, tell
from mmesid.errors import ConfigError

if TYPE_CHECKING:
    from mmesid.commands.add_address import Address


def add(
    name: Annotated[str, typer.Argument(help="Name of the new dataset.")],
    files: Annotated[Path | None, typer.Option(help="Folder with interactions, items and pictures.")] = None,
    external: Annotated[bool, typer.Option("--external", help="Leave the files there; track their digest.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the source; conf/NAME.yaml stays.")] = False,
    reset_conf: Annotated[bool, typer.Option("--reset-conf", help="Write conf/NAME.yaml anew.")] = False,
    enable: Annotated[bool, typer.Option(help="List the dataset in params.yaml, so that `dvc repro` runs it.")] = True,
    columns: Annotated[
        str, typer.Option(help="Names in the files: user_id=userId,items.item_id=movieId; or user_id=1")
    ] = "",
    encoding: Annotated[str, typer.Option(help="Encoding of text files that are not UTF-8, like cp1252.")] = "",
    timestamp_format: Annotated[str, typer.Option(help="How times are written, like '%d/%m/%Y %H:%M'.")] = "",
    interactions: Annotated[str, typer.Option(help="File or folder of the interactions inside the folder.")] = "",
    items: Annotated[str, typer.Option(help="File or folder of the items inside the folder.")] = "",
    source: Annotated[str, typer.Option(help="files, or amazon: Amazon's review files, at --from.")] = "files",
    category: Annotated[str, typer.Option(help="amazon: as in the files' names, like Beauty.")] = "",
    release: Annotated[str, typer.Option(help="amazon: 2014, 2018, 2023 or 2023-5core.")] = "2014",
    base_url: Annotated[str, typer.Option("--from", help="amazon: http(s) address or folder of the files.")] = "",
    preset: Annotated[str, typer.Option(help="Of conf/presets: paper, authors, small, cpu. Its values win.")] = "",
) -> None:
    """Make a folder a dataset: inspect it, copy it to sources/NAME, have DVC track it, write conf/NAME.yaml.

    With --source amazon nothing is copied: sources/NAME records what lies at the address, and `ingest` fetches it.
    """
    ingest = {"interactions": interactions, "items": items, "encoding": encoding, "timestamp_format": timestamp_format}
    given = {key: value for key, value in ingest.items() if value}
    if source == "amazon":
        if files or external or columns or encoding or timestamp_format:
            raise ConfigError("--source amazon takes --from, --category and --release; its files say the rest")
        from mmesid.commands import add_address

        address, root = _address(base_url, category, release, given), find_root()
        record, kept = add_address.add(name, address, root, force, reset_conf, enable, preset or None)
        tell(add_address.describe(name, record, kept, enable))
        return
    if source != "files":
        raise ConfigError(f"--source: expected files or amazon, got {source!r}")
    if files is None:
        raise ConfigError("name the catalogue's folder with --files, or an address with --source amazon --from ADDRESS")
    from mmesid.commands import add
    from mmesid.data import authors_files

    root = find_root()
    told = {**given, "columns": named} if (named := add.parse_columns(columns)) else given
    sequences = None if told else authors_files.find(files)
    if sequences and external:
        raise ConfigError(
            f"--external leaves files as they are, but {sequences.name} is to be translated; leave it out"
        )
    with TemporaryDirectory() as aside:
        folder, notes = files, []
        if sequences:
            folder, notes = Path(aside), authors_files.convert(files, sequences, Path(aside))
        added = add.add(name, folder, root, external, force, reset_conf, enable, told, preset or None)
    tell(notes)
    table(["found", ""], [[plain(subject), plain(detail)] for subject, detail in added.inspection.rows()])
    tell(add.describe(added, name, root, enable))


def _address(base_url: str, category: str, release: str, named: dict[str, str]) -> "Address":
    """Where the files lie; raises ConfigError where an option is missing that has no default."""
    from mmesid.commands.add_address import Address

    given = {"--from": base_url, "--category": category}
    if missing := [option for option, value in given.items() if not value]:
        raise ConfigError(f"--source amazon needs {' and '.join(missing)}")
    return Address(base_url, category, release, named)
