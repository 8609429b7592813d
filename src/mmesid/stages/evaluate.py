"""Judge the recommender: full ranking against the baselines, slices, collapse, forgetting, examples."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.evaluate import load_ranks, save_ranks
from mmesid.artifacts.files import load_json, save_json
from mmesid.artifacts.ingest import load_oracle
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.artifacts.values import Prepared, Split
from mmesid.config import Config
from mmesid.evaluation import baselines, summary
from mmesid.evaluation.collapse import collapse
from mmesid.evaluation.forgetting import order_kept
from mmesid.recommender import building, loading
from mmesid.recommender.inference import Scorer
from mmesid.recommender.model import Recommender
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun

Ranks = dict[str, NDArray[np.int64]]
_EXAMPLE_USERS, _EXAMPLE_ITEMS = 20, 20


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes ranks, `metrics.json`, the singular spectrum and examples."""
    prepared = load_prepared(store)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), device())
    ranks = {split: _ranks(config, store, prepared, model, split) for split in summary.SPLITS}
    save_ranks(store, "evaluate", summary.ranks_frame(ranks))
    vectors = {
        "item input": _item_vectors(model),
        "collaborative alone": _collaborative_alone(model),
    }
    found = {name: collapse(matrix) for name, matrix in vectors.items() if matrix is not None}
    metrics: dict[str, Any] = {
        "adapter": model.blueprint.adapter,
        "data": summary.data_summary(prepared.sequences),
        **{split: summary.split_summary(ranks[split], config.evaluate, config.seed) for split in summary.SPLITS},
        "tokenizer": load_json(store.folder("tokenize") / "diagnostics.json"),
        "forgetting": _forgetting(config, store, prepared, model),
        "collapse": {
            "effective_rank": found["item input"].effective_rank,
            "kept_dimensions": found["item input"].kept_dimensions,
        },
    }
    metrics["test"]["slices"] = summary.test_slices(ranks["test"], prepared.sequences, config.evaluate)
    folder = store.folder("evaluate")
    save_json(folder / "metrics.json", metrics)
    save_json(store.report() / "metrics.json", metrics)
    spectra = {name: (part.singular_values / part.singular_values[0]).tolist() for name, part in found.items()}
    save_json(folder / "spectrum.json", spectra)
    save_json(folder / "examples.json", _examples(config, prepared, model))
    log.summary({name: metrics[name] for name in ("data", *summary.SPLITS, "forgetting", "collapse")})
    log.artifact(folder / "metrics.json")
    log.artifact(folder / "ranks.parquet")  # of each user, so that runs can be compared user by user
    log.artifact(folder / "spectrum.json")


def _ranks(config: Config, store: Store, prepared: Prepared, model: Recommender, split: Split) -> Ranks:
    settings, sequences = config.evaluate, prepared.sequences
    options = (settings.exclude_history, settings.batch_users)
    sasrec = load_ranks(store, "encode_collaborative")
    scorers = {"popularity": baselines.popularity(sequences)}
    law = load_oracle(store)
    if law is not None:
        scorers["oracle"] = baselines.oracle(law, prepared.items["item_id"].to_list())
    return {
        "mme_sid": Scorer(model).rank(sequences.history(split), sequences.target(split), *options),
        "sasrec": sasrec[sasrec["split"] == split].sort_values("user")["rank"].to_numpy(np.int64),
        **{name: baselines.rank(scorer, sequences, split, *options) for name, scorer in scorers.items()},
    }


@torch.inference_mode()
def _item_vectors(model: Recommender) -> NDArray[np.float32]:
    """What the backbone sees of each item, (N, C)."""
    items = torch.arange(1, model.blueprint.n_items + 1, device=model.item_table.device)
    return model.item_vectors(items).float().cpu().numpy()


@torch.inference_mode()
def _collaborative_alone(model: Recommender) -> NDArray[np.float32] | None:
    """The paper's comparison: the collaborative embedding, projected linearly into the backbone's space, (N, C)."""
    if "collaborative" not in model.item_input.modalities:
        return None
    part = model.item_input.part("collaborative")
    projected: torch.Tensor = part.projection(part.embedding)[1:]
    return projected.float().cpu().numpy()


def _forgetting(
    config: Config, store: Store, prepared: Prepared, model: Recommender
) -> dict[str, dict[str, float | None]]:
    """Kendall's tau kept by the trained tables, by random tables of the same norm, and after fine-tuning."""
    embeddings, ids = load_embeddings(store), load_semantic_ids(store)
    histories, targets = prepared.sequences.history("test"), prepared.sequences.target("test")

    def kept(modality: str, tables: torch.Tensor) -> float | None:
        codes = torch.from_numpy(ids.codes[modality])
        coded = tables[torch.arange(codes.shape[1]), codes].sum(dim=1).numpy()  # (N + 1, d)
        original, users = embeddings[modality], config.evaluate.forgetting_users
        tau = order_kept(original.matrix, coded, original.present, histories, targets, users, config.seed)
        return None if np.isnan(tau) else tau  # nobody has three earlier items with this modality

    found = {}
    for modality in model.item_input.modalities:
        trained = torch.from_numpy(ids.codebooks[modality])
        found[modality] = {
            "tau_init": kept(modality, trained),
            "tau_random_init": kept(modality, building.random_tables(trained, config.seed)),
            "tau_finetuned": kept(modality, model.item_input.part(modality).code_table.detach().float().cpu()),
        }
    return found


def _examples(config: Config, prepared: Prepared, model: Recommender) -> list[dict[str, Any]]:
    """A few users' histories, targets and recommendations, as item ids."""
    sequences = prepared.sequences
    count = min(_EXAMPLE_USERS, len(sequences.items))
    users = sorted(np.random.default_rng(config.seed).choice(len(sequences.items), count, replace=False).tolist())
    known = sequences.history("test")
    histories = [known[user] for user in users]
    k = min(_EXAMPLE_ITEMS, sequences.n_items)
    best = Scorer(model).recommend(histories, k, config.evaluate.exclude_history, config.evaluate.batch_users)
    return [
        {
            "user_id": sequences.user_ids[user],
            "history": history.tolist(),
            "target": int(sequences.target("test")[user]),
            "recommended": [
                {"item": int(item), "score": float(score)}
                for item, score in zip(items, scores, strict=True)
                if item > 0
            ],
        }
        for user, history, items, scores in zip(users, histories, best.items, best.scores, strict=True)
    ]


if __name__ == "__main__":
    main(run)
