"""`mmesid add`: what becomes of a folder, what is refused and what stays; and what the doctor says of a source."""

import os
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mmesid import config
from mmesid.commands import add, doctor
from mmesid.errors import ConfigError, DataError
from tests.adding import run

ROOT = Path(__file__).parents[2]


def told(checkout: Path, name: str = "toys") -> doctor.Finding:
    return next(found for found in doctor.check_datasets(checkout) if found.subject == f"dataset {name}")


def state(checkout: Path) -> str:
    """What would be lost or gained: names of sources and configurations, and the list."""
    listed = sorted(str(path) for name in ("sources", "conf") for path in (checkout / name).rglob("*"))
    return "\n".join([*listed, (checkout / "params.yaml").read_text(encoding="utf-8")])


def test_a_folder_is_copied_and_tracked_and_listed(checkout: Path, catalogue: Path) -> None:
    before = (checkout / "params.yaml").read_text(encoding="utf-8")
    (catalogue / ".DS_Store").touch()
    said = run("toys", "--files", str(catalogue))
    assert 'run it: make repro DATASETS="toys"' in said
    assert "commit sources/toys.dvc, conf/toys.yaml and params.yaml" in said
    source = checkout / "sources" / "toys"
    assert not source.is_symlink()
    assert sorted(path.name for path in source.iterdir()) == ["interactions.csv", "items.csv"]
    assert (checkout / "sources" / "toys.dvc").exists()
    assert config.load("toys", checkout).ingest.source == "files"
    after = (checkout / "params.yaml").read_text(encoding="utf-8")
    assert after == before.replace("datasets: [sample]", "datasets: [sample, toys]")


def test_git_keeps_what_tracks_the_source_and_not_the_source(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue))
    kept = os.popen("git status --short --untracked-files=all sources").read()
    assert "sources/toys.dvc" in kept
    assert "items.csv" not in kept


def test_the_copy_and_the_cache_share_their_files(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue))
    assert (checkout / "sources" / "toys" / "items.csv").stat().st_nlink == 2
    assert (catalogue / "items.csv").stat().st_nlink == 1


def test_only_sections_that_differ_from_the_defaults_are_written(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue))
    assert all(yaml.safe_load((checkout / "conf" / "toys.yaml").read_text(encoding="utf-8")).values())


def test_the_list_can_be_left_alone(checkout: Path, catalogue: Path) -> None:
    assert "add toys to `datasets` in params.yaml" in run("toys", "--files", str(catalogue), "--no-enable")
    assert config.datasets(checkout) == ["sample"]


def test_a_folder_that_lies_in_sources_already_is_tracked_where_it_is(checkout: Path, catalogue: Path) -> None:
    place = catalogue.rename(checkout / "sources" / "toys")
    run("toys", "--files", str(place))
    assert (place / "items.csv").exists()
    assert (checkout / "sources" / "toys.dvc").exists()


def test_a_taken_name_is_refused_and_force_takes_the_new_state_and_keeps_the_tuned_conf(
    checkout: Path, catalogue: Path
) -> None:
    run("toys", "--files", str(catalogue))
    conf, tracked = checkout / "conf" / "toys.yaml", checkout / "sources" / "toys.dvc"
    conf.write_text("ingest: {source: files}\nfinetune: {epochs: 7}\n", encoding="utf-8")
    tuned, before = conf.read_text(encoding="utf-8"), tracked.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'toys' exists already \(sources/toys\).*--force .* keeps conf/toys\.yaml"):
        run("toys", "--files", str(catalogue))
    with (catalogue / "interactions.csv").open("a", encoding="utf-8") as file:
        file.write("u0,i11,99\n")
    said = run("toys", "--files", str(catalogue), "--force")
    assert "conf/toys.yaml was there and is as it was" in said
    assert "it differs from what sources/toys.dvc named before" in said
    assert conf.read_text(encoding="utf-8") == tuned
    assert tracked.read_text(encoding="utf-8") != before
    assert (checkout / "sources" / "toys" / "interactions.csv").read_text(encoding="utf-8").endswith("u0,i11,99\n")
    run("toys", "--files", str(catalogue), "--force", "--reset-conf")
    assert conf.read_text(encoding="utf-8") != tuned


