"""Parameters: every mistake stops with the key's name, and what a dataset's file lacks means its default."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mmesid import config as configuration
from mmesid.config import SECTIONS, known_datasets
from mmesid.config.loading import load_yaml
from mmesid.errors import ConfigError
from tests import tiny

ROOT = Path(__file__).parents[1]
DATASETS = known_datasets(ROOT)
OLD_FILE = """
ingest: {source: files}
validate: {}
prepare: {}
encode_collaborative: {dimension: 16, blocks: 1, epochs: 1}
encode_content: {text: lsa, image: none}
tokenize: {levels: 2, codes: 4, dimension: 8, hidden: [16], epochs: 3}
init_codes: {embedded: {width: 32, layers: 1, heads: 2, vocabulary: 300, pretrain_steps: 2}, input_hidden: 16}
finetune: {rank: 2, alpha: 4, epochs: 1, warmup_steps: 2, checkpoint_steps: 1, targets_per_step: 64}
evaluate: {bootstrap: 100, forgetting_users: 20}
report: {}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the project's params.yaml and an override file that overrides nothing."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    write_overrides(tmp_path, {})
    return tmp_path


def write_overrides(project: Path, overrides: dict[str, Any]) -> None:
    (project / "conf").mkdir(exist_ok=True)
    (project / "conf" / "mine.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")


def message(project: Path, overrides: dict[str, Any]) -> str:
    write_overrides(project, overrides)
    with pytest.raises(ConfigError) as caught:
        configuration.load("mine", project)
    return str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_file_is_valid_and_holds_no_empty_section(dataset: str) -> None:
    assert configuration.load(dataset, ROOT).dataset == dataset
    overrides = yaml.safe_load((ROOT / "conf" / f"{dataset}.yaml").read_text(encoding="utf-8"))
    assert all(overrides.values())


def test_a_file_that_lists_every_section_loads_as_it_always_did(project: Path) -> None:
    (project / "conf" / "mine.yaml").write_text(OLD_FILE, encoding="utf-8")
    config = configuration.load("mine", project)
    assert (config.ingest.source, config.tokenize.hidden, config.init_codes.embedded.heads) == ("files", [16], 2)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_a_file_lacks_or_leaves_empty_means_its_defaults(project: Path, section: str) -> None:
    default = configuration.load("mine", project)
    write_overrides(project, {name: {} for name in SECTIONS if name != section})
    assert configuration.load("mine", project) == default
    write_overrides(project, {section: None})
    assert configuration.load("mine", project) == default
    write_overrides(project, {"encode_content": {"open_clip": None}})
    assert configuration.load("mine", project) == default


@pytest.mark.parametrize("text", ["", "# nothing differs\n", "{}"])
def test_a_file_may_override_nothing(project: Path, text: str) -> None:
    default = configuration.load("mine", project)
    (project / "conf" / "mine.yaml").write_text(text, encoding="utf-8")
    assert configuration.load("mine", project) == default


def test_a_value_that_is_null_is_no_empty_section(project: Path) -> None:
    assert "tokenize.levels: Input should be a valid integer" in message(project, {"tokenize": {"levels": None}})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"evaluate": {"exclude_history": False}}, "evaluate.exclude_history is now protocol.exclude_history"),
        ({"finetune": {"history_length": 9}}, "finetune.history_length is now protocol.history_length"),
        (
            {"encode_collaborative": {"history_length": 9}},
            "encode_collaborative.history_length is now protocol.history_length",
        ),
    ],
)
def test_a_key_that_has_moved_names_its_new_place(project: Path, overrides: dict[str, Any], said: str) -> None:
    assert said in message(project, overrides)
    write_overrides(project, {})
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params.update({section: params[section] | values for section, values in overrides.items()})
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(ConfigError, match=said.replace(".", r"\.")):
        configuration.load("mine", project)


