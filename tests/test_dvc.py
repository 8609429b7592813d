"""What DVC redoes, and what it leaves alone: read from DVC itself, with outputs that look finished."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import networkx
import pytest
import yaml
from dvc.repo import Repo

from mmesid import config as configuration
from mmesid.commands import plan as planning
from mmesid.config import SECTIONS
from mmesid.errors import ConfigError
from mmesid.pipeline import graph as pipeline
from tests import tiny

pytestmark = pytest.mark.pipeline

DATASETS = ("ours", "theirs")
EPOCHS = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))["finetune"]["epochs"]
ONLY_OURS = [
    ("validate", {"min_users": 3}),
    ("prepare", {"min_user_interactions": 7}),
    ("encode_collaborative", {"epochs": 3}),
    ("encode_content", {"open_clip": {"epochs": 3}}),
    ("tokenize", {"levels": 3}),
    ("init_codes", {"embedded": {"layers": 2}}),
    ("finetune", {"learning_rate": 0.5}),
    ("baselines", {"rivals": ["content_transformer"]}),
    ("fuse", {"users": 100}),
    ("evaluate", {"bootstrap": 100}),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, project_copy: Callable[[Path], Path]) -> Path:
    """A checkout with two datasets for which DVC holds every stage to be done."""
    root = project_copy(tmp_path_factory.mktemp("finished"))
    for name in DATASETS:
        (root / "conf" / f"{name}.yaml").write_text("# nothing differs\n", encoding="utf-8")
        (root / "sources" / name).mkdir()
        (root / "sources" / name / "items.csv").write_text(name, encoding="utf-8")
    list_datasets(root, DATASETS)
    with contextlib.chdir(root), Repo(str(root)) as repo:  # `commit` looks for the project around the working folder
        for out in [Path(out.fs_path) for stage in repo.index.stages for out in stage.outs]:
            file = out if out.suffix else out / "result.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(out.relative_to(root)), encoding="utf-8")
        for name in DATASETS:
            tiny.configure(root, name)
        repo.commit(force=True)
    assert changed(root) == set()
    return root


@pytest.fixture
def checkout(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "checkout", symlinks=True))


def list_datasets(root: Path, names: tuple[str, ...]) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    (root / "params.yaml").write_text(yaml.safe_dump({**params, "datasets": list(names)}), encoding="utf-8")


def configure(root: Path, dataset: str) -> None:
    """What `dvc repro configure@...` does, without a process."""
    tiny.configure(root, dataset)
    with contextlib.chdir(root), Repo(str(root)) as repo:
        repo.commit(f"configure@{dataset}", force=True)


def override(root: Path, dataset: str, section: str, values: dict[str, object] | None) -> None:
    path = root / "conf" / f"{dataset}.yaml"
    sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
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


def due(root: Path) -> list[str]:
    """What the flow would run, in order."""
    return list(pipeline.due(*pipeline.read_graph(root)))


def planned(root: Path) -> dict[str, tuple[str, list[str]]]:
    """What `mmesid plan` says of each stage that is not up to date."""
    found = planning.decide(pipeline.read(root), {})
    return {stage.stage: (stage.state, stage.reasons) for stage in found if stage.state != planning.UP_TO_DATE}


@pytest.mark.parametrize(("section", "values"), ONLY_OURS)
def test_a_value_of_one_dataset_touches_only_its_stages_from_the_first_that_uses_it(
    checkout: Path, section: str, values: dict[str, object]
) -> None:
    override(checkout, "ours", section, values)
    below = downstream(checkout, f"{section}@ours")
    first, *others = due(checkout)
    assert first == "configure@ours"
    assert set(others) == below
    configure(checkout, "ours")
    assert changed(checkout) == {f"{section}@ours", "report"}
    assert not {stage for stage in below if stage.endswith("@theirs")}


def test_the_protocol_touches_every_stage_that_reads_it(checkout: Path) -> None:
    override(checkout, "ours", "protocol", {"history_length": 20})
    configure(checkout, "ours")
    readers = ("encode_collaborative", "init_codes", "finetune", "baselines", "fuse", "evaluate")
    assert changed(checkout) == {"report", *(f"{stage}@ours" for stage in readers)}


def test_limits_of_the_gate_train_nothing(checkout: Path) -> None:
    override(checkout, "ours", "gate", {"max_loss": 0.5})
    assert due(checkout) == ["configure@ours", "report"]


def test_the_plan_names_the_value_and_the_stage_that_reads_it(checkout: Path) -> None:
    assert planned(checkout) == {}
    override(checkout, "ours", "finetune", {"epochs": 14})
    expected = {
        "finetune@ours": (planning.RUN, [f"finetune.epochs: {EPOCHS} → 14"]),
        "fuse@ours": (planning.FOLLOW, ["after finetune@ours"]),
        "evaluate@ours": (planning.FOLLOW, ["after fuse@ours"]),
    }
    before = planned(checkout)
    assert before.pop("configure@ours") == (planning.RUN, ["conf/ours.yaml: finetune.epochs: not there → 14"])
    assert before.pop("report") == (planning.FOLLOW, ["after evaluate@ours"])
    assert before == expected
    configure(checkout, "ours")
    after = planned(checkout)
    assert after.pop("report")[0] == planning.FOLLOW
    assert after == expected, "the same, once `configure` has run"


def test_what_is_set_to_its_default_redoes_nothing_but_configure(checkout: Path) -> None:
    override(checkout, "ours", "finetune", {"epochs": EPOCHS})
    assert set(planned(checkout)) == {"configure@ours", "report"}
    configure(checkout, "ours")
    assert due(checkout) == []


def test_wrong_parameters_stop_the_plan_and_the_first_stage_and_leave_the_others(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    override(checkout, "ours", "finetune", {"epoch": 14})
    monkeypatch.setattr(planning, "durations", lambda datasets, root: ({}, ""))
    with pytest.raises(ConfigError, match=r"finetune\.epoch: no such key\. Did you mean `epochs`"):
        planning.plan(root=checkout)
    assert not planning.plan(["theirs"], checkout).work
    assert due(checkout)[0] == "configure@ours"
    assert not {stage for stage in due(checkout) if stage.endswith("@theirs")}
    done = tiny.run(checkout, "dvc", "repro", "evaluate@ours")
    assert done.returncode != 0
    assert "configure@ours: params.yaml or conf/ours.yaml:\n  finetune.epoch: no such key." in done.stdout
    assert done.stdout.count("Running stage") == 1


@pytest.mark.parametrize("section", ["ingest", "finetune", "gate"])
def test_a_file_that_lacks_a_section_or_leaves_it_empty_redoes_nothing_but_configure(
    checkout: Path, section: str
) -> None:
    sections = {name: {} for name in SECTIONS if name != section}
    (checkout / "conf" / "ours.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    override(checkout, "theirs", section, None)
    assert changed(checkout) == {"configure@ours", "configure@theirs"}
    for name in DATASETS:
        configure(checkout, name)
    assert changed(checkout) == set()


def test_configure_runs_and_the_stages_that_read_what_it_changed_follow(checkout: Path) -> None:
    override(checkout, "ours", "finetune", {"epochs": 14})
    done = tiny.run(checkout, "dvc", "repro", "configure@ours")
    assert done.returncode == 0, done.stdout
    assert configuration.load_resolved("ours", checkout).finetune.epochs == 14
    assert changed(checkout) == {"finetune@ours", "report"}


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
    configures = {f"configure@{name}" for name in DATASETS}
    assert changed(checkout) == configures
    assert set(due(checkout)) == configures.union(*(downstream(checkout, f"tokenize@{name}") for name in DATASETS))


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("errors/__init__.py", ()),
        ("commands/cli.py", ()),
        ("stages/entry.py", ()),
        ("tracking/run.py", ()),
        ("pipeline/code.py", ()),
        ("config/loading.py", ("configure",)),
        ("tokenizer/model.py", ("tokenize",)),
        ("encoders/open_clip_training.py", ("encode_content",)),
        ("artifacts/validate.py", ("validate",)),
        ("reporting/templates/validation.html.j2", ("validate",)),
    ],
)
def test_code_reruns_the_stages_that_use_it_and_no_others(checkout: Path, module: str, stages: tuple[str, ...]) -> None:
    path = checkout / "src" / "mmesid" / module
    path.write_text(path.read_text(encoding="utf-8") + "\n# a remark\n", encoding="utf-8")
    assert changed(checkout) == {f"{stage}@{name}" for stage in stages for name in DATASETS}


@pytest.mark.parametrize("module", ["reporting/figures.py", "reporting/templates/report.html.j2"])
def test_code_of_the_report_reruns_the_report_alone(checkout: Path, module: str) -> None:
    path = checkout / "src" / "mmesid" / module
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert changed(checkout) == {"report"}


def test_every_stage_but_the_report_belongs_to_one_dataset(finished: Path) -> None:
    with Repo(str(finished)) as repo:
        names = {stage.name for stage in repo.index.stages}
    assert {name for name in names if "@" not in name} == {"report"}
    assert {name.partition("@")[2] for name in names if "@" in name} == set(DATASETS)
