"""The contract between backbone and catalogue: what it sees of an item, and how a user is scored against all items."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mmesid.recommender.loss import Factors


class Items(ABC, nn.Module):
    """Every weight of the recommender beside the backbone's. Row 0 is padding: no class, and it gets no gradient."""

    def shared(self) -> Tensor | None:
        """What the inputs and the scores of every item have in common, (N + 1, C), to be computed once a step."""
        return None

    def soften(self, share: float) -> None:
        """Scores at a share of their size from now on, in (0, 1]: those of a learned table start small without it."""

    @abstractmethod
    def inputs(self, items: Tensor, shared: Tensor | None = None) -> Tensor:
        """What the backbone sees of the given items, (..., C); `shared` as above, where it is at hand."""

    @abstractmethod
    def users(self, hidden: Tensor) -> Tensor:
        """Hidden states as the item matrix is multiplied with them, (G, C)."""

    @abstractmethod
    def matrix(self) -> Tensor:
        """(N + 1, C): `users(hidden) @ matrix().T` are the scores of every item."""

    @abstractmethod
    def factors(self, hidden: Tensor, memory: int, shared: Tensor | None = None) -> Factors:
        """What the scores of every item are made of, in the cheapest exact way that fits into `memory` bytes."""

    @abstractmethod
    def factors_of(self, hidden: Tensor, items: Tensor) -> Factors:
        """The same for the given items alone, (S,), in their order."""

    @abstractmethod
    def code_tables(self) -> dict[str, Tensor]:
        """The code embeddings as they stand, by modality, each (Q, K, d)."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device
