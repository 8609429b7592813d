"""The embedded open_clip model: small towers, trained on the catalogue's own picture-text pairs.

The contrastive loss alone (CLIP, Radford et al. 2021) keeps what picture and text have in common and may drop what only
one of them shows. Beside it, a linear map must therefore recover from each embedding what the item itself showed: a
coarse picture from the image's, the words from the text's.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmesid.artifacts.pictures import decode
from mmesid.config import OpenClip
from mmesid.encoders.open_clip_encoder import Log, Towers, shorten
from mmesid.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_PAIRS = 32
COARSE = 16  # pixels a side of the picture that is recovered
WIDTH, HEAD_WIDTH, LAYERS = 64, 32, 1  # of both towers
PATCHES = 8  # a side
WEIGHTS = {"contrast_loss": 1.0, "picture_loss": 5.0, "text_loss": 5.0}  # at 1 what only one side shows fades
MAX_LOGIT_SCALE = float(np.log(100))  # as in CLIP
WARMUP = 0.1  # share of the steps
WEIGHT_DECAY = 0.05


class Vocabulary(NamedTuple):
    """The bundled tokenizer narrowed to the tokens of a catalogue: a small table instead of one with 49,408 rows."""

    tokens: Tensor  # (V,) ids of the bundled tokenizer, rising: padding stays 0, the end token the highest
    context_length: int

    def __call__(self, texts: list[str]) -> Tensor:
        """Texts -> (B, S) places in `tokens`; a token that the catalogue does not use becomes padding."""
        bundled = _tokenize(texts, self.context_length)
        places = torch.searchsorted(self.tokens, bundled)
        return places.where(self.tokens[places.clamp(max=len(self.tokens) - 1)] == bundled, 0)


class Catalogue(NamedTuple):
    """What the towers learn from; a row per item, meaningless where the modality is absent."""

    tokens: Tensor  # (N, S)
    pixels: Tensor  # (N, 3, side, side)
    has_text: Tensor  # (N,)
    has_picture: Tensor  # (N,)


class Recovery(nn.Module):
    """Linear maps from a unit-length embedding to what the item showed."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.pixels = nn.Linear(width, 3 * COARSE**2)
        self.words = nn.Linear(width, vocabulary)

    def picture_loss(self, image: Tensor, pixels: Tensor) -> Tensor:
        """Mean squared error of the coarse picture; image (B, D), pixels (B, 3, side, side)."""
        coarse = functional.adaptive_avg_pool2d(pixels, COARSE).flatten(1)  # (B, 3 * COARSE^2)
        return functional.mse_loss(self.pixels(self.scale * image), coarse)

    def text_loss(self, text: Tensor, tokens: Tensor) -> Tensor:
        """Kullback-Leibler divergence of predicted from true shares of the words; text (B, D), tokens (B, S)."""
        predicted = self.words(self.scale * text).log_softmax(dim=1)  # (B, V)
        content = (tokens > 0) & (tokens < predicted.shape[1] - 2)  # neither padding, start nor end
        counts = torch.zeros_like(predicted).scatter_add_(1, tokens, content.to(predicted.dtype))
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        return functional.kl_div(predicted, shares, reduction="batchmean")


def train_embedded(
    texts: Sequence[str], pictures: Sequence[bytes | None], settings: OpenClip, seed: int, device: str, log: Log
) -> Towers:
    """Build the small model through open_clip and train it on every item with a text or a picture.

    Args:
        texts: of item 1..N, empty where absent.
        pictures: files of item 1..N, None where absent.
        settings: size and schedule.
        seed: of initialization and order.
        device: cpu, cuda, ...
        log: called with losses and the step.

    Raises:
        DataError: too few items have both a text and a picture.
    """
    pairs = sum(bool(text and picture) for text, picture in zip(texts, pictures, strict=True))
    if pairs < MIN_PAIRS:
        raise DataError(
            f"the embedded open_clip model learns from items with a text and a picture and needs {MIN_PAIRS}, "
            f"it found {pairs}; set encode_content.text to lsa, precomputed or none and encode_content.image to "
            "pixels, precomputed or none"
        )
    torch.manual_seed(seed)
    vocabulary = _vocabulary(texts, settings.context_length)
    model = _build(settings, vocabulary).to(device)
    towers = Towers(model, vocabulary, _preprocess(settings.image_size))
    catalogue = _prepare(texts, pictures, towers)
    _fit(model, Catalogue(*(part.to(device) for part in catalogue)), settings, seed, log)
    return towers._replace(model=model.eval())


