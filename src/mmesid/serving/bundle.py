"""All that a served recommender needs, in one folder: the stages' outputs, the items' titles, and its protocol."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmesid.artifacts import curves
from mmesid.artifacts.evaluate import load_metrics
from mmesid.artifacts.files import load_frame, load_json
from mmesid.artifacts.fuse import WEIGHTS, load_fusion
from mmesid.artifacts.items import titles
from mmesid.artifacts.prepare import load_items
from mmesid.artifacts.store import Store
from mmesid.config import Config
from mmesid.errors import ArtifactError
from mmesid.models import MAIN_MODEL

if TYPE_CHECKING:
    from mmesid.serving.service import Service

CODE = Path(__file__).parents[1]  # the mmesid package, which travels with the model
PYFUNC = Path(__file__).with_name("pyfunc.py")
_NEEDED = {  # stage -> files without which nothing answers; a backbone of our own lies in a folder beside them
    "init_codes": ("backbone.json", "recommender.json", "recommender.safetensors"),
    "finetune": ("adapter.json", "adapter.safetensors", "recommender.json", "recommender.safetensors"),
    "fuse": (WEIGHTS,),  # written last: where it is, the tables are
}
_NOT_SERVED = ("trainer*", curves.NAME, ".*")

Contents = Mapping[Path, Path | bytes]  # place in the bundle -> the file to copy, or the bytes to write


def collect(store: Store, config: Config) -> Contents:
    """What a bundle of the trained recommender holds; the stages' files are neither read nor copied yet.

    Raises:
        ArtifactError: a stage has not left all of its files, or the model was evaluated under another protocol, by
            which it would be judged and answer now.
    """
    now = config.protocol.model_dump()
    if (then := load_metrics(store).get("protocol", now)) != now:
        raise ArtifactError(
            f"{store.dataset} was evaluated under the protocol {then}, which is now {now}; "
            f"`make repro DATASETS={store.dataset}` evaluates it anew"
        )
    items = load_items(store)
    names = pd.DataFrame({"item_id": items["item_id"].astype(str), "title": titles(items)})
    settings = {"dataset": config.dataset, "exclude_history": config.protocol.exclude_history}
    contents: dict[Path, Path | bytes] = {
        Path("items.parquet"): names.to_parquet(index=False, compression="zstd"),
        Path("serving.json"): json.dumps(settings, indent=2, sort_keys=True).encode(),
    }
    for stage, needed in _NEEDED.items():
        folder = store.folder(stage)
        if lacking := [name for name in needed if not (folder / name).is_file()]:
            raise ArtifactError(
                f"{folder} lacks {', '.join(lacking)}: a run was stopped there, or files were removed; "
                f"`make repro DATASETS={store.dataset}` makes them"
            )
        for path in folder.rglob("*"):
            place = path.relative_to(folder.parent)
            if path.is_file() and _is_served(place):
                contents[place] = path
    return contents


def bundle_digest(contents: Contents) -> str:
    """A digest of everything that decides an answer: equal digests are equal models."""
    digest = hashlib.sha256()
    for place, content in sorted(contents.items()):
        digest.update(f"{place}\0".encode())
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def write_bundle(contents: Contents, folder: Path) -> None:
    """Write what serving needs into `folder`."""
    for place, content in contents.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)


def load(folder: Path, device: str = "cpu") -> "Service":
    """Rebuild the service from a bundle. One that was made before late fusion answers by its network alone."""
    from mmesid.evaluation.ranking import Scores
    from mmesid.fusion.fused import Fused
    from mmesid.recommender.inference import Scorer
    from mmesid.recommender.loading import load_finetuned
    from mmesid.serving.service import Service

    scores: Scores = Scorer(load_finetuned(folder / "init_codes", folder / "finetune", device))
    if (folder / "fuse").exists():
        scores = Fused(scores, load_fusion(folder / "fuse"), MAIN_MODEL, device)
    items = load_frame(folder / "items.parquet")
    settings = load_json(folder / "serving.json")
    return Service(scores, items["item_id"].to_list(), items["title"].to_list(), settings["exclude_history"])


def _is_served(place: Path) -> bool:
    return not any(fnmatch(part, pattern) for part in place.parts for pattern in _NOT_SERVED)
