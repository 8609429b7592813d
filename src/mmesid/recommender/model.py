"""The recommender: a backbone between what it sees of items and the score of every item."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmesid.artifacts.values import MODALITIES
from mmesid.kernels.dropout import Dropout
from mmesid.recommender.attention import MASKS
from mmesid.recommender.item_input import ModalityShape
from mmesid.recommender.items import Items
from mmesid.recommender.loss import Objective, scores
from mmesid.recommender.packing import PADDING, PackedBatch
from mmesid.recommender.prompt import Prompt
from mmesid.recommender.table_items import TableItems
from mmesid.recommender.tied_items import TiedItems


@dataclass(frozen=True)
class Blueprint:
    """All that is needed to build a recommender around a backbone; it travels as JSON beside the weights."""

    n_items: int
    hidden: int  # C
    shapes: Mapping[str, ModalityShape]
    mlp_hidden: int
    prompt: Prompt
    history_length: int
    backbone: str
    revision: str | None
    adapter: str  # none (before fine-tuning), lora, full or frozen
    items: str = "table"  # tied or table
    temperature: float = 0.0  # of the tied score
    item_id: bool = False  # beside tied items
    score_modalities: tuple[str, ...] = ()  # beside the table
    input_table: bool = False
    fusion_temperature: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        shapes = {modality: shape._asdict() for modality, shape in self.shapes.items()}
        plain = {**self.__dict__, "shapes": shapes, "prompt": self.prompt._asdict()}
        return {**plain, "score_modalities": list(self.score_modalities)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Blueprint":
        """The inverse of `to_json`; the order of modalities is kept apart from JSON's sorted keys."""
        shapes = {m: ModalityShape(**value["shapes"][m]) for m in MODALITIES if m in value["shapes"]}
        return cls(
            **{
                **value,
                "shapes": shapes,
                "prompt": Prompt(**value["prompt"]),
                "score_modalities": tuple(value["score_modalities"]),
            }
        )


class PromptCache(NamedTuple):
    """Keys and values of the prompt, a pair per layer, each (1, heads, I, head width)."""

    argument: str  # of the backbone, that takes it; older releases of transformers have another name for it
    tokens: int  # I
    layers: list[tuple[Tensor, Tensor]]

    def repeated(self, rows: int) -> Any:
        """The same for a number of rows, as the backbone takes it."""
        from transformers import DynamicCache

        return DynamicCache([tuple(part.expand(rows, -1, -1, -1) for part in layer) for layer in self.layers])


