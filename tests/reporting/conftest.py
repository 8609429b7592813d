import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmesid.models import RANK_METRICS
from mmesid.reporting import examples, html
from mmesid.reporting.html import DatasetReport

HOSTILE = '<script>alert("1")</script> & $x$ 日本語'


def scores(value: float) -> dict[str, Any]:
    beyond = {"coverage_at_10": 2 * value, "novelty_at_10": 50 * value, "gini_at_10": 1 - value}
    return dict.fromkeys(RANK_METRICS, value) | beyond | {"ci95": {"ndcg_at_5": [value - 0.01, value + 0.01]}}


def make_metrics() -> dict[str, Any]:
    """Metrics of a dataset on which the oracle reaches twice what MME-SID reaches."""
    test = {
        name: scores(v) for name, v in {"sasrec": 0.10, "mme_sid": 0.12, "popularity": 0.03, "oracle": 0.24}.items()
    }
    difference = {"difference": 0.02, "low": 0.005, "high": 0.035, "p_value": 0.0002}
    test["mme_sid"]["vs"] = {"sasrec": difference, "oracle": difference}
    bucket = {"bucket": "1-4", "users": 1200, "mme_sid": 0.1, "sasrec": 0.08}
    test["slices"] = {"item_frequency": [bucket], "history_length": [bucket, bucket | {"bucket": "5+"}]}
    quality = {"collision_rate": 0.02, "code_use": 0.9, "perplexity": 50.0, "reconstruction": 0.1}
    order = {"tau_init": 0.4, "tau_random_init": -0.01, "tau_finetuned": 0.3}
    by_bin = {"from_0": 1.0, "from_20": -0.2, "from_4": 0.5}  # as JSON sorts them
    fusion = {"evidence": {"transitions": by_bin}, "mme_sid": {"network": 0.5, "transitions": by_bin, "text": by_bin}}
    return {
        "adapter": "lora",
        "protocol": {"exclude_history": True, "history_length": 50},
        "data": {"users": 2500, "items": 1000, "interactions": 25000, "sparsity": 0.99, "tied": 0.123},
        "valid": {"users": 1234, **{name: scores(0.1) for name in ("mme_sid", "sasrec", "popularity")}},
        "test": test,
        "fusion": fusion,
        "tokenizer": {"text": quality, "image": quality},
        "forgetting": {"text": order},
        "collapse": {"effective_rank": 80.0, "kept_dimensions": 0.97},
    }


def make_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (200, 100), (200, 30, 30, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def make_items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["First", HOSTILE, None, " "],
            "description": ["x", "y", "Text of c", None],
            "image_name": ["a.png", None, "c.png", "d.png"],
        }
    )


def make_pictures() -> list[bytes | None]:
    return [make_picture(), None, b"no picture", make_picture()]


def make_chosen() -> list[dict[str, Any]]:
    recommended = [{"item": 2, "score": 1.5}, {"item": 4, "score": 1.0}, {"item": 3, "score": 0.5}]
    return [
        {"user_id": HOSTILE, "history": [1, 2, 3, 4, 1, 2, 3, 4], "target": 4, "recommended": recommended},
        {"user_id": "u2", "history": [1], "target": 1, "recommended": recommended[:1]},
    ]


def make_report() -> DatasetReport:
    curve = [{"step": step, "loss": 1 / step, "valid_ndcg_at_10": step / 100} for step in range(1, 6)]
    return DatasetReport(
        name="sample",
        metrics=make_metrics(),
        curves={"finetune": curve, "tokenize": [{"step": 1.0, "loss": 2.0, "reconstruction": 0.001}]},
        spectra={"item input": [1.0, 0.5, 0.001, 0.0], "collaborative alone": [0.0, 0.0]},
        codes={"text": np.array([[3, 1, 0], [2, 2, 0]]), "image": np.zeros((2, 3), dtype=np.int64)},
        examples=examples.build(make_chosen(), make_items(), make_pictures(), 5, 5),
    )


@pytest.fixture
def metrics() -> dict[str, Any]:
    return make_metrics()


@pytest.fixture
def picture() -> bytes:
    return make_picture()


@pytest.fixture
def items() -> pd.DataFrame:
    return make_items()


@pytest.fixture
def pictures() -> list[bytes | None]:
    return make_pictures()


@pytest.fixture
def chosen() -> list[dict[str, Any]]:
    return make_chosen()


@pytest.fixture
def report() -> DatasetReport:
    return make_report()


@pytest.fixture
def bare() -> DatasetReport:
    """A dataset of which nothing but its name is known."""
    return DatasetReport("bare", {}, {}, {}, {}, [])


@pytest.fixture(scope="session")
def reports() -> list[DatasetReport]:
    """Two datasets that differ in their names alone, one of them hostile."""
    return [make_report(), make_report()._replace(name=HOSTILE)]


@pytest.fixture(scope="session")
def page(reports: list[DatasetReport]) -> str:
    return html.render(reports, "1.0")
