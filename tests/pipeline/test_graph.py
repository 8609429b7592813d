"""Which stages run, from DVC's own graph; plain functions on plain mappings."""

from mmesid.pipeline.graph import due, known_datasets, select

GRAPH = {
    "ingest@a": [],
    "ingest@b": [],
    "train@a": ["ingest@a"],
    "train@b": ["ingest@b"],
    "report": ["train@a", "train@b"],
}


def test_datasets_are_read_from_stage_names() -> None:
    assert known_datasets(GRAPH) == ["a", "b"]


def test_selection_keeps_the_datasets_stages_and_the_common_ones() -> None:
    assert select(GRAPH, ["a"]) == {"ingest@a": [], "train@a": ["ingest@a"], "report": ["train@a"]}


def test_nothing_changed_nothing_due() -> None:
    assert due(GRAPH, set()) == {}


def test_what_lies_below_a_change_is_due_and_waits_only_for_what_runs() -> None:
    assert due(GRAPH, {"train@b"}) == {"train@b": [], "report": ["train@b"]}
    assert due(GRAPH, {"ingest@a"}) == {"ingest@a": [], "train@a": ["ingest@a"], "report": ["train@a"]}


def test_every_stage_stands_after_those_it_waits_for() -> None:
    seen: set[str] = set()
    for stage, upstream in due(GRAPH, set(GRAPH)).items():
        assert set(upstream) <= seen
        seen.add(stage)


def test_a_due_configure_comes_first_and_is_no_reason_for_the_stages_of_its_dataset() -> None:
    graph = {
        "configure@a": [],
        "ingest@a": ["configure@a"],
        "train@a": ["configure@a", "ingest@a"],
        "report": ["configure@a", "train@a"],
    }
    assert due(graph, {"configure@a"}) == {"configure@a": [], "report": ["configure@a"]}, "it shows the parameters"
    assert due(graph, {"configure@a", "train@a"}) == {
        "configure@a": [],
        "train@a": ["configure@a"],
        "report": ["configure@a", "train@a"],
    }
