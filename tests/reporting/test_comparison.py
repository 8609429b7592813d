"""The page, the CSV and the tables about several runs, from values alone."""

from typing import Any

from mmesid.models import MAIN_MODEL
from mmesid.reporting import comparison
from mmesid.reporting.comparison import Comparison, Difference, Result

HOSTILE = "<b>[red]&"


def result(run: str, **changes: Any) -> Result:
    base = Result("a", run, (), "r" * 32, "2026-01-01 00:00", {}, {}, {}, False, {}, "")
    return base._replace(**changes)


def test_a_page_of_bare_and_hostile_values_is_drawn() -> None:
    bare = [
        result(HOSTILE, is_reference=True, parameters={HOSTILE: HOSTILE}, remark=HOSTILE, roles=(HOSTILE,)),
        result("b", metrics={"test": {MAIN_MODEL: {"mrr": 0.1}}}, differences={"mrr": Difference(0.1)}),
    ]
    found = Comparison({HOSTILE: bare, "a": bare}, {HOSTILE: {}, "x": {"a": bare[1]}})
    page = comparison.render(found, "1.0")
    assert HOSTILE not in page
    assert page == comparison.render(found, "1.0")
    assert len(comparison.to_csv(found).splitlines()) > 2


def test_only_parameters_that_differ_are_shown_and_missing_ones_count() -> None:
    runs = [result("x", parameters={"a": "1", "b": "1"}), result("y", parameters={"a": "1", "b": "2", "c": "3"})]
    assert comparison.differing(runs) == [("b", ["1", "2"]), ("c", ["–", "3"])]


def test_a_lone_run_has_no_best_value() -> None:
    scores = {"test": {MAIN_MODEL: {"ndcg_at_10": 0.3}}}
    alone = comparison.cells([result("x", metrics=scores)])
    assert not any(cell.best for row in alone for cell in row if cell)
    both = comparison.cells([result("x", metrics=scores), result("y", metrics=scores)])
    assert [[cell.best for cell in row if cell] for row in both] == [[True], [True]], "a tie marks all"
