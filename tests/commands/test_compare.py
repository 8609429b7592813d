"""Recorded runs beside each other: what a name means, what is tested, what is said where something is missing."""

import csv
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mmesid import tracking
from mmesid.artifacts.files import save_frame, save_json
from mmesid.commands import cli, compare
from mmesid.commands.compare import results
from mmesid.errors import ConfigError, MmesidError, TrackingError
from mmesid.evaluation.metrics import summarize
from mmesid.models import MAIN_MODEL, RANK_METRICS
from mmesid.reporting import comparison
from mmesid.reporting.comparison import Comparison, Result
from mmesid.tracking.journal import Journal
from mmesid.tracking.run import StageRun

pytestmark = pytest.mark.pipeline  # filling a database takes a while
USERS, ITEMS = 200, 50


def ranks_of(seed: int, best: int, popularity: int = 9) -> dict[str, Any]:
    """Ranks of test users: the lower `best`, the better the model; `popularity` stands for the data."""
    draw = np.random.default_rng(seed)
    popular = np.random.default_rng(popularity).integers(1, ITEMS, USERS)
    return {MAIN_MODEL: draw.integers(1, best, USERS), "popularity": popular}


def metrics_of(ranks: dict[str, Any]) -> dict[str, Any]:
    scores: dict[str, Any] = {model: dict(summarize(found, RANK_METRICS)) for model, found in ranks.items()}
    low = scores[MAIN_MODEL]["ndcg_at_10"]
    scores[MAIN_MODEL]["ci95"] = {"ndcg_at_5": [low - 0.02, low + 0.01], "ndcg_at_10": [low - 0.01, low + 0.02]}
    return {"test": scores, "valid": scores}


def record(
    root: Path,
    dataset: str,
    execution: str,
    ranks: dict[str, Any],
    epochs: int = 12,
    keep: bool = True,
    tuned: bool = False,
) -> None:
    """What the stages finetune and evaluate of one execution leave in the journal."""
    parameters = {"dataset": dataset, "seed": "0", "finetune.epochs": str(epochs), "finetune.rank": "32"}
    for stage in ("finetune", "evaluate") if tuned else ("evaluate",):
        tags = {"mmesid.dataset": dataset, "mmesid.stage": stage, "mlflow.source.git.commit": "c0ffee" * 6}
        header = {"dataset": dataset, "stage": stage, "tags": tags, "digest": "d" * 32, "parameters": parameters}
        book = Journal(root, execution, f"{dataset}.{stage}", header)
        run = StageRun(stage, book, shown=False)
        if stage == "evaluate":
            run.summary(metrics_of(ranks))
            folder = root / "data" / dataset / "evaluate"
            save_json(folder / "metrics.json", metrics_of(ranks))
            frame = pd.concat(
                pd.DataFrame({"user": np.arange(USERS), "split": "test", "model": model, "rank": found})
                for model, found in ranks.items()
            )
            save_frame(folder / "ranks.parquet", frame)
            run.artifact(folder / "metrics.json")
            if keep:
                run.artifact(folder / "ranks.parquet")
        time.sleep(0.02)
        run.close("FINISHED")
        book.close()


