"""The soak's pieces: kills and faults are drawn by a seed, faults are mended, and every law sees what violates it."""

import contextlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from mmesid import config as configuration
from mmesid import tracking
from mmesid.registry import Record
from mmesid.registry.gate import Clause
from mmesid.tracking.journal import Journal
from tests import tiny
from tests.soak import draws, faults, laws, world
from tests.waiting import wait_until

COMMANDS = {
    "stage": "python -m mmesid.stages.finetune tiny",
    "dvc": "/a/.venv/bin/python -m dvc repro --single-item finetune@tiny",
    "sender": "/a/.venv/bin/python -m mmesid.tracking /a/mlruns/journal/x/tiny.finetune.jsonl /a",
    "flow": "/a/.venv/bin/python -m prefect.engine",
    "worker": "/a/.venv/bin/python -m prefect worker start --pool mmesid --type process",
    "prefect": "/a/.venv/bin/python -m prefect server start --host 127.0.0.1 --port 4200",
    "mlflow": "/a/.venv/bin/python -m mlflow server --host 127.0.0.1 --port 5000",
}


def first(number: int, seed: int) -> list[draws.Round]:
    return list(itertools.islice(draws.rounds(seed), number))


def test_a_seed_gives_the_same_kills_and_another_gives_others() -> None:
    assert first(50, 0) == first(50, 0) != first(50, 1)


def test_every_phase_victim_and_fault_is_drawn() -> None:
    found = first(300, 0)
    assert {each.phase for each in found} == set(draws.PHASES)
    assert {victim for each in found for victim in each.victims} == set(draws.VICTIMS)
    assert {each.fault for each in found} == {"", *faults.FAULTS} == {"", *draws.FAULTS}
    assert {bool(each.victims) for each in found if each.fault} == {True, False}
    for each in found:
        assert set(each.victims) <= set(draws.PHASES[each.phase].victims)
        assert 0 <= each.seconds <= draws.PHASES[each.phase].seconds
        assert each.victims or each.fault


@pytest.mark.parametrize("victim", COMMANDS)
def test_a_command_line_is_that_of_one_victim(victim: str) -> None:
    assert [name for name, pattern in draws.VICTIMS.items() if pattern.search(COMMANDS[victim])] == [victim]


WRITES = """
import sys
for line in sys.stdin:
    try:
        with open(line.strip(), "wb") as file:
            file.write(b"x" * 100_000)
        print("written", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="Linux alone limits other processes")
def test_a_full_disk_is_full_for_everyone_in_the_checkout_until_it_is_not(tmp_path: Path) -> None:
    def asked(process: "subprocess.Popen[str]", name: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{tmp_path / name}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    words = [sys.executable, "-c", WRITES]
    marked = {**os.environ, "MMESID_SERVICES": str(tmp_path)}
    places: list[dict[str, Any]] = [{"cwd": tmp_path}, {"env": marked}]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen(words, **pipes, **place)) for place in places]
        other = stack.enter_context(subprocess.Popen(words, **pipes))
        assert [asked(each, "before") for each in (*started, other)] == ["written"] * 3
        with faults.FAULTS["disk full"](tmp_path):
            assert [asked(each, "full") for each in started] == ["File too large"] * 2
            assert asked(other, "other") == "written"
        assert [asked(each, "after") for each in started] == ["written"] * 2
        for each in (*started, other):
            each.communicate()


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_server_that_hangs_goes_on_afterwards(tmp_path: Path) -> None:
    marked = {**os.environ, "MMESID_SERVICES": str(tmp_path)}
    with waiting("mlflow", "server", "", env=marked) as process, faults.FAULTS["MLflow hangs"](tmp_path):
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 60)


@contextlib.contextmanager
def waiting(*words: str, **place: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has begun, with its words and variables for all to see; it waits until it may end."""
    command = [sys.executable, "-c", "input('begun\\n')", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **place) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        yield process
        process.communicate(b"\n", timeout=60)


