"""`mmesid ablate`: what it would run, what it keeps, that it goes on, and what it says of the results."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from mmesid import tracking
from mmesid.artifacts import ablations as kept
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.evaluate import load_metrics
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.commands import ablate, add_address, presets
from mmesid.commands.ablate import comparison, planning
from mmesid.commands.ablate.gather import each_order_kept
from mmesid.commands.ablate.left_out import READ_WITH, unread
from mmesid.config.training import InitCodes
from mmesid.errors import ArtifactError, ConfigError, DataError, PipelineError
from mmesid.evaluation.forgetting import order_kept
from mmesid.evaluation.metrics import per_user
from mmesid.pipeline import ablations, experiment, sources
from mmesid.pipeline.ablations import REFERENCE, Ablation, Run
from mmesid.pipeline.stage import StageError
from mmesid.reporting.ablations import HEADS, NOTHING, Estimate, cells, difference
from tests import tiny

THREE_LINES = """
few_codes:
  tells: what four codes a level keep
  set: {tokenize.codes: 4}
"""


@pytest.fixture
def world(tmp_path: Path, project_copy: Callable[[Path], Path]) -> Path:
    """A tiny checkout with no ablation but the reference and one of three lines."""
    root = tiny.make(project_copy(tmp_path / "world"))
    only_best = yaml.safe_dump({REFERENCE: {"tells": "the dataset's own", "set": {}}})
    (root / "conf" / "ablations.yaml").write_text(only_best + THREE_LINES, encoding="utf-8")
    return root


def drawn(name: str, seed: int, better: int = 0, users: str = "u", key: str = "k") -> AblationResult:
    """A result of 50 users, 20 in validation, whose ranks are `better` places higher than the reference's."""
    rows, valid = ("mme_sid", "mme_sid_network", "sasrec"), np.random.default_rng(seed + 100).integers(6, 12, 20)
    ranks = np.random.default_rng(seed).integers(6, 12, 50)
    taus = np.random.default_rng(seed).uniform(0, 1, 50).astype(np.float16)
    taus[:10] = np.nan
    return AblationResult(
        dataset=tiny.NAME,
        name=name,
        seed=seed,
        key=key,
        parameters={},
        users=users,
        metrics={"collapse": {"kept_dimensions": 0.5}, "data": {"items": 9, "users": 50}, "tokenizer": {}},
        spectra={"item input": [1.0, 0.5]},
        stages={"finetune": {"key": "f", "seconds": 60.0}, "fuse": {"key": "g", "seconds": 6.0}},
        tokens=1000,
        ranks={row: (ranks - better).astype(np.uint8) for row in rows},
        taus={"text.tau_finetuned": taus},
        valid_ranks={row: (valid - better).astype(np.uint8) for row in rows},
    )


def test_every_shipped_ablation_fits_the_sample() -> None:
    root = Path(__file__).parents[2]
    code_of = dict.fromkeys(ablations.codes(root), "")
    known = ablations.read(root)
    runs = {name: ablations.run_of(each, "sample", 1, code_of, root) for name, each in known.items()}
    assert len(known) >= 20
    assert all(run.parameters["seed"] == 1 for run in runs.values())
    changed = {name for name, run in runs.items() if run.key != runs[REFERENCE].key}
    assert {"paper", "random_codes", "mse", "mmd", "full", "table"} <= changed
    assert runs["lora"].key == runs["best"].key, "what changes nothing has the same result"


