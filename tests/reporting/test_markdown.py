"""Results as the README shows them, to the letter."""

from typing import Any

from mmesid.reporting import markdown


def test_the_text_of_two_datasets(metrics: dict[str, Any]) -> None:
    below = {"difference": -0.01, "low": -0.0153, "high": -0.00472, "p_value": 0.001}
    even = {"difference": 0.0, "low": -0.002, "high": 0.002, "p_value": 1.0}
    main = {"ndcg_at_10": 0.04, "vs": {"sasrec": below, "popularity": even}}
    other = {
        "adapter": "full",
        "test": {"mme_sid": main, "sasrec": {"ndcg_at_10": 0.05}, "popularity": {"ndcg_at_10": 0.04}},
    }
    found = markdown.results({"sample": metrics, "beauty": other}, {"sample": "make repro", "beauty": "dvc repro"})
    assert found == (
        "| dataset | model | nDCG@5 | nDCG@10 | made by |\n"
        "|---|---|---|---|---|\n"
        "| sample | MME-SID (LoRA) | **0.1200** [0.1100, 0.1300] | **0.1200** | `make repro` |\n"
        "| sample | SASRec | 0.1000 [0.0900, 0.1100] | 0.1000 | `make repro` |\n"
        "| sample | Popularity | 0.0300 [0.0200, 0.0400] | 0.0300 | `make repro` |\n"
        "| sample | *Oracle* | 0.2400 [0.2300, 0.2500] | 0.2400 | `make repro` |\n"
        "| beauty | MME-SID (all weights trained) | – | 0.0400 | `dvc repro` |\n"
        "| beauty | SASRec | – | **0.0500** | `dvc repro` |\n"
        "| beauty | Popularity | – | 0.0400 | `dvc repro` |\n"
        "\n"
        "- `sample`: in nDCG@10 MME-SID is above SASRec (+0.0200, 95 % +0.0050 to +0.0350). "
        "12 % of its interactions share user and time with another.\n"
        "- `beauty`: in nDCG@10 MME-SID is below SASRec (-0.0100, 95 % -0.0153 to -0.0047), "
        "not distinguishable from Popularity (+0.0000, 95 % -0.0020 to +0.0020).\n"
    )


def test_a_dataset_without_paired_differences_has_no_line(metrics: dict[str, Any]) -> None:
    del metrics["test"]["mme_sid"]["vs"]
    found = markdown.results({"sample": metrics}, {"sample": "make repro"})
    assert "MME-SID is" not in found
    assert found.endswith("`make repro` |\n")