class Recommender(nn.Module):
    """From packed histories to the score of every item, h the hidden state at a target's last item or response token.

    Args:
        blueprint: sizes and settings.
        backbone: a decoder that takes `inputs_embeds` and gives `last_hidden_state`.
        frequency: training interactions of each item, (N + 1,).
        present: which item has which of the score's modalities, (N + 1, M'); of a learned table alone.
    """

    def __init__(self, blueprint: Blueprint, backbone: nn.Module, frequency: Tensor, present: Tensor) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.backbone = backbone
        self.items = ITEMS[blueprint.items](blueprint, frequency, present)
        self.input_dropout = Dropout(0.0)
        self.output_dropout = Dropout(0.0)
        self.attention = "sdpa"

    @property
    def device(self) -> torch.device:
        """Where the items' weights lie."""
        return self.items.device

    @torch.inference_mode()
    def item_matrix(self) -> Tensor:
        """What the backbone sees of the items 1..N, (N, C)."""
        items = torch.arange(1, self.blueprint.n_items + 1, device=self.device)
        return self.items.inputs(items).float().cpu()

    def forward(self, batch: PackedBatch, objective: Objective) -> Tensor:
        """The loss of a batch, summed over its targets, in the tables' precision."""
        shared = self.items.shared() if objective.negatives is None else None
        hidden = self.represent(batch, shared=shared)
        if objective.negatives is None:
            return objective.exact(self.items.factors(hidden, objective.memory, shared), batch.labels)
        items = torch.cat([batch.labels, objective.negatives.items])
        return objective.sampled(self.items.factors_of(hidden, items), batch.labels)

    def represent(self, batch: PackedBatch, prompt: PromptCache | None = None, shared: Tensor | None = None) -> Tensor:
        """The hidden state at each target's last item, or its last response token where there are such, (G, C).

        Args:
            batch: packed rows; without a prompt of their own where `prompt` is given.
            prompt: keys and values of the prompt, of `prompt_cache`.
            shared: of `Items.shared`, where it is at hand.
        """
        inputs = self._inputs(batch, shared)
        cached = 0 if prompt is None else prompt.tokens
        hidden: Tensor = self.backbone(
            inputs_embeds=inputs,
            attention_mask=MASKS[self.attention](batch, inputs.dtype, cached),
            position_ids=batch.positions + cached,
            use_cache=prompt is not None,
            **({} if prompt is None else {prompt.argument: prompt.repeated(len(inputs))}),
        ).last_hidden_state  # (B, S, C)
        users: Tensor = self.output_dropout(hidden[batch.rows, batch.columns].float())
        return users

    @torch.no_grad()
    def sizes(self, batch: PackedBatch) -> Tensor:
        """Root mean squares of items and of words as the first layer gets them, and of `represent`, (3,)."""
        inputs = self._inputs(batch, None).float()
        items, words = inputs[batch.items > 0], inputs[(batch.items == 0) & (batch.window != PADDING)]
        return torch.stack([part.square().mean().sqrt() for part in (items, words, self.represent(batch))])

    def _inputs(self, batch: PackedBatch, shared: Tensor | None) -> Tensor:
        """What the first layer gets: words, and items between them, (B, S, C)."""
        words: Tensor = self.backbone.get_input_embeddings()(batch.tokens)  # type: ignore[operator]
        unique, inverse = torch.unique(batch.items, return_inverse=True)
        vectors = self.input_dropout(F.embedding(inverse, self.items.inputs(unique, shared)))  # (B, S, C)
        return torch.where((batch.items > 0).unsqueeze(-1), vectors.to(words.dtype), words)

    def prompt_cache(self) -> PromptCache | None:
        """Keys and values of the prompt that every user's row starts with, computed once for all of them; None where no
        token stands before the items. The words go in as vectors, as in training: some families (Gemma 3n) add to token
        ids what they cannot add to vectors.
        """
        if not self.blueprint.prompt.before:
            return None
        tokens = torch.tensor([self.blueprint.prompt.before], device=self.device)
        words = self.backbone.get_input_embeddings()(tokens)  # type: ignore[operator]
        outputs = self.backbone(inputs_embeds=words, use_cache=True)
        argument = "cache" if "cache" in outputs else "past_key_values"
        return PromptCache(argument, tokens.shape[1], [(part.keys, part.values) for part in outputs[argument].layers])

    def fused_items(self) -> Tensor:
        """The item matrix, (N + 1, C): `items.users(hidden) @ fused_items().T` are the scores of every item."""
        return self.items.matrix()

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every item from user representations, (G, C) -> (G, N + 1); column 0 is -inf."""
        return scores(self.items.factors(hidden, 2**30))


def _tied(blueprint: Blueprint, frequency: Tensor, present: Tensor) -> Items:
    sizes = blueprint.n_items, blueprint.hidden, blueprint.mlp_hidden
    return TiedItems(blueprint.shapes, *sizes, blueprint.temperature, blueprint.item_id, frequency > 0)


def _table(blueprint: Blueprint, frequency: Tensor, present: Tensor) -> Items:
    sizes = blueprint.n_items, blueprint.hidden, blueprint.mlp_hidden
    scored = blueprint.score_modalities, blueprint.input_table, blueprint.fusion_temperature
    return TableItems(blueprint.shapes, *sizes, *scored, frequency, present)


ITEMS: dict[str, Callable[[Blueprint, Tensor, Tensor], Items]] = {"tied": _tied, "table": _table}
