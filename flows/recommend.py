"""Score every user in one go: the champion's best items for each, as Parquet.

`mmesid recommend sample --all -k 20`, or `python -m flows.recommend sample -k 20`. A user's history is all that
`prepare` knows of it, the last item included. The file is written whole or not at all, and names the version that made
it.
"""

import argparse
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, update_progress_artifact
from pydantic import Field

from flows.entrance import ended_by_sigterm, enter
from flows.pages import progress_bar, slug
from mmesid import config, registry, tracking
from mmesid.artifacts.files import save_frame
from mmesid.artifacts.prepare import load_items, load_sequences
from mmesid.artifacts.store import Store
from mmesid.artifacts.values import Sequences
from mmesid.errors import RequestError
from mmesid.serving import Answer, Service

USERS = 1024  # scored between two steps of the progress
K = 20


@flow(name="recommend", log_prints=False)
def recommend(dataset: str, k: Annotated[int, Field(ge=1)] = K, root: Path | None = None) -> Path:
    """Write `recommendations/<dataset>.parquet`: user_id, rank, item_id, title, score, model.

    Args:
        dataset: it has a champion, and its `prepare` stage is done.
        k: items per user, at most.
        root: the project's folder, the working directory by default.

    Returns:
        The file.
    """
    with ended_by_sigterm():
        root = (root or Path()).absolute()
        champion = registry.champion_of(dataset, root)  # asked for once: a promotion during the flow changes nothing
        service = registry.load_version(champion)
        store = Store(dataset, root)
        sequences, item_ids = load_sequences(store), load_items(store)["item_id"].astype(str).to_list()
        model = f"{champion.name}/{champion.version}"
        path = root / "recommendations" / f"{dataset}.parquet"
        scored = score(service, sequences, item_ids, k, slug(f"recommend-{dataset}"))
        if scored.empty:
            raise RequestError(
                f"{model} knows no item that any user of `prepare` took; `mmesid retrain` trains on these"
            )
        save_frame(path, scored.assign(model=model))
        users = scored["user_id"].nunique()
        text = f"{users:,} users, up to {k} items each, by {model}: `{path}`"
        if without := len(sequences.user_ids) - users:
            text += f"; left out: {without:,} users who took only items that this model does not know"
        create_markdown_artifact(text, key=slug(f"recommendations-{dataset}"), description="Batch scoring")
        get_run_logger().info(text)
        return path


def score(service: Service, sequences: Sequences, item_ids: list[str], k: int, key: str) -> pd.DataFrame:
    """The best items of every user who took an item that the champion knows, under a progress artifact with this key.

    Args:
        service: of the champion.
        sequences: each user's items, 1..N.
        item_ids: of the items 1..N, in that order.
        k: items per user, at most.
        key: of the artifact.
    """
    known = np.array([False, *map(service.knows, item_ids)])  # (N + 1,)
    users = [user for user, items in enumerate(sequences.items) if known[items].any()]
    bar = progress_bar(0.0, key, f"{len(users):,} users")
    frames = []
    for start in range(0, len(users), USERS):
        batch = users[start : start + USERS]
        histories = [[item_ids[item - 1] for item in sequences.items[user]] for user in batch]
        answers = service.recommend(histories, min(k, service.n_items))
        frames.append(table([sequences.user_ids[user] for user in batch], answers))
        update_progress_artifact(bar, 100 * min(1.0, (start + USERS) / len(users)))
    return pd.concat(frames, ignore_index=True) if frames else table([], [])


def table(user_ids: list[str], answers: list[Answer]) -> pd.DataFrame:
    """A row per user and item, best first."""
    rows = [
        (user, rank, item.item_id, item.title, item.score)
        for user, answer in zip(user_ids, answers, strict=True)
        for rank, item in enumerate(answer.items, start=1)
    ]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "title", "score"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.recommend", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("dataset", help="it has a champion")
    parser.add_argument("-k", type=int, default=K, help=f"items per user, {K} by default")
    options = parser.parse_args()

    def check() -> None:
        if options.k < 1:
            raise RequestError(f"-k: expected 1 or more, got {options.k}")
        config.check_conf(options.dataset)
        registry.check_files(tracking.client(), registry.champion_of(options.dataset), "champion")

    enter(check, lambda: recommend(options.dataset, options.k), "stopped; nothing was written")


if __name__ == "__main__":
    main()
