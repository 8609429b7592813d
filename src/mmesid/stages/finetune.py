"""Fine-tune the recommender on every training target; a killed run continues from its last checkpoint."""

import hashlib
from pathlib import Path

from mmesid import artifacts
from mmesid.artifacts import Store
from mmesid.config import Config
from mmesid.recommender import adapter, loading, training
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes the adapter, the recommender's tensors and the training curves."""
    settings = config.finetune
    sequences = artifacts.load_prepared(store).sequences
    model = loading.load_initial(store.folder("init_codes"), device())
    trainer = training.Trainer(model, sequences, settings, config.seed, log)
    fingerprint = _fingerprint(config, store)
    _resume(trainer, store, fingerprint)

    def save(state: training.TrainerState) -> None:
        note = {**state._asdict(), "tensors": None, "fingerprint": fingerprint}
        artifacts.save_trainer(store, state.tensors, note)

    history = trainer.fit(save)
    loading.save_finetuned(store.folder("finetune"), model, adapter.lora_settings(settings))
    artifacts.save_history(store, "finetune", history)
    artifacts.drop_trainer(store)
    for name in ("adapter.safetensors", "adapter.json", "recommender.json"):
        log.artifact(store.folder("finetune") / name)


def _resume(trainer: training.Trainer, store: Store, fingerprint: str) -> None:
    """Continue only what began with the same data, parameters and code; anything else starts anew."""
    left = artifacts.load_trainer(store)
    if left is None:
        return
    tensors, note = left
    if note.pop("fingerprint") == fingerprint:
        trainer.resume(training.TrainerState(**{**note, "tensors": tensors}))
    else:
        artifacts.drop_trainer(store)


def _fingerprint(config: Config, store: Store) -> str:
    digest = hashlib.sha256(f"{config.seed} {config.finetune.model_dump_json()}".encode())
    inputs = [store.folder("prepare") / "sequences.parquet", *sorted(store.folder("init_codes").glob("*.safetensors"))]
    for path in [*inputs, *sorted(Path(training.__file__).parent.glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main(run)
