"""`mmesid claims` and `mmesid report`: judged on results whose answer is known, and silent about what was not run."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from mmesid.artifacts import ablations as kept
from mmesid.artifacts import claims as file
from mmesid.artifacts.ablations import AblationResult
from mmesid.artifacts.claims import FAILS, HOLDS, NOT_JUDGED, NOT_RUN, OPEN, SILENT, Finding
from mmesid.commands.claims import judging, report, scoreboard
from mmesid.errors import ArtifactError, ConfigError
from mmesid.pipeline import ablations
from mmesid.reporting.claims import cell, section

ROOT = Path(__file__).parents[2]
USERS, DATASET = 400, "sample"


def result(name: str, seed: int = 0, rank: int = 3, kept_order: float = 0.4, full: float = 1.0) -> AblationResult:
    """Every user's target at one rank, order kept around a value, a share of dimensions above the threshold."""
    draw = np.random.default_rng(seed)
    taus = (kept_order + draw.normal(0, 0.05, USERS)).astype(np.float16)
    spectrum = [1.0] * round(100 * full) + [0.001] * round(100 * (1 - full))
    quality = {"collision_rate": 0.01, "code_use": 0.95, "code_use_by_level": [1.0, 0.9]}
    ranks = {row: np.full(USERS, rank, dtype=np.uint8) for row in ("mme_sid", "mme_sid_network")}
    return AblationResult(
        dataset=DATASET,
        name=name,
        seed=seed,
        key="k",
        parameters={"encode_collaborative": {"dimension": 64, "encoder": "sasrec"}},
        users="u",
        metrics={
            "collapse": {"kept_dimensions": full},
            "tokenizer": {"text": quality},
            "data": {"items": 90, "users": USERS},
        },
        spectra={"item input": spectrum, "collaborative alone": [1.0] * 64 + [0.0] * 36},
        stages={"finetune": {"key": "f", "seconds": 120.0}},
        tokens=2_000_000,
        ranks=ranks | {"sasrec": np.full(USERS, 5, dtype=np.uint8)},
        taus={f"collaborative.{kind}": taus for kind in ("tau_init", "tau_random_init", "tau_finetuned")},
        valid_ranks={},
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with results of most ablations that the claims need, on a dataset without a conf."""
    (tmp_path / "conf").mkdir()
    for name in ("params.yaml", "conf/ablations.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    results = [
        result("best", rank=3),
        result("paper", rank=4, kept_order=0.5, full=0.99),
        result("paper_random_codes", kept_order=0.05),
        result("collaborative_only", rank=6),
        result("mse", kept_order=0.30),
        result("mmd", kept_order=0.60),
    ]
    for each in results:
        kept.save(each, tmp_path)
    return tmp_path


def judged(root: Path) -> dict[str, Finding]:
    return {finding.claim: finding for finding in judging.findings([DATASET], root)}


def test_claims_are_judged_by_what_was_measured(project: Path) -> None:
    found = judged(project)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "order_mse": FAILS,  # 30 %, and the paper has 37.14 %
        "order_mmd": HOLDS,
        "mmd_above_mse": HOLDS,
        "random_forgets": HOLDS,
        "trained_keeps": HOLDS,  # 50 % against 5 %
        "collaborative_collapses": HOLDS,
        "input_does_not_collapse": HOLDS,
        "above_e4srec": NOT_RUN,
        "above_collaborative": HOLDS,
        "above_sasrec": HOLDS,
    }
    mmd = found["mmd_above_mse"]
    assert mmd.value == pytest.approx(30, abs=0.1)
    assert mmd.low is not None
    assert mmd.high is not None
    assert mmd.low <= mmd.value <= mmd.high
    assert "at most 90.0% with 90 items" in found["input_does_not_collapse"].measured
    times = re.search(r"([\d.]+) times", found["trained_keeps"].measured)
    assert times is not None
    assert float(times[1]) == pytest.approx(10, abs=1)
    ndcg = 1 / np.log2(4) - 1 / np.log2(6)
    assert found["above_sasrec"].value == pytest.approx(ndcg)
    assert found["collaborative_collapses"].measured.startswith(
        "64 of C = 100 dimensions filled at D = 64, 36.0% empty"
    )


def test_the_interval_that_decides_is_the_one_that_is_shown(project: Path) -> None:
    found = judged(project)["trained_keeps"]
    assert f", {found.value:+.1f} points [{found.low:+.1f}, {found.high:+.1f}] beyond 5 times" in found.measured


def test_the_verdict_says_whose_settings_it_judges(project: Path) -> None:
    kept.save(result("collaborative_only", rank=4), project)
    kept.save(result("paper", rank=5), project)
    found = judged(project)["above_collaborative"]
    assert found.verdict == HOLDS
    assert re.match(r"with the dataset's settings \+.*; does not hold: with the paper's settings -", found.measured)


def test_only_seeds_that_all_sides_have_are_averaged(project: Path) -> None:
    names = ("trained_keeps", "above_collaborative")
    one = [judged(project)[name] for name in names]
    kept.save(result("paper", seed=1, kept_order=0.9), project)
    kept.save(result("collaborative_only", seed=1, rank=2), project)
    assert [judged(project)[name] for name in names] == one
    kept.save(result("best", seed=1, rank=3), project)
    both = judged(project)
    assert (both["above_sasrec"].seeds, both["above_sasrec"].command[-1]) == ([0, 1], "2")
    assert "the paper's settings" in both["above_sasrec"].measured


def test_the_papers_settings_name_their_seeds_where_they_have_fewer(project: Path) -> None:
    kept.save(result("best", seed=1), project)
    assert re.search(r"the paper's settings [^;]*, seed 0 ", judged(project)["above_sasrec"].measured)


def test_without_a_common_seed_nothing_is_judged(project: Path) -> None:
    kept.save(result("mse", seed=0)._replace(users="v"), project)
    kept.save(result("mse", seed=2), project)
    found = judged(project)["mmd_above_mse"]
    assert (found.verdict, found.value, found.seeds) == (NOT_JUDGED, None, [])
    assert found.measured == "no seed is common to all, on the same users (mmd has seed 0; mse has seeds 0, 2)"
    assert cell(found) == f"not judged: {found.measured}"
    assert judged(project)["order_mse"].seeds == [0], "seed 2 has other users"


def test_what_was_not_run_says_so_with_its_command(project: Path) -> None:
    finding = judged(project)["above_e4srec"]
    assert (finding.value, finding.low, finding.measured, finding.seeds) == (None, None, "–", [])
    assert finding.command == "mmesid ablate sample --only best,e4srec,paper --seeds 3"
    shutil.rmtree(kept.place(project, DATASET) / "paper")
    assert judged(project)["above_sasrec"].verdict == HOLDS, (
        "the paper's settings stand beside ours, where they were run"
    )


def test_a_claim_whose_ablation_is_left_out_is_not_judged(project: Path) -> None:
    """On a learned table `collaborative_only` would be the whole model: a result of it says nothing."""
    best = result("best")
    kept.save(best._replace(parameters={**best.parameters, "init_codes": {"items": "table"}}), project)
    finding = judged(project)["above_collaborative"]
    assert (finding.verdict, finding.value, finding.seeds) == (NOT_JUDGED, None, [])
    assert finding.measured == (
        "collaborative_only is left out (init_codes.item_modalities is for init_codes.items: tied)"
    )
    assert judged(project)["above_sasrec"].verdict == HOLDS


def test_a_ratio_below_five_does_not_hold_and_a_wide_one_is_open(project: Path) -> None:
    kept.save(result("paper_random_codes", kept_order=0.2), project)
    assert judged(project)["trained_keeps"].verdict == FAILS
    kept.save(result("paper_random_codes", kept_order=0.1), project)
    assert judged(project)["trained_keeps"].verdict == OPEN


def test_where_nothing_could_collapse_the_claim_says_nothing(project: Path) -> None:
    paper = result("paper")
    kept.save(paper._replace(parameters={"encode_collaborative": {"dimension": 100, "encoder": "sasrec"}}), project)
    assert judged(project)["collaborative_collapses"].verdict == SILENT


def test_results_of_other_code_are_judged_and_marked(project: Path) -> None:
    for name in ("dvc.yaml", "conf/sample.yaml"):
        shutil.copyfile(ROOT / name, project / name)
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "sources" / "sample", project / "sources" / "sample")
    run = ablations.run_of(ablations.read(project)["mmd"], DATASET, 0, ablations.codes(project), project)
    kept.save(result("mmd", kept_order=0.60)._replace(key=run.key), project)
    found = judged(project)
    assert "code" not in found["order_mmd"].measured
    assert found["order_mse"].measured.endswith("(mse: of other parameters or code)")
    assert (found["order_mmd"].verdict, found["order_mse"].verdict) == (HOLDS, FAILS)
    sections = {section.title: section for section in report.collect(project)}
    for title in ("Order kept", "Spectra", "Semantic IDs", "Cost"):
        old = {row[1].partition(" (")[0]: row[1].partition(" (")[2] for row in sections[title].rows}
        assert (old["mmd"], old["mse"]) == ("", "of other parameters or code)"), title
    assert {row[2] for row in sections["Results on test users"].rows} == {"0 (of other parameters or code: 0)"}


def test_without_a_conf_nobody_can_tell_how_old_a_result_is(project: Path) -> None:
    found = judged(project)
    assert all(each.measured.endswith(" (age unknown)") == (each.verdict != NOT_RUN) for each in found.values())
    assert "(age unknown): this checkout has no conf" in section([*found.values()]).text


def test_the_commands_make_the_seeds_that_are_shown(project: Path) -> None:
    found = judging.findings([DATASET, "other"], project)
    rows = {row[0]: row[-1] for row in section(found).rows}
    told = judging.published()["claims"]
    made, absent = (f"`mmesid ablate DATASET --only mse --seeds {seeds}`" for seeds in (1, 3))
    assert rows[told["order_mse"]["says"]] == f"{made} (sample); {absent} (other)"
    assert rows[told["above_e4srec"]["says"]] == "`mmesid ablate DATASET --only best,e4srec,paper --seeds 3`"


def test_every_claim_has_its_published_figure_and_ablations_that_exist() -> None:
    told, known = judging.published()["claims"], ablations.read(ROOT)
    assert set(told) == set(judging.CLAIMS)
    assert {need for claim in judging.CLAIMS.values() for need in (*claim.needs, *claim.also)} <= set(known)
    assert all(each["figure"] == "not known" or each["source"] for each in told.values())
    assert all(each["source"] for each in judging.published()["models"])


def test_the_scoreboard_is_written_and_read_back(project: Path) -> None:
    document = project / "README.md"
    document.write_text(f"# A\n{scoreboard.BEGIN}\nold\n{scoreboard.END}\nend\n", encoding="utf-8")
    found = scoreboard.write(project, document)
    ((title, heads, rows),) = scoreboard.printed(found)
    assert (title, heads) == ("the paper's claims on sample", ["claim", "the paper's figure", "sample", "made by"])
    assert len(rows) == len(judging.CLAIMS)
    several = scoreboard.printed([*found, *(each._replace(dataset="other") for each in found)])
    assert [len(part[1]) for part in several] == [4, 4], "a terminal has no room for five datasets side by side"
    text = document.read_text(encoding="utf-8")
    assert "\nold\n" not in text
    assert text.endswith(f"{scoreboard.END}\nend\n")
    assert "| holds: collaborative 59.8 % [" in text
    assert "`mmesid ablate DATASET --only best,e4srec,paper --seeds 3`" in text
    assert file.load(project) == scoreboard.judge(project)
    assert json.loads((project / file.PATH).read_text(encoding="utf-8"))[0]["claim"] == "order_mse"


def test_a_project_without_results_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither"):
        scoreboard.judge(tmp_path)


def test_the_readme_shows_the_committed_scoreboard() -> None:
    between = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition(scoreboard.BEGIN)[2].partition(scoreboard.END)[0]
    )
    assert between.strip() == scoreboard.table(file.load(ROOT)).strip(), "run `mmesid claims --write README.md`"
    assert file.load(ROOT) == scoreboard.judge(ROOT), "run `mmesid claims --write README.md`"


def test_the_report_keeps_ours_and_others_apart_and_names_commands(project: Path) -> None:
    sections = {section.title: section for section in report.collect(project)}
    ours, others = sections["Results on test users"], sections["Published by others"]
    assert all("mmesid ablate sample --only best" in row[-1] for row in ours.rows)
    labels = {row[1] for row in ours.rows}
    assert "MME-SID" in labels
    assert labels.isdisjoint({row[0] for row in others.rows})
    assert "beauty nDCG@10" in others.heads
    for title in ("Order kept", "Spectra", "Semantic IDs", "Cost"):
        assert sections[title].rows, title
        assert all("mmesid ablate" in row[-1] for row in sections[title].rows)
        assert all(len(row) == len(sections[title].heads) for row in sections[title].rows)


def test_the_report_keeps_the_ablations_of_a_dataset_without_a_conf(project: Path) -> None:
    shown = next(section for section in report.collect(project) if section.title == "Ablations on sample")
    assert "no `conf/sample.yaml`" in shown.text
    assert {row[0]: row[-1] for row in shown.rows}["mse"] == "`mmesid ablate sample --only mse --seeds 1`"


def test_the_report_says_whose_history_is_offered_and_what_is_no_ablation_any_more(project: Path) -> None:
    kept.save(result("gone"), project)
    best = result("best")
    kept.save(best._replace(parameters={**best.parameters, "protocol": {"exclude_history": False}}), project)
    sections = {section.title: section for section in report.collect(project)}
    assert "earlier items excluded (not so on `sample`)" in sections["Results on test users"].text
    assert "Without a conf of `sample` nobody can tell" in sections["Results on test users"].text
    for title in ("Order kept", "Spectra", "Semantic IDs", "Cost"):
        assert "gone" not in {row[1] for row in sections[title].rows}, title


def test_a_dataset_without_its_own_parameters_has_no_row_of_results(project: Path) -> None:
    kept.save(result("mse")._replace(dataset="other"), project)
    sections = {section.title: section for section in report.collect(project)}
    assert {row[0] for row in sections["Results on test users"].rows} == {DATASET}
    assert {row[0] for row in sections["Order kept"].rows} == {DATASET, "other"}


def test_a_scoreboard_of_another_version_or_half_merged_is_no_traceback(project: Path) -> None:
    findings = scoreboard.judge(project)
    two = [*findings, *(finding._replace(dataset="b") for finding in findings[1:])]
    assert {row[0]: row[3] for row in section(two).rows}[findings[0].says] == NOT_RUN
    path = project / file.PATH
    path.write_text(json.dumps([{**finding._asdict(), "more": 1} for finding in findings]), encoding="utf-8")
    with pytest.raises(ArtifactError, match="`mmesid claims` writes it anew"):
        file.load(project)


def test_the_report_judges_what_is_kept_now(project: Path) -> None:
    """A scoreboard that was written before the last results would contradict the tables above it."""
    scoreboard.write(project, None)
    says = judging.published()["claims"]["above_e4srec"]["says"]
    for expected in (NOT_RUN, HOLDS):
        shown = {row[0]: row[2] for row in report.collect(project)[-1].rows}
        assert shown[says].partition(":")[0] == expected
        kept.save(result("e4srec", rank=9), project)


def test_every_table_says_which_seeds_it_averages(project: Path) -> None:
    for seed, users in ((2, "u"), (3, "others")):
        for name in ("best", "paper"):
            kept.save(result(name, seed)._replace(users=users), project)
    tables = {each.title: each for each in report.collect(project)}
    for title in ("Results on test users", "Order kept", "Spectra", "Semantic IDs", "Cost"):
        shown = [dict(zip(tables[title].heads, row, strict=True)) for row in tables[title].rows]
        told = {row["seeds"] for row in shown if row.get("ablation", "best") in ("best", "paper")}
        assert told == {"0, 2 (of other users or candidates, not counted: 3)"}, title


def test_cost_is_per_gain_over_sasrec(project: Path) -> None:
    cost = next(section for section in report.collect(project) if section.title == "Cost")
    best = dict(zip(cost.heads, next(row for row in cost.rows if row[1] == "best"), strict=True))
    gain = 1 / np.log2(4) - 1 / np.log2(6)
    assert best["minutes per .01"] == f"{2 / (gain / 0.01):.1f}"
    assert best["million tokens per .01"] == f"{2 / (gain / 0.01):.2f}"
    worse = dict(zip(cost.heads, next(row for row in cost.rows if row[1] == "collaborative_only"), strict=True))
    assert worse["minutes per .01"] == "–", "no gain has no price"


def test_nothing_of_ours_stands_under_the_name_of_a_rival(project: Path) -> None:
    kept.save(result("content_transformer"), project)
    sections = {section.title: section for section in report.collect(project)}
    for title in ("Order kept", "Spectra", "Semantic IDs", "Cost"):
        assert "content_transformer" not in {row[1] for row in sections[title].rows}, title


def test_the_three_languages_say_the_same(project: Path) -> None:
    page, markdown, latex = (path.read_text(encoding="utf-8") for path in report.write(project, "1.0"))
    for value in re.findall(r"0\.\d{4}", markdown):
        assert value in page
        assert value in latex
    assert latex.count("\\begin{longtable}") == latex.count("\\end{longtable}") == markdown.count("\n## ")
    assert "<code>mmesid ablate" in page


def test_published_figures_are_numbers_or_marked_as_about() -> None:
    told = yaml.safe_load(judging.PUBLISHED.read_text(encoding="utf-8"))
    figures = [value for each in told["models"] for place in each["figures"].values() for value in place.values()]
    assert figures
    assert all(isinstance(value, float) or value.startswith("≈") for value in figures)
