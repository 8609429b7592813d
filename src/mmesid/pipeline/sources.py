"""Raw catalogues under DVC: `sources/<dataset>` is tracked by `sources/<dataset>.dvc`, which git keeps.

DVC's cache and the folder share their files by hard links, so a tracked catalogue costs the disk one copy of itself.
What is replaced moves aside whole, to `sources/.<dataset>.old`, and is deleted only where another has taken its place.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mmesid.artifacts import source
from mmesid.artifacts.releases import is_recorded
from mmesid.artifacts.source import LINK, RECORD, Digest
from mmesid.artifacts.texts import save_text
from mmesid.errors import DataError
from mmesid.pipeline.downloads import address
from mmesid.pipeline.repo import opened

SHARED = {"cache": {"type": ["hardlink", "copy"]}}
OLD, GONE = ".old", ".gone"  # sources/.<dataset>.old: moved aside; .gone: being deleted
REMARK = "# The catalogue lies outside the project: `mmesid add NAME --files PATH --external` wrote what it held.\n"


def track(name: str, root: Path) -> str:
    """Have DVC track `sources/<name>`, as `dvc add` does.

    Returns:
        `sources/<name>.dvc`'s hash of the content.

    Raises:
        PipelineError: DVC refuses, or another dvc works here.
    """
    settle(root)
    with opened(root, SHARED) as repo:
        (stage,) = repo.add(str(root / "sources" / name))
        return str(stage.outs[0].hash_info.value)


def is_kept(name: str, root: Path) -> bool:
    """Whether DVC's cache holds what lies at `sources/<name>`, so that it can be replaced without a loss."""
    if not (root / "sources" / f"{name}.dvc").exists():
        return False
    with opened(root) as repo:
        out = _out(repo, name, root)
        return bool(out.hash_info) and not out.status()


def tracked_hash(name: str, root: Path) -> str:
    """What `sources/<name>.dvc` says of the content; empty where there is no such file."""
    path = root / "sources" / f"{name}.dvc"
    if not path.exists():
        return ""
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["outs"][0].get("md5", ""))


def place(files: Path, name: str, root: Path, external: bool) -> None:
    """Make `files` the folder `sources/<name>`: a copy, or with `external` a link and a digest.

    At any moment what lies there is whole, the old or the new; between two renames it is absent, and `settle` brings
    the old one back. A folder that is there already stays as it is.
    """
    target = root / "sources" / name
    if not external and not target.is_symlink() and target.is_dir() and target.samefile(files):
        return
    files, beside = files.resolve(), target.with_name(f".{name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    if external:
        beside.mkdir(parents=True)
        (beside / LINK).symlink_to(files, target_is_directory=True)
        write_record(beside, source.digest(files))
    else:
        for path in source.catalogue_files(files):
            copied = beside / path.relative_to(files)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
    clear(name, root)
    beside.rename(target)
    settle(root)


def clear(name: str, root: Path) -> None:
    """Make `sources/<name>` a place where nothing lies; what lay there waits beside it for `settle`."""
    settle(root)
    target = root / "sources" / name
    if os.path.lexists(target):
        target.rename(target.with_name(f".{name}{OLD}"))


def take_back(name: str, root: Path) -> None:
    """Delete `sources/<name>`, which was not there before, and what a copy that was cut short left beside it."""
    target = root / "sources" / name
    for path in (target, target.with_name(f".{name}.new")):
        _delete(path)


def is_same(files: Path, name: str, root: Path, external: bool) -> bool:
    """Whether `sources/<name>` is already what `place` would make of the files."""
    target = root / "sources" / name
    if target.is_symlink() or source.is_external(target) != external:
        return False
    return (source.read_record(target) if external else source.digest(target)) == source.digest(files.resolve())


def settle(root: Path) -> None:
    """End every replacement, also one that a kill cut short: what moved aside goes, or returns where nothing followed.

    Whatever is being deleted has a third name, under which it never returns.
    """
    for gone in (root / "sources").glob(f".*{GONE}"):
        _delete(gone)
    for old in (root / "sources").glob(f".*{OLD}"):
        target, gone = old.with_name(old.name[1 : -len(OLD)]), old.with_suffix(GONE)
        if os.path.lexists(target):
            old.rename(gone)
            _delete(gone)
        else:
            old.rename(target)


def _delete(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def write_record(folder: Path, found: Digest) -> None:
    """Write down what the folder outside holds."""
    text = REMARK + yaml.safe_dump(found._asdict(), sort_keys=False)
    save_text(folder / RECORD, text)


def tracked(root: Path) -> list[str]:
    """Datasets whose source DVC tracks."""
    return sorted(path.stem for path in (root / "sources").glob("*.dvc"))


def refresh(datasets: Sequence[str], root: Path) -> list[str]:
    """Take the sources as they are now: what changed is tracked anew, what DVC's cache still holds comes back.

    An address (`ingest.base_url`) is asked what it holds. A replacement that a kill cut short is ended first.

    Args:
        datasets: whose.
        root: the project's folder.

    Returns:
        A line for each source that was taken or brought back.
    """
    settle(root)
    kept = [line for name in datasets if (line := address.refresh(name, root))]
    known = [name for name in datasets if name in tracked(root) or is_recorded(root / "sources" / name)]
    if not known and all((root / "sources" / name).exists() for name in datasets):
        return kept
    with opened(root, SHARED) as repo:
        lines = [*kept, *(line for name in known if (line := _refresh(repo, name, root)))]
        for name in datasets:
            if not (root / "sources" / name).exists():
                _restore_ingested(repo, name)
        return lines


def outside_changed(folder: Path, repo: Any) -> bool:
    """Whether a catalogue outside differs from its record; one that is not on this machine does not."""
    if not source.is_external(folder) or not (folder / LINK).is_dir():
        return False
    return _digest(repo, folder) != source.read_record(folder)


def _refresh(repo: Any, name: str, root: Path) -> str:
    if not (root / "sources" / f"{name}.dvc").exists():
        repo.add(str(root / "sources" / name))
        return f"sources/{name} records what its address holds; commit sources/{name}.dvc"
    folder, out = root / "sources" / name, _out(repo, name, root)
    if not out.exists:
        if out.changed_cache():
            return ""
        out.checkout()
        return f"sources/{name} came back from DVC's cache"
    if outside_changed(folder, repo):
        write_record(folder, _digest(repo, folder))
    elif not out.status():
        return ""
    repo.add(str(folder))
    return f"sources/{name} has changed; sources/{name}.dvc tells its state now: commit it"


def _restore_ingested(repo: Any, name: str) -> None:
    """What `ingest` once made of a source that is not here: DVC itself restores nothing whose input is missing."""
    for stage in repo.index.stages:
        if stage.addressing == f"ingest@{name}":
            for out in stage.outs:
                if out.hash_info and not out.exists and not out.changed_cache():
                    out.checkout()


def _digest(repo: Any, folder: Path) -> Digest:
    """As `source.digest`; DVC remembers the hash of a file whose size and age are the same."""
    from dvc.fs import LocalFileSystem
    from dvc_data.hashfile.hash import hash_file

    files = LocalFileSystem()
    outside = (folder / LINK).resolve()
    return source.digest(outside, lambda path: str(hash_file(str(path), files, "md5", state=repo.state)[1].value))


def _out(repo: Any, name: str, root: Path) -> Any:
    path = root / "sources" / f"{name}.dvc"
    for stage in repo.stage.load_file(str(path)):
        return stage.outs[0]
    raise DataError(f"{path} tracks nothing; `mmesid add {name} --files PATH --force` writes it anew")
