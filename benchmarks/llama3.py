"""Fine-tuning Llama-3-8B's exact shape on this GPU: `python -m benchmarks.llama3`

Random weights (time and memory do not depend on them), users of Beauty's real lengths, LoRA as the MME-SID authors set
it (r 8 on gate, up and down), bfloat16. Ways to the same optimizer step: packed rows with flex attention and with
sdpa, padded batches of one prefix per row, and micro-batches of one prefix. Each way runs in a process of its own; one
that does not fit into memory says so.

FLOP/s count 4 x backbone parameters x tokens: forward and backward through frozen weights, recomputation not counted.
They stand beside what one large bfloat16 matrix product reaches on the same card.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import steps, training, worlds
from benchmarks.measure import RESULTS, machine
from mmesid.artifacts.files import save_json
from mmesid.artifacts.windows import Window
from mmesid.config import Finetune
from mmesid.config.sizes import MANY_SCORES
from mmesid.recommender import parallel
from mmesid.recommender.backbone import Backbone
from mmesid.recommender.batching import plan_epoch
from mmesid.recommender.prompt import Prompt
from mmesid.recommender.training import Trainer

WAYS = ("packed_flex", "packed_sdpa", "padded", "single")
PAPER = {"items": "table", "item_table": "random", "response": "header"}  # of init_codes
PROMPT = Prompt(list(range(1, 34)), [40, 41, 42, 43])  # as long as the paper's in Llama-3's chat template


class _NoTokenizer:
    """Stands where a prompt is built that PROMPT then replaces."""

    chat_template = bos_token = None

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [0]}


class Shape(NamedTuple):
    """Sizes of the backbone and of what surrounds it."""

    hidden: int = 4096
    intermediate: int = 14_336
    layers: int = 32
    heads: int = 32
    key_value_heads: int = 8
    vocabulary: int = 128_256
    users: int | None = None  # None: all of Beauty's
    items: int = 12_086


LLAMA_3_8B = Shape()
QUICK = Shape(64, 96, 2, 4, 2, 200, 60, 80)


def main() -> None:
    """Measure every way, print, and write `results/llama3.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default=",".join(WAYS), type=lambda text: text.split(","))
    parser.add_argument("--targets-per-step", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5, help="that are timed, after two that are not")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; nothing is written")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(measure(given.one, given)) + "\n")
        return
    found = {way: run_alone(way) for way in given.ways}
    result = {"name": "llama3", "matmul_flops": matmul_flops(given.quick), "ways": found, "machine": machine()}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if not given.quick:
        save_json(RESULTS / "llama3.json", result)


def run_alone(way: str) -> dict[str, Any]:
    """One way in a process of its own, so that none inherits another's memory."""
    command = [sys.executable, "-m", "benchmarks.llama3", *sys.argv[1:], "--one", way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure(way: str, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds per optimizer step of one way, and what follows from it."""
    shape = QUICK if given.quick else LLAMA_3_8B
    trainer, parameters = build(shape, settings(way, given))
    prompt, device = trainer.model.blueprint.prompt, trainer.model.device
    work, tokens = WORK[way], TOKENS[way]
    chosen = [[trainer.windows[w] for w in plan] for plan in _plans(trainer, given.steps + 2)]
    seconds = []
    for windows in chosen:
        _wait(device)
        start = time.perf_counter()
        work(trainer, windows)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    step = statistics.median(seconds[2:])
    step_tokens = statistics.mean(tokens(trainer, windows) for windows in chosen[2:])
    targets = sum(len(window.labels) for window in trainer.windows)
    rate = statistics.mean(sum(len(w.labels) for w in windows) for windows in chosen[2:]) / step
    return {
        "seconds_per_step": seconds[2:],
        "tokens_per_second": step_tokens / step,
        "targets_per_second": rate,
        "epoch_seconds": targets / rate,
        "flops": 4 * parameters * step_tokens / step,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        "parameters": parameters,
        "targets_per_epoch": targets,
        "prompt_tokens": [len(prompt.before), len(prompt.after)],
    }


def settings(way: str, given: argparse.Namespace) -> Finetune:
    """The authors' LoRA on the product's trainer."""
    return worlds.defaults().finetune.model_copy(
        update={
            "rank": 8,
            "alpha": 16,
            "target_modules": ["gate_proj", "up_proj", "down_proj"],
            "precision": "bfloat16" if torch.cuda.is_available() else "float32",
            "attention": "flex" if way == "packed_flex" and torch.cuda.is_available() else "sdpa",
            "gradient_checkpointing": given.checkpointing,
            "targets_per_step": 24 if given.quick else given.targets_per_step,
            "row_tokens": given.row_tokens,
            "batch_tokens": given.batch_tokens,
            "max_targets_per_epoch": None,
        }
    )


def build(shape: Shape, chosen: Finetune) -> tuple[Trainer, int]:
    """A trainer around a random backbone of that shape, and the backbone's parameters (embeddings left out)."""
    from transformers import LlamaConfig, LlamaModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        dtype="bfloat16" if device == "cuda" else "float32",
    )
    with torch.device(device):
        backbone = LlamaModel(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
    embeddings = backbone.get_input_embeddings().weight.numel()
    parameters = sum(parameter.numel() for parameter in backbone.parameters()) - embeddings
    size, draw = worlds.Size(users=shape.users, items=shape.items), np.random.default_rng(0)
    sequences = worlds.draw_sequences(size, draw)
    init = worlds.defaults().init_codes.model_copy(update=PAPER)
    named = Backbone(backbone, _NoTokenizer(), 0.02, "llama-3-8b-shape", None, "bfloat16")
    model = worlds.surround(named, init, size, sequences, worlds.WIDTHS[size.embeddings], draw)
    model.blueprint = replace(model.blueprint, prompt=PROMPT)
    accelerator, protocol = parallel.make_accelerator(device, chosen, MANY_SCORES), worlds.defaults().protocol
    trainer = Trainer(model.to(device), sequences, chosen, protocol, 0, lambda metrics, step: None, accelerator)
    return trainer, parameters


def matmul_flops(quick: bool) -> float:
    """FLOP/s of one large bfloat16 matrix product on this machine, the median of 20."""
    device, side = torch.device("cuda" if torch.cuda.is_available() else "cpu"), 128 if quick else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(25):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(seconds[5:])


def _unpacked(gradients: Callable[..., float]) -> Callable[[Trainer, Sequence[Window]], None]:
    """An optimizer step after another way to the gradients."""

    def step(trainer: Trainer, windows: Sequence[Window]) -> None:
        with trainer.accelerator.autocast():
            gradients(trainer.model.train(), windows)
        training.move(trainer)

    return step


def _packed(trainer: Trainer, windows: Sequence[Window]) -> None:
    trainer.model.train()
    trainer.step(windows)


def _prefix_tokens(trainer: Trainer, windows: Sequence[Window]) -> int:
    return sum(len(prefix.items) + sum(map(len, PROMPT)) for prefix in steps.prefixes(windows))


def _plans(trainer: Trainer, count: int) -> list[Any]:
    return plan_epoch(trainer.windows, trainer.settings, trainer.seed, 0)[:count]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


WORK: dict[str, Callable[[Trainer, Sequence[Window]], None]] = {
    "packed_flex": _packed,
    "packed_sdpa": _packed,
    "padded": _unpacked(steps.padded),
    "single": _unpacked(steps.authors),
}
TOKENS: dict[str, Callable[[Trainer, Sequence[Window]], int]] = {
    "packed_flex": lambda t, w: steps.packed_tokens(t.model, w, t.settings.row_tokens),
    "packed_sdpa": lambda t, w: steps.packed_tokens(t.model, w, t.settings.row_tokens),
    "padded": lambda t, w: steps.padded_tokens(t.model, w),
    "single": _prefix_tokens,
}

if __name__ == "__main__":
    main()
