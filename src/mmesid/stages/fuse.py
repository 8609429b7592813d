"""Weigh the network's score and the evidence that needs no training, by the training interactions of an item."""

from functools import partial

from mmesid.artifacts.encode import load_embeddings
from mmesid.artifacts.fuse import save_fusion
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.tokenize import load_semantic_ids
from mmesid.baselines import sasrec
from mmesid.baselines.rivals import RIVALS
from mmesid.config import Config
from mmesid.evaluation.ranking import Scores
from mmesid.fusion import fusing
from mmesid.models import EVIDENCE_MODEL, FUSED_BASELINE, MAIN_MODEL, fused_late
from mmesid.recommender import loading
from mmesid.recommender.inference import Scorer
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """See `dvc.yaml`; writes weights, transition memory and content tables."""
    sequences = load_sequences(store)
    tables = fusing.build_tables(sequences, load_embeddings(store), load_semantic_ids(store), config.fuse)
    networks: dict[str, Scores | None] = {
        MAIN_MODEL: Scorer(loading.load_finetuned(store.folder("init_codes"), store.folder("finetune"), device())),
        FUSED_BASELINE: sasrec.scores(store, config, sequences),
        EVIDENCE_MODEL: None,
    }
    fit = partial(fusing.fuse, tables=tables, sequences=sequences, settings=config.fuse, protocol=config.protocol)
    found = fit(networks, seed=config.seed, device=device())
    for name, rival in RIVALS.items():  # by themselves: what is listed must not change the weights of ours
        if scores := rival.scores(store, config, sequences):
            found = fusing.merged(found, fit({fused_late(name): scores}, seed=config.seed, device=device()))
    log.summary({"fusion": fusing.weights_summary(found.fusion), "loss": found.losses, "users": found.users})
    log.artifact(save_fusion(store.folder("fuse"), found.fusion))


if __name__ == "__main__":
    main(run)
