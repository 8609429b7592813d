"""Is MME-SID better than the baselines, over seeds? `python -m benchmarks.seeds --dataset sample --seeds 0,1,2`

Runs the pipeline once per seed in a folder of its own, averages each user's nDCG over the seeds, and compares the
averages by a paired bootstrap over users; the spread over seeds stands beside it. With `--folder`, the projects stay
there, and a run that was killed goes on.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmesid.evaluation.metrics import per_user
from mmesid.evaluation.statistics import paired_bootstrap

ROOT = Path(__file__).parents[1]
METRIC = "ndcg_at_10"
RESAMPLES = 2000
FOLDERS, FILES = ("src", "conf", "sources"), ("params.yaml", "dvc.yaml")  # all that the pipeline reads


def main() -> None:
    """Run, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="sample")
    parser.add_argument("--seeds", default="0,1,2", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--folder", type=Path, help="where the projects lie and stay; else they are temporary")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        values = [test_values(given.dataset, seed, folder / f"seed-{seed}") for seed in given.seeds]
    result = compare(values, "mme_sid")
    path = ROOT / "benchmarks" / "results" / f"seeds_{given.dataset}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"dataset": given.dataset, "seeds": given.seeds, **result}, indent=2) + "\n")
    sys.stdout.write(path.read_text())


def test_values(dataset: str, seed: int, root: Path) -> dict[str, NDArray[np.float64]]:
    """Each model's metric per test user, (B,), after a full run with this seed in a project at `root`."""
    if not root.exists():
        whole(root, lambda beside: copy_project(beside, dataset, seed))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # a stage's `python` is this one
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root / "src"), "MMESID_EXECUTION": f"seed-{seed}"}
    commands = [["repro", f"evaluate@{dataset}"]]
    if not (root / ".dvc").exists():
        commands.insert(0, ["init", "--no-scm", "--quiet"])
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=root, env=environment, check=True, stdout=sys.stderr
        )
    return read_values(root, dataset)


def whole(root: Path, make: Callable[[Path], object]) -> None:
    """Let `make` fill a folder beside `root`, then rename it: a killed run leaves no half project."""
    beside = root.with_name(f".{root.name}")
    shutil.rmtree(beside, ignore_errors=True)
    make(beside)
    beside.rename(root)


def copy_project(root: Path, dataset: str, seed: int, source: Path = ROOT) -> Path:
    """All that the pipeline reads, with this seed, for this dataset alone."""
    for name in FOLDERS:
        shutil.copytree(source / name, root / name, symlinks=True)
    for name in FILES:
        shutil.copy(source / name, root / name)
    params = (root / "params.yaml").read_text()
    params = re.sub(r"^datasets:.*(\n- .*)*", f"datasets: [{dataset}]", params, flags=re.MULTILINE)
    (root / "params.yaml").write_text(re.sub(r"^seed: \d+", f"seed: {seed}", params, flags=re.MULTILINE))
    return root


def read_values(root: Path, dataset: str) -> dict[str, NDArray[np.float64]]:
    """Each model's metric per test user, (B,), of an evaluated dataset."""
    ranks = pd.read_parquet(root / "data" / dataset / "evaluate" / "ranks.parquet")
    test = ranks[ranks["split"] == "test"].sort_values("user")
    return {str(model): per_user(rows["rank"].to_numpy(), [METRIC])[METRIC] for model, rows in test.groupby("model")}


def compare(values: list[dict[str, NDArray[np.float64]]], main: str) -> dict[str, object]:
    """Means, spread over seeds, and the paired difference of one of them to each other.

    Args:
        values: for each seed, by name, of each user.
        main: the name that the others are compared with.
    """
    means = {name: [float(seed[name].mean()) for seed in values] for name in values[0]}
    averaged = {name: np.mean([seed[name] for seed in values], axis=0) for name in values[0]}
    return {
        "metric": METRIC,
        "mean": {name: float(np.mean(found)) for name, found in means.items()},
        "by_seed": means,
        f"{main}_vs": {
            name: paired_bootstrap(averaged[main], averaged[name], RESAMPLES, 0)._asdict()
            for name in averaged
            if name != main
        },
    }


if __name__ == "__main__":
    main()