def _build(settings: OpenClip, vocabulary: Vocabulary) -> Any:
    import open_clip

    heads = WIDTH // HEAD_WIDTH
    vision = {"layers": LAYERS, "width": WIDTH, "head_width": HEAD_WIDTH, "image_size": settings.image_size}
    text = {"layers": LAYERS, "width": WIDTH, "heads": heads, "context_length": vocabulary.context_length}
    return open_clip.CLIP(
        embed_dim=settings.dimension,
        vision_cfg=vision | {"patch_size": settings.image_size // PATCHES, "pool_type": "avg"},
        text_cfg=text | {"vocab_size": len(vocabulary.tokens)},
    )


def _vocabulary(texts: Sequence[str], context_length: int) -> Vocabulary:
    tokens = _tokenize(shorten(texts, context_length), context_length)
    longest = int((tokens > 0).sum(dim=1).max())
    used = torch.unique(torch.cat([torch.zeros(1, dtype=torch.int64), tokens.flatten()]))
    return Vocabulary(used, longest)


def _tokenize(texts: list[str], context_length: int) -> Tensor:
    import open_clip

    tokens: Tensor = open_clip.tokenize(texts, context_length)
    return tokens


def _preprocess(side: int) -> Callable[["Image"], Tensor]:
    """The whole picture, squeezed to a square: a catalogue's pictures are shown in full, not cropped."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform: Callable[[Image], Tensor] = image_transform_v2(
        PreprocessCfg(size=side, resize_mode="squash"), is_train=False
    )
    return transform


def _prepare(texts: Sequence[str], pictures: Sequence[bytes | None], towers: Towers) -> Catalogue:
    from PIL import Image

    blank = Image.new("RGB", (1, 1))
    opened = (decode(picture) if picture else blank for picture in pictures)
    return Catalogue(
        tokens=towers.tokenize(shorten(texts, towers.tokenize.context_length)),
        pixels=torch.stack([towers.preprocess(picture) for picture in opened]),
        has_text=torch.tensor([bool(text) for text in texts]),
        has_picture=torch.tensor([bool(picture) for picture in pictures]),
    )


def _fit(model: Any, catalogue: Catalogue, settings: OpenClip, seed: int, log: Log) -> None:
    device = catalogue.tokens.device
    recovery = Recovery(settings.dimension, model.vocab_size).to(device)
    parameters = [*model.parameters(), *recovery.parameters()]
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=WEIGHT_DECAY)
    shown = (catalogue.has_text | catalogue.has_picture).nonzero().flatten().cpu()
    steps = settings.epochs * -(-len(shown) // settings.batch_size)
    warmup = WARMUP if WARMUP * (steps + 1) != 1 else 2 * WARMUP  # PyTorch divides by zero where it rises in no step
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps + 1, pct_start=warmup, cycle_momentum=False
    )
    generator = torch.Generator().manual_seed(seed)
    model.train()
    orders = (shown[torch.randperm(len(shown), generator=generator)] for _ in range(settings.epochs))
    batches = (rows for order in orders for rows in torch.split(order, settings.batch_size))
    for step, rows in enumerate(batches, start=1):
        losses = _losses(model, recovery, catalogue, rows.to(device))
        weighted = [loss * WEIGHTS[name] for name, loss in losses.items()]
        optimizer.zero_grad()
        torch.stack(weighted).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        log({name: float(loss.detach()) for name, loss in losses.items()} | {"progress": step / steps}, step)


def _losses(model: Any, recovery: Recovery, catalogue: Catalogue, rows: Tensor) -> dict[str, Tensor]:
    """Losses of one batch of items by the names in WEIGHTS; one that no item of the batch has is left out."""
    pictured, worded = rows[catalogue.has_picture[rows]], rows[catalogue.has_text[rows]]
    losses = {}
    image = text = torch.empty(0)
    if len(pictured):
        image = model.encode_image(catalogue.pixels[pictured], normalize=True)  # (B, D)
        losses["picture_loss"] = recovery.picture_loss(image, catalogue.pixels[pictured])
    if len(worded):
        text = model.encode_text(catalogue.tokens[worded], normalize=True)  # (B, D)
        losses["text_loss"] = recovery.text_loss(text, catalogue.tokens[worded])
    image, text = image[catalogue.has_text[pictured]], text[catalogue.has_picture[worded]]  # rows of the same items
    if len(image):
        losses["contrast_loss"] = _contrast(model.logit_scale.exp() * image @ text.T)
    return losses


def _contrast(similarities: Tensor) -> Tensor:
    """Each picture among all texts and each text among all pictures of the batch, (B, B)."""
    own = torch.arange(len(similarities), device=similarities.device)
    return (functional.cross_entropy(similarities, own) + functional.cross_entropy(similarities.T, own)) / 2
