"""The sample's metrics: every promised key is there and finite, and the models stand in the order that they must."""

import json
import math
import sys
from pathlib import Path

from mmesid.models import LIST_METRICS, MODELS, RANK_METRICS, TESTED_METRICS

ORDER = (("mme_sid", "sasrec"), ("mme_sid", "popularity"), ("oracle", "mme_sid"), ("oracle", "sasrec"))
TOKENIZER = ("collision_rate", "code_use", "perplexity", "reconstruction")
FORGETTING = ("tau_init", "tau_random_init")


def promised() -> list[str]:
    """Dotted names of the public contract's numbers."""
    names = [f"data.{name}" for name in ("users", "items", "interactions", "sparsity", "tied")]
    metrics = (*RANK_METRICS, *LIST_METRICS)
    models = [model for model, row in MODELS.items() if not row.listed]
    names += [f"{split}.{model}.{metric}" for split in ("valid", "test") for model in models for metric in metrics]
    names += [f"test.mme_sid.ci95.{metric}" for metric in TESTED_METRICS]
    names += ["valid.users", "test.users", "fusion.mme_sid.network", "fusion.sasrec_fused.network"]
    names += ["test.slices.item_frequency", "test.slices.history_length"]
    for modality in ("collaborative", "text", "image"):
        names += [f"tokenizer.{modality}.{name}" for name in TOKENIZER]
        names += [f"forgetting.{modality}.{name}" for name in FORGETTING]
    names += [f"forgetting.{modality}.tau_finetuned" for modality in ("text", "image")]  # whose codes items are made of
    return [*names, "collapse.effective_rank", "collapse.kept_dimensions"]


def faults(metrics: dict[str, object]) -> list[str]:
    """What is missing, not finite or in the wrong order; empty if all is well."""
    found = [f"{name} is missing" for name in promised() if lookup(metrics, name) is None]
    found += [f"{name} is {value}" for name, value in numbers(metrics, "") if not math.isfinite(value)]
    if found:
        return found
    ndcg = {model: lookup(metrics, f"test.{model}.ndcg_at_10") for pair in ORDER for model in pair}
    for better, worse in ORDER:
        if not ndcg[better] > ndcg[worse]:
            found.append(f"test nDCG@10 of {better} ({ndcg[better]:.4f}) is not above {worse}'s ({ndcg[worse]:.4f})")
    return found


def lookup(tree: object, name: str) -> object:
    """The value under a dotted name, None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def numbers(tree: object, name: str) -> list[tuple[str, float]]:
    """Every number of a tree with its dotted name."""
    if isinstance(tree, dict):
        return [pair for key, value in tree.items() for pair in numbers(value, f"{name}.{key}".lstrip("."))]
    if isinstance(tree, list):
        return [pair for position, value in enumerate(tree) for pair in numbers(value, f"{name}[{position}]")]
    return [(name, tree)] if isinstance(tree, (int, float)) and not isinstance(tree, bool) else []


if __name__ == "__main__":
    path = Path(sys.argv[1])
    metrics = json.loads(path.read_text(encoding="utf-8"))
    if problems := faults(metrics):
        sys.exit("\n".join([f"{path}:", *problems]))
    for model in MODELS:
        if (ndcg := lookup(metrics, f"test.{model}.ndcg_at_10")) is not None:
            print(f"{model:>10}: test nDCG@10 {ndcg:.4f}")
