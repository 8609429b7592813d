"""Settings that follow from how large a catalogue is: every such rule, once. docs/log.md has what most of them rest on.

`mmesid add` writes some into a conf and says so; trainers take those of a step where the conf names none.
"""

from typing import NamedTuple

from mmesid.config.training import EMBEDDED

MAX_CODES = 256  # the default of tokenize.codes
ITEMS_PER_CODE = 4  # a codebook larger than a quarter of the items leaves codes without items

DENSE = 100  # interactions per item from which items are known by who took them
DENSE_DROPOUT = 0.2  # of SASRec, as its authors set it for MovieLens (arXiv 1808.09781)
BARE = 0.1  # of the items: without content and without ids these are one and the same to the recommender
LONG = 100  # interactions per user from which histories longer than the default's are worth their time
LONG_HISTORY = 100  # items, T
LARGE = 200_000  # targets of an epoch from which one pass is worth several over fewer, and adapters hold back
LARGE_EPOCHS = {"encode_collaborative": 8, "finetune": 10}
LARGE_ADAPTER = "full"  # of the embedded backbone, whose words are worth little

SASREC_STEPS = 40  # of an epoch, at least
STEPS = 44  # of an epoch of fine-tuning: what 131,000 targets learn well in
FEWEST_TARGETS, MOST_TARGETS = 256, 4096  # of a step, on average
MANY_SCORES = 2**23  # targets times items of a step from which products in bfloat16 save time, and several threads
WIDTH = 128  # of the vectors that were multiplied where this was measured


class Size(NamedTuple):
    """What preparation leaves."""

    users: int
    items: int
    interactions: int

    @property
    def targets(self) -> int:
        """Training targets of an epoch: a user's first item and the last two, for validation and test, are none."""
        return max(0, self.interactions - 3 * self.users)

    @property
    def dense(self) -> bool:
        """Whether items are taken so often that who took them tells more than what they are."""
        return self.interactions >= DENSE * self.items > 0

    @property
    def long(self) -> bool:
        """Whether users are much longer than the default's history."""
        return self.interactions >= LONG * self.users > 0


class Choice(NamedTuple):
    """A setting that differs from params.yaml's, and why."""

    section: str
    key: str
    value: float | str
    reason: str


def codes(items: int, least: int) -> int:
    """Codes of a level.

    Args:
        items: N.
        least: items of the modality that the fewest have: a codebook cannot hold more codes.
    """
    found = MAX_CODES
    while found > 2 and (found * ITEMS_PER_CODE > items or found > least):
        found //= 2
    return found


def choices(size: Size, least: int, bare: int = 0, backbone: str = EMBEDDED) -> list[Choice]:
    """What `mmesid add` writes into a conf because of a catalogue's size; nothing where the defaults fit.

    Args:
        size: of the catalogue after preparation.
        least: as for `codes`.
        bare: items without anything that is encoded of them, where others have something.
        backbone: as in `init_codes.backbone`; of a pretrained one nothing is known.
    """
    found = []
    if (fitting := codes(size.items, least)) < MAX_CODES:
        found.append(Choice("tokenize", "codes", fitting, f"{min(size.items, least):,} items to share them"))
    if size.long:
        per_user = f"{size.interactions / size.users:,.0f} interactions per user"
        found.append(Choice("protocol", "history_length", LONG_HISTORY, per_user))
    if size.dense:
        per_item = f"{size.interactions / size.items:,.0f} interactions per item"
        found.append(Choice("encode_collaborative", "dropout", DENSE_DROPOUT, per_item))
        found.append(Choice("init_codes", "item_id", True, per_item))
    elif bare > BARE * size.items:
        alike = f"{bare:,} of {size.items:,} items that have neither text nor picture to tell them apart"
        found.append(Choice("init_codes", "item_id", True, alike))
    if size.targets > LARGE:
        targets = f"{size.targets:,} targets an epoch"
        found += [Choice(section, "epochs", epochs, targets) for section, epochs in LARGE_EPOCHS.items()]
        if backbone == EMBEDDED:
            found.append(Choice("finetune", "adapter", LARGE_ADAPTER, targets))
    return found


def step_targets(targets: int) -> int:
    """Targets of an optimizer step of fine-tuning, so that small sets get as many steps an epoch as large ones.

    Args:
        targets: of an epoch.
    """
    return min(max(targets // STEPS, FEWEST_TARGETS), MOST_TARGETS)


def is_little(rows: int, columns: int, width: int = WIDTH) -> bool:
    """Whether a step's largest matrix product is so small that sharing it among threads costs more than it saves.

    Args:
        rows: of the product, such as targets.
        columns: of the product, such as items.
        width: what is summed over.
    """
    return rows * columns * width < MANY_SCORES * WIDTH


def step_windows(windows: int, targets: int, at_most: int) -> int:
    """Windows of a step of SASRec: an epoch has 40 steps or more, a step 4,096 targets on average or fewer.

    Args:
        windows: of an epoch.
        targets: of an epoch.
        at_most: a larger number is never returned.
    """
    return max(1, min(at_most, windows // SASREC_STEPS, MOST_TARGETS * windows // targets))
