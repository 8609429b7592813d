"""Build the recommender before fine-tuning: backbone, item input, code embeddings from the trained codebooks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmesid.artifacts.curves import save_curves
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.items import texts
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.artifacts.values import Curves
from mmesid.config import EMBEDDED, Config, sizes
from mmesid.recommender import backbone, pretrained
from mmesid.recommender.building import build, scale_scores
from mmesid.recommender.compatibility import check_packing, check_window
from mmesid.recommender.loading import save_initial
from mmesid.recommender.prompt import build_prompt
from mmesid.stages.entry import device, main, one_thread
from mmesid.tracking import StageRun, warn

STAGE = "init_codes"


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes the recommender's tensors and its backbone or a pinned pointer to it."""
    settings, length = config.init_codes, config.protocol.history_length
    curves: Curves = []

    def record(metrics: dict[str, float], step: int) -> None:
        curves.append({"step": step, **{name: value for name, value in metrics.items() if name != "progress"}})
        log(metrics, step)

    own = settings.backbone == EMBEDDED
    if own:
        one_thread()
        prompts = [settings.system_prompt, settings.user_prompt]
        item_texts = texts(load_items(store), separator="\n")
        base = backbone.embedded(item_texts, prompts, settings.embedded, config.seed, device(), record)
    else:
        base = pretrained.load(settings, device(), config.seed, warn)
        prompt = build_prompt(base.tokenizer, settings.system_prompt, settings.user_prompt, settings.response)
        check_window(base, prompt, length)
        check_packing(base, prompt)
    sequences, embeddings, ids = load_sequences(store), load_embeddings(store), load_semantic_ids(store)
    model = build(base, embeddings, ids, sequences.train_frequency(), settings, length, config.seed)
    if settings.items == "tied" and not model.blueprint.item_id:
        _warn_of_bare_items([embeddings[modality].present[1:] for modality in model.blueprint.shapes])
    if not own:
        scale_scores(model, sequences.train())
    save_initial(store.folder(STAGE), model, base, own or pretrained.is_kept(settings))
    save_curves(store, STAGE, curves)


def _warn_of_bare_items(present: Sequence[NDArray[np.bool_]]) -> None:
    """Say where items that lack all content are many; `present` is (N,) for each modality that items are made of."""
    known = np.any(present, axis=0)
    if (bare := int((~known).sum())) > sizes.BARE * len(known):
        warn(
            f"{bare:,} of {len(known):,} items have nothing that is encoded, and are one and the same to the "
            "recommender; init_codes.item_id: true tells them apart by who took them"
        )


if __name__ == "__main__":
    main(run)
