"""The recommender one prefix at a time: a row per target, no padding, contiguous positions. Slow and plainly right."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmesid.artifacts.windows import Window
from mmesid.recommender.model import Recommender
from mmesid.recommender.table_items import TableItems
from mmesid.recommender.tied_items import TiedItems


def represent(model: Recommender, windows: list[Window]) -> Tensor:
    """The hidden state of every target of every window, in order, (G, C)."""
    return torch.stack(
        [represent_prefix(model, window.items[:seen]) for window in windows for seen in window.visible.tolist()]
    )


def represent_prefix(model: Recommender, items) -> Tensor:
    """The last hidden state of prompt + items + response, if there is one, (C,)."""
    words = model.backbone.get_input_embeddings()
    prompt = model.blueprint.prompt
    inputs = torch.cat(
        [
            words(torch.tensor(prompt.before, dtype=torch.long)),
            model.items.inputs(torch.as_tensor(items)),
            words(torch.tensor(prompt.after, dtype=torch.long)),
        ]
    )
    return model.backbone(inputs_embeds=inputs.unsqueeze(0), use_cache=False).last_hidden_state[0, -1]


def logits(model: Recommender, hidden: Tensor) -> Tensor:
    """Scores by projecting the whole catalogue, as the formula stands, (G, N + 1)."""
    scores = _tied(model.items, hidden) if isinstance(model.items, TiedItems) else _table(model.items, hidden)
    scores[:, 0] = float("-inf")
    return scores


def _table(items: TableItems, hidden: Tensor) -> Tensor:
    weights = items.fusion()
    scores = weights[:, :1] * items.table
    for column, name in enumerate(items.score_modalities, start=1):
        part = items.input.part(name)
        scores = scores + weights[:, column : column + 1] * part.projection(part.embedding)
    return items.score_scale * hidden @ scores.T


def _tied(items: TiedItems, hidden: Tensor) -> Tensor:
    """Cosines over the temperature, each item's vector made by itself."""
    vectors = []
    for item in range(len(items.seen)):
        vector = torch.zeros(hidden.shape[1])
        parts = [part for part in items.modalities.values() if part.present[item]]
        for part in parts:
            if part.adaptor is not None:
                vector = vector + part.adaptor(part.embedding[item])
            if part.code_projection is not None:
                codes = sum(part.code_table[level, code] for level, code in enumerate(part.codes[item].tolist()))
                vector = vector + part.code_projection.weight @ codes
        if items.ids is not None and items.seen[item]:
            vector = vector + items.ids[item]
        vectors.append(vector if parts else vector + items.nothing)
    return torch.stack([F.cosine_similarity(user, torch.stack(vectors), dim=1) for user in hidden]) / items.temperature
