"""Items without a weight of their own: a vector made of content, the same at input and at output."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmesid.recommender.item_input import Modality, ModalityShape, layers
from mmesid.recommender.items import Items
from mmesid.recommender.loss import Factors

EPSILON = 1e-6


class TiedModality(Modality):
    """One modality's part of an item's vector: A(e_i) + W sum_q table_q[code_iq], nothing where it is absent.

    One of the two is left out where its size in `shape` is zero. Embeddings have a root mean square of 1: they are
    frozen, and to norm them in every step took a quarter of it.

    Args:
        shape: sizes.
        n_items: N.
        hidden: C.
        adaptor_hidden: width of the adaptor's hidden layer, 0 for none.
    """

    def __init__(self, shape: ModalityShape, n_items: int, hidden: int, adaptor_hidden: int) -> None:
        super().__init__(shape, n_items)
        self.adaptor = layers(shape.width, adaptor_hidden, hidden, nn.LeakyReLU()) if shape.width else None
        self.code_projection = nn.Linear(shape.code_width, hidden, bias=False) if shape.levels else None
        self.code_table.requires_grad_(shape.levels > 0)

    def forward(self, items: Tensor | slice) -> Tensor:
        """The modality's part of the given items' vectors, (..., C)."""
        parts = []
        if self.adaptor is not None:
            parts.append(self.adaptor(self.embedding[items]))
        if self.code_projection is not None:
            parts.append(self.code_projection(self.semantic(items)))
        known: Tensor = sum(parts) * self.present[items].unsqueeze(-1)
        return known


class TiedItems(Items):
    """x_i = sum_m A_m(e_im) + sum_m W_m c_im [+ id_i]; s_i = cos(h, x_i) / tau; the backbone sees x_i at a fixed size.

    No weight belongs to one item but the optional residual id, which an item without training interactions lacks: it
    is scored by its content like any other. After content-only encoders with a small adaptor (arXiv 2601.08275), with
    the code embeddings of MME-SID (arXiv 2509.02017) beside the text and the picture.

    Args:
        shapes: sizes by modality, in the order of artifacts.MODALITIES; may be empty where items have ids.
        n_items: N.
        hidden: C.
        adaptor_hidden: width of the adaptors' hidden layer, 0 for none.
        temperature: tau.
        item_id: whether items have a residual id vector.
        seen: which items have training interactions, (N + 1,).
    """

    seen: Tensor

    def __init__(
        self,
        shapes: Mapping[str, ModalityShape],
        n_items: int,
        hidden: int,
        adaptor_hidden: int,
        temperature: float,
        item_id: bool,
        seen: Tensor,
    ) -> None:
        super().__init__()
        self.modalities = nn.ModuleDict(
            {m: TiedModality(shape, n_items, hidden, adaptor_hidden) for m, shape in shapes.items()}
        )
        self.temperature = temperature
        self.softened = 1.0  # share of the scores' size
        self.input_scale = nn.Parameter(torch.ones(1))  # root mean square of what the backbone sees
        self.nothing = nn.Parameter(torch.zeros(hidden))  # of an item without any content
        self.register_buffer("seen", seen.unsqueeze(1).float())  # (N + 1, 1)
        self.ids = nn.Parameter(torch.zeros(n_items + 1, hidden)) if item_id else None

    def part(self, modality: str) -> TiedModality:
        """The part of one modality."""
        found = self.modalities[modality]
        assert isinstance(found, TiedModality)
        return found

    def soften(self, share: float) -> None:
        """Before training a user is most like the last item: at full size that guess alone costs nats."""
        self.softened = share

    def vectors(self, items: Tensor | slice) -> Tensor:
        """x of the given items, (..., C), of any size."""
        parts = [modality(items) for modality in self.modalities.values()]
        if self.ids is not None:
            parts.append(self.ids[items] * self.seen[items])
        known = [self.part(m).present[items] for m in self.modalities]
        lacking = ~torch.stack(known).any(dim=0) if known else torch.ones_like(self.seen[items][..., 0])
        return sum(parts, start=lacking.unsqueeze(-1) * self.nothing)

    def directions(self, items: Tensor | slice) -> Tensor:
        """x of the given items with norm 1, (..., C)."""
        return F.normalize(self.vectors(items), dim=-1, eps=EPSILON)

    def shared(self) -> Tensor:
        """The matrix: inputs are its rows at another length."""
        return self.matrix()

    def inputs(self, items: Tensor, shared: Tensor | None = None) -> Tensor:
        """x with a root mean square of its own, learned, the same for all items, (..., C)."""
        rows = self.directions(items) if shared is None else F.embedding(items, shared)
        scaled: Tensor = rows * (rows.shape[-1] ** 0.5 * self.input_scale)
        return scaled

    def users(self, hidden: Tensor) -> Tensor:
        """h with norm 1 / tau, (G, C)."""
        return F.normalize(hidden, dim=-1, eps=EPSILON) * (self.softened / self.temperature)

    def matrix(self) -> Tensor:
        """x with norm 1, (N + 1, C)."""
        return self.directions(slice(None))

    def factors(self, hidden: Tensor, memory: int, shared: Tensor | None = None) -> Factors:
        """Users and items, a pair."""
        return Factors((self.users(hidden),), (self.matrix() if shared is None else shared,), None)

    def factors_of(self, hidden: Tensor, items: Tensor) -> Factors:
        """Only the vectors of these items are made, whatever N."""
        return Factors((self.users(hidden),), (self.directions(items),), None)

    def code_tables(self) -> dict[str, Tensor]:
        """The code embeddings as they stand, by modality, each (Q, K, d)."""
        coded = [m for m in self.modalities if self.part(m).code_projection is not None]
        return {m: self.part(m).code_table.detach().float().cpu() for m in coded}
