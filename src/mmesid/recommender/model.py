"""The recommender: backbone, item input, learned item table, and the fused score of every item."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmesid.artifacts.values import MODALITIES
from mmesid.recommender.attention import MASKS
from mmesid.recommender.fusion import FrequencyFusion
from mmesid.recommender.item_input import ItemInput, ModalityShape
from mmesid.recommender.loss import Factors, Objective, scores
from mmesid.recommender.packing import PackedBatch
from mmesid.recommender.prompt import Prompt


@dataclass(frozen=True)
class Blueprint:
    """All that is needed to build a recommender around a backbone; it travels as JSON beside the weights."""

    n_items: int
    hidden: int  # C
    shapes: Mapping[str, ModalityShape]
    mlp_hidden: int
    score_modalities: tuple[str, ...]
    input_table: bool
    fusion_temperature: float
    prompt: Prompt
    history_length: int
    backbone: str
    revision: str | None
    adapter: str  # none (before fine-tuning), lora or full

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
    """s_i = w_i0 <h, g_i> + sum_m w_im <h, P_m e_im + b_m>, h the last hidden state of prompt + items + response.

    MME-SID (arXiv 2509.02017). P_m is shared between the item input and the score. Row 0 is padding: its score is -inf
    and it gets no gradient.

    Args:
        blueprint: sizes and settings.
        backbone: a decoder that takes `inputs_embeds` and gives `last_hidden_state`.
        frequency: training interactions of each item, (N + 1,).
        present: which item has which of the score's modalities, (N + 1, M').
    """

    def __init__(self, blueprint: Blueprint, backbone: nn.Module, frequency: Tensor, present: Tensor) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.backbone = backbone
        self.item_input = ItemInput(blueprint.shapes, blueprint.n_items, blueprint.hidden, blueprint.mlp_hidden)
        self.item_table = nn.Parameter(torch.zeros(blueprint.n_items + 1, blueprint.hidden))  # g, (N + 1, C)
        self.fusion = FrequencyFusion(frequency, present, blueprint.fusion_temperature)
        self.input_dropout = nn.Dropout(0.0)
        self.output_dropout = nn.Dropout(0.0)
        self.attention = "sdpa"

    def item_vectors(self, items: Tensor) -> Tensor:
        """What the backbone sees of the given items, (..., C)."""
        vectors: Tensor = self.item_input(items)
        if self.blueprint.input_table:
            vectors = vectors + self.item_table[items]
        return vectors

    @torch.inference_mode()
    def item_matrix(self) -> Tensor:
        """What the backbone sees of the items 1..N, (N, C)."""
        items = torch.arange(1, self.blueprint.n_items + 1, device=self.item_table.device)
        return self.item_vectors(items).float().cpu()

    @torch.inference_mode()
    def projected(self, modality: str) -> Tensor | None:
        """One modality's embedding, projected linearly into the backbone's space, (N, C); None where it has none."""
        if modality not in self.item_input.modalities:
            return None
        part = self.item_input.part(modality)
        matrix: Tensor = part.projection(part.embedding)[1:]
        return matrix.float().cpu()

    def code_tables(self) -> dict[str, Tensor]:
        """The code embeddings as they stand, by modality, each (Q, K, d)."""
        parts = {modality: self.item_input.part(modality) for modality in self.item_input.modalities}
        return {modality: part.code_table.detach().float().cpu() for modality, part in parts.items()}

    def forward(self, batch: PackedBatch, objective: Objective) -> Tensor:
        """The loss of a batch, summed over its targets, in the tables' precision."""
        hidden = self.represent(batch)
        with torch.autocast(hidden.device.type, enabled=False):
            whole = objective.negatives is None
            factors = self.factors(hidden, objective.memory) if whole else self.factors_by_user(hidden)
            return objective(factors, batch.labels)

    def represent(self, batch: PackedBatch, prompt: PromptCache | None = None) -> Tensor:
        """The hidden state at each target's last response token, (G, C).

        Args:
            batch: packed rows; without a prompt of their own where `prompt` is given.
            prompt: keys and values of the prompt, of `prompt_cache`.
        """
        words = self.backbone.get_input_embeddings()(batch.tokens)  # type: ignore[operator]  # (B, S, C)
        unique, inverse = torch.unique(batch.items, return_inverse=True)
        vectors = self.input_dropout(self.item_vectors(unique)[inverse])  # (B, S, C)
        inputs = torch.where((batch.items > 0).unsqueeze(-1), vectors.to(words.dtype), words)
        cached = 0 if prompt is None else prompt.tokens
        hidden: Tensor = self.backbone(
            inputs_embeds=inputs,
            attention_mask=MASKS[self.attention](batch, inputs.dtype, cached),
            position_ids=batch.positions + cached,
            use_cache=prompt is not None,
            **({} if prompt is None else {prompt.argument: prompt.repeated(len(inputs))}),
        ).last_hidden_state  # (B, S, C)
        users: Tensor = self.output_dropout(hidden[batch.rows, batch.columns].to(self.item_table))
        return users

    def prompt_cache(self) -> PromptCache:
        """Keys and values of the prompt that every user's row starts with, computed once for all of them."""
        tokens = torch.tensor([self.blueprint.prompt.before], device=self.item_table.device)
        outputs = self.backbone(input_ids=tokens, use_cache=True)
        argument = "cache" if "cache" in outputs else "past_key_values"
        return PromptCache(argument, tokens.shape[1], [(part.keys, part.values) for part in outputs[argument].layers])

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every item from user representations, (G, C) -> (G, N + 1); column 0 is -inf."""
        return scores(self.factors(hidden))

    def factors(self, hidden: Tensor, memory: int = 2**30) -> Factors:
        """What the scores of user representations, (G, C), are made of; the cheaper of two exact ways.

        By user costs G N D multiplications a modality, by item N D C: a backbone wider than the step has targets never
        projects the catalogue, a narrow one does and saves all else, as long as the fused matrix fits into `memory`.
        """
        fused_bytes = 2 * self.item_table.numel() * self.item_table.element_size()  # and its gradient
        by_item = len(hidden) > self.blueprint.hidden and fused_bytes <= memory
        return Factors((hidden,), (self.fused_items(),), None) if by_item else self.factors_by_user(hidden)

    def factors_by_user(self, hidden: Tensor) -> Factors:
        """Without projecting the catalogue: <h, P e + b> = <P'h, e> + <h, b>, the biases as one factor of their own."""
        weights: Tensor = self.fusion()  # (N + 1, M' + 1)
        parts = [self.item_input.part(name) for name in self.blueprint.score_modalities]
        users: list[Tensor] = [hidden]
        items: list[Tensor] = [self.item_table]
        for part in parts:
            users.append(hidden @ part.projection.weight)  # (G, D)
            items.append(part.embedding)
        if parts:
            users.append(hidden @ torch.stack([part.projection.bias for part in parts], dim=1))  # (G, M')
            items.append(weights[:, 1:])
            weights = torch.cat([weights, torch.ones_like(weights[:, :1])], dim=1)
        return Factors(tuple(users), tuple(items), weights)

    def fused_items(self) -> Tensor:
        """W_i = w_i0 g_i + sum_m w_im (P_m e_im + b_m), (N + 1, C): `hidden @ W.T` equals `logits(hidden)`."""
        weights: Tensor = self.fusion()
        fused: Tensor = weights[:, :1] * self.item_table
        for column, name in enumerate(self.blueprint.score_modalities, start=1):
            modality = self.item_input.part(name)
            fused = fused + weights[:, column : column + 1] * modality.projection(modality.embedding)
        return fused
