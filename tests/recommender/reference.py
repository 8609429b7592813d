"""The recommender one prefix at a time: a row per target, no padding, contiguous positions. Slow and plainly right."""

import torch
from torch import Tensor

from mmesid.artifacts.windows import Window
from mmesid.recommender.model import Recommender


def represent(model: Recommender, windows: list[Window]) -> Tensor:
    """The hidden state of every target of every window, in order, (G, C)."""
    return torch.stack(
        [represent_prefix(model, window.items[:seen]) for window in windows for seen in window.visible.tolist()]
    )


def represent_prefix(model: Recommender, items) -> Tensor:
    """The last hidden state of prompt + items + response, (C,)."""
    words = model.backbone.get_input_embeddings()
    prompt = model.blueprint.prompt
    inputs = torch.cat(
        [
            words(torch.tensor(prompt.before)),
            model.item_vectors(torch.as_tensor(items)),
            words(torch.tensor(prompt.after)),
        ]
    )
    return model.backbone(inputs_embeds=inputs.unsqueeze(0), use_cache=False).last_hidden_state[0, -1]


def logits(model: Recommender, hidden: Tensor) -> Tensor:
    """Scores by projecting the whole catalogue, as the formula stands, (G, N + 1)."""
    weights = model.fusion()
    scores = weights[:, :1] * model.item_table
    for column, name in enumerate(model.blueprint.score_modalities, start=1):
        part = model.item_input.part(name)
        scores = scores + weights[:, column : column + 1] * part.projection(part.embedding)
    scores = hidden @ scores.T
    scores[:, 0] = float("-inf")
    return scores
