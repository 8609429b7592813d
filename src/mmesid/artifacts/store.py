"""Where things lie: the one place that knows the folders of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class Store:
    """The folder of one dataset, `data/<dataset>/<stage>/`."""

    def __init__(self, dataset: str, root: Path = Path()) -> None:
        self.dataset = dataset
        self.root = root

    def folder(self, stage: str) -> Path:
        """`data/<dataset>/<stage>`, made if missing."""
        folder = self.root / "data" / self.dataset / stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def source(self) -> Path:
        """Where the dataset comes from: `sources/<dataset>`, a folder or a link to one."""
        return self.root / "sources" / self.dataset

    def report(self) -> Path:
        """`reports/<dataset>`, made if missing."""
        folder = self.root / "reports" / self.dataset
        folder.mkdir(parents=True, exist_ok=True)
        return folder
