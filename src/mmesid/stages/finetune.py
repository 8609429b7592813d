"""Fine-tune the recommender on every training target; a killed run continues from its last checkpoint."""

import hashlib
import sys
import time

from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.finetune import drop_trainer, load_trainer, save_trainer
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.windows import training_windows
from mmesid.config import EMBEDDED, Config, sizes
from mmesid.pipeline import code
from mmesid.recommender import adapter, loading, parallel, training
from mmesid.recommender.batching import targets_per_step
from mmesid.recommender.diagnostics import complaints
from mmesid.recommender.forecast import check_hours, foretell
from mmesid.stages.entry import device, main_spread, one_thread
from mmesid.tracking import StageRun, warn


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes the adapter, the recommender's tensors and the training curves.

    In several processes (`MMESID_PROCESSES`) all train, and the first one writes.
    """
    settings = config.finetune
    sequences = load_sequences(store)
    targets = targets_per_step(training_windows(sequences.train(), config.protocol.history_length), settings)
    accelerator = parallel.make_accelerator(device(), settings, targets * sequences.n_items)
    model = loading.load_initial(store.folder("init_codes"), str(accelerator.device))
    if model.blueprint.backbone == EMBEDDED and sizes.is_little(targets, sequences.n_items):
        one_thread()
    trainer = training.Trainer(model, sequences, settings, config.protocol, config.seed, log, accelerator)
    started_as = fingerprint(config, store)
    resumed = _resume(trainer, store, started_as)

    if accelerator.is_main_process:
        sys.stderr.write(
            "finetune: a trial of a small batch, and a whole one if that is quick, to foretell time and memory\n"
        )
        sys.stderr.flush()
    forecast = foretell(trainer, time.perf_counter)
    check_hours(forecast, settings.max_hours)
    if accelerator.num_processes == 1 and not resumed:  # several must deal a step's rows alike
        trainer.state = trainer.state._replace(batch_tokens=forecast.batch_tokens)
    start = trainer.begin()
    if accelerator.is_main_process:
        sys.stderr.write(f"finetune: {forecast.describe()}\n")
        for complaint in complaints(start) if model.blueprint.backbone != EMBEDDED else ():
            warn(complaint)
        if settings.layer_dropout and not adapter.adding(model.backbone):
            warn("finetune.layer_dropout has no effect: none of the backbone's layers has a name that it knows")
        if (taken := trainer.state.batch_tokens) < settings.batch_tokens:
            warn(
                f"the memory at hand holds {taken:,} tokens, not {settings.batch_tokens:,}: each pass draws its "
                "own dropout, so for the same result on another machine set finetune.batch_tokens to that"
            )
        log.summary({"forecast": {"hours": forecast.hours, "batch_tokens": taken}})

    def save(state: training.TrainerState) -> None:
        note = {**state._asdict(), "tensors": None, "fingerprint": started_as}
        if accelerator.is_main_process:
            save_trainer(store, state.tensors, note)

    curves = trainer.fit(save)
    if accelerator.is_main_process:
        if accelerator.is_fsdp2:  # the model is spread over the processes: put its best weights into a whole one
            model = training.finetuned(loading.load_initial(store.folder("init_codes"), "cpu"), settings, trainer.state)
        loading.save_finetuned(store.folder("finetune"), model, adapter.lora_settings(settings))
        save_curves(store, "finetune", curves)
        drop_trainer(store)
        for name in ("adapter.safetensors", "adapter.json", "recommender.json"):
            log.artifact(store.folder("finetune") / name)
    accelerator.end_training()


def _resume(trainer: training.Trainer, store: Store, started_as: str) -> bool:
    """Continue only what began with the same data, parameters and code; anything else starts anew."""
    left = load_trainer(store, warn)
    if left is None:
        return False
    tensors, note = left
    if note.pop("fingerprint") != started_as:
        drop_trainer(store)
        return False
    trainer.resume(training.TrainerState(**{**note, "tensors": tensors}))
    return True


def fingerprint(config: Config, store: Store) -> str:
    """Of all that decides the result; a comment in the code does not."""
    digest = hashlib.sha256(repr((config.seed, config.protocol, config.finetune, code.digest("finetune"))).encode())
    initial = sorted(path for path in store.folder("init_codes").rglob("*") if path.is_file())
    for path in [store.folder("prepare") / "sequences.parquet", *initial]:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main_spread(run)
