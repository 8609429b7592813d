"""Training of MM-RQ-VAE and the assignment of semantic IDs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmesid.artifacts.values import Curves, Embedding, SemanticIds
from mmesid.config import Tokenize
from mmesid.errors import DataError
from mmesid.tokenizer.diagnostics import diagnose
from mmesid.tokenizer.distinct import distinct_codes
from mmesid.tokenizer.model import MMRQVAE

Log = Callable[[dict[str, float], int], None]

NOISE = 1e-5  # of the largest value: equal items differ by less, where they were encoded in batches of another size


class TokenizerResult(NamedTuple):
    """What the `tokenize` stage writes."""

    ids: SemanticIds
    weights: dict[str, Tensor]  # the model's whole state dict
    diagnostics: dict[str, dict[str, Any]]  # by modality, see `diagnose`
    curves: Curves  # one entry per epoch


class Items(NamedTuple):
    """All items of the catalogue without the padding row, by modality."""

    embeddings: dict[str, Tensor]  # each (N, D); rows of absent items are never read
    present: dict[str, Tensor]  # each (N,) bool


def train(embeddings: Mapping[str, Embedding], settings: Tokenize, seed: int, device: str, log: Log) -> TokenizerResult:
    """Train one autoencoder per modality together and give every present item its codes.

    Args:
        embeddings: by modality, at least one.
        settings: section `tokenize`.
        seed: of weights, k-means, batches and revival.
        device: where to train.
        log: receives each epoch's losses and `progress`, with the step count.

    Raises:
        DataError: a modality has fewer items than a codebook has codes.
    """
    _check(embeddings, settings)
    items = Items(
        {name: torch.tensor(embedding.matrix[1:], device=device) for name, embedding in embeddings.items()},
        {name: torch.tensor(embedding.present[1:], device=device) for name, embedding in embeddings.items()},
    )
    model = build(items, settings, seed).to(device)
    curves = _fit(model, items, settings, seed, log)
    model.eval()
    ids = assign(model, items)
    diagnostics = {}
    for name, autoencoder in model.by_modality().items():
        here = items.embeddings[name][items.present[name]]
        codes = torch.from_numpy(ids.codes[name][ids.present[name]]).to(here.device)
        diagnostics[name] = diagnose(autoencoder, here, codes, settings.batch_size)
    weights = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    return TokenizerResult(ids, weights, diagnostics, curves)


def build(items: Items, settings: Tokenize, seed: int) -> MMRQVAE:
    """A model whose standardization, linear maps and codebooks fit the items, before any step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MMRQVAE({name: matrix.shape[1] for name, matrix in items.embeddings.items()}, settings)
    for name, autoencoder in model.by_modality().items():
        present = items.embeddings[name][items.present[name]]
        autoencoder.to(present.device).initialize(present, seed)
    return model


@torch.no_grad()
def assign(model: MMRQVAE, items: Items) -> SemanticIds:
    """Codes, made `distinct` where wanted, and the codebooks; the padding row and absent items get zeros."""
    codes, codebooks, present = {}, {}, {}
    for name, autoencoder in model.by_modality().items():
        mask = np.concatenate([[False], items.present[name].cpu().numpy()])  # (N + 1,)
        here = items.embeddings[name][items.present[name]]  # (n, D)
        coded = autoencoder(here)
        codebooks[name] = autoencoder.quantizer.codebooks.detach().cpu().numpy()
        found = coded.quantized.indices.cpu().numpy()  # (n, Q)
        if model.settings.distinct:
            residuals = autoencoder.quantizer.residuals(coded.latent)[-2].cpu().numpy()
            _, kinds = torch.unique(here, dim=0, return_inverse=True)
            found = distinct_codes(found, residuals, codebooks[name][-1], kinds.cpu().numpy())
        codes[name] = np.zeros((len(mask), found.shape[1]), dtype=np.int64)
        codes[name][mask] = found
        present[name] = mask
    return SemanticIds(codes, codebooks, present)


def _fit(model: MMRQVAE, items: Items, settings: Tokenize, seed: int, log: Log) -> Curves:
    """AdamW with a cosine schedule; codes that stay idle are revived after each step."""
    generator = torch.Generator().manual_seed(seed)
    known = torch.stack([mask.cpu() for mask in items.present.values()]).any(0).nonzero().squeeze(1)  # (n,)
    batches = -(-len(known) // settings.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    curves: Curves = []
    model.train()
    for epoch in range(settings.epochs):
        order = known[torch.randperm(len(known), generator=generator)]
        totals: dict[str, float] = {}
        for batch in torch.tensor_split(order, batches):
            for name, value in _step(model, items, batch, optimizer, generator).items():
                totals[name] = totals.get(name, 0.0) + value / (1 if name == "revived" else batches)
            schedule.step()
        step = (epoch + 1) * batches
        curves.append({"step": step, **totals})
        log({**totals, "progress": (epoch + 1) / settings.epochs}, step)
    return curves


def _step(
    model: MMRQVAE, items: Items, batch: Tensor, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, float]:
    """One gradient step on the items of `batch`, (B,) rows."""
    rows = {name: batch.to(matrix.device) for name, matrix in items.embeddings.items()}
    losses, coded = model(
        {name: matrix[rows[name]] for name, matrix in items.embeddings.items()},
        {name: mask[rows[name]] for name, mask in items.present.items()},
    )
    optimizer.zero_grad()
    losses.total.backward()
    optimizer.step()
    autoencoders = model.by_modality()
    revived = sum(autoencoders[name].quantizer.revive(c.latent.detach(), generator) for name, c in coded.items())
    parts = {"loss" if name == "total" else name: value.item() for name, value in losses._asdict().items()}
    return {**parts, "revived": float(revived)}


def _check(embeddings: Mapping[str, Embedding], settings: Tokenize) -> None:
    for name, embedding in embeddings.items():
        known = embedding.matrix[embedding.present]
        leave = "leave this modality out (ingest.embeddings, encode_collaborative or encode_content)"
        if len(known) < settings.codes:
            fewer = f"set tokenize.codes to {len(known)} or less, or " if len(known) > 1 else ""
            raise DataError(
                f"a codebook of {settings.codes} codes needs at least as many items; {len(known)} have a {name} "
                f"embedding: {fewer}{leave}"
            )
        if np.ptp(known, axis=0).max() <= NOISE * np.abs(known).max():
            raise DataError(
                f"all {len(known)} items have the same {name} embedding: there is nothing to tell them apart by; "
                f"{leave}"
            )
