"""What a flow run shows beside its logs: progress of long stages, results against the baselines, links to MLflow."""

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from mmesid import tracking
from mmesid.errors import without_secret

PROGRESS = re.compile(r"^(\w+): (\d+)%, (.*)$")  # finetune: 37%, loss 5.1, 1,830 targets/s, 2:05 left
MODELS = {"mme_sid": "MME-SID", "sasrec": "SASRec", "popularity": "Popularity", "oracle": "Oracle"}
COLUMNS = ("ndcg_at_5", "ndcg_at_10", "hr_at_10", "mrr")


class Progress:
    """A stage's lines, of which those that tell its progress move a progress artifact. Other lines pass through."""

    def __init__(self, stage: str, log: Callable[[str], object]) -> None:
        self._stage, self._log = stage, log
        self._artifact: UUID | None = None

    def __call__(self, line: str) -> None:
        """Take a line."""
        self._log(line)
        if match := PROGRESS.match(line):
            self._show(float(match[2]), match[3])

    def done(self) -> None:
        """The stage is over; a bar that was shown is full."""
        if self._artifact is not None:
            self._show(100.0, "done")

    def _show(self, percent: float, text: str) -> None:
        try:
            if self._artifact is None:
                key, about = slug(f"progress-{self._stage}"), f"{self._stage}: {text}"
                self._artifact = progress_bar(percent, key, about)
            else:
                update_progress_artifact(self._artifact, percent, description=f"{self._stage}: {text}")
        except Exception as error:  # a server that is down must not end a training
            self._log(f"the progress cannot be shown ({type(error).__name__})")


def progress_bar(percent: float, key: str, description: str) -> UUID:
    """Show a progress artifact. Returns its id."""
    return cast(UUID, create_progress_artifact(percent, key=key, description=description))  # a coroutine in async code


def slug(name: str) -> str:
    """A name as Prefect takes it for an artifact: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def show_metrics(dataset: str, root: Path) -> str:
    """A table artifact of the test metrics, and the same in Markdown; empty where the dataset is not judged yet."""
    path = root / "reports" / dataset / "metrics.json"
    if not path.exists():
        return ""
    test = json.loads(path.read_text(encoding="utf-8"))["test"]
    rows = [
        {
            "model": title,
            **{name: round(test[model][name], 4) for name in COLUMNS},
            "ndcg_at_10, 95 %": _interval(test[model]),
        }
        for model, title in MODELS.items()
        if model in test
    ]
    against = test["mme_sid"].get("vs", {}).get("sasrec")
    about = f"{dataset}: full ranking of the test users"
    create_table_artifact(rows, key=slug(f"metrics-{dataset}"), description=about)
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    if against:
        low, high = against["low"], against["high"]
        lines += ["", f"nDCG@10 against SASRec: {against['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"]
    return "\n".join(lines)


def links(datasets: Sequence[str], root: Path, flow_run: str) -> str:
    """Markdown: where MLflow shows the runs of this flow run, and where the report lies."""
    query = f"tags.`mmesid.flow_run` = '{flow_run}'"
    uri = tracking.tracking_uri(root)
    lines = [
        f"- runs in MLflow: search for `` {query} ``" + ("" if uri.startswith("http") else " (`make ui` shows them)")
    ]
    if uri.startswith("http"):
        base, mlflow = without_secret(uri).rstrip("/"), tracking.client(root)
        for dataset in datasets:
            experiment = tracking.experiment_id(mlflow, dataset, root)
            lines.append(
                f"- [runs of {dataset}]({base}/#/experiments/{experiment}/runs?searchFilter={quote(query, safe='')})"
            )
            lines.append(f"- [registered model of {dataset}]({base}/#/models/mme-sid-{dataset})")
    report = root / "reports" / "report.html"
    lines.append(f"- report: `{report}`" if report.exists() else "- no report yet")
    return "\n".join(lines)


def link_back(dataset: str, root: Path, flow_run: str, execution: str) -> None:
    """The run of this execution in MLflow names the flow run, and what the run has made of `dvc.lock`."""
    tags = {**tracking.provenance(root), "mmesid.flow_run": flow_run, "mmesid.flow_run_url": flow_run_url(flow_run)}
    mlflow = tracking.client(root)
    for run in tracking.runs_for(dataset, root, execution=execution, stage="pipeline"):
        for name, value in tags.items():
            mlflow.set_tag(run.info.run_id, name, value)


def flow_run_url(flow_run: str) -> str:
    """Where Prefect's pages show a flow run; empty without a server."""
    api = os.environ.get("PREFECT_API_URL", "")
    return f"{without_secret(api).removesuffix('/api')}/runs/flow-run/{flow_run}" if api else ""


def _interval(metrics: dict[str, Any]) -> str:
    low, high = metrics.get("ci95", {}).get("ndcg_at_10", (None, None))
    return "" if low is None else f"[{low:.4f}, {high:.4f}]"
