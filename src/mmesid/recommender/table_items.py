"""Items with a learned table, as in the paper: fused at the input by an MLP, at the output by frequency."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmesid.recommender.fusion import FrequencyFusion
from mmesid.recommender.item_input import ItemInput, ModalityShape
from mmesid.recommender.items import Items
from mmesid.recommender.loss import Factors


class TableItems(Items):
    """s_i = w_i0 <h, g_i> + sum_m w_im <h, P_m e_im + b_m>; P_m is shared between the item input and the score.

    MME-SID (arXiv 2509.02017), g the learned table. Inputs and scores have a fixed scale beside them, 1 unless the
    backbone is pretrained: it reads words of a size of its own, and gives hidden states of a norm of tens.

    Args:
        shapes: sizes by modality, in the order of artifacts.MODALITIES.
        n_items: N.
        hidden: C.
        mlp_hidden: width of the input MLP's hidden layer.
        score_modalities: that the score has beside the table.
        input_table: whether the backbone sees the table as well.
        temperature: of the fusion.
        frequency: training interactions of each item, (N + 1,).
        present: which item has which of the score's modalities, (N + 1, M').
    """

    input_scale: Tensor
    score_scale: Tensor

    def __init__(
        self,
        shapes: Mapping[str, ModalityShape],
        n_items: int,
        hidden: int,
        mlp_hidden: int,
        score_modalities: tuple[str, ...],
        input_table: bool,
        temperature: float,
        frequency: Tensor,
        present: Tensor,
    ) -> None:
        super().__init__()
        self.input = ItemInput(shapes, n_items, hidden, mlp_hidden)
        self.table = nn.Parameter(torch.zeros(n_items + 1, hidden))  # g, (N + 1, C)
        self.fusion = FrequencyFusion(frequency, present, temperature)
        self.score_modalities, self.input_table = score_modalities, input_table
        self.register_buffer("input_scale", torch.ones(1))
        self.register_buffer("score_scale", torch.ones(1))

    def inputs(self, items: Tensor, shared: Tensor | None = None) -> Tensor:
        """The fused input, with the table's rows where `input_table` says so, (..., C)."""
        vectors: Tensor = self.input(items)
        return (vectors + self.table[items] if self.input_table else vectors) * self.input_scale

    def users(self, hidden: Tensor) -> Tensor:
        """Hidden states at the scores' scale."""
        return hidden * self.score_scale

    def matrix(self) -> Tensor:
        """W_i = w_i0 g_i + sum_m w_im (P_m e_im + b_m), (N + 1, C)."""
        weights: Tensor = self.fusion()
        fused: Tensor = weights[:, :1] * self.table
        for column, name in enumerate(self.score_modalities, start=1):
            modality = self.input.part(name)
            fused = fused + weights[:, column : column + 1] * modality.projection(modality.embedding)
        return fused

    def factors(self, hidden: Tensor, memory: int, shared: Tensor | None = None) -> Factors:
        """By user or by item, whichever is cheaper.

        By user costs G N D multiplications a modality, by item N D C: a backbone wider than the step has targets never
        projects the catalogue, a narrow one does and saves all else, as long as the fused matrix fits into `memory`.
        """
        users = self.users(hidden)
        fused_bytes = 2 * self.table.numel() * self.table.element_size()  # and its gradient
        by_item = len(hidden) > self.table.shape[1] and fused_bytes <= memory
        return Factors((users,), (self.matrix(),), None) if by_item else self.factors_by_user(users)

    def factors_by_user(self, users: Tensor) -> Factors:
        """Without projecting the catalogue: <u, P e + b> = <P'u, e> + <u, b>, the biases as one factor of their own."""
        weights: Tensor = self.fusion()  # (N + 1, M' + 1)
        parts = [self.input.part(name) for name in self.score_modalities]
        sides: list[Tensor] = [users]
        items: list[Tensor] = [self.table]
        for part in parts:
            sides.append(users @ part.projection.weight)  # (G, D)
            items.append(part.embedding)
        if parts:
            sides.append(users @ torch.stack([part.projection.bias for part in parts], dim=1))  # (G, M')
            items.append(weights[:, 1:])
            weights = torch.cat([weights, torch.ones_like(weights[:, :1])], dim=1)
        return Factors(tuple(sides), tuple(items), weights)

    def factors_of(self, hidden: Tensor, items: Tensor) -> Factors:
        """By user, the rows of these items."""
        sides, rows, weights = self.factors_by_user(self.users(hidden))
        return Factors(sides, tuple(row[items] for row in rows), None if weights is None else weights[items])

    def code_tables(self) -> dict[str, Tensor]:
        """The code embeddings as they stand, by modality, each (Q, K, d)."""
        return {m: self.input.part(m).code_table.detach().float().cpu() for m in self.input.modalities}
