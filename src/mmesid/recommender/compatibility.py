"""Whether a foreign backbone can be trained packed: some families overlook a mask, and nothing would say so later."""

import numpy as np
import torch
from torch import Tensor

from mmesid.artifacts.windows import Window
from mmesid.errors import WeightsError
from mmesid.recommender.attention import additive_mask
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.packing import pack_rows
from mmesid.recommender.prompt import Prompt

LENGTHS = (5, 3, 4)  # items of the users that are tried together
TOLERANCE = {
    "float32": 0.01,
    "bfloat16": 0.1,
    "nf4": 0.1,
}  # of the relative difference; without a mask it is about 1


def check_packing(backbone: Backbone, prompt: Prompt) -> None:
    """Run a few drawn users packed in one row and each by itself, and compare what the backbone says of them.

    Args:
        backbone: as loaded.
        prompt: around the items.

    Raises:
        WeightsError: they differ, so that users packed together would see each other.
    """
    windows = [_window(first, length) for first, length in zip((1, 6, 9), LENGTHS, strict=True)]
    draw = torch.randn(1 + sum(LENGTHS), backbone.model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    words = backbone.model.get_input_embeddings()
    items = (draw * backbone.input_scale).to(words.weight.device)
    with torch.inference_mode():
        packed = _packed(backbone, windows, prompt, items)
        alone = torch.stack([_alone(backbone, prompt, items[window.items]) for window in windows])
    difference = ((packed - alone).norm() / alone.norm()).item()
    if not difference <= TOLERANCE[backbone.dtype]:
        raise WeightsError(
            f"init_codes.backbone: {backbone.name} does not keep users apart that are packed in one row (each differs "
            f"by {difference:.0%} from what it is alone): it overlooks the mask of four dimensions or the positions "
            "that it is given; choose another backbone"
        )


def _window(first: int, length: int) -> Window:
    """One user of whom the last position is a target."""
    items = np.arange(first, first + length)
    return Window(items, np.array([length]), items[-1:])


def _packed(backbone: Backbone, windows: list[Window], prompt: Prompt, items: Tensor) -> Tensor:
    batch = pack_rows([windows], prompt).to(items.device)
    words = backbone.model.get_input_embeddings()(batch.tokens)
    inputs = torch.where((batch.items > 0).unsqueeze(-1), items[batch.items].to(words.dtype), words)
    mask = additive_mask(batch, inputs.dtype)
    hidden = backbone.model(
        inputs_embeds=inputs, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    found: Tensor = hidden[batch.rows, batch.columns].float()
    return found


def _alone(backbone: Backbone, prompt: Prompt, items: Tensor) -> Tensor:
    """As the family itself would run it: no mask, no positions."""
    embed = backbone.model.get_input_embeddings()
    before, after = (embed(torch.tensor(part, dtype=torch.long, device=items.device)) for part in prompt)
    inputs = torch.cat([before, items.to(before.dtype), after]).unsqueeze(0)
    found: Tensor = backbone.model(inputs_embeds=inputs, use_cache=False).last_hidden_state[0, -1].float()
    return found
