"""The source `amazon`: three releases, broken lines, pictures by link; and what becomes of a kill."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import amazon_pair
from mmesid import config
from mmesid.artifacts import releases
from mmesid.artifacts.ingest import load_catalogue
from mmesid.artifacts.prepare import load_items, load_pictures, load_sequences
from mmesid.artifacts.source import digest
from mmesid.artifacts.store import Store
from mmesid.data import amazon_layouts, object_lines
from mmesid.data.formats import PLAIN
from mmesid.errors import ConfigError, DataError
from mmesid.pipeline.downloads import address
from mmesid.stages import ingest
from mmesid.stages import prepare as prepare_stage
from tests import amazon_files
from tests.amazon_files import ITEMS, STEPS, USERS, item, metadata, pack, picture, reviews
from tests.faulty_pages import Page, Server, serving

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("MMESID_CATALOGUES", "")) / "beauty"
LOOSE = {"min_user_interactions": 3, "min_item_interactions": 1}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amazon_files.alone(tmp_path, monkeypatch)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def names(release: str) -> list[str]:
    return [releases.names(release, "Beauty", table)[0] for table in releases.TABLES]


def publish(server: Server, release: str = "2014", **faults: Any) -> None:
    """Both files and all pictures, the files with the faults of a page."""
    contents = pack(reviews(release)), pack(metadata(release, server.url))
    for name, content in zip(names(release), contents, strict=True):
        server.pages[f"/{name}"] = Page(content, **faults)
    for number in range(ITEMS):
        server.pages[f"/pictures/{number}.jpg"] = Page(picture(number), "image/jpeg")


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Callable[..., tuple[config.Config, Store]]:
    """A project with the dataset `beauty` at the server, its address asked."""

    def make(base_url: str = "", **sections: Any) -> tuple[config.Config, Store]:
        told = {"source": "amazon", "base_url": base_url or server.url, "category": "Beauty"}
        told |= sections.pop("ingest", {})
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        text = yaml.safe_dump({"ingest": told, "prepare": LOOSE} | sections)
        (tmp_path / "conf" / "beauty.yaml").write_text(text, encoding="utf-8")
        address.refresh("beauty", tmp_path)
        return config.load("beauty", tmp_path), Store("beauty", tmp_path)

    return make


def run(settings: config.Config, store: Store) -> dict[str, float]:
    """`ingest` and `prepare`, and what they log."""
    logged: dict[str, float] = {}
    for stage in (ingest, prepare_stage):
        stage.run(settings, store, lambda metrics, step: logged.update(metrics))  # type: ignore[arg-type]
    return logged


@pytest.mark.parametrize("release", releases.RELEASES)
def test_every_release_gives_the_same_catalogue(release: str, server: Server, project: Callable[..., Any]) -> None:
    publish(server, release)
    settings, store = project(ingest={"release": release})
    logged = run(settings, store)
    assert (logged["users"], logged["items"], logged["interactions"]) == (USERS, ITEMS, USERS * STEPS)
    catalogue, prepared = load_catalogue(store), load_items(store)
    expected = [(user, one, time * 10**9) for user, one, time in amazon_files.taken()]
    found = catalogue.interactions[["user_id", "item_id", "timestamp"]].itertuples(index=False, name=None)
    assert list(found) == expected
    assert catalogue.items["title"].str.contains("oap").all()
    assert set(catalogue.items["file"]) == {Path(names(release)[1]).name}
    numbers = [int(name[1:]) for name in prepared["item_id"]]
    assert load_pictures(store) == [picture(number) for number in numbers]
    assert logged["items_with_image"] == ITEMS


def test_texts_are_cleaned_and_in_order(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    settings, store = project()
    run(settings, store)
    row = load_catalogue(store).items.iloc[1]
    expected = ('Ada\'s "soft" soap No. 1', "Beauty, Bath, Soap", "Soap & foam, number 1")
    assert (row["title"], row["categories"], row["description"]) == expected
    assert pd.isna(row["brand"])
    settings, store = project(ingest={"text": ["description", "title"]})
    run(settings, store)
    assert [*load_items(store).columns][:3] == ["item_id", "description", "title"]


def test_a_second_run_asks_for_nothing_that_is_whole(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    settings, store = project()
    run(settings, store)
    asked = dict(server.asked)
    assert run(settings, store)["pictures_requested"] == 0
    assert dict(server.asked) == asked


def test_pictures_that_cannot_be_had_are_masked_and_counted(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    server.pages["/pictures/0.jpg"] = Page(status=404)
    server.pages["/pictures/1.jpg"] = Page(b"<html></html>", "text/html")
    settings, store = project()
    run(settings, store)
    catalogue = load_catalogue(store)
    faults = catalogue.items.set_index("item_id")["image_fault"].dropna()
    assert faults.to_dict() == {item(0): "dead link: HTTP 404", item(1): "a page instead of a picture (text/html)"}
    assert any("masked: a page instead of a picture (text/html) 1, dead link 1" in note for note in catalogue.notes)
    assert sum(picture is None for picture in load_pictures(store)) == 2
    settings, store = project(prepare={**LOOSE, "drop_items_without": ["text", "image"]})
    assert run(settings, store)["items"] == ITEMS - 2


def test_pictures_may_be_left_where_they_are(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    settings, store = project(ingest={"fetch_images": False})
    assert run(settings, store)["items_with_image"] == 0
    assert not [path for path in server.asked if path.startswith("/pictures")]
    assert load_catalogue(store).items["image_name"].isna().all()


def test_a_folder_is_read_in_place_with_pictures_of_its_own(
    server: Server, project: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    for name, lines in zip(names("2014"), (reviews("2014"), metadata("2014", server.url)), strict=True):
        (folder / name).write_bytes(pack(lines))
    for number in range(ITEMS):
        (folder / "images" / f"{item(number)}.png").write_bytes(picture(number, "PNG"))
    settings, store = project(base_url=str(folder))
    assert run(settings, store)["items_with_image"] == ITEMS
    assert not server.asked
    (folder / names("2014")[0]).write_bytes(pack(reviews("2014")[:-1]))
    with pytest.raises(DataError, match="is not as it was recorded"):
        run(settings, store)
    settings, store = project(base_url=str(folder))
    assert run(settings, store)["interactions"] == USERS * STEPS - 1


BROKEN = {
    "cut off": ("{'asin': 'B000000001', 'title': 'So", "neither JSON nor a Python dictionary"),
    "code": ("{'asin': os.getcwd()}", "neither JSON nor a Python dictionary: os.getcwd() is no literal"),
    "a name": ("{'asin': 'B', 'price': [1, price]}", "neither JSON nor a Python dictionary: price is no literal"),
    "a key": ("{'asin': {['B']: 1}}", "neither JSON nor a Python dictionary: {['B']: 1} is no literal"),
    "a list": ("['B000000001']", "expected an object, found list"),
    "no id": ("{'title': 'Soap'}", "no asin"),
    "an empty id": ("{'asin': ' ', 'title': 'Soap'}", "no asin"),
    "a key of two, and half a character": (
        "{('a', 'b'): 1, 'asin': 'x', 'title': u'\\ud83d'}",
        "neither JSON nor a Python dictionary: keys must be",
    ),
    "deep": ("[" * 5000, "neither JSON nor a Python dictionary"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_line_is_rejected_with_its_reason(kind: str, server: Server, project: Callable[..., Any]) -> None:
    line, reason = BROKEN[kind]
    publish(server)
    lines = metadata("2014", server.url)
    server.pages[f"/{names('2014')[1]}"] = Page(pack([lines[0], "", line, *lines[1:], lines[0]]))
    settings, store = project(ingest={"max_broken_lines": 0.2})
    run(settings, store)
    rejects = pd.read_parquet(store.folder("ingest") / "rejects.parquet")
    (found,) = rejects.to_dict("records")
    assert (found["table"], found["file"], found["row"]) == ("items", names("2014")[1], 2)
    assert found["reason"].startswith(reason)
    catalogue = load_catalogue(store)
    assert len(catalogue.items) == ITEMS
    assert any("1 lines could not be read" in note for note in catalogue.notes)
    assert any("1 lines repeat a product" in note for note in catalogue.notes)
    settings, store = project(ingest={"max_broken_lines": 0.01})
    with pytest.raises(DataError, match="max_broken_lines allows"):
        run(settings, store)


def test_reviews_without_what_makes_them_are_rejected(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    good = {"reviewerID": "U", "asin": item(0), "unixReviewTime": 1_300_000_000}
    bad = [{key: value for key, value in good.items() if key != absent} for absent in good] + [
        {**good, "unixReviewTime": time} for time in ("soon", "²", "9" * 5000, 10**30, True)
    ]
    lines = [*reviews("2014"), *map(json.dumps, bad)]
    content = gzip.compress("\n".join(lines).encode() + b'\n{"reviewerID": "\xff"}\n')
    server.pages[f"/{names('2014')[0]}"] = Page(content)
    settings, store = project(ingest={"max_broken_lines": 0.2})
    assert run(settings, store)["interactions"] == USERS * STEPS
    reasons = pd.read_parquet(store.folder("ingest") / "rejects.parquet")["reason"].tolist()
    assert [reason.partition(":")[0] for reason in reasons] == [
        "no reviewerID", "no asin", *["unixReviewTime"] * 6, "not UTF-8"]  # fmt: skip
    assert max(map(len, reasons)) < 200


def test_products_that_nobody_reviewed_are_left_out_and_counted(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    lines = metadata("2014", server.url, range(ITEMS + 7))
    server.pages[f"/{names('2014')[1]}"] = Page(pack(lines))
    settings, store = project()
    assert run(settings, store)["items"] == ITEMS
    assert any("7 lines of products that no review names" in note for note in load_catalogue(store).notes)


def test_the_share_of_broken_lines_is_of_the_lines_of_the_file(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    lines = metadata("2014", server.url, range(2000))
    server.pages[f"/{names('2014')[1]}"] = Page(pack([*lines, "{'broken"]))
    settings, store = project()
    assert run(settings, store)["items"] == ITEMS
    server.pages[f"/{names('2014')[1]}"] = Page(pack([*lines, "{'broken", "{'broken", "{'broken"]))
    with pytest.raises(DataError, match=r"3 of 2,003 lines cannot be read, more than ingest\.max_broken_lines"):
        run(*project())


PLACEHOLDERS = (
    "http://g-ecx.images-amazon.com/images/G/01/x-site/icons/no-img-sm._CB192198896_.gif",
    "http://g-ecx.images-amazon.com/images/G/01/x-site/icons/no-img-lg._V192198896_.gif",
    "http://ecx.images-amazon.com/images/G/01/nav2/dp/no-image-no-ciu._SL500_.gif",
)


def test_the_shops_placeholder_is_no_picture(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    products = [amazon_files.product("2014", number, server.url) for number in range(ITEMS)]
    for found, link in zip(products, PLACEHOLDERS, strict=False):
        found["imUrl"] = link
    server.pages[f"/{names('2014')[1]}"] = Page(pack(map(repr, products)))
    settings, store = project(prepare={**LOOSE, "drop_items_without": ["image"]})
    logged = run(settings, store)
    assert logged["pictures_unanswered"] == 0
    assert logged["items"] == ITEMS - len(PLACEHOLDERS)
    assert any("3 lines link to the shop's placeholder" in note for note in load_catalogue(store).notes)


def test_a_picture_behind_a_placeholder_counts() -> None:
    found = {"imageURLHighRes": [PLACEHOLDERS[0]], "imageURL": [" ", "http://x/no-img-sm/a.jpg"]}
    assert amazon_layouts.find_picture(found, amazon_layouts.LAYOUTS["2018"]) == "http://x/no-img-sm/a.jpg"


def test_pictures_of_2023_may_be_a_dictionary_of_lists() -> None:
    found = {"hi_res": ["http://x/h", None], "large": ["http://x/side", "http://x/l"], "variant": ["PT01", "MAIN"]}
    assert amazon_layouts.find_picture({"images": found}, amazon_layouts.LAYOUTS["2023"]) == "http://x/l"
    short = {"large": ["http://x/l"], "thumb": [], "variant": [None]}
    assert amazon_layouts.find_picture({"images": short}, amazon_layouts.LAYOUTS["2023"]) == "http://x/l"


def test_pictures_in_a_form_that_nobody_knows_are_noted(server: Server, project: Callable[..., Any]) -> None:
    publish(server, "2023")
    products = [{**amazon_files.product("2023", number, "http://x"), "images": [{"url": 1}]} for number in range(ITEMS)]
    server.pages[f"/{names('2023')[1]}"] = Page(pack(map(json.dumps, products)))
    settings, store = project(ingest={"release": "2023"})
    run(settings, store)
    assert any(f"{ITEMS} lines have images, but no link" in note for note in load_catalogue(store).notes)


@pytest.mark.parametrize(("named", "held"), [("2014", "2018"), ("2018", "2014"), ("2014", "2023"), ("2023", "2018")])
def test_products_of_another_release_are_named(
    named: str, held: str, server: Server, project: Callable[..., Any]
) -> None:
    publish(server, named)
    server.pages[f"/{names(named)[1]}"] = Page(pack(metadata(held, server.url)))
    with pytest.raises(DataError, match=rf"as the release {held} has them, .* set it to {held}"):
        run(*project(ingest={"release": named}))
    mixed = [*metadata(named, server.url), *metadata(held, server.url, [ITEMS])]
    server.pages[f"/{names(named)[1]}"] = Page(pack(mixed))
    assert run(*project(ingest={"release": named, "max_broken_lines": 0.1}))["items"] == ITEMS


def test_damaged_and_foreign_files_are_named(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    name = names("2014")[0]
    settings, store = project(ingest={"sha256": {name: "0" * 64}})
    with pytest.raises(DataError, match=r"but ingest\.sha256 says 0000"):
        run(settings, store)
    server.pages[f"/{name}"] = Page(server.pages[f"/{name}"].content[:-20])
    settings, store = project()
    with pytest.raises(DataError, match="what came is a damaged gzip file"):
        run(settings, store)
    server.pages[f"/{names('2014')[1]}"] = Page(pack(["{'asin': 'another'}"]))
    server.pages[f"/{name}"] = Page(pack(reviews("2014")))
    settings, store = project()
    with pytest.raises(DataError, match="do both files belong together"):
        run(settings, store)


def test_a_password_in_an_address_is_not_kept(project: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds a password") as error:
        project(base_url="http://user:secret@127.0.0.1/amazon")
    assert "secret" not in str(error.value)
    assert not (tmp_path / "sources").exists()


def test_a_text_that_no_product_has_is_named(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    with pytest.raises(DataError, match="names subtitle, which no product"):
        run(*project(ingest={"text": ["title", "subtitle"]}))


@pytest.mark.parametrize("name", ["item_id", "image_name", "row"])
def test_a_text_may_not_take_the_name_of_a_column_of_our_own(
    name: str, server: Server, project: Callable[..., Any]
) -> None:
    publish(server)
    with pytest.raises(DataError, match=f"ingest.text names {name}, a name that is needed for something else"):
        run(*project(ingest={"text": ["title", name]}))


@pytest.mark.parametrize("release", ["2014", "2023-5core"])
def test_a_table_without_a_header_is_said(release: str, server: Server, project: Callable[..., Any]) -> None:
    publish(server, release)
    rows = [f"{user},{one},5.0,{time}" for user, one, time in amazon_files.taken()]
    server.pages["/ratings_Beauty.csv"] = Page("\n".join(rows).encode())
    layout = amazon_layouts.LAYOUTS[release]
    expected = f"expected is a header that names {layout.user}, {layout.item}, {layout.time} between commas"
    with pytest.raises(DataError, match=f"the first line is 'U0,B000000000,5.0,1300000000', {expected}"):
        run(*project(ingest={"release": release, "interactions": "ratings_Beauty.csv"}))


def test_a_long_field_of_a_table_is_read(server: Server, project: Callable[..., Any]) -> None:
    publish(server, "2023-5core")
    header, *rows = reviews("2023-5core")
    lines = [
        f"{header},history",
        *(f"{row},{'B000000001 ' * 20_000}" for row in rows[:2]),
        *(f"{r}," for r in rows[2:]),
    ]
    server.pages[f"/{names('2023-5core')[0]}"] = Page(pack(lines))
    assert run(*project(ingest={"release": "2023-5core"}))["interactions"] == USERS * STEPS


def test_a_tab_in_a_text_of_json_is_one() -> None:
    assert object_lines.parse('{"a": "b\tc\\/", "d": null}') == {"a": "b\tc/", "d": None}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0" * 100])
def test_what_some_tools_leave_behind_a_gzip_file_is_no_damage(
    end: bytes, server: Server, project: Callable[..., Any]
) -> None:
    publish(server)
    content = gzip.compress("\n".join(reviews("2014")[:-1]).encode() + b"\n") + gzip.compress(
        reviews("2014")[-1].encode()
    )
    server.pages[f"/{names('2014')[0]}"] = Page(content + end)
    assert run(*project())["interactions"] == USERS * STEPS
    server.pages[f"/{names('2014')[0]}"] = Page(content + b"more")
    with pytest.raises(DataError, match="a damaged gzip file"):
        run(*project())


def test_a_digest_of_no_file_is_named(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    with pytest.raises(DataError, match=r"sha256 names reviews\.gz, but the files are reviews_Beauty_5\.json\.gz and"):
        run(*project(ingest={"sha256": {"reviews.gz": "0" * 64}}))


def test_both_files_may_have_one_name(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    taken, described = "reviews/Beauty.json.gz", "meta/Beauty.json.gz"
    for name, place in zip(names("2014"), (taken, described), strict=True):
        server.pages[f"/{place}"] = server.pages.pop(f"/{name}")
    digest = hashlib.sha256(server.pages[f"/{described}"].content).hexdigest()
    told = {"interactions": taken, "items": described, "sha256": {described: digest}}
    assert run(*project(ingest=told))["interactions"] == USERS * STEPS


@pytest.mark.parametrize("status", [400, 401, 403, 451])
def test_a_server_that_refuses_is_not_one_that_has_nothing(
    status: int, server: Server, project: Callable[..., Any]
) -> None:
    publish(server)
    server.pages[f"/{names('2014')[0]}"] = Page(status=status)
    with pytest.raises(DataError, match=f"does not give {names('2014')[0]}: HTTP {status}; ingest.base_url"):
        project()


def test_a_bucket_that_refuses_names_that_it_does_not_have_is_asked_on(
    server: Server, project: Callable[..., Any]
) -> None:
    publish(server)
    first, second, *_ = releases.names("2014", "Beauty", "interactions")
    server.pages[f"/{second}"], server.pages[f"/{first}"] = server.pages[f"/{first}"], Page(status=403)
    _, store = project()
    record = releases.read_record(store.source())
    assert record is not None
    assert record.files["interactions"].path == second


def test_a_redirect_loop_is_said(server: Server, project: Callable[..., Any]) -> None:
    server.pages[f"/{names('2014')[0]}"] = Page(location=f"/{names('2014')[0]}")
    with pytest.raises(DataError, match="Exceeded maximum allowed redirects"):
        project()


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("s3://bucket/amazon", r"begins with s3://: expected are http://, https:// or a folder"),
        ("file:///data", r"begins with file://"),
        ("ftp://host/data", r"begins with ftp://"),
        ("http://host/data?version=2", r"it may hold no \?"),
        ("http://host/data#beauty", r"it may hold no #"),
        ("http://", r"no usable link"),
        ("http://[::1/", r"no usable link"),
        ("http://a..b/", r"no usable link"),
        ("nowhere", r"there is no such folder: .*nowhere"),
    ],
)
def test_what_is_no_address_is_said(base_url: str, said: str, project: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=said):
        project(base_url=base_url)


def test_a_text_that_is_named_twice_is_one(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    settings, store = project(ingest={"text": ["title", "title"]})
    run(settings, store)
    titles = load_catalogue(store).items.set_index("item_id")["title"]
    assert [titles[item(number)].rpartition(" ")[2] for number in range(ITEMS)] == [str(n) for n in range(ITEMS)]


PUBLISHED = [  # as the publishers' servers and Hugging Face have them
    ("2014", "categoryFiles/reviews_Beauty_5.json.gz", "categoryFiles/meta_Beauty.json.gz"),
    ("2014", "reviews_Beauty_5.json", "meta_Beauty.json"),
    ("2018", "categoryFilesSmall/Beauty_5.json.gz", "metaFiles2/meta_Beauty.json.gz"),
    ("2018", "categoryFilesSmall/Beauty_5.json", "metaFiles/meta_Beauty.json"),
    ("2023", "raw/review_categories/Beauty.jsonl.gz", "raw/meta_categories/meta_Beauty.jsonl.gz"),
    ("2023", "raw/review_categories/Beauty.jsonl", "raw/meta_categories/meta_Beauty.jsonl"),
    ("2023-5core", "benchmark/5core/rating_only/Beauty.csv.gz", "raw/meta_categories/meta_Beauty.jsonl.gz"),
    ("2023-5core", "benchmark/5core/rating_only/Beauty.csv", "raw/meta_categories/meta_Beauty.jsonl"),
]


@pytest.mark.parametrize(("release", "taken", "described"), PUBLISHED)
def test_files_are_found_where_their_publishers_have_them(
    release: str, taken: str, described: str, project: Callable[..., Any], tmp_path: Path
) -> None:
    for name, lines in ((taken, reviews(release)), (described, metadata(release, "http://x"))):
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(lines) if name.endswith(".gz") else "\n".join(lines).encode())
    settings, store = project(base_url=str(tmp_path / "raw"), ingest={"release": release, "fetch_images": False})
    assert run(settings, store)["interactions"] == USERS * STEPS
    record = releases.read_record(store.source())
    assert record is not None
    assert [record.files[table].path for table in releases.TABLES] == [taken, described]


@pytest.mark.parametrize("cut", ["last_out", "timestamp", "last_out_w_his", "timestamp_w_his"])
def test_a_cut_of_the_benchmark_is_no_table(cut: str, project: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "raw" / "benchmark" / "5core" / cut / "Beauty.train.csv"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(DataError, match="has no interactions"):
        project(base_url=str(tmp_path / "raw"), ingest={"release": "2023-5core"})


def test_what_the_address_lacks_is_said_with_the_names_that_were_tried(
    server: Server, project: Callable[..., Any]
) -> None:
    publish(server)
    with pytest.raises(
        DataError, match=r"has no interactions: expected is one of Beauty_5.json.gz, categoryFilesSmall/"
    ):
        project(ingest={"release": "2018"})
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings.pop("datasets")
    with pytest.raises(ConfigError, match=r"amazon needs ingest\.base_url"):
        config.loading.check({**settings, "ingest": {**settings["ingest"], "source": "amazon"}}, "beauty", "here")


def test_new_data_under_the_same_address_is_noticed(server: Server, project: Callable[..., Any]) -> None:
    publish(server, head=False)
    settings, store = project()
    record = (store.root / "sources" / "beauty" / releases.RECORD).read_text(encoding="utf-8")
    run(settings, store)
    server.pages[f"/{names('2014')[0]}"] = Page(pack(reviews("2014")[:-1]))
    assert address.refresh("beauty", store.root) == ""
    assert (store.root / "sources" / "beauty" / releases.RECORD).read_text(encoding="utf-8") != record
    assert run(settings, store)["interactions"] == USERS * STEPS - 1


def test_new_data_of_a_server_that_names_no_version_is_read(server: Server, project: Callable[..., Any]) -> None:
    publish(server, etag=False)
    assert run(*project())["interactions"] == USERS * STEPS
    server.pages[f"/{names('2014')[0]}"] = Page(pack(reviews("2014")[:-10]), etag=False)
    assert run(*project())["interactions"] == USERS * STEPS - 10


def test_an_address_that_is_silent_keeps_its_record(server: Server, project: Callable[..., Any]) -> None:
    publish(server)
    settings, store = project()
    run(settings, store)
    server.pages = {path: page._replace(busy=99) for path, page in server.pages.items()}
    server.asked.clear()
    server.pages = {path: page._replace(head=False) for path, page in server.pages.items()}
    assert "stays as it was recorded" in address.refresh("beauty", store.root)
    assert run(settings, store)["interactions"] == USERS * STEPS, "what is here needs no server"
    server.pages.clear()
    assert "has no interactions" in address.refresh("beauty", store.root)
    other = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"category": "Toys"})})
    with pytest.raises(DataError, match="but ingest names another"):
        ingest.run(other, store, lambda metrics, step: None)  # type: ignore[arg-type]
    other = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"items": "products.gz"})})
    with pytest.raises(DataError, match=r"not of products\.gz"):
        ingest.run(other, store, lambda metrics, step: None)  # type: ignore[arg-type]


CHILD = """
import sys
from pathlib import Path
from mmesid import config
from mmesid.artifacts.store import Store
from mmesid.stages import ingest
root = Path(sys.argv[1])
ingest.run(config.load("beauty", root), Store("beauty", root), lambda metrics, step: None)
"""


@pytest.mark.pipeline
@pytest.mark.parametrize("where", ["files", "pictures"])
def test_killed_while_fetching_it_goes_on_where_it_was(
    where: str, server: Server, project: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server)
    filler = np.random.default_rng(0).bytes(400_000).hex()  # so that the file takes a while
    content = pack([*metadata("2014", server.url), repr({"asin": "nobody's", "description": filler})])
    big = f"/{names('2014')[1]}"
    server.pages[big] = Page(content, seconds=0.02 if where == "files" else 0.0)
    settings, store = project(ingest={"connections": 1})
    if where == "pictures":
        slow = {path: page._replace(seconds=0.4) for path, page in server.pages.items() if "pictures" in path}
        server.pages |= slow
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], env=environment)
    seen = (lambda: server.sent[big] > 100_000) if where == "files" else (lambda: server.asked["/pictures/4.jpg"] > 0)
    wait_for(seen, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.5)  # the server notices
    assert not store.folder("ingest").exists()
    sent, server.pages[big] = server.sent[big], server.pages[big]._replace(seconds=0.0)
    server.pages |= {path: page._replace(seconds=0.0) for path, page in server.pages.items()}
    logged = run(settings, store)
    assert (logged["interactions"], logged["items_with_image"]) == (USERS * STEPS, ITEMS)
    if where == "files":
        (continued,) = server.ranges
        start = int(continued.removeprefix("bytes=").removesuffix("-"))
        assert start > 50_000
        assert server.sent[big] - sent == len(content) - start
    else:
        assert server.asked[big] == 1
        assert logged["pictures_requested"] <= ITEMS - 4
        assert [server.asked[f"/pictures/{number}.jpg"] for number in range(4)] == [1] * 4
    monkeypatch.setenv("MMESID_DOWNLOADS", str(tmp_path / "others"))
    shutil.copytree(tmp_path / "sources", tmp_path / "undisturbed" / "sources")
    undisturbed = Store("beauty", tmp_path / "undisturbed")
    run(settings, undisturbed)
    for stage in ("ingest", "prepare"):
        assert digest(store.folder(stage)) == digest(undisturbed.folder(stage))


def wait_for(seen: Callable[[], bool], child: "subprocess.Popen[bytes]") -> None:
    """Until it has happened; fails where the child ends first."""
    while not seen():
        assert child.poll() is None, "the child ended by itself"
        time.sleep(0.01)


LITERALS = [
    {"a": "plain", "b": [1, 2.5, -3, None, True]},
    {"a": "it's", "b": 'say "so"', "c": "both ' and \""},
    {"a": "back\\slash", "b": "tab\t", "c": "line\n", "d": "é 漢 \u2028"},
    {"a": ("tuple", "of"), "b": {"x": {"y": []}}, "c": b"bytes".decode()},
    {"a": "{'b': \"c\"}", "b": "'", "c": '"', "d": ""},
    {"a": 1e300, "b": 10**30, "c": "NaN"},
]


@pytest.mark.parametrize("value", LITERALS, ids=range(len(LITERALS)))
def test_a_dictionary_is_read_as_python_printed_it(value: dict[str, Any]) -> None:
    assert object_lines.parse(repr(value)) == value
    assert object_lines.parse(json.dumps(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "write", ["{'a': %s}", '{"a": %s}', "{'a': %s, 'b': '\\\\'}"], ids=["quotes", "JSON", "backslash"]
)
@pytest.mark.parametrize("name", object_lines.CONSTANTS)
def test_the_constants_of_python_and_json_are_read_alike(write: str, name: str) -> None:
    assert object_lines.parse(write % name)["a"] is object_lines.CONSTANTS[name]
    if "inf" in name.lower():
        assert object_lines.parse(write % f"-{name}")["a"] is None


@pytest.mark.parametrize("text", ["{'a': f()}", "{'a': 'b' 1}", "{'a'}x", "{'a': {[1]: 2}}", "", "{"])
def test_what_python_would_not_print_is_refused(text: str) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        object_lines.parse(text)


def test_every_layout_is_a_release() -> None:
    assert set(amazon_layouts.LAYOUTS) == set(releases.RELEASES)
    assert PLAIN.release in releases.RELEASES


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "items.parquet").exists(), reason="MMESID_CATALOGUES names no folder with beauty")
def test_the_authors_cut_of_beauty_comes_out(server: Server, project: Callable[..., Any]) -> None:
    """Their users, items and sequences, from files of Amazon's form with what the cut removes in them as well."""
    table, products = pd.read_parquet(REAL / "interactions.parquet"), pd.read_parquet(REAL / "items.parquet")
    server.pages["/p"] = Page(picture(0, side=8), "image/jpeg")
    extra = [(f"extra{user}", f"X{one}", step) for user in range(5) for step, one in enumerate("abcde")]
    more = pd.DataFrame(extra, columns=["user_id", "item_id", "timestamp"])
    lines = [*amazon_pair.reviews(table), *amazon_pair.reviews(more)]
    meta = [*amazon_pair.products(products, f"{server.url}/p")]
    meta += [repr({"asin": f"X{one}", "title": "Without a picture"}) for one in "abc"]
    meta += [repr({"asin": f"X{one}", "imUrl": f"{server.url}/p?{one}"}) for one in "de"]
    server.pages[f"/{names('2014')[0]}"] = Page(pack([*lines, "{'broken"]))
    server.pages[f"/{names('2014')[1]}"] = Page(pack(["{'asin': 'B0", *meta]))
    core = {"min_user_interactions": 5, "min_item_interactions": 5, "drop_items_without": ["image", "text"]}
    settings, store = project(prepare=core)
    started = time.monotonic()
    logged = run(settings, store)
    print(f"{time.monotonic() - started:.0f} s, {logged['pictures_requested']:,.0f} pictures")
    assert (logged["users"], logged["items"], logged["interactions"]) == (22_332, 12_086, 198_215)
    sequences, ids = load_sequences(store), load_items(store)["item_id"].to_numpy()
    expected = table.sort_values(["user_id", "position"], kind="stable").groupby("user_id")["item_id"].agg(list)
    assert {
        u: [ids[i - 1] for i in s] for u, s in zip(sequences.user_ids, sequences.items, strict=True)
    } == expected.to_dict()


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "items.parquet").exists(), reason="MMESID_CATALOGUES names no folder with beauty")
def test_a_pair_of_files_without_pictures_has_the_same_users_items_and_sequences(
    project: Callable[..., Any], tmp_path: Path
) -> None:
    """What `make paper PRESET=cpu FROM=FOLDER` runs on."""
    amazon_pair.write(REAL, tmp_path / "pair", "Beauty")
    core = {"min_user_interactions": 5, "min_item_interactions": 5}
    settings, store = project(base_url=str(tmp_path / "pair"), prepare=core)
    logged = run(settings, store)
    assert (logged["users"], logged["items"], logged["interactions"]) == (22_332, 12_086, 198_215)
    assert logged["items_with_image"] == 0
    table, sequences = pd.read_parquet(REAL / "interactions.parquet"), load_sequences(store)
    ids = load_items(store)["item_id"].to_numpy()
    expected = table.sort_values(["user_id", "position"], kind="stable").groupby("user_id")["item_id"].agg(list)
    found = {u: [ids[i - 1] for i in s] for u, s in zip(sequences.user_ids, sequences.items, strict=True)}
    assert found == expected.to_dict()


