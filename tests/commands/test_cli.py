"""The `mmesid` command: what it does to a checkout, what it says, and how fast it answers."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from mmesid import __version__, config, registry
from mmesid.commands import add, cli, doctor, project
from mmesid.errors import ConfigError, DataError, MmesidError, RegistryError
from mmesid.serving import Answer, Recommended

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path, project_copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    root = project_copy(tmp_path / "checkout")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """A folder in the `files` format: 30 users with 8 interactions each, 12 items, no pictures."""
    folder = tmp_path / "toys"
    folder.mkdir()
    draw = np.random.default_rng(0)
    rows = [(f"u{user}", f"i{item}", step) for user in range(30) for step, item in enumerate(draw.permutation(12)[:8])]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    items = pd.DataFrame(
        {"item_id": [f"i{item}" for item in range(12)], "title": [f"toy {item}" for item in range(12)]}
    )
    items.to_csv(folder / "items.csv", index=False)
    return folder


def run(*arguments: str) -> tuple[int, str]:
    """Exit status and everything said by the command in the current folder."""
    result = CliRunner().invoke(cli.app, arguments)
    if isinstance(result.exception, MmesidError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def run_child(*arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from mmesid.commands.cli import main; sys.argv[0] = 'mmesid'; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


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


def test_add_links_the_folder_writes_a_valid_conf_and_lists_the_dataset(checkout: Path, catalogue: Path) -> None:
    before = (checkout / "params.yaml").read_text(encoding="utf-8")
    status, said = run("add", "toys", "--files", str(catalogue))
    assert status == 0
    assert "30" in said
    assert 'make repro DATASETS="toys"' in said
    assert (checkout / "sources" / "toys").readlink() == catalogue.resolve()
    assert config.load("toys", checkout).ingest.source == "files"
    after = (checkout / "params.yaml").read_text(encoding="utf-8")
    assert after == before.replace("datasets: [sample]", "datasets: [sample, toys]")


def test_add_writes_only_sections_that_differ_from_the_defaults(checkout: Path, catalogue: Path) -> None:
    run("add", "toys", "--files", str(catalogue))
    assert all(yaml.safe_load((checkout / "conf" / "toys.yaml").read_text(encoding="utf-8")).values())


def test_add_can_copy_and_leave_the_list_alone(checkout: Path, catalogue: Path) -> None:
    status, said = run("add", "toys", "--files", str(catalogue), "--copy", "--no-enable")
    assert status == 0
    assert "add toys to `datasets` in params.yaml" in said
    copied = checkout / "sources" / "toys"
    assert not copied.is_symlink()
    assert sorted(path.name for path in copied.iterdir()) == ["interactions.csv", "items.csv"]
    assert config.datasets(checkout) == ["sample"]


def test_add_takes_a_folder_that_lies_in_sources_already(checkout: Path, catalogue: Path) -> None:
    place = catalogue.rename(checkout / "sources" / "toys")
    assert run("add", "toys", "--files", str(place))[0] == 0
    assert (place / "items.csv").exists()
    assert not place.is_symlink()


def test_add_refuses_a_taken_name_and_force_replaces_it(checkout: Path, catalogue: Path, tmp_path: Path) -> None:
    run("add", "toys", "--files", str(catalogue))
    other = catalogue.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match=r"'toys' exists already \(conf/toys\.yaml and sources/toys\).*--force"):
        run("add", "toys", "--files", str(other))
    assert run("add", "toys", "--files", str(other), "--force")[0] == 0
    assert (checkout / "sources" / "toys").readlink() == other.resolve()
    assert config.datasets(checkout) == ["sample", "toys"]


def test_add_never_deletes_a_folder_of_data(checkout: Path, catalogue: Path) -> None:
    mine = checkout / "sources" / "toys"
    mine.mkdir()
    (mine / "only copy").touch()
    with pytest.raises(ConfigError, match="is a folder of its own, not a link"):
        run("add", "toys", "--files", str(catalogue), "--force")
    assert (mine / "only copy").exists()


@pytest.mark.parametrize("name", ["Toys", "a b", "../up", "", "a.b", "-x", "x" * 41, "ä"])
def test_add_refuses_a_name_that_folders_and_stages_cannot_bear(checkout: Path, catalogue: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a dataset"):
        add.add(name, catalogue, checkout)


def test_add_writes_nothing_when_the_folder_is_no_catalogue(checkout: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "missing", ROOT / "params.yaml"):
        with pytest.raises(DataError):
            run("add", "toys", "--files", str(folder))
    assert not (checkout / "sources" / "toys").is_symlink()
    assert not (checkout / "conf" / "toys.yaml").exists()
    assert config.datasets(checkout) == ["sample"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("datasets: [a]  # why\nseed: 0\n", "datasets: [a, new]  # why\nseed: 0\n"),
        ("datasets: [a, b,]\n", "datasets: [a, b, new]\n"),
        ("datasets: []\n", "datasets: [new]\n"),
        ("datasets:\n  - a  # one\n  - b\nseed: 0\n", "datasets:\n  - a  # one\n  - b\n  - new\nseed: 0\n"),
        ("datasets:\n- a\n\nother:\n- b\n", "datasets:\n- a\n- new\n\nother:\n- b\n"),
        ("datasets: [new]\n", "datasets: [new]\n"),
    ],
)
def test_listing_a_dataset_changes_nothing_else(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "params.yaml").write_text(before, encoding="utf-8")
    add.enable_dataset("new", tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == after


@pytest.mark.parametrize("text", ["datasets: [a,\n  b]\n", "seed: 0\n", "datasets: {a: 1}\n"])
def test_a_list_in_another_form_is_left_to_the_person(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="add `new` to the list by hand"):
        add.enable_dataset("new", tmp_path)
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == text


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


def test_the_doctor_sees_a_package_of_another_version(checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub(r"^rich==\S+", "rich==0.0.1", lock.read_text(), flags=re.MULTILINE), encoding="utf-8")
    (found,) = doctor.check_environment(checkout)
    assert found.level == "wrong"
    assert re.search(r"rich \S+ \(lock: 0\.0\.1\)", found.detail)


def test_the_doctor_sees_a_lost_source_and_a_wrong_key(checkout: Path, catalogue: Path, tmp_path: Path) -> None:
    run("add", "toys", "--files", str(catalogue))
    catalogue.rename(tmp_path / "elsewhere")
    (checkout / "conf" / "sample.yaml").write_text("tokenize: {levles: 1}\n", encoding="utf-8")
    sample, toys = doctor.check_datasets(checkout)
    assert sample.level == toys.level == "wrong"
    assert "Did you mean `levels`?" in sample.detail
    assert "which is gone" in toys.detail


def test_the_doctor_sees_a_tracking_server_that_is_down_and_hides_its_password(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    (found,) = doctor.check_tracking(checkout)
    assert found.level == "wrong"
    assert "secret" not in found.detail + found.remedy


def test_the_doctor_names_the_remote(checkout: Path) -> None:
    assert doctor.check_dvc(checkout)[0].level == "warning"
    with (checkout / ".dvc" / "config").open("a", encoding="utf-8") as file:
        file.write("    remote = store\n['remote \"store\"']\n    url = /srv/store\n")
    assert doctor.check_dvc(checkout) == [doctor.Finding("fine", "dvc remote", "store (/srv/store)")]


def test_the_doctor_sees_a_folder_that_cannot_be_written(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "data").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "data")  # root may write everywhere
    wrong = [found for found in doctor.check_machine(checkout) if found.level == "wrong"]
    assert [found.detail for found in wrong] == [f"{checkout / 'data'} is not writable"]


def test_datasets_have_one_spelling_and_one_message() -> None:
    for text in ("a,b", "a b", " a, b ,"):
        assert config.split_names(text) == ["a", "b"]
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