@pytest.mark.parametrize("preset", presets.names(Path(__file__).parents[2]))
def test_every_shipped_ablation_fits_every_preset(tmp_path: Path, preset: str) -> None:
    """docs/reproduce.md runs them all on datasets of the preset `paper`, whose backbone has 4-bit weights."""
    root = Path(__file__).parents[2]
    (tmp_path / "conf").mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(root / name, tmp_path / name)
    text = add_address.render(
        "amazon", {"source": "amazon", "base_url": "a", "category": "b"}, presets.read(preset, root)
    )
    (tmp_path / "conf" / "amazon.yaml").write_text(text, encoding="utf-8")
    code_of = dict.fromkeys(ablations.codes(root), "")
    for each in ablations.read(root).values():
        run = ablations.run_of(each, "amazon", 0, code_of, tmp_path)
        assert run.settings.init_codes.dtype != "nf4" or run.settings.init_codes.backbone not in ("embedded", "smollm2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {finetune.rnak: 3}}", "finetune.rnak"),
        ("best: {tells: a, set: {}}\nodd: {tells: b}", "odd must have the keys tells and set"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, row: none}", "row 'none'"),
        (
            "best: {tells: a, set: {}}\nodd: {tells: b, set: {}, needs: [sound]}",
            "a list of some of text, image",
        ),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, like: later}", "odd has `like: 'later'`.* above it"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, like: [best]}", r"odd has `like: \['best'\]`"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, row: [mme_sid]}", r"odd has the row \['mme_sid'\]"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, row: {a: 1}}", "odd has the row {'a': 1}"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, row: oracle}", "odd has the row 'oracle', which is none"),
        (
            "best: {tells: a, set: {}}\nodd: {tells: b, set: {}, row: content_transformer_fused}",
            r"odd: .*put `baselines.rivals: \[content_transformer\]`",
        ),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, needs: [[text]]}", r"odd needs \[\['text'\]\]"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {}, 3: 4}", "odd must have .*it has 3, set, tells"),
        ("best: {tells: a, set: {}}\nodd: {tells: b, set: {3: 4}}", "odd has 3 in `set`"),
        ("best: {tells: a, set: {}}\n3: {tells: b, set: {}}", "'3' must be a name"),
        (
            "best: {tells: a, set: {}}\nodd: {tells: b, set: {}}\nodd: {tells: c, set: {}}",
            "line 3: `odd` stands twice, in line 2 too",
        ),
        (
            "best: {tells: a, set: {}}\nodd:\n  tells: b\n  set:\n    finetune.rank: 1\n    finetune.rank: 2",
            "line 6: `finetune.rank` stands twice, in line 5 too",
        ),
        ("odd: {tells: b, set: {}}", "must hold `best`"),
        ("best: {tells: a, set: {}, row: sasrec}", "must hold `best` .*without row and needs"),
        ("best: {tells: a, set: {}, needs: [image]}", "must hold `best` .*without row and needs"),
    ],
)
def test_a_wrong_entry_is_named(world: Path, text: str, said: str) -> None:
    (world / "conf" / "ablations.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        ablate.plan(tiny.NAME, [], 1, world)


def test_a_stage_of_ones_own_behind_the_last_one_decides_no_result(world: Path) -> None:
    before = ablations.codes(world)
    stages = yaml.safe_load((world / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(before) == [stage for stage in stages if stage not in ("configure", "report")]
    with (world / "dvc.yaml").open("a", encoding="utf-8") as file:
        file.write("\n  drawn:\n    cmd: python draw.py\n    deps: [reports]\n    outs: [drawn.png]\n")
    assert ablations.codes(world) == before


def test_a_small_number_may_be_set(world: Path) -> None:
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write("slow:\n  tells: a\n  set: {finetune.learning_rate: 0.00001, finetune.table_learning_rate: 2e-5}\n")
    *_, slow = ablate.plan(tiny.NAME, [], 1, world)
    assert slow.run.settings.finetune.learning_rate == 0.00001
    assert slow.run.settings.finetune.table_learning_rate == 0.00002


def test_an_unknown_ablation_and_an_unknown_dataset_are_refused(world: Path) -> None:
    with pytest.raises(ConfigError, match=r"no ablation nothing.*few_codes"):
        ablate.plan(tiny.NAME, ["nothing"], 1, world)
    with pytest.raises(ConfigError, match="no dataset's"):
        ablate.plan("ablations", [], 1, world)


def test_the_plan_says_what_an_ablation_trains_anew(world: Path) -> None:
    entries = {"best": {}, "codes": {"tokenize.codes": 4}, "same": {"tokenize.codes": 8}}
    text = yaml.safe_dump({name: {"tells": "a", "set": keys} for name, keys in entries.items()}, sort_keys=False)
    (world / "conf" / "ablations.yaml").write_text(text, encoding="utf-8")
    best, codes, same, *others = ablate.plan(tiny.NAME, [], 2, world)
    assert [each.state for each in (best, codes, same)] == [planning.DUE, planning.DUE, planning.TWIN]
    assert (best.stages[0], best.stages[-1]) == ("ingest", "evaluate")
    assert codes.stages == ["tokenize", "init_codes", "finetune", "fuse", "evaluate"]
    assert same.told == "best, seed 0"
    assert others[0].stages[0] == "prepare", "its seed is another, its source is not"


def test_a_source_that_has_changed_is_taken_first_and_one_that_is_gone_is_asked_for(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else results of new files would bear the key of the old ones, whose record is all that the key looks at."""
    made: list[Run] = []
    monkeypatch.setattr(ablate, "_make", lambda run, *_: made.append(run))
    monkeypatch.chdir(world)
    sources.track(tiny.NAME, world)
    said: list[str] = []
    ablate.run(tiny.NAME, [], 1, world, said.append)
    recipe = world / "sources" / tiny.NAME / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.unlink()  # DVC's cache shares it
    recipe.write_text(f"{text}# another\n", encoding="utf-8")
    (world / "dvc.lock").write_text("", encoding="utf-8")  # as a kill leaves it
    ablate.run(tiny.NAME, [], 1, world, said.append)
    before, _, after, _ = made
    assert before.ablation == after.ablation
    assert before.key != after.key
    assert [line for line in said if f"sources/{tiny.NAME} has changed" in line]
    assert [line for line in said if "dvc.lock is empty" in line]
    for folder in (recipe.parent, world / ".dvc" / "cache"):
        shutil.rmtree(folder)
    with pytest.raises(DataError, match=rf"not here: `dvc pull sources/{tiny.NAME}\.dvc` fetches them"):
        ablate.run(tiny.NAME, [], 1, world, said.append)


def test_one_that_fails_names_the_folder_of_its_files_and_its_lines_once(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, root: Path, say: Callable[[str], object]) -> None:
        say("data/tiny/validate/report.html shows them")
        raise StageError("evaluate@tiny failed with status 255:\ndata/tiny/validate/report.html shows them")

    monkeypatch.setattr(ablate, "_make", fail)
    said: list[str] = []
    with pytest.raises(PipelineError, match="best, seed 0: failed as said above"):
        ablate.run(tiny.NAME, ["best"], 1, world, said.append)
    assert sum("report.html" in line for line in said) == 1
    assert said[-1] == (
        "[1/1] best, seed 0: evaluate@tiny failed with status 255; the files that it speaks of lie below "
        ".dvc/tmp/exps/ablate-tiny-best-seed-0"
    )


def test_an_ablation_whose_weights_are_not_installed_is_left_out(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMESID_WEIGHTS", str(world / "none"))
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write("large:\n  tells: what more weights give\n  set: {init_codes.backbone: smollm2}\n")
    *_, large = planned = ablate.plan(tiny.NAME, [], 1, world)
    assert (large.state, large.told, large.stages) == (planning.LACKS, "`mmesid weights smollm2` fetches it", [])
    assert ablate.summary(planned).endswith(", 1 left out")


def test_an_ablation_of_a_modality_that_the_dataset_lacks_is_left_out(world: Path) -> None:
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write("pictures:\n  tells: what pictures add\n  needs: [image]\n  set: {tokenize.codes: 3}\n")
    overrides = yaml.safe_load((world / "conf" / f"{tiny.NAME}.yaml").read_text(encoding="utf-8"))
    lacks = planning.LACKS, "encode_content.image is none"
    for encoder, expected in (("pixels", (planning.DUE, "")), ("none", lacks)):
        overrides["encode_content"] = {**overrides.get("encode_content", {}), "image": encoder}
        (world / "conf" / f"{tiny.NAME}.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")
        *_, pictures = ablate.plan(tiny.NAME, [], 1, world)
        assert (pictures.state, pictures.told) == expected
    *_, row = ablate.table(tiny.NAME, world)
    assert cells(row)[2:] == ["left out, has no image", *[NOTHING] * (len(HEADS) - 3)]


def test_an_ablation_of_keys_that_nothing_reads_there_is_left_out(world: Path) -> None:
    """Beside a table the network reads every modality: without this, `best` would stand there under another name."""
    entries = {
        "no_codes": {"init_codes.item_codes": []},
        "no_codes_tied": {"init_codes.items": "tied", "init_codes.item_codes": []},
        "by_text": {"init_codes.score_modalities": ["text"]},
        "by_text_table": {"init_codes.items": "table", "init_codes.score_modalities": ["text"]},
    }
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml.safe_dump({name: {"tells": "a", "set": keys} for name, keys in entries.items()}))
    path = world / "conf" / f"{tiny.NAME}.yaml"
    overrides = yaml.safe_load(path.read_text(encoding="utf-8"))
    of_tied, of_tables = (f"{key} is for init_codes.items: {kind}" for key, kind in {
        "init_codes.item_codes": "tied", "init_codes.score_modalities": "table"
    }.items())  # fmt: skip
    for items, out in (("tied", {"by_text": of_tables}), ("table", {"no_codes": of_tied})):
        overrides["init_codes"]["items"] = items
        path.write_text(yaml.safe_dump(overrides), encoding="utf-8")
        planned = {each.run.ablation.name: each for each in ablate.plan(tiny.NAME, list(entries), 1, world)}
        assert {name: each.told for name, each in planned.items() if each.state == planning.LACKS} == out
        shown = {row.name: cells(row)[2] for row in ablate.table(tiny.NAME, world)}
        assert {name: f"left out, {why}" for name, why in out.items()}.items() <= shown.items()
        assert ablate.left_out(tiny.NAME, world) == out


def test_of_the_shipped_ablations_a_table_leaves_out_those_of_tied_items() -> None:
    """`e4srec` is a way of its own, and stays: the paper's first claim is judged on it."""
    known, table = ablations.read(Path(__file__).parents[2]), {"init_codes": {"items": "table"}}
    assert {name for name, each in known.items() if unread(each, table)} == {
        "without_semantic_ids",
        "semantic_ids_only",
        "collaborative_only",
        "with_text",
        "with_image",
        "all_modalities",
        "item_ids",
    }
    assert not any(unread(each, {"init_codes": {"items": "tied"}}) for each in known.values())


def test_keys_that_one_kind_of_items_reads_are_parameters() -> None:
    """One that is renamed would be left out no longer, in silence."""
    assert {key for keys in READ_WITH.values() for key in keys} <= set(InitCodes.model_fields)


def test_what_is_left_out_trains_nothing_for_the_others(world: Path) -> None:
    """Else the plan would tell too little, and name as equal what never gets a result."""
    codes = {"tokenize.codes": 3}
    entries = {
        "pictures": {"tells": "a", "needs": ["image"], "set": codes},
        "same": {"tells": "a", "set": codes},
        "more": {"tells": "a", "set": {**codes, "finetune.rank": 3}},
    }
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml.safe_dump(entries, sort_keys=False))
    path = world / "conf" / f"{tiny.NAME}.yaml"
    overrides = yaml.safe_load(path.read_text(encoding="utf-8"))
    overrides["encode_content"]["image"] = "none"
    path.write_text(yaml.safe_dump(overrides), encoding="utf-8")
    _, pictures, same, more = ablate.plan(tiny.NAME, list(entries), 1, world)
    assert [each.state for each in (pictures, same, more)] == [planning.LACKS, planning.DUE, planning.DUE]
    assert (same.stages[0], more.stages[0]) == ("tokenize", "finetune")


def test_a_result_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    result = drawn("mse", 1)
    kept.save(result, tmp_path)
    found = kept.load(tmp_path, tiny.NAME, "mse", 1)
    assert found is not None
    nothing: dict[str, Any] = {"ranks": {}, "taus": {}, "valid_ranks": {}}
    assert found._replace(**nothing) == result._replace(**nothing)
    assert found.ranks["sasrec"].tolist() == result.ranks["sasrec"].tolist()
    assert found.valid_ranks["sasrec"].tolist() == result.valid_ranks["sasrec"].tolist()
    assert np.array_equal(found.taus["text.tau_finetuned"], result.taus["text.tau_finetuned"], equal_nan=True)
    assert found.minutes == pytest.approx(1.1)
    assert (kept.load(tmp_path, tiny.NAME, "mse", 2), kept.datasets(tmp_path)) == (None, [tiny.NAME])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def altered(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content = change(content) or content
    path.write_text(json.dumps(content), encoding="utf-8")


def rewritten(path: Path, **arrays: NDArray[Any]) -> None:
    with np.load(path) as found:
        np.savez_compressed(path, **{**found, **{name.replace("__", "/"): each for name, each in arrays.items()}})


@pytest.mark.parametrize(
    ("ending", "damage", "said"),
    [
        (".npz", cut, r"seed-1\.npz is damaged"),
        (".npz", lambda path: path.write_bytes(b""), r"seed-1\.npz is damaged"),
        (".npz", lambda path: path.write_bytes(b"half"), r"seed-1\.npz is damaged"),
        (".npz", lambda path: path.unlink(), r"seed-1\.npz is missing"),
        (".npz", lambda path: rewritten(path, ranks__sasrec=np.ones(7, np.uint8)), r"ranks/sasrec is uint8 \(7,\)"),
        (".npz", lambda path: rewritten(path, valid_ranks__sasrec=np.ones(7, np.uint8)), r"not .* each of 20 users"),
        (".npz", lambda path: rewritten(path, other=np.ones(50, np.uint8)), "other is uint8"),
        (".npz", lambda path: np.savez(path, **{"taus/a": np.ones(50)}), "lacks ranks/mme_sid"),
        (".json", cut, r"seed-1\.json is damaged"),
        (".json", lambda path: path.write_text(""), r"seed-1\.json is damaged"),
        (".json", lambda path: path.write_text("[]"), r"seed-1\.json is damaged \(content: .*dictionary"),
        (".json", lambda path: altered(path, lambda v: v["stages"]["fuse"].pop("seconds") and None), "fuse.seconds"),
        (".json", lambda path: altered(path, lambda v: v["metrics"].pop("collapse") and None), "metrics.collapse"),
        (".json", lambda path: altered(path, lambda v: v | {"name": "other"}), "holds the result of other, seed 1"),
        (".json", lambda path: altered(path, lambda v: v | {"seed": 2}), "holds the result of mse, seed 2"),
        (".json", lambda path: altered(path, lambda v: v | {"dataset": "a"}), "holds the result of mse, seed 1, on a"),
    ],
)
def test_a_damaged_result_is_named_with_what_mends_it(
    tmp_path: Path, ending: str, damage: Callable[[Path], object], said: str
) -> None:
    path = kept.save(drawn("mse", 1), tmp_path)
    damage(path.with_suffix(ending))
    with pytest.raises(ArtifactError, match=said) as raised:
        kept.load_all(tmp_path, tiny.NAME)
    remedy = f"`rm -f {path} {path.with_suffix('.npz')}` removes the result, and `mmesid ablate tiny --only mse"
    assert f"{remedy} --seeds 2` makes it" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_result_of_a_newer_version_is_not_to_be_removed(tmp_path: Path) -> None:
    altered(kept.save(drawn("mse", 1), tmp_path), lambda values: values | {"energy": 1})
    with pytest.raises(ArtifactError, match="of a newer version of mme-sid: update this checkout") as raised:
        kept.load_all(tmp_path, tiny.NAME)
    assert "rm -f" not in str(raised.value)


def test_seeds_of_other_users_are_told_and_not_averaged(tmp_path: Path) -> None:
    kept.save(drawn("best", 0, better=5, users="before"), tmp_path)
    for seed in (1, 2):
        kept.save(drawn("best", seed, key="now"), tmp_path)
    known = [Ablation("best", "", {}, "mme_sid")]
    (old,) = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
    assert (old.seeds, old.apart) == ([0], [1, 2]), "without a conf the first counts"
    (row,) = comparison.rows(known, tiny.NAME, {}, {("best", seed): "now" for seed in range(3)}, tmp_path)
    assert (row.seeds, row.outdated, row.apart) == ([1, 2], [], [0])
    assert row.metrics["ndcg_at_10"].value == pytest.approx(np.mean(list(row.by_seed.values())))
    assert cells(row)[2] == "1, 2 (of other users or candidates, not counted: 0)"


def test_who_is_a_candidate_decides_whether_results_are_compared(tmp_path: Path) -> None:
    kept.save(drawn("best", 0), tmp_path)
    kept.save(drawn("offered", 0, better=3)._replace(parameters={"protocol": {"exclude_history": False}}), tmp_path)
    known = [Ablation(name, "", {}, "mme_sid") for name in ("best", "offered")]
    *_, row = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
    assert row.difference is None
    shown = dict(zip(HEADS, cells(row), strict=True))
    why = "not compared: other users or candidates"
    assert [shown[head] for head in ("against best", "against best there", "against best's")] == [why] * 3


def test_a_row_that_shares_no_seed_with_the_reference_says_so(tmp_path: Path) -> None:
    kept.save(drawn("good", 1), tmp_path)
    known = [Ablation(name, "", {}, "mme_sid") for name in ("best", "good")]
    for why in ("best was not run", "not compared: no seed of best's"):
        *_, row = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
        assert dict(zip(HEADS, cells(row), strict=True))["against best"] == why
        kept.save(drawn("best", 0), tmp_path)


def test_a_row_without_a_network_has_no_network_beside_it(tmp_path: Path) -> None:
    result = drawn("best", 0)
    kept.save(result._replace(ranks={**result.ranks, "evidence": result.ranks["sasrec"]}), tmp_path)
    kept.save(result._replace(name="none", ranks={**result.ranks, "evidence": result.ranks["sasrec"]}), tmp_path)
    *_, row = comparison.rows([Ablation("none", "", {}, "evidence")], tiny.NAME, {}, {}, tmp_path)
    assert row.network is row.network_difference is None
    assert row.difference is not None


def test_rows_average_seeds_and_compare_the_same_users(tmp_path: Path) -> None:
    for seed in (0, 1):
        kept.save(drawn("best", seed), tmp_path)
        kept.save(drawn("good", seed, better=3), tmp_path)
    kept.save(drawn("other", 0, users="v"), tmp_path)
    known = [Ablation(name, "", {}, "mme_sid") for name in ("best", "good", "other", "missing")]
    best, good, other, missing = comparison.rows(known, tiny.NAME, {}, {("good", 1): "new"}, tmp_path)
    expected = np.mean(
        [per_user(drawn("", seed, 3).ranks["mme_sid"].astype(int), ["hr_at_5"])["hr_at_5"] for seed in (0, 1)]
    )
    assert good.metrics["hr_at_5"].value == pytest.approx(expected)
    assert (good.seeds, good.outdated, best.outdated) == ([0, 1], [1], [])
    assert best.difference is None
    assert good.difference is not None
    assert good.difference.verdict == "above"
    assert good.difference.value == pytest.approx(
        np.mean(list(good.by_seed.values())) - np.mean(list(best.by_seed.values()))
    )
    assert other.difference is None, "its users are others"
    assert missing.seeds == ()
    assert [row.command for row in (good, other, missing)] == [
        "mmesid ablate tiny --only good --seeds 2",
        "mmesid ablate tiny --only other --seeds 1",
        "mmesid ablate tiny --only missing --seeds 3",
    ]
    tau = np.nanmean([drawn("", seed).taus["text.tau_finetuned"].astype(float) for seed in (0, 1)])
    assert best.order_kept["text"].value == pytest.approx(100 * tau, abs=0.01)


def test_settings_are_compared_on_validation_and_earlier_results_say_nothing_of_it(tmp_path: Path) -> None:
    for name, better in (("best", 0), ("good", 3), ("early", 2)):
        result = drawn(name, 0, better)
        kept.save(result if name != "early" else result._replace(valid_ranks={}), tmp_path)
    known = [Ablation(name, "", {}, "mme_sid") for name in ("best", "good", "early")]
    best, good, early = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
    expected = per_user(drawn("", 0, 3).valid_ranks["mme_sid"].astype(int), ["ndcg_at_10"])["ndcg_at_10"].mean()
    assert good.valid is not None
    assert good.valid.value == pytest.approx(expected)
    assert best.valid is not None
    assert good.valid_difference is not None
    assert good.valid_difference.value == pytest.approx(expected - best.valid.value)
    assert (best.valid_difference, early.valid, early.valid_difference) == (None, None, None)
    assert early.difference is not None
    assert dict(zip(HEADS, cells(early), strict=True))["on validation"] == NOTHING
    assert dict(zip(HEADS, cells(good), strict=True))["on validation"].endswith("]")
    kept.save(drawn("good", 2)._replace(valid_ranks={}), tmp_path)
    _, good, _ = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
    shown = dict(zip(HEADS, cells(good), strict=True))
    assert (shown["seeds"], shown["on validation"][-9:]) == ("0, 2", "] (seed 0)"[-9:])


def test_the_row_of_a_rival_shows_the_rival_and_nothing_of_ours(tmp_path: Path) -> None:
    """`best` has the same ranks in all its rows; the rival is 2 places better before late fusion and 3 after it."""
    ranks = drawn("", 0).ranks["mme_sid"]
    of_rival = {"content_transformer": ranks - 2, "content_transformer_fused": ranks - 3}
    kept.save(drawn("best", 0), tmp_path)
    kept.save(drawn("rival", 0)._replace(ranks=drawn("", 0).ranks | of_rival), tmp_path)
    known = [Ablation("best", "", {}, "mme_sid"), Ablation("rival", "", {}, "content_transformer_fused")]
    best, rival = comparison.rows(known, tiny.NAME, {}, {}, tmp_path)
    expected = per_user((ranks - 2).astype(int), ["ndcg_at_10"])["ndcg_at_10"].mean()
    assert rival.network is not None
    assert rival.network.value == pytest.approx(expected)
    assert rival.network_difference is not None
    assert rival.difference is not None
    assert rival.difference.value > rival.network_difference.value > 0
    assert (rival.order_kept, rival.kept_dimensions, rival.tokens) == ({}, None, None)
    assert (best.kept_dimensions, best.tokens) == (0.5, 1000)


def test_a_result_without_the_row_that_the_entry_names_now_counts_as_not_run(tmp_path: Path) -> None:
    kept.save(drawn("odd", 0), tmp_path)
    (row,) = comparison.rows([Ablation("odd", "", {}, "content_transformer_fused")], tiny.NAME, {}, {}, tmp_path)
    assert row.seeds == ()


def test_the_table_of_a_dataset_without_a_conf_says_that_nobody_knows_its_age(world: Path) -> None:
    best = drawn("best", 0)._replace(parameters={"encode_content": {"text": "lsa", "image": "none"}})
    kept.save(best, world)
    with (world / "conf" / "ablations.yaml").open("a", encoding="utf-8") as file:
        file.write("pictures:\n  tells: what pictures add\n  needs: [image]\n  set: {tokenize.codes: 3}\n")
    assert ablate.table(tiny.NAME, world)[0].outdated == [0]
    (world / "conf" / f"{tiny.NAME}.yaml").unlink()
    shown, *_, pictures = ablate.write_table(tiny.NAME, world)
    assert (shown.seeds, shown.outdated, pictures.lacks) == ([0], [], ["image"])
    table = (kept.place(world, tiny.NAME) / ablate.TABLE).read_text(encoding="utf-8")
    assert f"no `conf/{tiny.NAME}.yaml`, so nobody can tell" in table


def test_a_difference_of_no_user_is_no_verdict() -> None:
    assert difference(Estimate(0.0, 0.0, 0.0)) == "the same"
    assert difference(Estimate(0.01, 0.0, 0.02)) == "undecided: +0.0100 [+0.0000, +0.0200]"
    assert difference(None) == "–"


def test_each_users_order_kept_averages_to_that_of_all() -> None:
    draw = np.random.default_rng(0)
    items = [draw.integers(1, 31, draw.integers(3, 12)) for _ in range(60)]
    sequences = Sequences([str(user) for user in range(60)], items, 30)
    original, coded = draw.standard_normal((31, 6)), draw.standard_normal((31, 4))
    present = draw.random(31) < 0.9
    for most in (20, 1000):
        whole = order_kept(original, coded, present, sequences.history("test"), sequences.target("test"), most, 3)
        each = each_order_kept(original, coded, present, sequences, most, 3)
        assert np.nanmean(each.astype(float)) == pytest.approx(whole, abs=1e-3)


@pytest.fixture
def checkout(trained: tiny.Trained, tmp_path: Path) -> Path:
    """A copy of the trained world, DVC's cache included, with one ablation of three lines."""
    root = Path(shutil.copytree(trained.root, tmp_path / "copy", symlinks=True))
    only_best = yaml.safe_dump({REFERENCE: {"tells": "the dataset's own", "set": {}}})
    (root / "conf" / "ablations.yaml").write_text(only_best + THREE_LINES, encoding="utf-8")
    return root


@pytest.mark.pipeline
def test_three_lines_of_yaml_are_run_kept_and_shown_and_a_failed_run_goes_on(checkout: Path) -> None:
    lock = (checkout / "dvc.lock").read_bytes()
    folder = experiment.folder_of("ablate-tiny-few_codes-seed-0", checkout)
    broken = checkout / "src" / "mmesid" / "stages" / "fuse.py"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(
        text.replace("    log.artifact(", "    raise OSError('gone')\n    log.artifact("), encoding="utf-8"
    )
    failed = tiny.run(checkout, "mmesid", "ablate", tiny.NAME, "--seeds", "1", "--only", "few_codes")
    assert failed.returncode == 1, failed.stdout
    assert "the same command tries them again" in failed.stdout
    assert kept.load_all(checkout, tiny.NAME) == []
    assert (folder / "data" / tiny.NAME / "finetune").exists(), "what was done is still there"
    broken.write_text(text, encoding="utf-8")

    said: list[str] = []
    best, few = ablate.run(tiny.NAME, ["few_codes"], 1, checkout, said.append)
    ran = [line for line in said if "Running stage" in line]
    assert not [line for line in ran if "best" in line], "DVC's cache has all of it"
    assert not [line for line in ran if "'finetune" in line], "no training is repeated"
    assert not folder.exists()
    assert (checkout / "dvc.lock").read_bytes() == lock, "the checkout itself is untouched"
    assert few.difference is not None
    assert best.valid is not None
    valid = load_metrics(Store(tiny.NAME, checkout))["valid"]
    assert best.valid.value == pytest.approx(valid["mme_sid"]["ndcg_at_10"], abs=1e-6)
    assert few.valid_difference is not None
    assert few.tokens == best.tokens
    assert few.kept_dimensions is not None
    table = (kept.place(checkout, tiny.NAME) / ablate.TABLE).read_text(encoding="utf-8")
    assert "| few_codes | what four codes a level keep | 0 |" in table
    found = kept.load(checkout, tiny.NAME, "few_codes", 0)
    assert found is not None
    assert found.parameters["tokenize"]["codes"] == 4
    assert found.stages["finetune"]["seconds"] > 0
    for name, taus in found.taus.items():
        modality, _, kind = name.partition(".")
        expected = found.metrics["forgetting"][modality][kind]
        assert np.nanmean(taus.astype(float)) == pytest.approx(expected, abs=1e-3), name
    assert all(each.state == planning.DONE for each in ablate.plan(tiny.NAME, [], 1, checkout))
    tags = {
        run.data.tags.get("mmesid.ablation") for run in tracking.runs_for("ablations-tiny", checkout, stage="ablation")
    }
    assert tags == {"best", "few_codes"}
