"""What a flow run shows beside its logs: progress of long stages, results against the baselines, links to MLflow."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from mmesid import registry, tracking
from mmesid.artifacts.files import load_json
from mmesid.errors import without_secret
from mmesid.models import BRIEF_METRICS, MAIN_BASELINE, MAIN_METRIC, MAIN_MODEL, MODELS, metric_label, model_label

PROGRESS = re.compile(r"^(\w+): (\d+)%, (.*)$")  # finetune: 37%, loss 5.1, 1,830 targets/s, 2:05 left


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
    test = load_json(path).get("test", {})
    rows = [_row(name, test[name]) for name in MODELS if MAIN_METRIC in test.get(name, {})]
    if not rows:
        return ""
    about = f"{dataset}: full ranking of the test users"
    create_table_artifact(rows, key=slug(f"metrics-{dataset}"), description=about)
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows]
    if difference := test.get(MAIN_MODEL, {}).get("vs", {}).get(MAIN_BASELINE):
        low, high = difference["low"], difference["high"]
        against = f"{metric_label(MAIN_METRIC)} against {model_label(MAIN_BASELINE)}"
        lines += ["", f"{against}: {difference['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"]
    return "\n".join(lines)


def _row(model: str, metrics: dict[str, Any]) -> dict[str, Any]:
    low, high = metrics.get("ci95", {}).get(MAIN_METRIC, (None, None))
    return {
        "model": model_label(model),
        **{metric_label(name): round(metrics[name], 4) if name in metrics else "" for name in BRIEF_METRICS},
        f"{metric_label(MAIN_METRIC)}, 95 %": "" if low is None else f"[{low:.4f}, {high:.4f}]",
    }


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
            lines.append(f"- [registered model of {dataset}]({base}/#/models/{registry.model_name(dataset)})")
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
