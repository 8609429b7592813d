"""The model card of a registered version, in Markdown."""

from collections.abc import Mapping
from typing import Any

from mmesid.config import Config
from mmesid.models import BRIEF_METRICS, MAIN_MODEL, MODELS, backbone_label, metric_label, model_label

LENGTH = 5000  # characters that MLflow keeps of a version's description


def write_card(name: str, config: Config, metrics: Mapping[str, Any], origin: Mapping[str, str]) -> str:
    """Describe a model: data, metrics, settings, intended use, limits.

    Args:
        name: of the registered model.
        config: parameters that it was trained with.
        metrics: `metrics.json` of its evaluation.
        origin: tags that say what it was made from.
    """
    parts = [
        f"# {name}",
        "A sequential recommender: from the items a user took, in order, it scores every item of the catalogue as the "
        "next one. Multimodal embeddings and semantic IDs go into a language model (MME-SID, arXiv 2509.02017), whose "
        "score is fused late with transitions between items and with likeness of content.",
        "## Data",
        _data(config, metrics),
        "## Metrics",
        "Test split, leave-one-out, full ranking over the catalogue; 95 % bootstrap interval over users.",
        _table(metrics["test"]),
        "## Settings",
        _settings(config, metrics),
        "## Intended use",
        "Ranking the next items for users of this catalogue whose history holds at least one known item. "
        'Input: a column `history`, item ids oldest first; `params={"k": 10}`; a server takes JSON alone. '
        "Output: item_ids, titles, scores, note.",
        "## Limits",
        "Scores order items, they are not probabilities. Items outside the catalogue above cannot be recommended and "
        "are left out of a history, with a note. Items without training interactions are ranked without transitions. "
        f"Of a history the last {config.protocol.history_length} items count. Popular items are recommended more often "
        "than rare ones; look at the slices in metrics.json. Offline metrics do not prove an effect on users.",
        "## Origin",
        "\n".join(f"- {key}: `{value}`" for key, value in sorted(origin.items())) or "unknown",
    ]
    return "\n\n".join(parts)[:LENGTH] + "\n"


def _data(config: Config, metrics: Mapping[str, Any]) -> str:
    data = metrics["data"]
    return (
        f"Dataset `{config.dataset}` (source `{config.ingest.source}`): {data['users']:,} users, "
        f"{data['items']:,} items, {data['interactions']:,} interactions, {data['sparsity']:.2%} sparse."
    )


def _table(test: Mapping[str, Any]) -> str:
    labels = [metric_label(metric) for metric in BRIEF_METRICS]
    lines = [f"| model | {' | '.join(labels)} |", "|---" * (1 + len(labels)) + "|"]
    for model in MODELS:
        if model in test:
            cells = [_cell(test[model], metric) for metric in BRIEF_METRICS]
            lines.append(f"| {model_label(model)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Mapping[str, Any], metric: str) -> str:
    interval = values.get("ci95", {}).get(metric)
    return f"{values[metric]:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


TRAINED = {"full": "all weights of the backbone are trained", "frozen": "no weight of the backbone is trained"}


def _settings(config: Config, metrics: Mapping[str, Any]) -> str:
    start, tune, tokens = config.init_codes, config.finetune, config.tokenize
    trained = TRAINED.get(tune.adapter, f"LoRA rank {tune.rank}")
    tied = {*start.item_modalities, *start.item_codes}
    chosen = tied if start.items == "tied" else start.score_modalities
    scored = [modality for modality in metrics["tokenizer"] if modality in chosen]
    if start.items == "tied" and start.item_modalities and not scored:
        scored = list(metrics["tokenizer"])  # items are made of what there is
    return "\n".join(
        [
            f"- backbone: {_backbone(config, metrics)}, {trained}",
            f"- modalities: {', '.join(metrics['tokenizer'])}; in the score: {', '.join(scored) or 'none'}",
            f"- semantic IDs: {tokens.levels} levels of {tokens.codes} codes, reconstruction {tokens.reconstruction}, "
            f"alignment {tokens.alignment}, tables start {start.code_init}",
            f"- late fusion: {_fusion(metrics) or 'none'}",
            f"- history: {config.protocol.history_length} items; seed {config.seed}",
        ]
    )


def _backbone(config: Config, metrics: Mapping[str, Any]) -> str:
    """As it was evaluated; evaluations of earlier releases do not say it."""
    start = config.init_codes
    found = metrics.get("backbone") or {"name": start.backbone, "layers": start.layers, "dtype": start.dtype}
    return f"{backbone_label(found['name'], found['layers'], found.get('weights'))} ({found['dtype']})"


def _fusion(metrics: Mapping[str, Any]) -> str:
    """The network's weight and the kinds of evidence beside it."""
    weights = metrics.get("fusion", {}).get(MAIN_MODEL, {})
    kinds = [kind.replace("_", " ") for kind in weights if kind != "network"]
    return f"network {weights['network']:.2f}; by training interactions {', '.join(kinds)}" if kinds else ""
