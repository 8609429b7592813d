"""A recommender to measure, of real sizes and without any download: real lengths, random everything else.

`data/beauty_lengths.json` holds how many users of Amazon Beauty (2014, 5-core; the MME-SID authors' cut, 22,332 users,
12,086 items) have how many interactions. Embeddings, codes and items are drawn; the backbone is untrained. Time and
memory depend on the sizes alone.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.values import Embedding, SemanticIds, Sequences
from mmesid.artifacts.windows import Window
from mmesid.config import Config, Finetune, InitCodes, Protocol, load
from mmesid.recommender.backbone import Backbone, embedded
from mmesid.recommender.batching import plan_epoch
from mmesid.recommender.building import build as build_recommender
from mmesid.recommender.model import Recommender
from mmesid.recommender.training import Trainer

ROOT = Path(__file__).parents[1]
LENGTHS = ROOT / "benchmarks" / "data" / "beauty_lengths.json"
WIDTHS = {  # D of each modality
    "paper": {"collaborative": 64, "text": 1280, "image": 1280},  # all three, LLM2CLIP's width
    "small": {"collaborative": 64, "text": 384},  # MiniLM's
}
ZIPF_EXPONENT, ZIPF_SHIFT = 0.8, 50  # popularity of the item of rank r is (r + shift)^-exponent


class Size(NamedTuple):
    """What a measurement depends on; the defaults are those of the comparisons."""

    users: int | None = None  # None: all of Beauty's
    items: int = 12_086  # N
    embeddings: str = "paper"  # a name in WIDTHS
    layers: int = 4  # of the backbone
    width: int = 256  # C
    heads: int = 4
    length: int | None = None  # training items of every user; None: Beauty's lengths
    history_length: int = 50  # T
    row_tokens: int = 128  # of a packed row
    targets_per_step: int = 512
    dropout: bool = True  # as params.yaml has it, else none
    loss: str = "exact"
    loss_memory: int = 1024  # MiB
    texts: int = 2000  # item texts that the tokenizer is made from
    vocabulary: int = 2048
    seed: int = 0


QUICK = Size(users=60, items=80, layers=1, width=32, heads=2, targets_per_step=24, texts=100, vocabulary=700)


class World(NamedTuple):
    """A recommender ready for fine-tuning, in training mode, and the users to train it on."""

    trainer: Trainer
    sequences: Sequences
    settings: Finetune
    protocol: Protocol
    size: Size

    @property
    def model(self) -> Recommender:
        """The recommender."""
        return self.trainer.model

    @property
    def windows(self) -> list[Window]:
        """Every window of the training part."""
        return self.trainer.windows

    def steps(self, epoch: int = 0) -> Iterator[list[Window]]:
        """The windows of each optimizer step, as fine-tuning draws them."""
        for chosen in plan_epoch(self.windows, self.settings, self.size.seed, epoch):
            yield [self.windows[window] for window in chosen]

    def targets(self) -> int:
        """Training targets of an epoch."""
        return sum(len(window.labels) for window in self.windows)


DROPOUTS = ("adapter_dropout", "input_dropout", "layer_dropout", "output_dropout")


def build(size: Size) -> World:
    """Draw a world; the same size gives the same world."""
    model, sequences = fresh(size)
    settings = defaults().finetune.model_copy(
        update={
            "row_tokens": size.row_tokens,
            "targets_per_step": size.targets_per_step,
            "max_targets_per_epoch": None,
            "loss": size.loss,
            "loss_memory": size.loss_memory,
            "precision": "float32",  # the ways that are compared do without autocast
            **({} if size.dropout else dict.fromkeys(DROPOUTS, 0.0)),
        }
    )
    protocol = defaults().protocol.model_copy(update={"history_length": size.history_length})
    trainer = Trainer(  # adds adapter and dropout
        model, sequences, settings, protocol, size.seed, lambda metrics, step: None
    )
    trainer.model.train()
    return World(trainer, sequences, settings, protocol, size)


def fresh(size: Size) -> tuple[Recommender, Sequences]:
    """The recommender before fine-tuning, and its users."""
    draw = np.random.default_rng(size.seed)
    sequences = draw_sequences(size, draw)
    return _recommender(defaults(), size, sequences, draw), sequences


def defaults() -> Config:
    """The parameters of `params.yaml` alone, without what a dataset overrides."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "conf").mkdir()
        (Path(folder) / "conf" / "benchmark.yaml").write_text("{}\n", encoding="utf-8")
        (Path(folder) / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        return load("benchmark", Path(folder))


def draw_sequences(size: Size, draw: np.random.Generator) -> Sequences:
    """Users with Beauty's lengths (or all of one length) and items by a Zipf-like law."""
    if size.length is None:
        histogram = {int(length): users for length, users in json.loads(LENGTHS.read_text(encoding="utf-8")).items()}
        lengths = draw.permutation(np.repeat(list(histogram), list(histogram.values())))[: size.users]
    else:
        lengths = np.full(size.users or 1, size.length + 2)  # the last two are validation and test
    popularity = (np.arange(1, size.items + 1) + ZIPF_SHIFT) ** -ZIPF_EXPONENT
    cumulated = np.cumsum(popularity / popularity.sum())
    names = 1 + draw.permutation(size.items)  # which item has which rank
    ranks = np.searchsorted(cumulated, draw.random(int(lengths.sum()))).clip(max=size.items - 1)
    items = np.split(names[ranks].astype(np.int64), np.cumsum(lengths)[:-1])
    return Sequences([f"user-{user}" for user in range(len(lengths))], items, size.items)


def _recommender(config: Config, size: Size, sequences: Sequences, draw: np.random.Generator) -> Recommender:
    """The recommender before fine-tuning, its item table drawn: how it starts changes no time."""
    init = config.init_codes
    small = {
        "layers": size.layers,
        "width": size.width,
        "heads": size.heads,
        "vocabulary": size.vocabulary,
        "pretrain_steps": 0,
    }
    settings = init.model_copy(update={"item_table": "random", "embedded": init.embedded.model_copy(update=small)})
    prompts = [settings.system_prompt, settings.user_prompt]
    backbone = embedded(
        draw_texts(size.texts, draw), prompts, settings.embedded, size.seed, "cpu", lambda metrics, step: None
    )
    return surround(backbone, settings, size, sequences, WIDTHS[size.embeddings], draw)


def surround(
    backbone: Backbone,
    settings: InitCodes,
    size: Size,
    sequences: Sequences,
    widths: Mapping[str, int],
    draw: np.random.Generator,
) -> Recommender:
    """Put a recommender with random embeddings and codes of every modality around a backbone."""
    tokenize = defaults().tokenize
    present = np.arange(size.items + 1) > 0  # (N + 1,)
    embeddings = {name: Embedding(_rows(present, width, draw), present) for name, width in widths.items()}
    levels, codes, width = tokenize.levels, tokenize.codes, tokenize.dimension
    ids = SemanticIds(
        {name: draw.integers(0, codes, (size.items + 1, levels)) * present[:, None] for name in widths},
        {name: draw.standard_normal((levels, codes, width), dtype=np.float32) for name in widths},
        dict.fromkeys(widths, present),
    )
    frequency, length = sequences.train_frequency(), size.history_length
    return build_recommender(backbone, embeddings, ids, frequency, settings, length, size.seed)


def draw_texts(count: int, draw: np.random.Generator) -> list[str]:
    """Item texts of invented words."""
    syllables = np.array([first + second for first in "bdfglmnprstvz" for second in "aeiou"])
    words = np.array(["".join(draw.choice(syllables, draw.integers(1, 4))) for _ in range(500)])
    return [" ".join(draw.choice(words, draw.integers(4, 12))) for _ in range(count)]


def _rows(present: NDArray[np.bool_], width: int, draw: np.random.Generator) -> NDArray[np.float32]:
    """Normal rows where an item has one, (N + 1, D)."""
    rows: NDArray[np.float32] = draw.standard_normal((len(present), width), dtype=np.float32)
    return rows * present[:, None]