def test_what_configure_writes_is_what_the_files_say(project: Path) -> None:
    write_overrides(project, {"tokenize": {"levels": 2, "learning_rate": 1}, "ingest": {"embeddings": {"text": "x"}}})
    tiny.configure(project, "mine")
    config = configuration.load("mine", project)
    assert configuration.load_resolved("mine", project) == config
    write_overrides(project, {"tokenize": {"levels": 3}})
    assert configuration.load_resolved("mine", project) == config, "until `configure` runs again"


def test_equal_parameters_are_equal_text(project: Path) -> None:
    write_overrides(project, {"tokenize": {"levels": 2, "epochs": 3}})
    before = configuration.resolved_text("mine", project)
    (project / "conf" / "mine.yaml").write_text("# why\ntokenize:\n  epochs: 3\n  levels: 2\n", encoding="utf-8")
    assert configuration.resolved_text("mine", project) == before


def test_a_default_that_changes_where_the_datasets_own_value_counts_is_told(project: Path) -> None:
    """`dvc exp run -S finetune.epochs=2` writes to params.yaml."""
    assert configuration.without_effect("mine", project) == [], "no dvc.lock"
    params = load_yaml(project / "params.yaml")
    entry = {"cmd": "x", "deps": [{"path": "a"}], "params": {"params.yaml": {"finetune": params["finetune"]}}}
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"configure@mine": entry, "ingest@mine": {"cmd": "y"}}})
    (project / "dvc.lock").write_text(lock, encoding="utf-8")
    write_overrides(project, {"finetune": {"epochs": 3, "rank": 9}})
    assert configuration.without_effect("mine", project) == [], "nothing was changed"
    params["finetune"] |= {"epochs": 2, "rank": 9, "alpha": 7}
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (line,) = configuration.without_effect("mine", project)
    assert "finetune.epochs: 2 now (30 before), but conf/mine.yaml says 3, which counts" in line
    assert "-S conf/mine.yaml:finetune.epochs=..." in line
    (project / "dvc.lock").write_text(lock[: lock.index("- path") + 4], encoding="utf-8")
    assert configuration.without_effect("mine", project) == [], "another dvc is writing it"


