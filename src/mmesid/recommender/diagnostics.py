"""What shows within a minute that fine-tuning will not learn: its first loss, sizes in the backbone, who moves."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from mmesid.recommender.optimizer import part_of
from mmesid.recommender.parallel import whole

ABOVE_CHANCE = 0.5  # nats of the first loss, scores at full size, above ln N from which something is amiss
FACTOR = 3.0  # between the sizes of items and of words from which it is
SIZES = ("input_rms", "word_rms", "hidden_rms")


def sizes(measured: Tensor) -> dict[str, float]:
    """`Recommender.sizes` by name; what is no number, such as the size of words where the prompt is empty, is left out.

    Args:
        measured: (3,).
    """
    found = dict(zip(SIZES, measured.tolist(), strict=True))
    return {name: value for name, value in found.items() if value == value}


@torch.no_grad()
def update_shares(optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter]) -> dict[str, float]:
    """Who moves: shares of the squared length of AdamW's last step, its weight decay left out; they sum to one.

    Several processes that spread the model must all ask.

    Args:
        optimizer: AdamW, which has made a step.
        parameters: what it moves, by name.

    Returns:
        `update_adapter` (inside the backbone), `update_adaptors` (around it), `update_tables` (items and codes).
    """
    names = {parameter: name for name, parameter in parameters.items()}
    squares: dict[str, float] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            step = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"]) * group["lr"]
            part = f"update_{part_of(names[parameter])}"
            squares[part] = squares.get(part, 0.0) + float(whole(step.float().square().sum()))
    total = sum(squares.values())
    return {part: square / total for part, square in squares.items()} if total else {}


def complaints(start: Mapping[str, float]) -> list[str]:
    """What is amiss with a pretrained backbone before the first step, and which key to change.

    One of our own may start anywhere: it is small enough to unlearn in an epoch, and has few words to be true to. The
    loss is judged at full size: scores that warm up, at a fiftieth of it, are near chance whatever the backbone does.
    Users that point anywhere already cost 1 / (2 C tau^2) nats above chance, C the backbone's width: .18 of 576, .8 of
    128, 3.2 of 32, with tau .07.

    Args:
        start: of `Trainer.begin`.
    """
    said = []
    loss, chance = start.get("full_size_loss", 0.0), start.get("chance", 0.0)
    if loss > chance + ABOVE_CHANCE:
        said.append(
            f"the first loss, scores at full size, is {loss:.2f}, chance is {chance:.2f}: they start too large and "
            "would have to be unlearned; raise init_codes.temperature (tied items) or lower init_codes.item_table_std "
            "(a table)"
        )
    items, words = start.get("input_rms", 0.0), start.get("word_rms", 0.0)
    if items and words and not words / FACTOR <= items <= words * FACTOR:
        said.append(
            f"items enter the backbone with a root mean square of {items:.3g}, the prompt's words with {words:.3g}: it "
            "cannot read them as it reads words; init_codes.items: tied starts items at the words' size"
        )
    return said
