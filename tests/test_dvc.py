"""What DVC redoes, and what it leaves alone: read from DVC itself, with outputs that look finished."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo

pytestmark = pytest.mark.pipeline

DATASETS = ("ours", "theirs")
ONLY_OURS = [
    ("validate", {"min_users": 3}),
    ("prepare", {"min_user_interactions": 7}),
    ("encode_collaborative", {"epochs": 3}),
    ("encode_content", {"open_clip": {"epochs": 3}}),
    ("tokenize", {"levels": 3}),
    ("init_codes", {"embedded": {"layers": 2}}),
    ("finetune", {"learning_rate": 0.5}),
    ("evaluate", {"bootstrap": 100}),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """A checkout with two datasets for which DVC holds every stage to be done."""
    root = project_copy(tmp_path_factory.mktemp("finished"))
    sections = yaml.safe_load((root / "conf" / "sample.yaml").read_text(encoding="utf-8"))
    for name in DATASETS:
        (root / "conf" / f"{name}.yaml").write_text(yaml.safe_dump({key: {} for key in sections}), encoding="utf-8")
        (root / "sources" / name).mkdir()
        (root / "sources" / name / "items.csv").write_text(name, encoding="utf-8")
    list_datasets(root, DATASETS)
    with contextlib.chdir(root), Repo(str(root)) as repo:  # `commit` looks for the project around the working folder
        for out in [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]:
            file = out if out.suffix else out / "result.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(out.relative_to(root)), encoding="utf-8")
        repo.commit(force=True)
    assert changed(root) == set()
    return root


@pytest.fixture
def checkout(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "checkout", symlinks=True))


def list_datasets(root: Path, names: tuple[str, ...]) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "datasets": list(names)}), encoding="utf-8")


def override(root: Path, dataset: str, section: str, values: dict[str, object]) -> None:
    path = root / "conf" / f"{dataset}.yaml"
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**sections, section: values}), encoding="utf-8")


def changed(root: Path) -> set[str]:
    """Stages whose own inputs differ from what their last run saw."""
    with Repo(str(root)) as repo:
        return {name.rpartition(":")[2] for name in repo.status()}


def downstream(root: Path, stage: str) -> set[str]:
    """The stage and all that must follow it."""
    with Repo(str(root)) as repo:
        graph = repo.index.graph  # an edge leads from a stage to what it needs
        start = next(found for found in graph if found.name == stage)
        return {found.name for found in networkx.ancestors(graph, start)} | {stage}


@pytest.mark.parametrize(("section", "values"), ONLY_OURS)
def test_a_value_of_one_dataset_touches_only_its_stages_from_the_first_that_uses_it(
    checkout: Path, section: str, values: dict[str, object]
) -> None:
    override(checkout, "ours", section, values)
    assert changed(checkout) == {f"{section}@ours", "report"}
    assert not {stage for stage in downstream(checkout, f"{section}@ours") if stage.endswith("@theirs")}


def test_changed_input_reruns_its_own_dataset_alone(checkout: Path) -> None:
    (checkout / "sources" / "ours" / "items.csv").write_text("changed", encoding="utf-8")
    assert changed(checkout) == {"ingest@ours"}


def test_input_behind_a_link_counts_by_content(checkout: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(checkout / "sources" / "ours", outside)
    (checkout / "sources" / "ours").symlink_to(outside, target_is_directory=True)
    assert changed(checkout) == set(), "the same files, elsewhere"
    (outside / "items.csv").write_text("changed", encoding="utf-8")
    assert changed(checkout) == {"ingest@ours"}


def test_a_new_dataset_leaves_the_others_alone(checkout: Path) -> None:
    shutil.copyfile(checkout / "conf" / "ours.yaml", checkout / "conf" / "new.yaml")
    shutil.copytree(checkout / "sources" / "ours", checkout / "sources" / "new")
    list_datasets(checkout, (*DATASETS, "new"))
    assert {stage for stage in changed(checkout) if not stage.endswith("@new")} == {"report"}


def test_a_default_that_every_dataset_uses_touches_every_dataset(checkout: Path) -> None:
    params = yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8"))
    params["tokenize"]["epochs"] += 1
    (checkout / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert changed(checkout) == {"tokenize@ours", "tokenize@theirs"}


@pytest.mark.parametrize("module", ["config.py", "errors.py", "cli.py", "stages/entry.py", "tracking/run.py"])
def test_code_that_cannot_change_a_result_reruns_nothing(checkout: Path, module: str) -> None:
    path = checkout / "src" / "mmesid" / module
    path.write_text(path.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    assert changed(checkout) == set()


def test_code_of_a_room_reruns_the_stages_that_use_it(checkout: Path) -> None:
    path = checkout / "src" / "mmesid" / "tokenizer" / "model.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    assert changed(checkout) == {"tokenize@ours", "tokenize@theirs"}


def test_every_stage_but_the_report_belongs_to_one_dataset(finished: Path) -> None:
    with Repo(str(finished)) as repo:
        names = {stage.name for stage in repo.index.stages}
    assert {name for name in names if "@" not in name} == {"report"}
    assert {name.partition("@")[2] for name in names if "@" in name} == set(DATASETS)