def test_a_locked_database_is_free_afterwards(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    path = tmp_path / "mlruns" / "mlflow.db"

    def write() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS a (b)")

    write()
    with faults.FAULTS["database locked"](tmp_path), pytest.raises(sqlite3.OperationalError, match="locked"):
        write()
    write()


def test_artifacts_come_back_and_what_is_new_stays(tmp_path: Path) -> None:
    place = tmp_path / faults.ARTIFACTS
    (place / "models" / "a").mkdir(parents=True)
    (place / "models" / "a" / "weights").write_text("old")
    with faults.FAULTS["artifacts away"](tmp_path):
        assert not place.exists()
        (place / "models" / "b").mkdir(parents=True)
        (place / "models" / "b" / "weights").write_text("new")
    assert [path.read_text() for path in sorted(place.rglob("weights"))] == ["old", "new"]


def test_lost_models_leave_the_records_of_decisions(tmp_path: Path) -> None:
    place = tmp_path / faults.ARTIFACTS
    for inside in ("models/a/weights", "run/artifacts/decisions/001-promotion.json"):
        (place / inside).parent.mkdir(parents=True)
        (place / inside).touch()
    with faults.FAULTS[faults.LOST](tmp_path):
        pass
    assert [path.name for path in place.rglob("*") if path.is_file()] == ["001-promotion.json"]


def test_a_change_is_never_the_same_and_all_of_them_are_taken_back(
    tmp_path: Path, project_copy: Callable[[Path], Path]
) -> None:
    root = tiny.make(project_copy(tmp_path / "soak"))
    files = [root / "conf" / f"{tiny.NAME}.yaml", root / "sources" / tiny.NAME / "recipe.yaml"]
    before = [path.read_text() for path in files]
    changed = world.World(root, seed=0)
    seen = []
    for _ in range(20):
        kind, parameters = changed.disturb()
        seen.append(json.dumps([kind, parameters, *(path.read_text() for path in files)], sort_keys=True))
        configuration.load(tiny.NAME, root)
    assert len(set(seen)) == len(seen)
    changed.restore()
    assert [path.read_text() for path in files] == before


def record(version: str, champion: str | None, passed: bool, decided: str) -> Record:
    return Record(tiny.NAME, "promotion", version, champion, passed, decided, [])


def test_the_champion_is_that_of_the_last_decision_or_of_a_person() -> None:
    records = [record("1", None, True, "03"), record("2", "1", True, "05"), record("3", "2", False, "06")]
    assert laws.decided(records, []) == {"champion": "2", "previous": "1"}
    assert laws.decided(records, [("04", "9")]) == {"champion": "2", "previous": "1"}
    assert laws.decided(records, [("07", "9")]) == {"champion": "9", "previous": "1"}
    assert laws.decided(records, [("07", "")]) == {"previous": "1"}
    assert laws.decided([], []) == {}


def test_a_champion_that_the_gate_refused_or_never_saw_is_named() -> None:
    holds, fails = (Clause(name, passed, 1, 1, "") for name, passed in (("better", True), ("fast", False)))
    asked = {"honest": ([holds], True), "refused": ([holds, fails], False), "false": ([holds, fails], True)}
    records = [
        Record(tiny.NAME, "promotion", name, None, passed, "01", clauses) for name, (clauses, passed) in asked.items()
    ]
    assert laws.no_champion_is_false(records) == ["version false was promoted although fast does not hold"]
    assert laws.no_champion_is_false([record("1", None, True, "01")]) != []
    assert laws.no_champion_is_false([Record(tiny.NAME, "rollback", "1", "2", True, "01", [])]) == []


def test_what_is_refused_without_a_rollback_is_found() -> None:
    back = Record(tiny.NAME, "rollback", "1", "2", True, "01", [])
    first, second = (SimpleNamespace(version=number, tags={laws.DIGEST: f"{number}"}) for number in (1, 2))
    assert laws.refusals_follow_the_decisions([], [first, second]) == []
    assert len(laws.refusals_follow_the_decisions([back], [first, second])) == 1, "version 2 must be refused"
    second.tags[laws.ROLLED_BACK] = "true"
    assert laws.refusals_follow_the_decisions([back], [first, second]) == []
    assert len(laws.refusals_follow_the_decisions([], [first, second])) == 1, "no rollback was recorded"
    again = SimpleNamespace(version=3, tags=second.tags)
    assert laws.refusals_follow_the_decisions([back], [first, second, again]) == []


def test_an_output_that_differs_is_named(tmp_path: Path) -> None:
    for name, digest in (("a", "1"), ("b", "2")):
        (tmp_path / name).mkdir()
        outs = [{"path": "same", "md5": "0"}, {"path": "other", "md5": digest}]
        (tmp_path / name / "dvc.lock").write_text(yaml.safe_dump({"stages": {"x": {"outs": outs}}}))
    assert laws.outputs_are_equal(tmp_path / "a", tmp_path / "b") == ["other differs from the undisturbed run's"]
    assert laws.outputs_are_equal(tmp_path / "a", tmp_path / "a") == []


def test_a_number_that_differs_is_named(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", 0.25)):
        path = tmp_path / name / "reports" / tiny.NAME / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"test": {"mrr": value, "users": 3}}))
    assert laws.metrics_are_equal(tmp_path / "a", tmp_path / "b") == ["test.mrr: 0.5, not 0.25"]
    assert laws.metrics_are_equal(tmp_path / "a", tmp_path / "a") == []


