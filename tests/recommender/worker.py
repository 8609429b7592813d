"""What each process of `test_parallel` runs: fine-tune the tiny recommender, leave what the first process has."""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mmesid.recommender import parallel
from mmesid.recommender.training import Trainer, TrainerState, finetuned

from .tiny_recommender import finetune_settings, protocol, sequences, usual_model


class EnoughError(Exception):
    """Stands for the end of the time that was given."""


def work(rank: int, processes: int, port: int, folder: Path, sharding: str, steps: int) -> None:
    """Train as process `rank`; stop after `steps` optimizer steps (0: never); continue the state in `folder`."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "RANK": rank, "LOCAL_RANK": rank}
    os.environ.update({name: str(value) for name, value in where.items()})
    torch.set_num_threads(1)
    settings = finetune_settings().model_copy(
        update={"sharding": sharding, "batch_tokens": 96, "targets_per_step": 24, "checkpoint_steps": 1, "epochs": 2}
    )
    accelerator = parallel.make_accelerator("cpu", settings, scores=0)
    trainer = Trainer(usual_model(), sequences(), settings, protocol(), 0, lambda metrics, step: None, accelerator)
    resume(trainer, folder)

    def save(state: TrainerState) -> None:
        if accelerator.is_main_process:
            save_file(dict(state.tensors), folder / "state.safetensors")
            (folder / "state.json").write_text(json.dumps({**state._asdict(), "tensors": None}))
        if state.total == steps:
            accelerator.wait_for_everyone()
            raise EnoughError

    try:
        curves = trainer.fit(save)
    except EnoughError:
        return
    finally:
        processes = accelerator.num_processes
        accelerator.end_training()
    if accelerator.is_main_process:
        model = finetuned(usual_model(), settings, trainer.state)
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        (folder / "curves.json").write_text(json.dumps({"processes": processes, "curves": curves}))


def resume(trainer: Trainer, folder: Path) -> None:
    if (folder / "state.json").exists():
        note = json.loads((folder / "state.json").read_text())
        trainer.resume(TrainerState(**{**note, "tensors": load_file(folder / "state.safetensors")}))
