"""Where things lie: the one place that knows the folders of a dataset."""

from pathlib import Path

from mmesid.artifacts import source

EXPERIMENTS = (".dvc", "tmp", "exps")  # where `dvc exp run --temp` and `dvc queue start` copy a checkout to


class Store:
    """The folders of one dataset. Asking where something lies makes nothing: whoever writes makes the folder."""

    def __init__(self, dataset: str, root: Path = Path()) -> None:
        self.dataset = dataset
        self.root = root

    def folder(self, stage: str) -> Path:
        """`data/<dataset>/<stage>`."""
        return self.root / "data" / self.dataset / stage

    def source(self) -> Path:
        """Where the dataset comes from: `sources/<dataset>`, or the folder outside that it stands for.

        Raises:
            DataError: it is not here, or a folder outside has changed since its digest was recorded.
        """
        return source.locate(self.dataset, self.root, home(self.root))

    def report(self) -> Path:
        """`reports/<dataset>`."""
        return self.root / "reports" / self.dataset


def home(root: Path = Path()) -> Path:
    """The checkout that a folder belongs to: itself, unless it is one of DVC's temporary copies for an experiment."""
    for folder in root.absolute().parents:
        if folder.parts[-3:] == EXPERIMENTS:
            return folder.parents[2]
    return root
