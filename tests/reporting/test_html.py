import re
from typing import Any

import pytest

from mmesid.reporting import html
from mmesid.reporting.html import DatasetReport
from tests.html_page import Page


def test_the_page_needs_nothing_beside_itself(page: str) -> None:
    found = Page(page)
    assert any(address.startswith("data:image/jpeg") for address in found.addresses)
    assert all(address.startswith(("data:", "#")) for address in found.addresses)
    assert not re.search(r"https?:|@import|url\((?!#)", page)
    assert not {"script", "link rel=stylesheet", "iframe", "object", "embed"} & set(found.tags)


def test_text_of_the_catalogue_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "日本語" in page


def test_the_page_says_who_is_a_candidate(page: str, reports: list[DatasetReport]) -> None:
    assert "<dt>Candidates</dt><dd>all but earlier items</dd>" in page
    offered = reports[0]._replace(metrics={**reports[0].metrics, "protocol": {"exclude_history": False}})
    assert "<dt>Candidates</dt><dd>all items</dd>" in html.render([offered], "1.0")


def test_equal_reports_give_equal_bytes(page: str, reports: list[DatasetReport]) -> None:
    assert html.render(reports, "1.0") == page


def test_identifiers_of_two_datasets_do_not_collide(page: str) -> None:
    ids = Page(page).ids
    assert len(ids) == len(set(ids))


def test_references_inside_the_page_lead_somewhere(page: str) -> None:
    found = Page(page)
    wanted = {address for address in found.addresses if address.startswith("#")}
    clips = {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", page)}
    assert wanted | clips <= {f"#{name}" for name in found.ids}


def test_best_numbers_are_bold_and_the_oracle_stands_apart(page: str) -> None:
    assert '<td class="best">0.1200<small>' in page
    assert '<td class="best">0.2400' not in page
    assert '<tr class="reference">' in page
    assert "50.0 %" in page


def test_what_lies_beyond_accuracy_is_shown_of_every_model(page: str) -> None:
    assert "<th>coverage@10</th><th>novelty@10</th><th>Gini@10</th>" in page
    for cells in ("<td>0.240</td><td>6.000</td><td>0.880</td>", "<td>0.480</td><td>12.000</td><td>0.760</td>"):
        assert page.count(cells) == 2  # a row in each of two datasets


def test_a_dataset_of_which_nothing_is_known_is_only_named(bare: DatasetReport) -> None:
    text = html.render([bare], "1.0")
    assert "<h2>bare</h2>" in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("section", "shown"),
    [
        ("data", "2,500"),
        ("data", "<dt>Tied in time</dt><dd>12.3 %</dd>"),
        ("test", "Results on test users"),
        ("valid", "1,234 of the promotion gate"),
        ("fusion", "Late fusion"),
        ("tokenizer", "Perplexity"),
        ("forgetting", "Order kept"),
        ("collapse", "<h2>bare</h2>"),
        ("adapter", "<h2>bare</h2>"),
    ],
)
def test_each_section_of_the_metrics_stands_alone(
    bare: DatasetReport, metrics: dict[str, Any], section: str, shown: str
) -> None:
    assert shown in html.render([bare._replace(metrics={section: metrics[section]})], "1.0")


def test_more_datasets_than_fit_in_a_row_are_all_drawn(bare: DatasetReport) -> None:
    few = bare._replace(metrics={"test": {"sasrec": {"ndcg_at_10": 0.1}}})
    text = html.render([few._replace(name=name) for name in ("one", "two", "three", "four")], "1.0")
    assert "intervals on one, two, three" in text
    assert "intervals on four" in text