def test_without_configure_or_with_that_of_older_code_a_stage_says_what_to_run(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"configure/params\.yaml does not exist; `dvc repro configure@mine` writes"):
        configuration.load_resolved("mine", project)
    tiny.configure(project, "mine")
    assert configuration.load_run("mine", project) == configuration.load("mine", project)
    write_overrides(project, {"gate": {"max_loss": 0.5}, "finetune": {"rank": 3}})
    run = configuration.load_run("mine", project)
    assert (run.gate.max_loss, run.finetune.rank) == (0.5, 32), "a limit counts at once, a rank once it was trained"
    path = configuration.resolved_path("mine", project)
    path.write_text(path.read_text(encoding="utf-8").replace("levels:", "steps:"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`dvc repro configure@mine` writes it\):\n  tokenize\.levels"):
        configuration.load_resolved("mine", project)


def test_every_default_carries_a_comment() -> None:
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        is_section = not key.startswith(" ") or not value.split("#")[0].strip()
        assert is_section or "#" in line, f"params.yaml: `{line.strip()}` says neither unit nor meaning"


def test_a_dataset_overrides_one_value_and_keeps_the_rest(project: Path) -> None:
    default = configuration.load("mine", project)
    write_overrides(project, {"encode_content": {"open_clip": {"epochs": 99}}})
    changed = configuration.load("mine", project)
    assert changed.encode_content.open_clip.epochs == 99
    undone = changed.encode_content.open_clip.model_copy(update={"epochs": default.encode_content.open_clip.epochs})
    content = changed.encode_content.model_copy(update={"open_clip": undone})
    assert changed.model_copy(update={"encode_content": content}) == default


@pytest.mark.parametrize(
    ("overrides", "key", "suggestion"),
    [
        ({"tokenize": {"levles": 4}}, "tokenize.levles", "levels"),
        ({"encode_content": {"open_clip": {"epoch": 1}}}, "encode_content.open_clip.epoch", "epochs"),
        ({"finetun": {}}, "finetun", "finetune"),
        ({"validate": {"min_user": 1}}, "validate.min_user", "min_users"),
        ({"init_codes": {"embedded": {"widht": 64}}}, "init_codes.embedded.widht", "width"),
    ],
)
def test_a_mistyped_key_names_itself_and_what_was_meant(
    project: Path, overrides: dict[str, Any], key: str, suggestion: str
) -> None:
    said = message(project, overrides)
    assert f"{key}: no such key" in said
    assert f"Did you mean `{suggestion}`?" in said


def test_a_key_near_nothing_lists_the_known_ones(project: Path) -> None:
    said = message(project, {"prepare": {"zzz": 1}})
    assert "Known keys: min_user_interactions, min_item_interactions" in said


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"tokenize": {"levels": "four"}}, "tokenize.levels"),
        ({"tokenize": {"levels": 4.0}}, "tokenize.levels"),
        ({"tokenize": {"kmeans_init": "yes please"}}, "tokenize.kmeans_init"),
        ({"tokenize": {"hidden": 256}}, "tokenize.hidden"),
        ({"tokenize": "default"}, "tokenize"),
        ({"finetune": {"target_modules": "all"}}, "finetune.target_modules"),
    ],
)
def test_a_wrong_type_names_its_key_and_value(project: Path, overrides: dict[str, Any], key: str) -> None:
    said = message(project, overrides)
    assert f"{key}:" in said
    assert "it is " in said


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"encode_collaborative": {"dropout": 1.0}}, "encode_collaborative.dropout"),
        ({"finetune": {"learning_rate": 0.0}}, "finetune.learning_rate"),
        ({"prepare": {"min_user_interactions": 2}}, "prepare.min_user_interactions"),
        ({"validate": {"max_duplicates": 1.5}}, "validate.max_duplicates"),
        ({"tokenize": {"reconstruction": "mae"}}, "tokenize.reconstruction"),
        ({"encode_collaborative": {"dimension": 65, "heads": 2}}, "encode_collaborative"),
        ({"baselines": {"content_transformer": {"dimension": 65}}}, "baselines.content_transformer"),
        ({"baselines": {"rivals": ["another"]}}, "baselines.rivals.0"),
        ({"init_codes": {"weights": "random"}}, "init_codes"),
        ({"baselines": {"rivals": ["content_transformer"] * 2}}, "baselines"),
        ({"report": {"example_users": 21}}, "report.example_users"),
        ({"report": {"recommendations": 21}}, "report.recommendations"),
        ({"seed": 20261130123456}, "seed"),
    ],
)
def test_a_value_out_of_range_names_its_key(project: Path, overrides: dict[str, Any], key: str) -> None:
    assert f"{key}:" in message(project, overrides)


def test_a_rival_of_content_where_nothing_is_encoded_names_the_keys(project: Path) -> None:
    rival, content = {"baselines": {"rivals": ["content_transformer"]}}, {"text": "none", "image": "none"}
    said = message(project, {**rival, "encode_content": content})
    assert said.splitlines()[1].startswith("  baselines.rivals: content_transformer makes items of content, but encode")
    assert "it is " not in said
    write_overrides(project, {**rival, "encode_content": content | {"image": "pixels"}})
    assert configuration.load("mine", project).baselines.rivals == ["content_transformer"]
    write_overrides(project, {"encode_content": content})
    assert configuration.load("mine", project).baselines.rivals == []


@pytest.mark.parametrize("written", ["1e-05", "1e-5", "1E-5", "0.1e-4", "1.e-5", ".1e-4", "0.00001"])
def test_a_small_number_is_one_however_it_is_written(project: Path, written: str) -> None:
    """DVC, and so `dvc exp run -S` and an override, writes 0.00001 as 1e-05, which PyYAML alone takes for text."""
    (project / "conf" / "mine.yaml").write_text(f"finetune:\n  learning_rate: {written}\n", encoding="utf-8")
    assert configuration.load("mine", project).finetune.learning_rate == 0.00001


def test_whole_weights_in_four_bit_cannot_be_trained(project: Path) -> None:
    packed = {"init_codes": {"dtype": "nf4"}}
    assert "  finetune.adapter: full trains" in message(project, {**packed, "finetune": {"adapter": "full"}})
    write_overrides(project, packed)
    assert configuration.load("mine", project).finetune.adapter == "lora"


