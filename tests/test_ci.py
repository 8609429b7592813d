"""The judge of the sample's metrics has teeth."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "check_sample.py"
specification = importlib.util.spec_from_file_location("check_sample", SCRIPT)
assert specification is not None
assert specification.loader is not None
check_sample = importlib.util.module_from_spec(specification)
specification.loader.exec_module(check_sample)


@pytest.fixture
def metrics() -> dict[str, Any]:
    """Every promised number is there, and the models stand in the right order."""
    tree: dict[str, Any] = {}
    for name in check_sample.promised():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = [0.1, 0.2] if "ci95" in name else [] if "slices" in name else 0.25
    for model, value in {"popularity": 0.1, "sasrec": 0.2, "mme_sid": 0.3, "oracle": 0.4}.items():
        tree["test"][model]["ndcg_at_10"] = value
    return tree


def test_good_metrics_have_no_fault(metrics: dict[str, Any]) -> None:
    assert check_sample.faults(metrics) == []


@pytest.mark.parametrize("name", check_sample.promised())
def test_every_promised_number_is_missed(metrics: dict[str, Any], name: str) -> None:
    lame = copy.deepcopy(metrics)
    *parents, leaf = name.split(".")
    node = lame
    for parent in parents:
        node = node[parent]
    del node[leaf]
    assert f"{name} is missing" in check_sample.faults(lame)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_a_fault(metrics: dict[str, Any], value: float) -> None:
    metrics["test"]["mme_sid"]["ci95"]["ndcg_at_5"][1] = value
    assert check_sample.faults(metrics) == [f"test.mme_sid.ci95.ndcg_at_5[1] is {value}"]


@pytest.mark.parametrize(("better", "worse"), check_sample.ORDER)
def test_models_in_the_wrong_order_are_a_fault(metrics: dict[str, Any], better: str, worse: str) -> None:
    test = metrics["test"]
    test[better]["ndcg_at_10"] = test[worse]["ndcg_at_10"]
    assert any(f"of {better} " in fault and f"above {worse}'s" in fault for fault in check_sample.faults(metrics))