def register(root: Path, dataset: str, ranks: dict[str, Any], **aliases: str) -> None:
    """A registered version whose run bears these metrics, and aliases of any versions."""
    mlflow, name = tracking.client(root), f"mme-sid-{dataset}"
    tags = {"mmesid.dataset": dataset, "mmesid.stage": "register"}
    run = mlflow.create_run(tracking.experiment_id(mlflow, dataset, root), tags=tags, run_name="register")
    for metric, value in metrics_of(ranks)["test"][MAIN_MODEL].items():
        if metric != "ci95":
            mlflow.log_metric(run.info.run_id, f"test.{MAIN_MODEL}.{metric}", value)
    mlflow.set_terminated(run.info.run_id)
    if not mlflow.search_registered_models(f"name = '{name}'"):
        mlflow.create_registered_model(name)
    mlflow.create_model_version(name, str(root), run.info.run_id, tags={"mmesid.dataset": dataset})
    for alias, version in aliases.items():
        mlflow.set_registered_model_alias(name, alias, version)


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow leaves the address of the last store in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset `a` with four judged executions, two of them registered; `b` with one; `c` with none."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    root = tmp_path_factory.mktemp("compare")
    (root / "params.yaml").write_text("datasets: [a, b]\n")
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "conf").mkdir()
    for dataset in "abc":
        (root / "conf" / f"{dataset}.yaml").touch()
    first, second = ranks_of(1, 40), ranks_of(2, 10)
    record(root, "a", "first", first, tuned=True)
    record(root, "a", "second", second, epochs=14, tuned=True)
    record(root, "a", "other-users", ranks_of(3, 10, popularity=5))
    record(root, "a", "no-ranks", ranks_of(4, 10), keep=False)
    record(root, "b", "second", ranks_of(5, 20))
    tracking.send_pending(root)
    register(root, "a", first, champion="1")
    register(root, "a", second, challenger="2")
    return root


def by_run(found: Comparison, dataset: str = "a") -> dict[str, Result]:
    return {result.run: result for result in found.results[dataset]}


def test_the_champion_is_the_reference_and_the_others_are_tested_user_by_user(root: Path) -> None:
    found = compare.compare(["a"], root=root)
    runs = by_run(found)
    assert found.results["a"][0].run == "first"
    assert runs["first"].is_reference
    assert runs["first"].roles == ("champion", "v1")
    assert runs["second"].roles == ("challenger", "v2")
    gain = runs["second"].differences["ndcg_at_10"]
    assert gain.low is not None
    assert 0 < gain.low < gain.value
    assert gain.verdict == "above"
    assert runs["second"].differences["mrr"].verdict == "not paired", "only metrics with intervals are tested"
    assert runs["second"].metrics["test"][MAIN_MODEL]["ci95"]["ndcg_at_10"]


@pytest.mark.parametrize(
    ("run", "why"),
    [("other-users", results.OTHER_USERS), ("no-ranks", results.NO_RANKS)],
    ids=["other users", "no ranks"],
)
def test_what_cannot_be_paired_has_a_difference_and_a_reason(root: Path, run: str, why: str) -> None:
    found = by_run(compare.compare(["a"], ["champion", run], root=root))[run]
    assert found.differences["ndcg_at_10"].verdict == "not paired"
    assert found.differences["ndcg_at_10"].value > 0
    assert found.remark == why


@pytest.mark.parametrize("name", ["challenger", "v2", "second", "id", "id of another stage", "id of the registration"])
def test_a_run_has_many_names(root: Path, name: str) -> None:
    runs = tracking.recorded(["a"], root)
    ids = {
        "id": next(run.run_id for run in runs if (run.execution, run.stage) == ("second", "evaluate")),
        "id of another stage": next(r.run_id for r in runs if (r.execution, r.stage) == ("second", "finetune"))[:8],
        "id of the registration": tracking.versions("mme-sid-a", root)[1].run_id[:12],
    }
    found = compare.compare(["a"], [ids.get(name, name)], root=root)
    assert [result.run for result in found.results["a"]] == ["second"]


def test_latest_is_the_newest_on_each_dataset(root: Path) -> None:
    found = compare.compare(["a", "b"], ["latest"], root=root)
    assert {dataset: run.run for dataset, run in found.rows["latest"].items()} == {"a": "no-ranks", "b": "second"}


def test_the_reference_can_be_chosen_and_joins_the_runs(root: Path) -> None:
    found = compare.compare(["a"], ["first"], against="challenger", root=root)
    assert [result.run for result in found.results["a"]] == ["second", "first"]
    assert found.results["a"][1].differences["ndcg_at_10"].verdict == "below"


