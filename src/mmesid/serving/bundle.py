"""All that a served recommender needs, in one folder: both stages' outputs, the items' names, how it was evaluated."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from mmesid.artifacts import Store, load_frame, load_json, load_prepared, save_frame, save_json
from mmesid.config import Config
from mmesid.recommender.loading import load_finetuned
from mmesid.serving.service import Service

CODE = Path(__file__).parents[1]  # the mmesid package, which travels with the model
PYFUNC = Path(__file__).with_name("pyfunc.py")
_STAGES = ("init_codes", "finetune")
_NOT_SERVED = ("trainer*", "history.json", ".*")
_NOT_TEXT = ("item_id", "image", "image_name", "file", "row")


def write_bundle(store: Store, config: Config, folder: Path) -> str:
    """Copy what serving needs into `folder`.

    Returns:
        A digest of everything that decides an answer: equal digests are equal models.
    """
    for stage in _STAGES:
        shutil.copytree(store.folder(stage), folder / stage, ignore=shutil.ignore_patterns(*_NOT_SERVED))
    save_frame(folder / "items.parquet", names_of(load_prepared(store).items))
    save_json(folder / "serving.json", {"dataset": config.dataset, "exclude_history": config.evaluate.exclude_history})
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def load(folder: Path, device: str = "cpu") -> Service:
    """Rebuild the service from a bundle."""
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


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())
