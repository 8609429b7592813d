"""Judge every model of the table: full ranking, top lists, slices, collapse, forgetting, examples."""

from collections.abc import Iterator
from typing import Any

from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.evaluate import save_examples, save_metrics, save_ranks, save_spectra
from mmesid.artifacts.fuse import load_fusion
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.ties import load_tied_share
from mmesid.artifacts.tokenize import load_diagnostics, load_semantic_ids
from mmesid.artifacts.values import SPLITS, Embedding, Sequences, Split
from mmesid.baselines import BASELINES
from mmesid.config import Config
from mmesid.evaluation import examples, forgetting, summary
from mmesid.evaluation.collapse import Collapse, collapse
from mmesid.evaluation.ranking import Judged, Scores, judge, users_at_a_time
from mmesid.fusion.fused import Fused
from mmesid.fusion.fusing import weights_summary
from mmesid.models import MAIN_MODEL, NETWORK_MODEL
from mmesid.recommender import building, loading
from mmesid.recommender.inference import Scorer
from mmesid.recommender.model import Recommender
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun, warn

FEW = 0.05  # of the test users: as many change no figure by much


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes ranks, `metrics.json`, the singular spectrum and examples."""
    sequences = load_sequences(store)
    if config.protocol.exclude_history:
        _warn_of_exclusion(sequences)
    model = loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), device())
    network, fusion = Scorer(model), load_fusion(store.folder("fuse"))
    main_scores = Fused(network, fusion, MAIN_MODEL, device())
    judged: dict[Split, dict[str, Judged]] = {split: {} for split in SPLITS}
    for name, scores in _rows(main_scores, network, store, config, sequences):
        for split in SPLITS:
            judged[split][name] = _judge(scores, sequences, split, config)
        del scores  # before the next ones are made
    embeddings = load_embeddings(store)
    spectra = _collapse(model, embeddings, config.seed)
    metrics: dict[str, Any] = {
        "adapter": model.blueprint.adapter,
        "backbone": _backbone(store),
        "protocol": config.protocol.model_dump(),
        "data": summary.data_summary(sequences, load_tied_share(store)),
        **{s: summary.split_summary(judged[s], sequences, s, config.evaluate, config.seed) for s in SPLITS},
        "fusion": weights_summary(fusion),
        "tokenizer": load_diagnostics(store),
        "forgetting": _forgetting(config, store, embeddings, sequences, model),
        "collapse": spectra["item input"].summary(),
    }
    metrics["test"]["slices"] = summary.slice_summary(judged["test"], sequences, "test", config.evaluate)
    metrics = summary.rounded(metrics)
    save_examples(store, examples.draw(sequences, main_scores, config.protocol.exclude_history, config.seed))
    log.summary({name: metrics[name] for name in ("data", *SPLITS, "fusion", "forgetting", "collapse")})
    log.artifact(save_metrics(store, metrics))
    log.artifact(save_ranks(store, summary.ranks_frame(judged)))  # of each user, so that runs can be compared
    log.artifact(save_spectra(store, {name: part.shares() for name, part in spectra.items()}))


def _warn_of_exclusion(sequences: Sequences) -> None:
    """Say where the figures owe much to the exclusion of the history."""
    users = len(sequences.items)
    counts = {
        "have had every item but the target, so that every model ranks it first": summary.without_choice,
        "take an item again, which counts here, but which no list offers them": summary.repeated_targets,
    }
    for what, count in counts.items():
        if (found := count(sequences, "test")) > FEW * users:
            warn(
                f"{found:,} of {users:,} test users {what}; protocol.exclude_history: false judges and offers all items"
            )


def _backbone(store: Store) -> dict[str, Any]:
    """Its name, how much of it in which precision, and whether it was pretrained."""
    pinned = loading.pinned(store.folder("init_codes"))
    return {"name": pinned.name, "layers": pinned.layers, "dtype": pinned.dtype, "weights": pinned.weights}


def _rows(
    main_scores: Scores, network: Scores, store: Store, config: Config, sequences: Sequences
) -> Iterator[tuple[str, Scores]]:
    """The models of the table, one at a time: each baseline holds tables of its own."""
    yield from ((MAIN_MODEL, main_scores), (NETWORK_MODEL, network))
    for name, build in BASELINES.items():
        if scores := build(store, config, sequences):
            yield name, scores
            del scores  # likewise


def _judge(scores: Scores, sequences: Sequences, split: Split, config: Config) -> Judged:
    histories, targets = sequences.history(split), sequences.target(split)
    users = users_at_a_time(sequences.n_items, config.evaluate.batch_users)
    k = min(summary.LIST_LENGTH, sequences.n_items)
    return judge(scores, histories, targets, config.protocol.exclude_history, users, k)


def _collapse(model: Recommender, embeddings: dict[str, Embedding], seed: int) -> dict[str, Collapse]:
    """Of what the backbone sees, and of the paper's comparison, the collaborative embedding by itself."""
    spectra = {"item input": collapse(model.item_matrix().numpy())}
    if embedding := embeddings.get("collaborative"):
        alone = building.projected_alone(embedding, model.blueprint.hidden, seed)
        spectra["collaborative alone"] = collapse(alone)
    return spectra


def _forgetting(
    config: Config, store: Store, embeddings: dict[str, Embedding], sequences: Sequences, model: Recommender
) -> dict[str, Any]:
    """Of the trained tables, of random ones of the same norm, and after fine-tuning where items are made of codes."""
    ids = load_semantic_ids(store)
    random = building.random_codebooks(ids.codebooks, config.seed)
    finetuned = {modality: table.numpy() for modality, table in model.items.code_tables().items()}
    sets = {"tau_init": ids.codebooks, "tau_random_init": random, "tau_finetuned": finetuned}
    users = config.evaluate.forgetting_users
    return forgetting.forgetting(embeddings, ids, sets, sequences, users, config.seed)


if __name__ == "__main__":
    main(run)
