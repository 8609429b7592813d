"""How long a dataset's stages will take: as recorded, else by the size of the work and this machine's speed.

On a processor the work is compared with Beauty's, which docs/log.md measured by default settings on one thread of an
AMD EPYC; on a GPU fine-tuning is 4 FLOP per parameter and token at a share of the card's speed, as docs/performance.md
has it. Both are estimates, and are called so.
"""

import time
from typing import NamedTuple

from mmesid.commands.paper.models import Model
from mmesid.config import Config
from mmesid.config.sizes import Size

BEAUTY = Size(22_332, 12_086, 198_215)
REFERENCE = {  # seconds of one thread on Beauty: docs/log.md, 2026-11-28, and docs/performance.md for texts
    "encode_collaborative": 600.0,
    "texts": 120.0,
    "tokenize": 360.0,
    "finetune": 780.0,
    "judging": 180.0,  # init_codes, fuse and evaluate
}
REFERENCE_FLOPS = 1.0e11  # of one such thread, in products of float32 matrices: `flops` by processor time
STARTING = 130.0  # seconds that DVC and twelve stages' imports take
SMALL_CLIP = 59.0 / 999  # seconds an item of the embedded open_clip model, on the sample
SMOLLM2 = 33.0 / 4.0  # its six first layers against the embedded backbone, an epoch of the sample
DEFAULT_EPOCHS = {"encode_collaborative": 24, "tokenize": 60, "finetune": 30}
SHARE = 0.4  # of a product's speed that fine-tuning reaches on a GPU, by assumption
SIDE, SECONDS = 1024, 1.0  # of the matrices that are multiplied, and for how long
RESPONSE = 4  # tokens behind the items, of Llama-3's chat template


class Estimate(NamedTuple):
    """Seconds by stage, and where they come from."""

    seconds: dict[str, float]
    basis: str

    @property
    def total(self) -> float:
        """Of all that are known."""
        return sum(self.seconds.values())


def flops(device: str) -> float:
    """Floating-point operations a second that a product of matrices reaches here and now."""
    import torch

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    side = SIDE * (8 if device == "cuda" else 1)
    left, right = torch.ones(side, side, dtype=dtype, device=device), torch.ones(side, side, dtype=dtype, device=device)
    _finished(left @ right)
    done, began = 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        _finished(left @ right)
        done += 1
    return 2.0 * side**3 * done / (time.monotonic() - began)


def _finished(product: "object") -> None:
    """Wait for the device: a number of the product is fetched."""
    float(product[0, 0])  # type: ignore[index]


def on_processor(settings: Config, size: Size, speed: float, pictures: bool) -> Estimate | None:
    """By Beauty's times; None for a language model that they say nothing about.

    Args:
        settings: of the dataset.
        size: of the dataset.
        speed: of this machine, `flops("cpu")`.
        pictures: whether items have some.
    """
    backbone = settings.init_codes.backbone
    if backbone not in ("embedded", "smollm2"):
        return None
    faster, items = speed / REFERENCE_FLOPS, size.items / BEAUTY.items
    scores = items * size.interactions / BEAUTY.interactions
    epochs = {stage: getattr(settings, stage).epochs / usual for stage, usual in DEFAULT_EPOCHS.items()}
    modalities = 1 + (settings.encode_content.text != "none") + (pictures and settings.encode_content.image != "none")
    work = {
        "encode_collaborative": scores * epochs["encode_collaborative"] * settings.encode_collaborative.dimension / 64,
        "tokenize": items * epochs["tokenize"] * modalities / 2,
        "finetune": scores * epochs["finetune"] * (SMOLLM2 if backbone == "smollm2" else 1),
        "judging": items * size.users / BEAUTY.users,
    }
    seconds = {stage: REFERENCE[stage] * amount / faster for stage, amount in work.items()}
    read = REFERENCE["texts"] * items if settings.encode_content.text == "sentence_transformers" else 0.0
    seen = SMALL_CLIP * size.items if pictures and settings.encode_content.image == "open_clip" else 0.0
    seconds["encode_content"] = (read + seen) / faster
    seconds["starting"] = STARTING
    return Estimate(
        seconds, f"by Beauty's times and the {speed / 1e9:.0f} GFLOP/s that this processor has to spare now"
    )


def on_gpu(settings: Config, size: Size, speed: float, gpus: int, backbone: Model) -> Estimate | None:
    """Fine-tuning by arithmetic; None where nobody tells how large the backbone is.

    Args:
        settings: of the dataset.
        size: of the dataset.
        speed: of one GPU, `flops("cuda")`.
        gpus: that share the work.
        backbone: the language model.
    """
    if backbone.parameters is None:
        return None
    answer = RESPONSE if settings.init_codes.response == "header" else 0
    tokens = max(0, size.interactions - 2 * size.users) * (1 + answer) * 1.1
    each = tokens * 4 * backbone.parameters / (SHARE * speed * gpus)
    seconds = {"finetune": each * settings.finetune.epochs}
    return Estimate(
        seconds,
        f"by arithmetic, at {SHARE:.0%} of {speed / 1e12:.0f} TFLOP/s a GPU; small steps reach less, more is unknown",
    )