def test_all_mistakes_are_told_at_once(project: Path) -> None:
    said = message(project, {"tokenize": {"levels": 0, "code": 1}, "prepare": {"min_item_interactions": -1}})
    assert all(key in said for key in ("tokenize.levels", "tokenize.code:", "prepare.min_item_interactions"))


def test_a_missing_default_is_an_error_not_a_guess(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    del params["tokenize"]["codes"]
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"tokenize\.codes: this key is missing"):
        configuration.load("mine", project)


def test_sections_never_change(project: Path) -> None:
    config = configuration.load("mine", project)
    with pytest.raises(ValueError, match="frozen"):
        config.tokenize.levels = 5  # type: ignore[misc]


def test_an_unknown_dataset_names_the_known_ones_and_the_command(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"conf/yours\.yaml \(known: mine\); `mmesid add yours --files PATH`"):
        configuration.load("yours", project)


@pytest.mark.parametrize("text", ["a: [", "- a list", "\t: x"])
def test_a_file_that_holds_no_sections_is_named(project: Path, text: str) -> None:
    (project / "conf" / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"conf/mine\.yaml"):
        configuration.load("mine", project)


@pytest.mark.parametrize("names", ["sample", [], [1], {"sample": None}])
def test_datasets_must_be_a_list_of_names(project: Path, names: Any) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    (project / "params.yaml").write_text(yaml.safe_dump({**params, "datasets": names}), encoding="utf-8")
    with pytest.raises(ConfigError, match="`datasets` must be a list of names"):
        configuration.datasets(project)


def test_a_listed_name_counts_once_and_is_one_word(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    tiny.write_yaml(project / "params.yaml", {**params, "datasets": ["b", "a", "b"]})
    assert configuration.datasets(project) == ["b", "a"]
    for name in ("my toys", "a/b", ""):
        tiny.write_yaml(project / "params.yaml", {**params, "datasets": ["a", name]})
        with pytest.raises(ConfigError, match=f"{name!r} cannot name a dataset"):
            configuration.datasets(project)


def test_the_project_runs_what_it_lists() -> None:
    assert set(configuration.datasets(ROOT)) <= set(DATASETS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("finetune:\n  epochs: 3\nfinetune:\n  patience: 2\n", "at line 3: `finetune` stands twice, in line 1 too"),
        ("finetune:\n  epochs: 3\n  epochs: 4\n", "at line 3: `epochs` stands twice, in line 2 too"),
        (
            "<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> a\n",
            "holds merge conflict markers at line 1; resolve them",
        ),
        ("finetune:\n\tepochs: 3\n", "is not valid YAML at line 2: found character"),
        ("a: b: c\n", "is not valid YAML at line 1"),
    ],
)
@pytest.mark.parametrize("file", ["params.yaml", "conf/mine.yaml"])
def test_what_yaml_would_pass_over_or_tell_at_length_is_one_line(
    text: str, said: str, file: str, project: Path
) -> None:
    (project / file).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        configuration.load("mine", project)
    assert str(caught.value).startswith(f"{project / file} ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_anchor_may_repeat_a_key(project: Path) -> None:
    path = project / "conf" / "mine.yaml"
    path.write_text("x: &x {k: 1}\ny: {<<: *x, k: 2}\nz: {<<: *x, k: 3}\n", encoding="utf-8")
    assert load_yaml(path) == {"x": {"k": 1}, "y": {"k": 2}, "z": {"k": 3}}


def test_what_a_reader_changes_in_a_parsed_file_no_other_reader_sees(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("tokenize: {codes: 4}\n", encoding="utf-8")
    load_yaml(path)["tokenize"]["codes"] = 5
    assert load_yaml(path) == {"tokenize": {"codes": 4}}
    path.write_text("tokenize: {codes: 6}\n", encoding="utf-8")
    assert load_yaml(path) == {"tokenize": {"codes": 6}}
