"""From a finished experiment to what is kept of it: ranks, order kept by user, cost."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mmesid.artifacts.ablations import LARGEST, AblationResult
from mmesid.artifacts.curves import load_curves
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.evaluate import load_metrics, load_ranks, load_spectra
from mmesid.artifacts.finetune import load_checkpoint
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.artifacts.values import Sequences, Split
from mmesid.artifacts.windows import training_windows
from mmesid.evaluation.forgetting import code_embeddings, order_kept
from mmesid.evaluation.summary import reported_users
from mmesid.models import with_role
from mmesid.pipeline.ablations import Run
from mmesid.recommender import building
from mmesid.recommender.batching import plan_epoch
from mmesid.recommender.model import Blueprint
from mmesid.recommender.packing import first_fit, window_tokens

KEPT = ("adapter", "backbone", "collapse", "data", "forgetting", "tokenizer")  # of metrics.json, beside the test rows
SHARE_DECIMALS = 5  # of a spectrum


def gather(run: Run, folder: Path, seconds: Mapping[str, float | None]) -> AblationResult:
    """Read what the stages wrote.

    Args:
        run: that has ended.
        folder: of its experiment.
        seconds: of each stage, as far as they are known.
    """
    store = Store(run.dataset, folder)
    sequences, metrics = load_sequences(store), load_metrics(store)
    ranks = load_ranks(store)
    shown = {name: value for name, value in metrics["test"].items() if name != "slices"}
    spectra = {name: [round(share, SHARE_DECIMALS) for share in part] for name, part in load_spectra(store).items()}
    return AblationResult(
        dataset=run.dataset,
        name=run.ablation.name,
        seed=run.seed,
        key=run.key,
        parameters=run.parameters,
        users=_users(sequences),
        metrics={name: metrics[name] for name in KEPT if name in metrics} | {"test": shown},
        spectra=spectra,
        stages={stage: {"key": key, "seconds": seconds.get(stage)} for stage, key in run.keys.items()},
        tokens=_tokens(run, store, sequences),
        ranks=_ranks(ranks, "test", sequences),
        taus=_taus(run, store, sequences),
        valid_ranks=_ranks(ranks, "valid", sequences),
    )


def _ranks(ranks: pd.DataFrame, split: Split, sequences: Sequences) -> dict[str, NDArray[np.uint8]]:
    """Of the users whom tables report, by row; bounds are left out."""
    users = reported_users(sequences, split)
    of_split = ranks[ranks["split"] == split].sort_values("user")
    rows = {str(model): row["rank"].to_numpy()[users] for model, row in of_split.groupby("model")}
    return {m: np.minimum(row, LARGEST).astype(np.uint8) for m, row in rows.items() if m not in with_role("bound")}


def _users(sequences: Sequences) -> str:
    told = hashlib.sha256("\n".join(sequences.user_ids).encode())
    told.update(sequences.target("test").tobytes())
    return told.hexdigest()[:16]


def _tokens(run: Run, store: Store, sequences: Sequences) -> int:
    """Of the packed rows of every step, prompts included; each epoch counts as the first one."""
    settings = run.settings.finetune
    windows = training_windows(sequences.train(), run.settings.protocol.history_length)
    prompt = Blueprint.from_json(load_checkpoint(store.folder("init_codes")).config).prompt
    epoch = 0
    for step in plan_epoch(windows, settings, run.seed, 0):
        taken = [windows[window] for window in step]
        rows = first_fit(taken, prompt, settings.row_tokens)
        epoch += len(rows) * len(prompt.before) + sum(window_tokens(window, prompt) for window in taken)
    epochs = max((int(entry["epoch"]) for entry in load_curves(store, "finetune") if "epoch" in entry), default=0)
    return epoch * epochs


def _taus(run: Run, store: Store, sequences: Sequences) -> dict[str, NDArray[np.float16]]:
    """Of the users over whom `evaluate` averages, by modality and set of code tables."""
    ids, embeddings = load_semantic_ids(store), load_embeddings(store)
    random = building.random_codebooks(ids.codebooks, run.seed)
    finetuned = _code_tables(load_checkpoint(store.folder("finetune")).weights)
    sets = {"tau_init": ids.codebooks, "tau_random_init": random, "tau_finetuned": finetuned}
    most = run.parameters["evaluate"]["forgetting_users"]
    found = {}
    for name, tables in sets.items():
        for modality, table in tables.items():
            original = embeddings[modality]
            coded = code_embeddings(ids.codes[modality], table)
            taus = each_order_kept(original.matrix, coded, original.present, sequences, most, run.seed)
            if not np.isnan(taus).all():
                found[f"{modality}.{name}"] = taus
    return found


def _code_tables(weights: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    """The code embeddings of a checkpoint by modality, each (Q, K, d), where items are made of codes."""
    tables = {name.split(".")[-2]: weight for name, weight in weights.items() if name.endswith(".code_table")}
    return {modality: table.float().numpy() for modality, table in tables.items() if table.numel()}


def each_order_kept(
    original: NDArray[Any], coded: NDArray[Any], present: NDArray[np.bool_], sequences: Sequences, most: int, seed: int
) -> NDArray[np.float16]:
    """`order_kept` of each user by itself, (B,), nan for whom it does not judge; the mean is that over all.

    Args:
        original: (N + 1, D).
        coded: (N + 1, d).
        present: (N + 1,), which items have this modality.
        sequences: users and items.
        most: users, at most.
        seed: of the order in which users are looked at.
    """
    histories, targets = sequences.history("test"), sequences.target("test")
    taus, judged = np.full(len(targets), np.nan, dtype=np.float16), 0
    for user in np.random.default_rng(seed).permutation(len(targets)):
        items, places = np.unique(np.append(histories[user], targets[user]), return_inverse=True)
        history, target = places[:-1].astype(np.int64), places[-1:].astype(np.int64)
        taus[user] = order_kept(original[items], coded[items], present[items], [history], target, 1, seed)
        judged += not np.isnan(taus[user])
        if judged == most:
            break
    return taus
