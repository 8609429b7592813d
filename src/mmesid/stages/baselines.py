"""`baselines`: trains the rivals that the dataset lists, none by default."""

from mmesid.artifacts.baselines import save_rival, save_rivals
from mmesid.artifacts.content import load_content
from mmesid.artifacts.prepare import load_sequences
from mmesid.artifacts.store import Store
from mmesid.baselines.rivals import RIVALS
from mmesid.baselines.training import Log
from mmesid.config import Config
from mmesid.stages.entry import device, main
from mmesid.tracking import StageRun


def run(config: Config, store: Store, log: StageRun) -> None:
    """One after the other; writes weights and curves of each, and always the list of those that are there."""
    listed = config.baselines.rivals
    for place, name in enumerate(listed):
        told = _part(log, name, place, len(listed))
        found = RIVALS[name].train(load_sequences(store), load_content(store), config, device(), told)
        save_rival(store, name, found.weights, found.curves)
    save_rivals(store, listed)


def _part(log: Log, name: str, place: int, of: int) -> Log:
    """A log of one rival among several: metrics carry its name, progress is of all."""

    def told(metrics: dict[str, float], step: int) -> None:
        named = {f"{name}.{metric}": value for metric, value in metrics.items() if metric != "progress"}
        log(named | {"progress": (place + metrics["progress"]) / of} if "progress" in metrics else named, step)

    return told


if __name__ == "__main__":
    main(run)
