"""Does packing change what is learned? Validation nDCG@10 after equal optimizer steps, packed against one prefix a row.

`python -m benchmarks.equal_steps [--quick] [--output FILE]`. Fine-tunes the recommender of a finished run on `sample`
(its `init_codes`) twice per seed on the same windows in the same order, with dropout on, and compares the
checkpoint-selecting users' nDCG@10. With dropout off the two are equal to rounding (tests); with it they draw different
masks, so this asks whether they agree within the spread of seeds. Ratio, a and b are means over the seeds.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import measure, steps, training
from mmesid import config as configuration
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.artifacts.windows import Window
from mmesid.config import Finetune, Protocol
from mmesid.recommender import loading
from mmesid.recommender.training import Trainer

NAME = "equal_steps"
SEEDS, EPOCHS = (0, 1, 2), 3


class PaddedTrainer(Trainer):
    """Fine-tuning as it is, but for one prefix per row in padded batches."""

    def step(self, windows: Sequence[Window]) -> torch.Tensor:
        """One optimizer step; the mean loss."""
        self.schedule()
        torch.manual_seed((self.seed * 1_000_003 + self.state.total) % 2**63)
        loss = steps.padded(self.model, windows)
        training.move(self)
        return torch.tensor(loss)


def main() -> None:
    """Train, compare, print, write."""
    parser = argparse.ArgumentParser(prog=f"benchmarks.{NAME}", description=__doc__)
    measure.add_options(parser)
    parser.add_argument("--project", type=Path, default=measure.ROOT, help="folder with a finished run on sample")
    given = parser.parse_args()
    store, config = Store("sample", given.project), configuration.load("sample", given.project)
    if not (store.folder("init_codes") / "recommender.json").exists():
        sys.exit(f"{given.project}/data/sample/init_codes is not there: `make repro` first")
    # One precision: the padded trainer does without autocast.
    settings = config.finetune.model_copy(update={"epochs": 1 if given.quick else EPOCHS, "precision": "float32"})
    if given.quick:
        settings = settings.model_copy(update={"max_targets_per_epoch": 600})
    seeds = SEEDS[:1] if given.quick else SEEDS
    found = compare(store.folder("init_codes"), load_sequences(store), settings, config.protocol, seeds)
    measure.finish(found, given)


def compare(
    initial: Path, sequences: Sequences, settings: Finetune, protocol: Protocol, seeds: Sequence[int]
) -> measure.Result:
    """Both ways with every seed.

    Args:
        initial: folder of `init_codes`.
        sequences: the users.
        settings: the `finetune` section.
        protocol: how validation is judged.
        seeds: of windows, order and dropout.
    """
    found: dict[type[Trainer], list[float]] = {Trainer: [], PaddedTrainer: []}
    for seed in seeds:
        for kind, values in found.items():
            values.append(validation(kind, initial, sequences, settings, protocol, seed))
    packed, padded = found[Trainer], found[PaddedTrainer]
    a, b = statistics.mean(packed), statistics.mean(padded)
    return {
        "name": NAME,
        "ratio": a / b,
        "a": a,
        "b": b,
        "a_is": "packed rows",
        "b_is": "one prefix per row",
        "a_runs": packed,
        "b_runs": padded,
        "unit": "validation nDCG@10",
        "runs": len(seeds),
        "epochs": settings.epochs,
        "machine": measure.machine(),
    }


def validation(
    kind: type[Trainer], initial: Path, sequences: Sequences, settings: Finetune, protocol: Protocol, seed: int
) -> float:
    """nDCG@10 of the users that select checkpoints, after the last epoch."""
    model = loading.load_initial(initial, "cpu")
    curves = kind(model, sequences, settings, protocol, seed, lambda metrics, step: None).fit(lambda state: None)
    return float([row["valid_ndcg_at_10"] for row in curves if "epoch" in row][-1])


if __name__ == "__main__":
    main()