def test_parameters_and_cost_come_from_the_whole_execution(root: Path) -> None:
    found = compare.compare(["a"], ["first", "second"], root=root).results["a"]
    assert comparison.differing(found) == [("finetune.epochs", ["12", "14"])]
    assert comparison.stages(found) == ["finetune", "evaluate"]
    assert all(seconds > 0.01 for result in found for seconds in result.seconds.values())


def test_the_run_of_an_execution_bears_what_mlflows_own_page_compares(root: Path) -> None:
    run = next(run for run in tracking.recorded(["a"], root) if (run.execution, run.stage) == ("second", "pipeline"))
    assert run.params["finetune.epochs"] == "14"
    assert run.metrics["test.mme_sid.ndcg_at_10"] == summarize(ranks_of(2, 10)[MAIN_MODEL], RANK_METRICS)["ndcg_at_10"]
    assert {"seconds.finetune", "seconds.evaluate"} <= set(run.metrics)


@pytest.mark.parametrize(
    ("datasets", "runs", "message"),
    [
        (["nope"], [], "nope: no such dataset among a, b, c"),
        (["a"], ["abcdef123"], "no judged run 'abcdef123'.*first"),
        (["a"], ["previous"], "no previous among a; `mmesid register`"),
        (["b"], ["champion"], "no champion among b"),
        (["c"], [], "no judged run of c in MLflow yet: `dvc repro`"),
    ],
)
def test_what_does_not_exist_is_said(root: Path, datasets: list[str], runs: list[str], message: str) -> None:
    with pytest.raises((ConfigError, TrackingError), match=message):
        compare.compare(datasets, runs, root=root)


def test_no_runs_at_all_make_no_database(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").touch()
    with pytest.raises(TrackingError, match="no judged run of a in MLflow yet"):
        compare.compare(["a"], root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_model_that_was_renamed_by_hand_is_no_champion_any_more(tmp_path: Path) -> None:
    mlflow = tracking.client(tmp_path)
    for name, dataset in (("mme-sid-a", "a"), ("mine", "a")):
        run = mlflow.create_run(mlflow.create_experiment(name))
        mlflow.create_registered_model(name)
        mlflow.create_model_version(name, str(tmp_path), run.info.run_id, tags={"mmesid.dataset": dataset})
        mlflow.set_registered_model_alias(name, "champion", 1)
    (version,) = tracking.versions("mme-sid-a", tmp_path)
    assert (version.number, version.aliases) == ("1", ("champion",))
    assert not tracking.versions("mme-sid-b", tmp_path)


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9", "sqlite:////dev/null/x.db", "file"])
def test_an_mlflow_out_of_reach_is_one_message_without_its_password(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    if uri == "file":
        (tmp_path / "x.db").write_text("no database")
        uri = f"sqlite:///{tmp_path / 'x.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as error:
        compare.compare(["a"], root=root)
    assert "secret" not in str(error.value)
    assert re.search("MLFLOW_TRACKING_URI|no judged run", str(error.value))


def test_the_command_prints_and_writes_both_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    done = CliRunner().invoke(cli.app, ["compare", "--runs", "champion, challenger"])
    assert done.exit_code == 0, done.output
    assert "wrote reports/compare.html and reports/compare.csv" in done.output
    assert "finetune.epochs" in done.output
    page = (root / "reports" / "compare.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    with (root / "reports" / "compare.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"metric", "parameter", "seconds"}
    (row,) = [row for row in rows if (row["run"], row["name"]) == ("second", "ndcg_at_10")]
    assert float(row["difference_low"]) < float(row["difference"]) < float(row["difference_high"])


def test_an_unknown_run_is_one_error_of_the_command(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    done = CliRunner().invoke(cli.app, ["compare", "--runs", "nothing-of-that-name"])
    assert isinstance(done.exception, MmesidError)
