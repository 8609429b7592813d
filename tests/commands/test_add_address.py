"""`mmesid add --source amazon`: what is written, what is refused, and how DVC learns that an address has changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmesid import config
from mmesid.artifacts import releases
from mmesid.errors import ConfigError, DataError
from mmesid.pipeline import graph, sources
from tests import amazon_files
from tests.adding import run
from tests.amazon_files import metadata, pack, reviews
from tests.faulty_pages import Page, Server, serving

REVIEWS, PRODUCTS = "/reviews_Beauty_5.json.gz", "/meta_Beauty.json.gz"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amazon_files.alone(tmp_path, monkeypatch)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        running.pages = {REVIEWS: Page(pack(reviews("2014"))), PRODUCTS: Page(pack(metadata("2014", running.url)))}
        yield running


def add(server: Server, *more: str) -> str:
    return run("beauty", "--source", "amazon", "--category", "Beauty", "--from", server.url, *more)


def ingest_is_due(root: Path) -> bool:
    upstream, changed = graph.read_graph(root)
    return "ingest@beauty" in graph.due(graph.select(upstream, ["beauty"]), changed)


def test_an_address_becomes_a_dataset_and_nothing_is_fetched(checkout: Path, server: Server) -> None:
    said = add(server)
    assert 'fetch and run it: make repro DATASETS="beauty"' in said
    assert "commit sources/beauty.dvc, conf/beauty.yaml and params.yaml" in said
    assert not server.asked
    ingest = config.load("beauty", checkout).ingest
    assert (ingest.source, ingest.base_url, ingest.category, ingest.release) == ("amazon", server.url, "Beauty", "2014")
    assert config.datasets(checkout) == ["sample", "beauty"]
    record = releases.read_record(checkout / "sources" / "beauty")
    assert record is not None
    assert record.files["items"].path == PRODUCTS[1:]
    assert record.files["items"].bytes == len(server.pages[PRODUCTS].content)
    assert [path.name for path in (checkout / "sources" / "beauty").iterdir()] == [releases.RECORD]


def test_a_change_at_the_address_makes_ingest_due_and_nothing_else_does(checkout: Path, server: Server) -> None:
    add(server)
    tracked = sources.tracked_hash("beauty", checkout)
    assert sources.refresh(["beauty"], checkout) == []
    server.pages[REVIEWS] = Page(pack(reviews("2014")[1:]))
    assert sources.tracked_hash("beauty", checkout) == tracked
    (line,) = sources.refresh(sources.tracked(checkout), checkout)
    assert "sources/beauty has changed" in line
    assert sources.tracked_hash("beauty", checkout) != tracked
    assert ingest_is_due(checkout)


def test_a_conf_written_by_hand_is_enough(checkout: Path, server: Server) -> None:
    ingest = {"source": "amazon", "base_url": server.url, "category": "Beauty"}
    (checkout / "conf" / "beauty.yaml").write_text(yaml.safe_dump({"ingest": ingest}), encoding="utf-8")
    (line,) = sources.refresh(["beauty"], checkout)
    assert "records what its address holds" in line
    assert (checkout / "sources" / "beauty.dvc").exists()


def test_adding_again_keeps_the_conf_and_refuses_another_address(checkout: Path, server: Server) -> None:
    add(server)
    conf = checkout / "conf" / "beauty.yaml"
    conf.write_text(conf.read_text(encoding="utf-8") + "finetune: {epochs: 1}\n", encoding="utf-8")
    assert "was there and is as it was" in add(server)
    assert config.load("beauty", checkout).finetune.epochs == 1
    with pytest.raises(ConfigError, match=r"ingest\.base_url differs"):
        run("beauty", "--source", "amazon", "--category", "Beauty", "--from", server.url + "/other")
    assert config.load("beauty", checkout).finetune.epochs == 1


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_slash_at_the_end_is_no_other_address(checkout: Path, server: Server, slash: str) -> None:
    run("beauty", "--source", "amazon", "--category", "Beauty", "--from", server.url + slash)
    conf = checkout / "conf" / "beauty.yaml"
    assert config.load("beauty", checkout).ingest.base_url == server.url
    assert "was there and is as it was" in add(server)
    text = conf.read_text(encoding="utf-8").replace(server.url, f"{server.url}/").replace("  release: '2014'\n", "")
    conf.write_text(text, encoding="utf-8")  # by hand, and what is left out is as in params.yaml
    assert "was there and is as it was" in add(server)
    record = releases.read_record(checkout / "sources" / "beauty")
    assert record is not None
    assert record.base_url == config.load("beauty", checkout).ingest.base_url == f"{server.url}/"


def test_a_folder_is_written_down_as_an_absolute_path(checkout: Path, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for path, page in server.pages.items():
        (folder / path[1:]).write_bytes(page.content)
    run("beauty", "--source", "amazon", "--category", "Beauty", "--from", "../raw")
    assert config.load("beauty", checkout).ingest.base_url == str(checkout / ".." / "raw")
    assert sources.refresh(["beauty"], checkout) == []


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--source", "amazon", "--category", "Beauty"], ConfigError, "needs --from"),
        (["--source", "amazon", "--from", "x"], ConfigError, "needs --category"),
        (["--source", "amazon", "--from", "x", "--category", "../x"], ConfigError, "ingest.category"),
        (["--source", "amazon", "--from", "x", "--category", "B", "--release", "2020"], ConfigError, "ingest.release"),
        (["--source", "amazon", "--from", "nowhere", "--category", "B"], DataError, "there is no such folder"),
        (["--source", "amazon", "--from", "s3://x/y", "--category", "B"], DataError, "begins with s3://"),
        (["--source", "amazon", "--files", "."], ConfigError, "takes --from"),
        (["--source", "other"], ConfigError, "expected files or amazon"),
        ([], ConfigError, "--files"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    arguments: list[str], error: type[Exception], said: str, checkout: Path
) -> None:
    with pytest.raises(error, match=said.replace(".", r"\.")):
        run("beauty", *arguments)
    assert not (checkout / "conf" / "beauty.yaml").exists()
    assert not (checkout / "sources" / "beauty").exists()


def test_another_source_of_that_name_is_not_replaced(checkout: Path, catalogue: Path, server: Server) -> None:
    run("beauty", "--files", str(catalogue))
    with pytest.raises(ConfigError, match="holds another source"):
        add(server, "--reset-conf")
    assert "wrote conf/beauty.yaml" in add(server, "--reset-conf", "--force")
    assert config.load("beauty", checkout).ingest.source == "amazon"