def test_a_dataset_whose_source_is_not_here_takes_it_without_force(checkout: Path, catalogue: Path) -> None:
    (checkout / "conf" / "toys.yaml").write_text("ingest: {source: files}  # tuned\n", encoding="utf-8")
    run("toys", "--files", str(catalogue))
    assert "tuned" in (checkout / "conf" / "toys.yaml").read_text(encoding="utf-8")


def test_a_folder_that_no_cache_holds_is_never_deleted(checkout: Path, catalogue: Path) -> None:
    mine = checkout / "sources" / "toys"
    mine.mkdir()
    (mine / "only copy").touch()
    with pytest.raises(ConfigError, match="DVC's cache does not hold"):
        run("toys", "--files", str(catalogue), "--force")
    assert (mine / "only copy").exists()


def test_a_link_of_old_stays_until_force_replaces_it(checkout: Path, catalogue: Path) -> None:
    source = checkout / "sources" / "toys"
    source.symlink_to(catalogue, target_is_directory=True)
    (checkout / "conf" / "toys.yaml").write_text("ingest: {source: files}\n", encoding="utf-8")
    params = checkout / "params.yaml"
    params.write_text(params.read_text().replace("[sample]", "[sample, toys]"), encoding="utf-8")
    assert "which no clone gets" in told(checkout).detail
    advice = re.findall(r"`mmesid add (.*?)`", told(checkout).remedy)[0]
    run(*advice.split())
    assert not source.is_symlink()
    assert (catalogue / "items.csv").exists()


def test_external_files_stay_where_they_are(checkout: Path, catalogue: Path) -> None:
    said = run("toys", "--files", str(catalogue), "--external")
    source = checkout / "sources" / "toys"
    assert sorted(path.name for path in source.iterdir()) == ["external.link", "external.yaml"]
    assert (source / "external.link").resolve() == catalogue
    assert "`make repro` sees when they change" in said


@pytest.mark.parametrize("name", ["Toys", "a b", "../up", "", "a.b", "-x", "x" * 41, "ä", "~"])
def test_a_name_that_folders_and_stages_cannot_bear_is_refused(checkout: Path, catalogue: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a dataset"):
        add.add(name, catalogue, checkout)


@pytest.mark.parametrize("name", ["2024", "on"])
def test_a_name_that_yaml_reads_as_something_else_is_a_dataset_to_dvc(
    checkout: Path, catalogue: Path, name: str
) -> None:
    from dvc.repo import Repo

    run(name, "--files", str(catalogue))
    assert config.datasets(checkout) == ["sample", name]
    with Repo(str(checkout)) as repo:
        assert f"ingest@{name}" in {stage.addressing for stage in repo.index.stages}


@pytest.mark.parametrize("inside", ["data/toys", "reports", "mlruns/x", ".dvc/x", "src", ".", "..", "sources/sample"])
def test_folders_that_the_project_writes_to_are_refused(checkout: Path, catalogue: Path, inside: str) -> None:
    folder = checkout / inside
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("interactions.csv", "items.csv"):
        (folder / name).write_bytes((catalogue / name).read_bytes())
    before = state(checkout)
    with pytest.raises(ConfigError, match=r"--files: .*(lies in|contains the project|own folder|another dataset)"):
        run("toys", "--files", str(folder))
    assert state(checkout) == before


def test_a_folder_of_the_checkout_that_nobody_writes_to_is_taken(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue.rename(checkout / "downloads")))


def test_nothing_is_written_when_the_folder_is_no_catalogue(checkout: Path, tmp_path: Path) -> None:
    empty, before = tmp_path / "empty", state(checkout)
    empty.mkdir()
    for folder in (empty, tmp_path / "missing", ROOT / "params.yaml"):
        with pytest.raises(DataError):
            run("toys", "--files", str(folder))
    assert state(checkout) == before


