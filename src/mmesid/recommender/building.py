"""The recommender before fine-tuning: every table starts from what the encoders and the tokenizer learned."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmesid.artifacts.values import CONTENT, Checkpoint, Embedding, SemanticIds
from mmesid.config import EMBEDDED, InitCodes
from mmesid.errors import DataError
from mmesid.recommender import older
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.inference import Scorer
from mmesid.recommender.item_input import Modality, ModalityShape
from mmesid.recommender.model import Blueprint, Recommender
from mmesid.recommender.prompt import build_prompt
from mmesid.recommender.table_items import TableItems
from mmesid.recommender.tied_items import EPSILON, TiedItems

ID_STD = 0.02  # of residual id vectors at the start
NOTHING_STD = 0.1  # of the vector of items without any content
PROBED_ITEMS, PROBED_USERS = 4096, 64  # by which scales are found
NEAR_CHANCE = 0.5  # nats


def build(
    backbone: Backbone,
    embeddings: Mapping[str, Embedding],
    ids: SemanticIds,
    frequency: NDArray[np.int64],
    settings: InitCodes,
    history_length: int,
    seed: int,
) -> Recommender:
    """Put a recommender around a backbone; code tables start as codebooks, the item table as whitened content.

    Args:
        backbone: decoder and tokenizer.
        embeddings: by modality.
        ids: codes and codebooks of the same modalities.
        frequency: training interactions of each item, (N + 1,).
        settings: the `init_codes` section.
        history_length: T.
        seed: of everything that starts at random.
    """
    torch.manual_seed(seed)
    hidden = backbone.model.config.hidden_size
    tied = settings.items == "tied"
    shapes = _shapes(embeddings, ids, settings)
    used = {modality: embeddings[modality] for modality in shapes}
    for modality, embedding in used.items():
        if not embedding.present.any():
            raise DataError(f"modality {modality} has an embedding file but no item with it; leave it out")
    blueprint = Blueprint(
        n_items=len(frequency) - 1,
        hidden=hidden,
        shapes=shapes,
        mlp_hidden=settings.input_hidden,
        prompt=build_prompt(backbone.tokenizer, settings.system_prompt, settings.user_prompt, settings.response),
        history_length=history_length,
        backbone=backbone.name,
        revision=backbone.revision,
        adapter="none",
        items=settings.items,
        temperature=settings.temperature,
        item_id=settings.item_id or not used,  # then who took an item is all there is
        score_modalities=() if tied else tuple(m for m in settings.score_modalities if m in embeddings),
        input_table=settings.input_table,
        fusion_temperature=settings.fusion_temperature,
    )
    present = [torch.from_numpy(embeddings[m].present) for m in blueprint.score_modalities]
    mask = torch.stack(present, dim=1) if present else torch.zeros(len(frequency), 0, dtype=torch.bool)
    model = Recommender(blueprint, backbone.model, torch.from_numpy(frequency), mask)
    with torch.no_grad():
        if isinstance(model.items, TiedItems):
            _start_tied(model.items, used, ids, settings, backbone.input_scale, seed)
        elif isinstance(model.items, TableItems):
            _start_table(model.items, used, ids, settings, hidden, seed)
            if backbone.name != EMBEDDED:
                _scale_inputs(model.items, backbone.input_scale)
    return model.eval()


def checkpoint(model: Recommender) -> Checkpoint:
    """Everything but the backbone and its adapter."""
    weights = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("backbone.")}
    return Checkpoint(model.blueprint.to_json(), weights)


def restore(saved: Checkpoint, backbone: torch.nn.Module) -> Recommender:
    """Rebuild a recommender from its checkpoint, strictly: a missing or unknown tensor is an error."""
    blueprint = Blueprint.from_json(saved.config)
    frequency = torch.zeros(blueprint.n_items + 1)
    present = torch.zeros(blueprint.n_items + 1, len(blueprint.score_modalities), dtype=torch.bool)
    model = Recommender(blueprint, backbone, frequency, present)
    report = model.load_state_dict(older.todays(saved.weights), strict=False)
    lacking = [name for name in report.missing_keys if not name.startswith("backbone.")]
    if lacking or report.unexpected_keys:
        raise RuntimeError(f"checkpoint does not fit: missing {lacking}, unexpected {report.unexpected_keys}")
    return model.eval()


def random_tables(codebooks: Tensor, modality: str, seed: int) -> Tensor:
    """Tables of the same shape and the same norm per code as trained ones, the ablation of the paper, (Q, K, d)."""
    draw = torch.randn(codebooks.shape, generator=_draws(seed, modality))
    norm: Tensor = codebooks.norm(dim=-1, keepdim=True)
    table: Tensor = draw / draw.norm(dim=-1, keepdim=True) * norm
    return table


def random_codebooks(codebooks: Mapping[str, NDArray[np.float32]], seed: int) -> dict[str, NDArray[np.float32]]:
    """`random_tables` in place of the codebooks of every modality, each (Q, K, d)."""
    return {m: random_tables(torch.from_numpy(codes), m, seed).numpy() for m, codes in codebooks.items()}


def projected_alone(embedding: Embedding, hidden: int, seed: int) -> NDArray[np.float32]:
    """An embedding in the backbone's space through one random linear layer, (N, C): it fills D of the C dimensions."""
    width = embedding.matrix.shape[1]
    layer = np.random.default_rng(seed).standard_normal((width, hidden)).astype(np.float32) / np.float32(width) ** 0.5
    return np.asarray(_unit_variance(embedding)[1:] @ layer)


