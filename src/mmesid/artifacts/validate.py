"""Output of `validate`: the verdict, the rejected rows, and the page about both."""

from pathlib import Path
from typing import Any

import pandas as pd

from mmesid.artifacts.files import load_frame, load_json, save_frame, save_json, write_atomically
from mmesid.artifacts.store import Store


def save_validation(store: Store, result: dict[str, Any], rejects: pd.DataFrame, html: str) -> tuple[Path, Path]:
    """Output of `validate`: the verdict, the rejected rows, and the page about both; returns the paths of these two."""
    folder = store.folder("validate")
    rejects_path, page_path = folder / "rejects.parquet", folder / "report.html"
    save_json(folder / "result.json", result)
    save_frame(rejects_path, rejects)
    write_atomically(page_path, lambda beside: beside.write_text(html, encoding="utf-8"))
    return rejects_path, page_path


def load_validation(store: Store) -> tuple[dict[str, Any], pd.DataFrame]:
    """The verdict and the rejected rows."""
    folder = store.folder("validate")
    return load_json(folder / "result.json"), load_frame(folder / "rejects.parquet")