@pytest.mark.parametrize(
    ("times", "first"),
    [
        ([0, 60], amazon_pair.EPOCH),
        ([1.5, 61.5], amazon_pair.EPOCH + 1),
        ([1_400_000_000, 1_400_000_060], 1_400_000_000),
        ([1_400_000_000_000, 1_400_000_060_999], 1_400_000_000),
        (pd.to_datetime(["2014-05-13 16:53:20", "2014-05-13 16:54:20"]), 1_400_000_000),
        (pd.to_datetime(["2014-05-13 18:53:20+02:00", "2014-05-13 18:54:20+02:00"]), 1_400_000_000),
        (["2014-05-13T16:53:20", "2014-05-13T16:54:20"], 1_400_000_000),
    ],
)
def test_a_pair_has_times_in_seconds_whatever_the_catalogue_has(times: Any, first: int) -> None:
    table = pd.DataFrame({"user_id": [1, 1], "item_id": [7, 8], "timestamp": times})
    found = [json.loads(line) for line in amazon_pair.reviews(table)]
    assert found == [
        {"reviewerID": "1", "asin": asin, "unixReviewTime": time} for asin, time in (("7", first), ("8", first + 60))
    ]
    (line,) = amazon_pair.products(pd.DataFrame({"item_id": [7], "title": "a", "categories": [["Bath", "Soap"]]}))
    assert line == "{'asin': '7', 'title': 'a', 'categories': [['Bath', 'Soap']]}"


def test_a_pair_holds_what_a_catalogue_in_two_tables_has(tmp_path: Path, project: Callable[..., Any]) -> None:
    rows = [(f"u{user}", f"i{(user + step) % 9}", step) for user in range(12) for step in range(6)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame.to_parquet(tmp_path / "interactions.parquet")
    items = pd.DataFrame({"item_id": [f"i{one}" for one in range(9)], "title": "Ada's soap", "brand": None})
    items.to_parquet(tmp_path / "items.parquet")
    amazon_pair.write(tmp_path, tmp_path / "pair", "Beauty")
    settings, store = project(base_url=str(tmp_path / "pair"))
    logged = run(settings, store)
    assert (logged["users"], logged["items"], logged["interactions"]) == (12, 9, 72)
    assert set(load_items(store)["title"]) == {"Ada's soap"}
