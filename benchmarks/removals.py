"""What does each modality give? `python -m benchmarks.removals --dataset sample --seeds 0,1,2`

Trains with everything, without text, without pictures, and without what is collaborative beside the training itself:
the removed embedding is there for no stage from `tokenize` on, neither in semantic IDs nor in item vectors nor in late
fusion. Without the collaborative one, late fusion has neither transitions nor popularity, no bins by popularity, and
tied items no vectors of their own. What stays: all fine-tune on who took what in which order, the embedded backbone
starts from the catalogue's texts, the embedded open_clip has learned pictures beside texts, and
`init_codes.items: table` learns a vector per item.

Ingestion, preparation and encoders run once per seed. Each user's nDCG is averaged over the seeds; the differences to
everything are paired over users. With `--folder`, what is finished stays there, and a run that was killed goes on.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.seeds import ROOT, compare, copy_project, read_values, whole
from mmesid import config, tracking
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.store import Store
from mmesid.models import EVIDENCE_MODEL, MAIN_MODEL, NETWORK_MODEL

SHARED = ("ingest", "prepare", "encode_collaborative", "encode_content")  # run once per seed
STAGES = ("tokenize", "init_codes", "finetune", "baselines", "fuse", "evaluate")
ENCODERS = SHARED[-2:]
EVERYTHING = "everything"
MODELS = (MAIN_MODEL, NETWORK_MODEL, EVIDENCE_MODEL)  # rows that are made of what is removed


Changes = Mapping[str, Mapping[str, object]]


class Removal(NamedTuple):
    """What is taken away."""

    modality: str | None  # whose embedding
    changes: Changes  # parameters that differ, by section


REMOVALS = {
    EVERYTHING: Removal(None, {}),
    "without text": Removal("text", {}),  # `fuse` leaves out kinds of evidence for which there is no content
    "without image": Removal("image", {}),
    "without collaborative": Removal(
        "collaborative",
        {
            "init_codes": {"item_id": False},
            "fuse": {"evidence": ["text", "image", "text_codes", "image_codes"], "bins": [0]},
        },
    ),
}


def main() -> None:
    """Run, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="sample")
    parser.add_argument("--seeds", default="0,1,2", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--folder", type=Path, help="where the projects lie and stay; else they are temporary")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = run(given.dataset, given.seeds, given.folder or Path(temporary))
    path = ROOT / "benchmarks" / "results" / f"removals_{given.dataset}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(path.read_text())


def run(dataset: str, seeds: Sequence[int], folder: Path, source: Path = ROOT) -> dict[str, Any]:
    """Train every removal with every seed.

    Args:
        dataset: name in `conf/` and `sources/`.
        seeds: of all draws.
        folder: where the projects lie, `seed-0/without-text`.
        source: checkout with parameters and sources.

    Returns:
        By model: the mean of each removal, over seeds and by seed, and the paired difference of everything to it.
    """
    values = [removals(dataset, seed, folder / f"seed-{seed}", source) for seed in seeds]
    return {"dataset": dataset, "seeds": list(seeds)} | {
        model: compare([{name: found[model] for name, found in seed.items()} for seed in values], EVERYTHING)
        for model in MODELS
    }


def removals(dataset: str, seed: int, folder: Path, source: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By removal and model, the metric of each test user, (B,). A modality that the dataset lacks is not removed."""
    shared = folder / "shared"
    if not shared.exists():
        whole(shared, lambda beside: copy_project(beside, dataset, seed, source))
    train(Store(dataset, shared), SHARED, {})
    there = list(load_embeddings(Store(dataset, shared)))
    found = {}
    for name, removal in REMOVALS.items():
        if removal.modality is None or (removal.modality in there and len(there) > 1):
            root = folder / name.replace(" ", "-")
            if not root.exists():
                whole(root, partial(remove, removal, shared, dataset))
            train(Store(dataset, root), STAGES, removal.changes)
            found[name] = read_values(root, dataset)
    return found


def remove(removal: Removal, shared: Path, dataset: str, root: Path) -> None:
    """A project of its own with the results of the shared stages, but for what is removed."""
    shutil.copytree(shared, root, symlinks=True)
    if removal.modality:
        files = [Store(dataset, root).folder(stage) / f"{removal.modality}.safetensors" for stage in ENCODERS]
        (file,) = (file for file in files if file.exists())
        file.unlink()


def train(store: Store, stages: Sequence[str], changes: Changes) -> None:
    """Run stages that are not done yet, in this process and with no run in MLflow."""
    settings = config.load(store.dataset, store.root)
    changed = {section: getattr(settings, section).model_copy(update=values) for section, values in changes.items()}
    settings = settings.model_copy(update=changed)
    for stage in stages:
        done = store.root / f"{stage}.done"
        if not done.exists():
            sys.stderr.write(f"{store.root}: {stage}\n")
            with tracking.silent_run(stage) as log:
                import_module(f"mmesid.stages.{stage}").run(settings, store, log)
            done.touch()


if __name__ == "__main__":
    main()
