"""What an item looks like to the backbone: projected original embeddings and summed code embeddings, fused."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn


def layers(width: int, hidden: int, out: int, activation: nn.Module) -> nn.Module:
    """An MLP of one hidden layer, width -> hidden -> out; without a hidden width one linear layer."""
    if not hidden:
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, hidden), activation, nn.Linear(hidden, out))


class ModalityShape(NamedTuple):
    """Sizes of one modality's tensors."""

    width: int  # D; 0 where tied items leave the embedding out
    levels: int  # Q; 0 where they leave the semantic IDs out
    codes: int  # K
    code_width: int  # d


class Modality(nn.Module):
    """One modality of every item: frozen embeddings, semantic IDs, and the code embeddings that are trained.

    The embeddings, codes and mask are buffers, so that a checkpoint holds all it needs to score.

    Args:
        shape: sizes.
        n_items: N.
    """

    embedding: Tensor
    codes: Tensor
    present: Tensor

    def __init__(self, shape: ModalityShape, n_items: int) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.zeros(n_items + 1, shape.width))  # (N + 1, D)
        self.register_buffer("codes", torch.zeros(n_items + 1, shape.levels, dtype=torch.long))  # (N + 1, Q)
        self.register_buffer("present", torch.zeros(n_items + 1, dtype=torch.bool))  # (N + 1,)
        self.code_table = nn.Parameter(torch.zeros(shape.levels, shape.codes, shape.code_width))  # (Q, K, d)

    def semantic(self, items: Tensor | slice) -> Tensor:
        """Sum of an item's code embeddings over the levels, (..., d)."""
        codes = self.codes[items]  # (..., Q)
        levels = torch.arange(codes.shape[-1], device=codes.device)
        summed: Tensor = self.code_table[levels, codes].sum(dim=-2)
        return summed


class ModalityInput(Modality):
    """One modality's part of the item input: [P e_i; L sum_q table_q[code_iq]], or a learned vector where absent.

    Args:
        shape: sizes.
        n_items: N.
        hidden: C.
    """

    def __init__(self, shape: ModalityShape, n_items: int, hidden: int) -> None:
        super().__init__(shape, n_items)
        self.projection = nn.Linear(shape.width, hidden)
        self.code_projection = nn.Linear(shape.code_width, hidden)
        self.absent = nn.Parameter(torch.zeros(2 * hidden))

    def forward(self, items: Tensor) -> Tensor:
        """Both halves of the modality's input, (..., 2C)."""
        known = torch.cat([self.projection(self.embedding[items]), self.code_projection(self.semantic(items))], dim=-1)
        return torch.where(self.present[items].unsqueeze(-1), known, self.absent)


class ItemInput(nn.Module):
    """x_i = GELU(MLP([P_m e_im; c_im] for every modality m)), (N + 1 items) -> C.

    MME-SID (arXiv 2509.02017); there the MLP is 6C-3C-C, here its hidden width is a parameter.

    Args:
        shapes: sizes by modality, in the order of artifacts.MODALITIES.
        n_items: N.
        hidden: C.
        mlp_hidden: width of the MLP's hidden layer, 0 for none.
    """

    def __init__(self, shapes: Mapping[str, ModalityShape], n_items: int, hidden: int, mlp_hidden: int) -> None:
        super().__init__()
        self.modalities = nn.ModuleDict({m: ModalityInput(shape, n_items, hidden) for m, shape in shapes.items()})
        self.mlp = layers(2 * hidden * len(shapes), mlp_hidden, hidden, nn.GELU())

    def part(self, modality: str) -> ModalityInput:
        """The part of one modality."""
        found = self.modalities[modality]
        assert isinstance(found, ModalityInput)
        return found

    def forward(self, items: Tensor) -> Tensor:
        """Inputs of the given items, (..., C)."""
        parts = [modality(items) for modality in self.modalities.values()]
        return nn.functional.gelu(self.mlp(torch.cat(parts, dim=-1)))
