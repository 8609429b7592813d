"""All that a served recommender needs, in one folder: both stages' outputs, the items' names, how it was evaluated."""

import hashlib
import shutil
import tempfile
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmesid.artifacts.files import load_frame, load_json, save_frame, save_json
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.config import Config

if TYPE_CHECKING:
    from mmesid.serving.service import Service

CODE = Path(__file__).parents[1]  # the mmesid package, which travels with the model
PYFUNC = Path(__file__).with_name("pyfunc.py")
_STAGES = ("init_codes", "finetune")
_NOT_SERVED = ("trainer*", "history.json", ".*")
_NOT_TEXT = ("item_id", "image", "image_name", "file", "row")


def write_bundle(store: Store, config: Config, folder: Path) -> None:
    """Copy what serving needs into `folder`."""
    for place, source in _contents(store, config, folder).items():
        if source != folder / place:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / place)


def bundle_digest(store: Store, config: Config) -> str:
    """A digest of everything that decides an answer: equal digests are equal models."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        for place, source in sorted(_contents(store, config, Path(folder)).items()):
            digest.update(f"{place}\0".encode())
            with source.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def load(folder: Path, device: str = "cpu") -> "Service":
    """Rebuild the service from a bundle."""
    from mmesid.recommender.loading import load_finetuned
    from mmesid.serving.service import Service

    model = load_finetuned(folder / "init_codes", folder / "finetune", device)
    items = load_frame(folder / "items.parquet")
    settings = load_json(folder / "serving.json")
    return Service(model, items["item_id"].to_list(), items["title"].to_list(), settings["exclude_history"])


def names_of(items: pd.DataFrame) -> pd.DataFrame:
    """item_id and title of each item; the title is the first text column, the id where an item has no text."""
    ids = items["item_id"].astype(str)
    texts = [column for column in items.columns if column not in _NOT_TEXT]
    title = items[texts[0]] if texts else ids
    return pd.DataFrame({"item_id": ids, "title": title.where(title.notna() & (title != ""), ids).astype(str)})


def _contents(store: Store, config: Config, folder: Path) -> dict[Path, Path]:
    """Place of each file in a bundle, and where it lies; the two that no stage makes are written into `folder`."""
    save_frame(folder / "items.parquet", names_of(load_prepared(store).items))
    save_json(folder / "serving.json", {"dataset": config.dataset, "exclude_history": config.evaluate.exclude_history})
    found = {Path(path.name): path for path in folder.iterdir()}
    for stage in _STAGES:
        for path in store.folder(stage).rglob("*"):
            place = path.relative_to(store.folder(stage).parent)
            if path.is_file() and not any(fnmatch(part, pattern) for part in place.parts for pattern in _NOT_SERVED):
                found[place] = path
    return found
