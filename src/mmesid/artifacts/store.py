"""Where things lie: the one place that knows the folders of a dataset."""

from pathlib import Path


class Store:
    """The folders of one dataset. Asking where something lies makes nothing: whoever writes makes the folder."""

    def __init__(self, dataset: str, root: Path = Path()) -> None:
        self.dataset = dataset
        self.root = root

    def folder(self, stage: str) -> Path:
        """`data/<dataset>/<stage>`."""
        return self.root / "data" / self.dataset / stage

    def source(self) -> Path:
        """Where the dataset comes from: `sources/<dataset>`, a folder or a link to one."""
        return self.root / "sources" / self.dataset

    def report(self) -> Path:
        """`reports/<dataset>`."""
        return self.root / "reports" / self.dataset
