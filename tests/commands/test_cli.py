"""The `mmesid` command: what it does to a checkout, what it says, and how fast it answers."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmesid import __version__, config, registry, tracking
from mmesid.commands import cli, doctor, project, screen
from mmesid.errors import ConfigError, MmesidError, RegistryError
from mmesid.serving import Answer, Recommended
from mmesid.tracking.journal import Journal

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and everything said by the command in the current folder."""
    result = CliRunner().invoke(cli.app, arguments)
    if isinstance(result.exception, MmesidError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def run_child(*arguments: str, folder: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from mmesid.commands.cli import main; sys.argv[0] = 'mmesid'; main()"
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_help_names_every_command_and_answers_at_once() -> None:
    said = run_child("--help").stdout
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert f"  {command.callback.__name__} " in said
    fastest = min(_seconds_of_help() for _ in range(3))
    assert fastest <= 1.0, f"--help took {fastest:.2f} s"


def _seconds_of_help() -> float:
    started = time.perf_counter()
    assert run_child("--help").returncode == 0
    return time.perf_counter() - started


def test_version() -> None:
    assert run("--version") == (0, f"mmesid {__version__}\n")


def test_a_mistake_is_one_message_without_traceback(tmp_path: Path) -> None:
    done = run_child("doctor", folder=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.match(r"Error: no params\.yaml and dvc\.yaml in ", done.stderr)


def test_the_project_is_found_from_a_folder_below(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout / "conf")
    assert project.find_root() == checkout


class Champion:
    """Recommends the items that it was asked about, in reverse."""

    def recommend(self, histories: list[list[str]], k: int) -> list[Answer]:
        items = [Recommended(item, f"[{item}]", 0.5) for item in reversed(histories[0])]
        return [Answer(items[:k], "a note")]


def test_recommend_shows_items_titles_scores_and_the_note(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_champion", lambda dataset, root: Champion())
    status, said = run("recommend", "sample", "--history", "a, b,c", "-k", "2")
    assert status == 0
    rows = [line.split() for line in said.splitlines() if "0.500" in line]
    assert rows == [["1", "c", "[c]", "0.500"], ["2", "b", "[b]", "0.500"]]
    assert "note: a note" in said


@pytest.mark.pipeline
def test_recommend_without_a_champion_says_how_to_get_one(checkout: Path) -> None:
    with pytest.raises(RegistryError, match=r"no champion.*retrain"):
        run("recommend", "sample", "--history", "a")


@pytest.mark.pipeline
def test_history_and_rollback_before_any_decision(checkout: Path) -> None:
    assert run("history", "sample")[1].strip() == "no decision on sample yet"
    with pytest.raises(RegistryError, match="no previous champion"):
        run("rollback", "sample")
    with pytest.raises(RegistryError, match="mmesid register"):
        run("promote", "sample")


def test_log_sends_what_is_waiting(checkout: Path) -> None:
    assert run("log") == (0, "0 stage runs sent to MLflow, 0 still waiting or running\n")


def test_log_fails_where_the_server_does_not_take_it(checkout: Path) -> None:
    book = Journal(checkout, "one", "toys.prepare", {"dataset": "toys", "stage": "prepare", "tags": {}, "digest": ""})
    book.close()
    done = run_child("log", folder=checkout, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stdout == "0 stage runs sent to MLflow, 1 still waiting or running\n"
    assert done.stderr.startswith("Error: MLFLOW_TRACKING_URI")
    book.path.write_text(book.path.read_text().replace('"tags"', '"parameters": {"no text": null}, "tags"'))
    done = run_child("log", folder=checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "does not take the log" in done.stderr


def test_log_sets_the_places_of_a_folder_that_was_moved_right(checkout: Path, tmp_path: Path) -> None:
    mlflow = tracking.client(checkout)
    tracking.experiment_id(mlflow, "toys", checkout)
    (checkout / "mlruns" / "artifacts" / "toys").mkdir(parents=True)
    moved = tmp_path / "moved"
    shutil.copytree(checkout, moved)
    shutil.rmtree(checkout / "mlruns")
    assert run_child("log", folder=moved).returncode == 0
    with contextlib.closing(sqlite3.connect(moved / "mlruns" / "mlflow.db")) as connection:
        places = [
            place for (place,) in connection.execute("SELECT artifact_location FROM experiments WHERE name = 'toys'")
        ]
    assert places == [(moved / "mlruns" / "artifacts" / "toys").as_uri()]


def test_in_a_folder_that_is_gone_a_command_says_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m mmesid.commands.cli log"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("Error: the folder of this shell was removed or replaced")


def test_every_check_of_the_doctor_finds_something(checkout: Path) -> None:
    for name, check in doctor.CHECKS.items():
        findings = check(checkout)
        assert findings, name
        assert all(found.remedy for found in findings if found.level != "fine")


def test_the_doctor_fits_on_one_screen_and_fails_only_on_what_is_wrong(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said = run("doctor")
    assert len(said.splitlines()) <= 40
    assert status == ("✗" in said)
    monkeypatch.setitem(doctor.CHECKS, "gpu", lambda root: [doctor.Finding("wrong", "gpu", "on fire", "put it out")])
    status, said = run("doctor")
    assert status == 1
    assert "✗" in said
    assert "put it out" in said


def test_a_check_that_breaks_is_a_finding(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"gpu": lambda root: 1 / 0})
    assert [found.level for found in doctor.examine(checkout)] == ["wrong"]


def test_the_doctor_sees_a_dataset_whose_weights_are_not_here(checkout: Path) -> None:
    assert [found.level for found in doctor.check_weights(checkout)] == ["fine"]
    conf = checkout / "conf" / "sample.yaml"
    conf.write_text("encode_content: {text: sentence_transformers}\n", encoding="utf-8")
    missing = doctor.check_weights(checkout)[-1]
    assert (missing.level, missing.remedy) == ("wrong", "`mmesid weights minilm` fetches it")
    assert "dataset sample reads texts by minilm" in missing.detail


def test_the_doctor_sees_a_package_of_another_version(checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub(r"^rich==\S+", "rich==0.0.1", lock.read_text(), flags=re.MULTILINE), encoding="utf-8")
    (found,) = doctor.check_environment(checkout)
    assert found.level == "wrong"
    assert re.search(r"rich \S+ \(lock: 0\.0\.1\)", found.detail)


def test_the_doctor_sees_a_wrong_key(checkout: Path) -> None:
    (checkout / "conf" / "sample.yaml").write_text("tokenize: {levles: 1}\n", encoding="utf-8")
    (sample,) = doctor.check_datasets(checkout)
    assert sample.level == "wrong"
    assert "Did you mean `levels`?" in sample.detail


def test_the_doctor_sees_a_tracking_server_that_is_down_and_hides_its_password(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    (found,) = doctor.check_tracking(checkout)
    assert found.level == "wrong"
    assert "secret" not in found.detail + found.remedy


def test_the_doctor_tries_the_remote_that_it_names(checkout: Path, tmp_path: Path) -> None:
    assert doctor.check_dvc(checkout)[0].level == "warning"
    place = tmp_path / "store"
    with (checkout / ".dvc" / "config").open("a", encoding="utf-8") as file:
        file.write(f"    remote = store\n['remote \"store\"']\n    url = {place}\n")
    (found,) = doctor.check_dvc(checkout)
    assert (found.level, found.detail) == ("wrong", f"store ({place}) does not exist")
    place.mkdir()
    assert doctor.check_dvc(checkout) == [doctor.Finding("fine", "dvc remote", f"store ({place})")]


def test_the_doctor_sees_a_folder_that_cannot_be_written(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "data").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "data")  # root may write everywhere
    wrong = [found for found in doctor.check_machine(checkout) if found.level == "wrong"]
    assert [found.detail for found in wrong] == [f"{checkout / 'data'} is not writable"]


def test_datasets_have_one_spelling_and_one_message() -> None:
    for text in ("a,b", "a b", " a, b ,"):
        assert config.split_names(text) == ["a", "b"]
    assert config.split_names("a,b,a b") == ["a", "b"]
    assert config.split_names("") == []
    config.check_datasets(["a"], ["b", "a"])
    with pytest.raises(ConfigError, match=r"beuaty, x: no such dataset among a, b; .* `mmesid add NAME"):
        config.check_datasets(["beuaty", "a", "x"], ["b", "a"])


def test_what_the_flows_take_is_passed_on(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[list[str]] = []

    def become(program: str, words: list[str]) -> None:
        programs.append([program, *words])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.chdir(checkout / "conf")
    run("retrain", "--help", "--datasets", "a,b", "--set", "finetune.epochs=2")
    run("recommend", "sample", "--all", "-k", "3")
    assert Path.cwd() == checkout
    python = [sys.executable, sys.executable, "-m"]
    assert programs == [
        [*python, "flows.retrain", "--help", "--datasets", "a,b", "--set", "finetune.epochs=2"],
        [*python, "flows.recommend", "sample", "-k", "3"],
    ]


@pytest.mark.parametrize("options", [[], ["--all", "--history", "a"]])
def test_recommend_wants_a_history_or_everyone(checkout: Path, options: list[str]) -> None:
    status, said = run("recommend", "sample", *options)
    assert status == 2
    assert "either --history ITEMS or --all" in said


def test_an_error_is_told_though_no_memory_is_left_for_its_colors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(error: bool = False) -> None:
        raise MemoryError

    monkeypatch.setattr(screen, "_console", refuse)
    screen.complain("memory [16 GB] is not enough")
    assert capsys.readouterr().err == "Error: memory [16 GB] is not enough\n"
