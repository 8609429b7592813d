"""What rivals that a dataset may have leave behind when they are trained."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from mmesid.artifacts.values import Curves

Log = Callable[[dict[str, float], int], None]


class Trained(NamedTuple):
    """All from the best epoch on validation."""

    weights: dict[str, Tensor]
    curves: Curves