def test_nothing_is_written_when_the_two_tables_do_not_meet(checkout: Path, catalogue: Path) -> None:
    items = pd.read_csv(catalogue / "items.csv")
    items.assign(item_id="0" + items["item_id"]).to_csv(catalogue / "items.csv", index=False)
    before = state(checkout)
    with pytest.raises(DataError, match=r"nothing is left to learn from; 240 of 240 .* by leading zeros\. "):
        run("toys", "--files", str(catalogue))
    pd.DataFrame({"item_id": ["i1", "i2"]}).to_csv(catalogue / "items.csv", index=False)
    with pytest.raises(DataError, match=r"nothing is left to learn from; "):
        run("toys", "--files", str(catalogue))
    assert state(checkout) == before


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("step", ["sources.track", "save_text", "enable_dataset"])
def test_what_was_written_before_a_failure_is_taken_back(
    checkout: Path, catalogue: Path, step: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    before = state(checkout)
    with monkeypatch.context() as broken:
        broken.setattr(f"mmesid.commands.add.{step}", fail)
        with pytest.raises(error):
            add.add("toys", catalogue, checkout)
    assert state(checkout) == before
    run("toys", "--files", str(catalogue))


@pytest.mark.parametrize("external", [[], ["--external"]])
def test_what_a_kill_left_is_gone_on_with(checkout: Path, catalogue: Path, external: list[str]) -> None:
    run("toys", "--files", str(catalogue), *external)
    for name in ("sources/toys.dvc", "conf/toys.yaml"):
        (checkout / "conf" / "toys.yaml").unlink(missing_ok=True)
        (checkout / name).unlink(missing_ok=True)
        run("toys", "--files", str(catalogue), *external)
    (checkout / "conf" / "toys.yaml").unlink()
    with (catalogue / "interactions.csv").open("a", encoding="utf-8") as file:
        file.write("u0,i11,99\n")
    with pytest.raises(ConfigError, match="exists already"):
        run("toys", "--files", str(catalogue), *external)


def test_what_validate_would_refuse_is_said_instead_of_run_it(checkout: Path, catalogue: Path) -> None:
    rows = pd.read_csv(catalogue / "interactions.csv")
    pd.concat([rows, rows[:1]]).to_csv(catalogue / "interactions.csv", index=False)
    items = pd.read_csv(catalogue / "items.csv")
    pd.concat([items, items[:1]]).to_csv(catalogue / "items.csv", index=False)
    said = run("toys", "--files", str(catalogue))
    assert "run it" not in said
    assert "validate will refuse this: every interaction stands only once: 1 of 241 interactions" in said
    assert "first interactions.csv row 241: u0, " in said
    assert "set validate.max_duplicates: 0.0042; prepare.repeats then says" in said
    assert "validate will refuse this: every row of an item stands only once: 1 of 25 items" in said
    assert "set validate.max_duplicate_items: 0.04; " in said
    limits = {"max_duplicates": 0.0042, "max_duplicate_items": 0.04}
    conf = {"ingest": {"source": "files"}, "validate": limits}
    (checkout / "conf" / "toys.yaml").write_text(yaml.safe_dump(conf), encoding="utf-8")
    assert "run it" in run("toys", "--files", str(catalogue), "--force"), "the kept limits count"


def test_the_doctor_says_how_a_lost_source_comes_back(checkout: Path, catalogue: Path) -> None:
    run("toys", "--files", str(catalogue))
    source = checkout / "sources" / "toys"
    source.rename(catalogue.parent / "elsewhere")
    assert told(checkout).level == "wrong"
    assert told(checkout).remedy.startswith(
        "`dvc pull sources/toys.dvc` fetches them, or `mmesid add toys --files PATH`"
    )
    (checkout / "reports" / "toys").mkdir(parents=True)
    (checkout / "reports" / "toys" / "metrics.json").touch()
    assert told(checkout).level == "warning", "results that are there need no source"


def test_a_column_is_a_position_only_by_decimal_digits() -> None:
    assert add.parse_columns("user_id=2,item_id=²") == {"user_id": 2, "item_id": "²"}
