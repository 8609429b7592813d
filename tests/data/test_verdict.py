"""The verdict that `mmesid add` gives is the gate's: of every planted fault, at the limit, with the keys it names."""

import pandas as pd
import pytest
import yaml

from mmesid.data.expectations import judge
from mmesid.data.verdict import Refusal, refusals
from tests.data import test_expectations as gate


def told(name: str) -> list[Refusal]:
    return refusals(gate.FAULTS[name].plant(gate.good()), gate.settings())


@pytest.mark.parametrize("name", gate.FAULTS)
def test_it_refuses_what_the_gate_refuses_and_counts_the_same(name: str) -> None:
    failing = [result for result in gate.verdict(name).expectations if not result.passed]
    assert [(r.name, r.checked, r.failed) for r in told(name)] == [(r.name, r.checked, r.failed) for r in failing]


@pytest.mark.parametrize("name", [name for name, fault in gate.FAULTS.items() if fault.row])
def test_the_first_row_to_blame_is_shown(name: str) -> None:
    fault = gate.FAULTS[name]
    shown = {refusal.name: refusal.example for refusal in told(name)}[fault.expectation]
    assert shown.startswith(f"{fault.file} row {fault.row}: ")


@pytest.mark.parametrize("name", gate.FAULTS)
def test_a_key_is_named_where_one_exists_and_its_value_lets_the_rule_hold(name: str) -> None:
    fault = gate.FAULTS[name]
    before = {refusal.name: refusal for refusal in told(name)}
    named = before[fault.expectation].allowed_by
    assert bool(named) == bool(fault.tolerated_by), named
    if named:
        key, value = named.partition(";")[0].split(": ")
        changed = gate.settings(**{key.removeprefix("validate."): yaml.safe_load(value)})
        assert fault.expectation not in {r.name for r in refusals(fault.plant(gate.good()), changed)}


@pytest.mark.parametrize(("limit", "refused"), [(0.7, False), (0.699, True)])
def test_the_share_that_equals_the_limit_is_tolerated_by_both(limit: float, refused: bool) -> None:
    rows = gate.good().interactions
    rows.loc[:209, "item_id"] = "nowhere"
    catalogue, settings = gate.good()._replace(interactions=rows), gate.settings(max_unknown_items=limit)
    names = {refusal.name for refusal in refusals(catalogue, settings)}
    assert ("interactions.item_is_known" in names) == refused
    assert names == {result.name for result in judge(catalogue, settings).expectations if not result.passed}


def test_good_data_is_refused_by_nobody() -> None:
    assert refusals(gate.good(), gate.DEFAULTS) == []


def test_equal_and_conflicting_rows_of_an_item_are_told_apart() -> None:
    items = gate.good().items
    equal, other = items[:1].assign(row=98), items[1:2].assign(row=99, title="another")
    catalogue = gate.good()._replace(items=pd.concat([items, equal, other], ignore_index=True))
    conflict, repeat = (refusal for refusal in refusals(catalogue, gate.DEFAULTS) if refusal.table == "items")
    assert (conflict.failed, conflict.allowed_by) == (2, "")
    assert (repeat.failed, repeat.allowed_by.partition(":")[0]) == (1, "validate.max_duplicate_items")
    assert "items.csv row 98: i0 (repeats row 1)" in str(repeat)


def test_equal_rows_of_two_files_repeat_each_other_whatever_their_numbers() -> None:
    items = gate.good().items
    catalogue = gate.good()._replace(items=pd.concat([items, items[:1].assign(file="items/b.csv")], ignore_index=True))
    (repeat,) = (refusal for refusal in refusals(catalogue, gate.DEFAULTS) if refusal.table == "items")
    assert (repeat.name, repeat.failed) == ("items.is_new", 1)
    assert repeat.example.startswith("items/b.csv row ")


def test_variants_of_an_item_are_told_how_to_become_equal() -> None:
    items = gate.good().items.assign(size="S", title=[f"Scarf {row}" for row in range(gate.ITEMS)])
    catalogue = gate.good()._replace(items=pd.concat([items, items[:2].assign(row=98, size="M")], ignore_index=True))
    said = "rows of an item differ in size alone: with ingest.text: [title, times] they are equal, and validate."
    (refusal,) = (refusal for refusal in refusals(catalogue, gate.DEFAULTS) if refusal.table == "items")
    assert said in str(refusal)
    assert any(note.startswith(said) for note in judge(catalogue, gate.DEFAULTS).summary["notes"])
    other = catalogue._replace(items=catalogue.items.assign(title=catalogue.items["title"] + catalogue.items["size"]))
    (refusal,) = (
        r
        for r in refusals(other._replace(items=other.items.drop(columns="times")), gate.DEFAULTS)
        if r.table == "items"
    )
    assert not refusal.instead
