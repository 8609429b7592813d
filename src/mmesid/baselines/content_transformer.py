"""The content transformer: SASRec's body and training over items that are made of content alone.

It shows what a sequential recommender reaches with the same content and neither a language model nor semantic IDs. No
weight belongs to one item: an item that was never taken is scored like any other.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmesid.artifacts.baselines import load_rival, load_rivals
from mmesid.artifacts.content import load_content
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Embedding, Sequences
from mmesid.baselines.training import Log, Trained
from mmesid.config import Config, ContentTransformer
from mmesid.encoders.sasrec import EPSILON, INIT_STD, TEMPERATURE, Items, Transformer, Vectors, scorer
from mmesid.encoders.sasrec_training import fit, weights_of
from mmesid.errors import ConfigError
from mmesid.evaluation.ranking import Scores

NAME = "content_transformer"


class ContentModality(nn.Module):
    """One modality's part of every item's vector: Linear(LeakyReLU(Linear(norm(e_i)))), nothing where it is absent.

    The embedding enters centered, with rows of norm 1; `encode_content` holds it, so the weights do not.

    Args:
        content: (N + 1, C) and which rows are there.
        hidden: width of the adaptor's hidden layer.
        width: D of the item vectors.
    """

    embedding: Tensor
    present: Tensor

    def __init__(self, content: Embedding, hidden: int, width: int) -> None:
        super().__init__()
        matrix, present = torch.from_numpy(content.matrix), torch.from_numpy(content.present)[:, None]
        centered = (matrix - matrix[present[:, 0]].mean(dim=0)) * present
        self.register_buffer("embedding", functional.normalize(centered, dim=-1), persistent=False)  # (N + 1, C)
        self.register_buffer("present", present, persistent=False)  # (N + 1, 1)
        columns = matrix.shape[1]
        self.adaptor = nn.Sequential(
            nn.RMSNorm(columns, EPSILON), nn.Linear(columns, hidden), nn.LeakyReLU(), nn.Linear(hidden, width)
        )

    def forward(self) -> Tensor:
        """(N + 1, D)."""
        part: Tensor = self.adaptor(self.embedding) * self.present
        return part


class ContentItems(Items):
    """x_i = sum_m A_m(e_im) at input; at output cos(h, x_i) / TEMPERATURE.

    Items without any content share one learned vector.

    Args:
        content: by modality.
        hidden: width of the adaptors' hidden layer.
        width: D.
    """

    absent: Tensor

    def __init__(self, content: Mapping[str, Embedding], hidden: int, width: int) -> None:
        super().__init__()
        self.modalities = nn.ModuleDict({m: ContentModality(part, hidden, width) for m, part in content.items()})
        known = torch.stack([torch.from_numpy(part.present) for part in content.values()]).any(dim=0)
        self.register_buffer("absent", ~known[:, None], persistent=False)  # (N + 1, 1)
        self.nothing = nn.Parameter(torch.randn(width) * INIT_STD)  # at zero it would have no direction

    def vectors(self) -> Vectors:
        """Of all items at once: the softmax over all of them needs each one in every step."""
        parts = [modality() for modality in self.modalities.values()]
        inputs = sum(parts, start=self.absent * self.nothing)  # (N + 1, D)
        return Vectors(inputs, functional.normalize(inputs, dim=-1, eps=EPSILON))

    def users(self, hidden: Tensor) -> Tensor:
        """With norm 1 / TEMPERATURE."""
        return functional.normalize(hidden, dim=-1, eps=EPSILON) / TEMPERATURE


def build(content: Mapping[str, Embedding], settings: ContentTransformer, history_length: int) -> Transformer:
    """An untrained one of the settings' size.

    Raises:
        ConfigError: no item has any content.
    """
    there = {modality: part for modality, part in content.items() if part.present.any()}
    if not there:
        raise ConfigError(
            f"baselines.rivals: {NAME} makes items of content, but no item has a text or a picture that "
            "encode_content.text or encode_content.image encodes; give some, or take it off the list"
        )
    items = ContentItems(there, settings.hidden, settings.dimension)
    return Transformer(items, settings.dimension, settings.blocks, settings.heads, settings.dropout, history_length)


def train(sequences: Sequences, content: Mapping[str, Embedding], config: Config, device: str, log: Log) -> Trained:
    """Train it from scratch, as SASRec is trained; see `mmesid.baselines.rivals`."""
    settings, protocol = config.baselines.content_transformer, config.protocol
    torch.manual_seed(config.seed)
    model = build(content, settings, protocol.history_length).to(device)
    curves = fit(model, sequences, settings, protocol, config.seed, log, settings.warmup_steps)
    return Trained(weights_of(model), curves)


def scores(store: Store, config: Config, sequences: Sequences) -> Scores | None:
    """The row of a dataset, on the CPU; None where it has not been listed."""
    if NAME not in load_rivals(store):
        return None
    model = build(load_content(store), config.baselines.content_transformer, config.protocol.history_length)
    model.load_state_dict(load_rival(store, NAME))
    return scorer(model.eval())
