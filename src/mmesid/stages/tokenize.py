"""Stage `tokenize`: trains MM-RQ-VAE on the items' embeddings and assigns semantic IDs."""

import sys

from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.files import save_tensors
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import save_diagnostics, save_semantic_ids
from mmesid.config import Config, sizes
from mmesid.stages.entry import device, main, one_thread
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """Read every modality's embedding; write semantic IDs, weights, diagnostics and training curves."""
    from mmesid.tokenizer.training import train

    embeddings = load_embeddings(store)
    if len(embeddings) == 1 and config.tokenize.alignment != "none":
        sys.stderr.write(f"{store.dataset}: {next(iter(embeddings))} is the only modality, there is nothing to align\n")
    widest = max(config.tokenize.dimension, *config.tokenize.hidden)
    if sizes.is_little(config.tokenize.batch_size, widest, widest):
        one_thread()
    result = train(embeddings, config.tokenize, config.seed, device(), log)
    save_semantic_ids(store, result.ids)
    save_tensors(store.folder("tokenize") / "tokenizer.safetensors", result.weights)
    save_curves(store, "tokenize", result.curves)
    log.summary({"tokenizer": result.diagnostics})
    log.artifact(save_diagnostics(store, result.diagnostics))


if __name__ == "__main__":
    main(run)