def content_table(embeddings: Mapping[str, Embedding], hidden: int, std: float, seed: int) -> Tensor:
    """Whitened content embeddings, (N + 1, C): principal directions of text and image, each with deviation `std`.

    Without any content the collaborative embedding takes their place. Directions that the content lacks (fewer than C)
    start at random. Rows without any content start at random too. Starting a trainable table from content beats
    projecting frozen content (docs/log.md).
    """
    content = [embeddings[m] for m in CONTENT if m in embeddings] or list(embeddings.values())
    table = random_table(len(content[0].matrix), hidden, std, seed)
    known = np.stack([part.present for part in content]).any(axis=0)
    matrix = torch.from_numpy(np.concatenate([_unit_variance(part) for part in content], axis=1)[known]).double()
    matrix -= matrix.mean(dim=0)
    u, singular, _ = torch.linalg.svd(matrix, full_matrices=False)
    kept = min(hidden, int((singular > 1e-3 * singular[0]).sum()))
    signs = torch.sign(u[u.abs().argmax(dim=0), torch.arange(u.shape[1])])  # one of the two equal solutions, always
    table[torch.from_numpy(known), :kept] = (u * signs)[:, :kept].float() * len(matrix) ** 0.5 * std
    return table


def random_table(n_rows: int, hidden: int, std: float, seed: int) -> Tensor:
    """Normal rows of deviation `std`, (n_rows, C)."""
    return torch.randn(n_rows, hidden, generator=_draws(seed, "items")) * std


