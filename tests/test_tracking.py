"""Journals, and how they reach MLflow: live, late, twice, after a kill, and past a dead server."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mmesid import tracking
from mmesid.config import Config, load
from mmesid.errors import TrackingError, TrainingError
from mmesid.tracking import delivery, journal, progress, reading
from mmesid.tracking.journal import Journal
from mmesid.tracking.sending import Sender, allowed

PROJECT = Path(__file__).parents[1]
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with its own MLflow database, shared because making one takes seconds."""
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture
def config(request: pytest.FixtureRequest) -> Config:
    """The sample's parameters under a name of this test's own: one experiment per test."""
    return load("sample", PROJECT).model_copy(update={"dataset": request.node.name.replace("[", "-").rstrip("]")})


@pytest.fixture(autouse=True)
def execution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMESID_EXECUTION", "one-execution")


def run_of(config: Config, root: Path, stage: str) -> Any:
    (run,) = tracking.runs_for(config.dataset, root, stage=stage)
    return run


def test_everything_logged_arrives_once(root: Path, config: Config, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("first")
    with tracking.stage_run("tokenize", config, root) as log:
        for step in range(3):
            log({"loss": 3.0 - step, "ndcg@10": 0.1 * step, "progress": step / 2, "targets": step}, step)
        log.params({"found": {"modalities": 2}})
        log.summary({"test": {"mrr": 0.5, "ci95": [0.4, 0.6]}})
        log.artifact(note)
        note.write_text("changed by a later run")
    (path,) = [path for path in journal.pending(root) if config.dataset in path.name]
    copy = path.read_bytes()
    assert tracking.send_pending(root) == 1
    assert tracking.send_pending(root) == 0

    run = run_of(config, root, "tokenize")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": 1.0, "ndcg_at_10": 0.2, "test.mrr": 0.5}
    assert run.data.params["levels"] == "4"
    assert run.data.params["found.modalities"] == "2"
    mlflow = tracking.client(root)
    assert [metric.value for metric in mlflow.get_metric_history(run.info.run_id, "loss")] == [3.0, 2.0, 1.0]
    assert Path(mlflow.download_artifacts(run.info.run_id, "note.txt")).read_text() == "first"

    path.write_bytes(copy)  # as if the process had died between sending and putting the journal away
    journal.attachments(path).mkdir()
    (journal.attachments(path) / "note.txt").write_text("first")
    assert tracking.send_pending(root) == 1
    assert len(mlflow.get_metric_history(run_of(config, root, "tokenize").info.run_id, "loss")) == 3


def test_stages_of_an_execution_hang_under_one_run(root: Path, config: Config) -> None:
    for stage in ("ingest", "prepare"):
        with tracking.stage_run(stage, config, root):
            pass
    tracking.send_pending(root)
    parent = run_of(config, root, "pipeline")
    children = tracking.runs_for(config.dataset, root, execution="one-execution")
    nested = {run.info.run_name for run in children if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert nested == {"ingest", "prepare"}
    assert parent.info.status == "FINISHED"


@pytest.mark.pipeline
@pytest.mark.parametrize("name", ["feature/x", "../x", "it's", "x" * 300], ids=["a slash", "above", "a quote", "long"])
def test_whatever_names_an_execution_its_runs_arrive(
    name: str, root: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMESID_EXECUTION", name)
    with tracking.stage_run("ingest", config, root):
        assert len(journal.pending(root)) == 1
    tracking.send_pending(root)
    assert run_of(config, root, "ingest").data.tags["mmesid.execution"] == tracking.execution()


@pytest.mark.pipeline
def test_a_failed_stage_is_recorded_at_once_with_its_error(root: Path, config: Config) -> None:
    with pytest.raises(ValueError, match="boom"), tracking.stage_run("prepare", config, root):
        raise ValueError("boom")
    run = run_of(config, root, "prepare")
    assert run.info.status == "FAILED"
    assert run.data.tags["mmesid.error"] == "ValueError: boom"
    assert run_of(config, root, "pipeline").info.status == "FAILED"


def test_a_retry_that_succeeds_clears_the_execution(root: Path, config: Config) -> None:
    for status in ("FAILED", "FINISHED"):
        book = Journal(root, "one-execution", f"{config.dataset}.prepare", header(config, "prepare"))
        book.append({"end": status, "error": None})
        book.close()
        time.sleep(0.01)
    tracking.send_pending(root)
    assert run_of(config, root, "pipeline").info.status == "FINISHED"


def test_a_dead_server_costs_a_warning_and_nothing_else(
    root: Path, config: Config, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD.replace("//", "//user:secret@"))
    with tracking.stage_run("prepare", config, root) as log:
        log({"loss": 1.0}, 0)
    started = time.monotonic()
    assert tracking.send_pending(root) == 0
    assert time.monotonic() - started < 20
    warning = capfd.readouterr().err
    assert warning.count("warning:") == 1
    assert "mmesid log" in warning
    assert "secret" not in warning
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.send_pending(root) == 1
    assert run_of(config, root, "prepare").data.metrics == {"loss": 1.0}


KILLED = """
import os, signal, sys
from pathlib import Path
from mmesid import config, tracking
settings = config.load("sample", Path(sys.argv[2])).model_copy(update={"dataset": sys.argv[3]})
with tracking.stage_run("finetune", settings, Path(sys.argv[1])) as log:
    log({"loss": 2.0}, 7)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.pipeline
@pytest.mark.parametrize("uri", [None, DEAD], ids=["by-its-sender", "by-a-later-call"])
def test_the_journal_of_a_killed_stage_is_delivered(root: Path, config: Config, uri: str | None) -> None:
    command = [sys.executable, "-c", KILLED, str(root), str(PROJECT), config.dataset]
    environment = {**os.environ, **({"MLFLOW_TRACKING_URI": uri} if uri else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -9
    assert tracking.send_pending(root) == (1 if uri else 0)
    run = run_of(config, root, "finetune")
    assert run.info.status == "KILLED"
    assert run.data.metrics == {"loss": 2.0}


def header(config: Config, stage: str) -> dict[str, Any]:
    tags = {"mmesid.dataset": config.dataset, "mmesid.stage": stage}
    return {"dataset": config.dataset, "stage": stage, "tags": tags, "digest": "0" * 32}


def test_logging_is_live(root: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    end, start = os.pipe()
    monkeypatch.setattr(delivery, "BATCH_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "DEFER_SECONDS", 0.0)
    book = Journal(root, "one-execution", f"{config.dataset}.finetune", header(config, "finetune"))
    with os.fdopen(end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        sender = threading.Thread(target=delivery.follow, args=(book.path, root))
        sender.start()
        book.append({"metrics": {"loss": 1.5}, "step": 1})
        seen = None
        for _ in range(200):
            seen = next(iter(tracking.runs_for(config.dataset, root, stage="finetune")), None)
            if seen is not None and seen.data.metrics:
                break
            time.sleep(0.1)
        assert seen is not None
        assert (seen.info.status, seen.data.metrics) == ("RUNNING", {"loss": 1.5})
        assert [entry.dataset.digest for entry in seen.inputs.dataset_inputs] == ["0" * 32]
        book.append({"end": "FINISHED", "error": None})
        os.close(start)
        sender.join(60)
        book.close()
    assert run_of(config, root, "finetune").info.status == "FINISHED"


def test_an_end_that_was_sent_while_the_stage_closed_is_no_kill(root: Path, config: Config) -> None:
    book = Journal(root, "one-execution", f"{config.dataset}.finetune", header(config, "finetune"))
    sender = Sender(book.path, root)
    book.append({"end": "FINISHED", "error": None})
    sender.send(over=False)  # it woke between the end of the journal and that of its own input
    sender.send(over=True)
    book.close()
    assert run_of(config, root, "finetune").info.status == "FINISHED"


def test_a_loss_that_is_no_number_ends_the_stage_and_names_the_rates(root: Path, config: Config) -> None:
    def train() -> None:
        with tracking.stage_run("finetune", config, root) as log:
            log({"loss": 1.0, "valid_ndcg@10": float("nan")}, 2)
            log({"loss": float("nan")}, 3)

    with pytest.raises(TrainingError, match=r"loss is nan at step 3\): lower finetune\.learning_rate"):
        train()
    assert run_of(config, root, "finetune").info.status == "FAILED"


def test_a_living_writer_is_left_alone(root: Path, config: Config) -> None:
    book = Journal(root, "one-execution", f"{config.dataset}.finetune", header(config, "finetune"))
    with journal.abandoned(book.path) as free:
        assert not free
    book.close()
    with journal.abandoned(book.path) as free:
        assert free
    journal.mark_sent(book.path)


def ended(config: Config, root: Path, stage: str, **changed: Any) -> Path:
    """The journal of a stage that is over."""
    book = Journal(root, "one-execution", f"{config.dataset}.{stage}", {**header(config, stage), **changed})
    book.append({"end": "FINISHED", "error": None})
    book.close()
    time.sleep(0.01)  # the next one is younger
    return book.path


@pytest.mark.parametrize(
    "line",
    [b"\0\0\0\0", b'{"end": "FINI', b"12", b"\xff\xfe", b'{"header": {}}'],
    ids=["zeros", "half", "12", "binary", "header"],
)
def test_a_damaged_journal_is_put_aside_and_holds_up_no_other(
    line: bytes, root: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = ended(config, root, "ingest")
    damaged.write_bytes(damaged.read_bytes() + line + b"\n")
    os.utime(damaged, (1, 1))  # it is the first to be sent
    ended(config, root, "prepare")
    assert tracking.send_pending(root) == 1
    assert run_of(config, root, "prepare").info.status == "FINISHED"
    said = capsys.readouterr().err
    assert said.count("warning:") == 1
    assert str(damaged) in said
    assert not damaged.exists()
    assert damaged.with_name(damaged.name + ".damaged").exists()
    assert tracking.send_pending(root) == 0
    assert not capsys.readouterr().err
    assert ended(config, root, "ingest").name.endswith("ingest.2.jsonl")  # nothing takes the place of what is aside
    assert tracking.send_pending(root) == 1


def test_a_journal_that_cannot_be_sent_holds_up_no_other(root: Path, config: Config) -> None:
    refused = ended(config, root, "ingest", parameters={"no text": None})
    ended(config, root, "prepare")
    sent, lines = tracking.deliver(root)
    assert sent == 1
    assert len(lines) == 1
    assert "does not take the log" in lines[0]
    assert journal.pending(root) == [refused]
    refused.unlink()


def test_a_disk_that_fills_costs_the_log_and_not_the_stage(
    root: Path, config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/full").open("wb") as full, tracking.stage_run("prepare", config, root) as log:
        assert log._journal is not None
        os.dup2(full.fileno(), log._journal._file.fileno())
        log({"loss": 1.0}, 0)
        log({"loss": 0.5}, 1)
    assert capsys.readouterr().err.count("nothing more is logged") == 1
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
        run = tracking.StageRun("prepare", None)
        run({"loss": 1.0, "progress": 0.5}, 0)
        tracking.warn("lost")
        run.close("FINISHED")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space left"):
            full.close()


def test_mlflow_leaves_no_variable_that_nobody_has_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    address = tracking.tracking_uri(root)
    mlflow.set_tracking_uri("sqlite://")  # so that the address is new to it
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    tracking.client(root)
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} & os.environ.keys()
    assert mlflow.get_tracking_uri() == address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    tracking.client(root)
    assert os.environ["MLFLOW_TRACKING_URI"] == address


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("", "sqlite:///{}/mlruns/mlflow.db"),
        ("sqlite:///runs.db?timeout=9", "sqlite:///{}/runs.db?timeout=9"),
        ("sqlite:////there/runs.db", "sqlite:////there/runs.db"),
        ("sqlite:///file:runs.db?uri=true", "sqlite:///file:runs.db?uri=true"),
        ("http://there:5000/", "http://there:5000/"),
    ],
)
def test_a_relative_address_counts_from_the_project(
    named: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "temporary"
    for root in (tmp_path, copy):
        assert tracking.tracking_uri(root) == meant.format(tmp_path)


def test_a_run_that_a_person_has_named_for_a_script_is_not_ours(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    client = tracking.client(root)
    theirs = client.create_run(client.create_experiment("theirs"))
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    ours = tracking.experiment_id(tracking.client(root), "toys", root)
    with mlflow.start_run(experiment_id=ours) as run:
        assert run.info.run_id != theirs.info.run_id
        assert run.info.experiment_id == ours


def test_a_hook_of_another_repository_changes_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Path(__file__).parents[1]
    before = tracking.provenance(project)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))  # as git tells it to its hooks
    assert tracking.provenance(project) == before


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "the disk is full (/tmp/x"),
        (PermissionError(errno.EACCES, "Permission denied", "/tmp/x"), "/tmp/x cannot be written or read"),
        (ConnectionError("gone"), "does not answer (gone)"),
    ],
)
def test_what_the_disk_refuses_is_not_mlflows_fault(problem: OSError, said: str, root: Path) -> None:
    with pytest.raises(TrackingError) as caught, reading.reachable(root):
        raise problem
    assert said in str(caught.value)
    assert ("does not answer" in str(caught.value)) is isinstance(problem, ConnectionError)


def test_half_a_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": ')
    entries, offset = journal.read(path)
    assert entries == [{"a": 1}]
    with path.open("a") as file:
        file.write("2}\n")
    assert journal.read(path, offset)[0] == [{"a": 2}]


def test_an_unwritable_journal_does_not_stop_the_stage(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    with tracking.stage_run("prepare", config, tmp_path) as log:
        log({"loss": 1.0}, 0)
        log.artifact(PROJECT / "params.yaml")
    assert "nothing is logged" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "sent"), [("ndcg@10", "ndcg_at_10"), ("a.b/c d", "a.b/c d"), ("loss(x)", "loss_x_")])
def test_names_become_what_mlflow_takes(name: str, sent: str) -> None:
    assert allowed(name) == sent


def test_progress_tells_loss_speed_and_time_left() -> None:
    state = {"progress": 0.25, "targets": 600.0, "loss": 1.25}
    assert progress.describe(state, {"progress": 0.0}, seconds=30.0) == "loss 1.2500, 20 targets/s, 1:30 left"
    assert progress.describe({"progress": 0.0}, {"progress": 0.0}, seconds=0.0) == "started"


def test_progress_counts_nothing_that_was_done_before_a_kill() -> None:
    state, first = {"progress": 0.5, "targets": 600.0}, {"progress": 0.25, "targets": 300.0}
    assert progress.describe(state, first, seconds=30.0) == "10 targets/s, 1:00 left"


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    shown = progress.Progress("finetune")
    for part in (0.1, 0.2, 0.3):
        shown.update({"progress": part, "loss": 2.0})
    shown.close()
    assert capsys.readouterr().err == "finetune: 20%, loss 2.0000, 1:20 left\n"


def test_no_journal_is_put_away_before_its_values_have_arrived(
    root: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")  # for a script of a person's own
    book = Journal(root, "one-execution", f"{config.dataset}.prepare", header(config, "prepare"))
    book.append({"metrics": {"loss": 1.0}, "step": 0})
    book.append({"end": "FINISHED", "error": None})
    book.close()

    def refuse(*given: Any, **more: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(type(tracking.client(root)._tracking_client.store), "log_batch", refuse)
        assert tracking.send_pending(root) == 0
    assert tracking.send_pending(root) == 1
    assert run_of(config, root, "prepare").data.metrics == {"loss": 1.0}


def test_a_journal_that_another_process_has_just_put_away_is_no_error(tmp_path: Path) -> None:
    place = journal.folder(tmp_path) / "x" / "toys.prepare.jsonl"
    place.parent.mkdir(parents=True)
    place.symlink_to("gone")  # found, and then not there
    assert journal.pending(tmp_path) == []