@pytest.mark.parametrize(
    "left",
    ["conf/.tiny.yaml.4711", "mlruns/.register.tiny/bundle/x", "mlruns/flows/x.lock", ".dvc/cache/files/md5/ab/cd"],
)
def test_what_a_kill_left_half_written_is_named(tmp_path: Path, left: str) -> None:
    whole = tmp_path / ".dvc/cache/files/md5/d4" / "1d8cd98f00b204e9800998ecf8427e"  # md5 of nothing
    whole.parent.mkdir(parents=True)
    whole.touch()
    assert laws.nothing_is_half_written(tmp_path) == []
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).write_text("half")
    assert len(laws.nothing_is_half_written(tmp_path)) == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_a_process_that_was_left_is_named(tmp_path: Path) -> None:
    for place in ({"env": {**os.environ, "MMESID_SERVICES": str(tmp_path)}}, {"cwd": tmp_path}):
        with waiting(**place):
            assert len(laws.nobody_is_left(tmp_path, os.getpid(), seconds=0)) == 1
    assert laws.nobody_is_left(tmp_path, os.getpid(), seconds=0) == []


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which one stage has logged three points, and all of it has arrived."""
    folder = tmp_path_factory.mktemp("logged")
    tags = {**tracking.provenance(folder), "mmesid.dataset": tiny.NAME, "mmesid.stage": "finetune"}
    header = {"dataset": tiny.NAME, "stage": "finetune", "tags": tags, "digest": None}
    book = Journal(folder, "night", f"{tiny.NAME}.finetune", header)
    for step in range(3):
        book.append({"metrics": {"loss": 1.0 / (step + 1)}, "step": step})
    book.append({"end": "FINISHED", "error": None})
    book.close()
    tracking.send_pending(folder)
    return folder


@pytest.fixture
def mlflow(root: Path) -> Any:
    return tracking.client(root)


@pytest.mark.pipeline
def test_a_journal_that_arrived_violates_nothing(root: Path, mlflow: Any) -> None:
    assert laws.every_journal_arrived_once(root, mlflow) == []
    assert laws.no_run_is_running(mlflow) == []


@pytest.mark.pipeline
def test_a_lost_point_a_doubled_run_and_an_unsent_journal_are_named(root: Path, mlflow: Any) -> None:
    (sent,) = (root / "mlruns" / "journal").glob("*/*.sent")
    text = sent.read_text()
    sent.write_text(text.replace('"step": 1', '"step": 7'))
    lost, strange = laws.every_journal_arrived_once(root, mlflow)
    assert "lost ('loss', '0.5', 7" in lost
    assert "('loss', '0.5', 1" in strange
    assert strange.endswith("was never logged")
    sent.write_text(text)

    identity = json.loads(text.splitlines()[0])["header"]["id"]
    experiment = tracking.experiment_id(mlflow, tiny.NAME, root)
    double = mlflow.create_run(experiment, tags={"mmesid.journal": identity}).info.run_id
    assert laws.every_journal_arrived_once(root, mlflow) == [f"{sent.name} has 2 runs"]
    assert len(laws.no_run_is_running(mlflow)) == 1
    mlflow.delete_run(double)

    Journal(root, "night", f"{tiny.NAME}.evaluate", {"dataset": tiny.NAME, "stage": "evaluate"}).close()
    assert laws.every_journal_arrived_once(root, mlflow) == [f"{tiny.NAME}.evaluate.jsonl was not sent"]