def _draws(seed: int, table: str) -> torch.Generator:
    """A stream for each table: from one and the same, all of them would start alike."""
    (state,) = np.random.SeedSequence([seed, *table.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def unlike_table(embeddings: Mapping[str, Embedding], hidden: int, std: float, seed: int) -> Tensor:
    """Random rows, which tell items apart and nothing more, (N + 1, C)."""
    return random_table(len(next(iter(embeddings.values())).matrix), hidden, std, seed)


ITEM_TABLES = {"content": content_table, "random": unlike_table}
CODE_TABLES = {"trained": lambda codebooks, modality, seed: codebooks, "random": random_tables}


def _shapes(embeddings: Mapping[str, Embedding], ids: SemanticIds, settings: InitCodes) -> dict[str, ModalityShape]:
    """What items are made of. A dataset without any embedding that tied items name gives those that it has."""
    whole = {m: ModalityShape(part.matrix.shape[1], *ids.codebooks[m].shape) for m, part in embeddings.items()}
    if settings.items != "tied":
        return whole
    named = {str(modality) for modality in settings.item_modalities}
    if named and named.isdisjoint(whole):
        named = set(whole)
    chosen = {
        m: shape._replace(width=shape.width * (m in named), levels=shape.levels * (m in settings.item_codes))
        for m, shape in whole.items()
    }
    return {m: shape for m, shape in chosen.items() if shape.width or shape.levels}


def _start_tied(
    items: TiedItems,
    embeddings: Mapping[str, Embedding],
    ids: SemanticIds,
    settings: InitCodes,
    input_scale: float,
    seed: int,
) -> None:
    """Content of root mean square 1, code tables from the codebooks, inputs as large as the backbone expects them."""
    for modality, embedding in embeddings.items():
        part = items.part(modality)
        part.present.copy_(torch.from_numpy(embedding.present))
        if part.adaptor is not None:
            part.embedding.copy_(torch.from_numpy(_directions(embedding)) * embedding.matrix.shape[1] ** 0.5)
        if part.code_projection is not None:
            _fill_codes(part, ids, modality, settings.code_init, seed)
            semantic = part.semantic(torch.from_numpy(np.flatnonzero(embedding.present)))
            part.code_projection.weight.div_(semantic.square().mean().sqrt().clamp_min(EPSILON))
    torch.nn.init.normal_(items.nothing, std=NOTHING_STD)  # at zero a direction has no gradient worth the name
    if items.ids is not None:
        items.ids.copy_(random_table(len(items.seen), items.ids.shape[1], ID_STD, seed))
        items.ids[0] = 0
    items.input_scale.fill_(input_scale)


def _start_table(
    items: TableItems,
    embeddings: Mapping[str, Embedding],
    ids: SemanticIds,
    settings: InitCodes,
    hidden: int,
    seed: int,
) -> None:
    """Code tables from the codebooks, the item table from whitened content."""
    for modality, embedding in embeddings.items():
        part = items.input.part(modality)
        part.present.copy_(torch.from_numpy(embedding.present))
        part.embedding.copy_(torch.from_numpy(_unit_variance(embedding)))
        _fill_codes(part, ids, modality, settings.code_init, seed)
    items.table.copy_(ITEM_TABLES[settings.item_table](embeddings, hidden, settings.item_table_std, seed))
    items.table[0] = 0


def _scale_inputs(items: TableItems, wanted: float) -> None:
    """Items enter at the size of words."""
    some = torch.arange(1, min(len(items.table), PROBED_ITEMS))
    items.input_scale.fill_(wanted / items.inputs(some.to(items.device)).square().mean().sqrt().clamp_min(EPSILON))


@torch.no_grad()
def scale_scores(model: Recommender, histories: Sequence[NDArray[np.int64]]) -> None:
    """Shrink a learned table's scores until they hardly cost more than those of chance.

    Hidden states of a pretrained backbone have a norm of tens: SmolLM2's first loss lay 26 nats above chance, and an
    epoch went into unlearning it (docs/log.md, 2026-11-29). Tied items have cosines and pass unchanged.

    Args:
        model: before fine-tuning.
        histories: of some users, of item ids 1..N, oldest first.
    """
    if not isinstance(model.items, TableItems):
        return
    model.items.to(next(model.backbone.parameters()).device)
    scores = Scorer(model)([history for history in histories if len(history)][:PROBED_USERS])[:, 1:]
    scale = 1.0
    while _above_chance(scores * scale) > NEAR_CHANCE:
        scale /= 2
    model.items.score_scale.fill_(scale)


def _above_chance(scores: Tensor) -> float:
    """Mean cross-entropy of targets drawn at random, (B, N) scores, less that of chance, in nats."""
    return float((scores.logsumexp(dim=1) - scores.mean(dim=1)).mean()) - math.log(scores.shape[1])


def _fill_codes(part: Modality, ids: SemanticIds, modality: str, code_init: str, seed: int) -> None:
    part.codes.copy_(torch.from_numpy(ids.codes[modality]))
    part.code_table.copy_(CODE_TABLES[code_init](torch.from_numpy(ids.codebooks[modality]), modality, seed))


def _directions(embedding: Embedding) -> NDArray[np.float32]:
    """Centred rows of norm 1; absent rows stay zero, (N + 1, D)."""
    matrix = embedding.matrix.astype(np.float64)
    centred = np.where(embedding.present[:, None], matrix - matrix[embedding.present].mean(axis=0), 0.0)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(norm, EPSILON), dtype=np.float32)


def _unit_variance(embedding: Embedding) -> NDArray[np.float32]:
    """Centred and scaled as a whole to total variance 1 per dimension on average; absent rows stay zero, (N + 1, D)."""
    matrix = embedding.matrix.astype(np.float64)
    known = matrix[embedding.present]
    scale = max(float(known.std(axis=0).mean()), 1e-12)
    centred = np.where(embedding.present[:, None], (matrix - known.mean(axis=0)) / scale, 0.0)
    return centred.astype(np.float32)
