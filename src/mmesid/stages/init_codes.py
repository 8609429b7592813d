"""Build the recommender before fine-tuning: backbone, item input, code embeddings from the trained codebooks."""

import pandas as pd

from mmesid.artifacts.curves import save_history
from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.prepare import load_prepared
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.config import Config
from mmesid.recommender import backbone as backbones
from mmesid.recommender.building import build
from mmesid.recommender.loading import save_initial
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun

_TEXT_COLUMNS_LEFT_OUT = ("item_id", "image", "image_name", "file", "row")


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes the recommender's tensors and its backbone or a pinned pointer to it."""
    settings = config.init_codes
    prepared = load_prepared(store)
    history: list[dict[str, float]] = []

    def record(metrics: dict[str, float], step: int) -> None:
        history.append({"step": step, **{name: value for name, value in metrics.items() if name != "progress"}})
        log(metrics, step)

    own = settings.backbone == "embedded"
    if own:
        texts = _texts(prepared.items)
        prompts = [settings.system_prompt, settings.user_prompt]
        found = backbones.embedded(texts, prompts, settings.embedded, config.seed, device(), record)
    else:
        found = backbones.load(settings)
    frequency = prepared.sequences.train_frequency()
    model = build(found, load_embeddings(store), load_semantic_ids(store), frequency, settings, config.seed)
    save_initial(store.folder("init_codes"), model, found, own)
    save_history(store, "init_codes", history)


def _texts(items: pd.DataFrame) -> list[str]:
    """Every text column of every item, title first, joined by line breaks."""
    columns = [column for column in items.columns if column not in _TEXT_COLUMNS_LEFT_OUT]
    return items[columns].fillna("").astype(str).agg("\n".join, axis=1).to_list()


if __name__ == "__main__":
    main(run)
