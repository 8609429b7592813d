"""How long a catalogue of millions of rows takes to become sequences, and in how much memory, beside another checkout.

`python -m benchmarks.catalog [--interactions N] [--items N] [--format parquet|csv] [--against FOLDER] [--quick]
[--output FILE]`. A catalogue is drawn; `ingest`, `validate` and `prepare` run on it as a process each, by the code of
this checkout and by that of the other, in turns, A B B A; the faster run counts. In the result a is the wall time of
this checkout's three stages, b that of the other's, or a again where there is none; peaks are the largest resident set
of a stage. On a busy machine compare the seconds of the processor, `cpu`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import measure

NAME = "catalog"
ROOT = Path(__file__).parents[1]
STAGES = ("ingest", "validate", "prepare")
BEGINNING, SPAN = 1_500_000_000, 10**8  # seconds: July 2017, three years
CHILD = """
import importlib, json, os, re, sys
from pathlib import Path
from mmesid import config
from mmesid.artifacts.store import Store
class Log:
    def __call__(self, metrics, step): pass
    def artifact(self, path): pass
importlib.import_module(f"mmesid.stages.{sys.argv[1]}").run(config.load("shop"), Store("shop"), Log())
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print(json.dumps({"cpu": sum(os.times()[:2]), "peak_mib": int(peak[1]) / 1024}))
"""


def main(given: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{NAME}", description=__doc__)
    parser.add_argument("--interactions", type=int, default=2_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--against", type=Path, help="another checkout")
    measure.add_options(parser)
    options = parser.parse_args(given)
    rows, items = (20_000, 1_000) if options.quick else (options.interactions, options.items)
    measure.finish(run(rows, items, options.format, options.against), options)


def run(interactions: int, items: int, ending: str, against: Path | None, repetitions: int = 1) -> measure.Result:
    """Measure both checkouts on one catalogue.

    Args:
        interactions: rows.
        items: rows.
        ending: of the files, parquet or csv.
        against: the other checkout, None for this one alone.
        repetitions: pairs of runs of each stage; the fastest of each side counts.

    Raises:
        RuntimeError: a stage failed.
    """
    checkouts = {"this": ROOT, **({"other": against} if against else {})}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        draw(source, interactions, items, ending)
        for name, checkout in checkouts.items():
            make_project(checkout, source, Path(folder) / name)
        best: dict[tuple[str, str], dict[str, Any]] = {}
        for stage in STAGES:
            for name in [*checkouts, *reversed(checkouts)] * repetitions:  # A B B A
                row = measure_stage(stage, checkouts[name].resolve(), Path(folder) / name)
                best[name, stage] = min(best.get((name, stage), row), row, key=lambda row: row["cpu"])
        tables = {name: [best[name, stage] for stage in STAGES] for name in checkouts}
    totals = {name: sum(row["seconds"] for row in rows) for name, rows in tables.items()}
    a, b = totals["this"], totals.get("other", totals["this"])
    return {
        "name": NAME,
        "ratio": a / b,
        "a": a,
        "b": b,
        "a_is": "ingest, validate and prepare by this checkout",
        "b_is": "by the other one" if against else "the same",
        "unit": "s",
        "runs": 2 * repetitions,
        "machine": measure.machine(),
        "interactions": interactions,
        "items": items,
        "format": ending,
        "cpu": {name: sum(row["cpu"] for row in rows) for name, rows in tables.items()},
        "peak_mib": {name: max(row["peak_mib"] for row in rows) for name, rows in tables.items()},
        "tables": tables,
    }


def draw(folder: Path, interactions: int, items: int, ending: str) -> None:
    """A catalogue with popular items, ids of text and times in seconds, in the order of time."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    users = rng.integers(0, max(30, interactions // 20), interactions)
    taken = (items * rng.random(interactions) ** 2).astype(np.int64)
    rows = pd.DataFrame(
        {
            "user_id": pd.Series(users).map("u{:08d}".format),
            "item_id": pd.Series(taken).map("i{:07d}".format),
            "timestamp": np.sort(rng.integers(BEGINNING, BEGINNING + SPAN, interactions)),
        }
    )
    ids = pd.Series(np.arange(items)).map("i{:07d}".format)
    table = pd.DataFrame({"item_id": ids, "title": "Lamp " + ids, "brand": "Acme", "price": rng.random(items)})
    for name, frame in (("interactions", rows), ("items", table)):
        if ending == "csv":
            frame.to_csv(folder / f"{name}.csv", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet", index=False)


def make_project(checkout: Path, source: Path, root: Path) -> None:
    """A project with one dataset, `shop`, by the parameters of a checkout."""
    (root / "sources").mkdir(parents=True)
    (root / "conf").mkdir()
    (root / "sources" / "shop").symlink_to(source)
    shutil.copyfile(checkout / "params.yaml", root / "params.yaml")
    conf = {"ingest": {"source": "files"}, "validate": {"max_duplicates": 1.0}}
    (root / "conf" / "shop.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")


def measure_stage(stage: str, checkout: Path, root: Path) -> dict[str, Any]:
    """Run a stage of a checkout in a project: its seconds, those of the processor, its peak."""
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{inherited}"}
    start = time.monotonic()
    command = [sys.executable, "-c", CHILD, stage]
    child = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if child.returncode:
        raise RuntimeError(f"{stage} of {checkout} failed:\n{child.stderr[-2000:]}")
    seconds = time.monotonic() - start
    return {"stage": stage, "seconds": seconds, **json.loads(child.stdout.splitlines()[-1])}


if __name__ == "__main__":
    main()
