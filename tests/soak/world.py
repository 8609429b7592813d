"""The tiny catalogue, changed so that there is always something out of date, and back."""

import random
import shutil
from pathlib import Path
from typing import Any

import yaml

from tests import tiny
from tests.conftest import copy_project

WEAK = {"epochs": 1, "learning_rate": 1e-6, "table_learning_rate": 1e-6}  # of `finetune`: a champion that can be beaten
TOKENS = {"levels": 3, "codes": 16}  # of `tokenize`: few items share a semantic ID, so that the gate can hold
KINDS = {"finetune": 6, "tokenize": 3, "source": 2}  # what a change redoes; how often


def make(folder: Path) -> tuple[Path, Path]:
    """A checkout to be disturbed, and one that never is, its pipeline done."""
    disturbed, reference = folder / "soak", folder / "reference"
    if not (reference / "reports" / "report.html").exists():
        shutil.rmtree(reference, ignore_errors=True)
        tiny.repro(_fresh(reference))
    shutil.rmtree(disturbed, ignore_errors=True)
    return _fresh(disturbed), reference


def _fresh(folder: Path) -> Path:
    root = tiny.make(copy_project(folder))
    tiny.override(root, {"tokenize": TOKENS})
    return root


class World:
    """What a disturbed checkout's files say."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root, self._draw = root, random.Random(seed)
        self._conf, self._recipe = root / "conf" / f"{tiny.NAME}.yaml", root / "sources" / tiny.NAME / "recipe.yaml"
        self._before = {path: path.read_text(encoding="utf-8") for path in (self._conf, self._recipe)}
        self._changes = 0
        tiny.override(root, {"finetune": WEAK})

    def disturb(self) -> tuple[str, dict[str, Any]]:
        """Put something out of date that never was so before.

        Returns:
            What, and the parameters of a retrain that carry the rest of it.
        """
        self._changes += 1
        (kind,) = self._draw.choices(list(KINDS), list(KINDS.values()))
        parallel = self._draw.choice([1, 2])
        if kind == "source":
            recipe = yaml.safe_load(self._before[self._recipe])
            tiny.write_yaml(self._recipe, {**recipe, "users": tiny.RECIPE["users"] + self._changes})
            return kind, {"parallel": parallel}
        if kind == "tokenize":
            tiny.override(self._root, {"tokenize": {"learning_rate": 0.001 + 1e-6 * self._changes}})
            return kind, {"parallel": parallel}
        overrides = {"finetune.epochs": 2, "finetune.learning_rate": 0.0015 + 1e-6 * self._changes}
        return kind, {"parallel": parallel, "overrides": {**overrides, "finetune.table_learning_rate": 0.0015}}

    def restore(self) -> None:
        """Everything as in the undisturbed checkout."""
        for path, text in self._before.items():
            path.write_text(text, encoding="utf-8")
