"""Every recipe of docs/catalogues.md reads a tiny download of the same shape: names, headers, separators, values."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from mmesid import config as configuration
from mmesid.artifacts.values import Catalogue
from mmesid.commands.add import NAME, parse_columns
from mmesid.config import Validate
from mmesid.data import files, verdict
from mmesid.data.formats import FORMATS, How
from mmesid.data.preparation import prepare
from tests.data import preparing
from tests.data.preparing import LOOSE

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "catalogues.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# user, item, step of time; by time the first user takes 0 1 2, the second 2 0 1
TAKEN = [(0, 1, 1), (1, 0, 1), (0, 0, 0), (1, 2, 0), (0, 2, 2), (1, 1, 2)]
START = datetime(2011, 11, 5, 9, 5, 58, tzinfo=UTC)


class Download(NamedTuple):
    """What a tiny download holds."""

    users: tuple[str, str]
    items: tuple[str, str, str]
    title: str  # of the first item
    write: Callable[["Download", Path], None]

    def rows(self) -> Iterable[tuple[str, str, datetime]]:
        """User, item and time of each interaction, a day apart, not in order."""
        return [(self.users[user], self.items[item], START + timedelta(days=step)) for user, item, step in TAKEN]

    def titles(self) -> list[tuple[str, str]]:
        """Id and title of each item."""
        return list(zip(self.items, (self.title, "Red Lamp", 'The "Blue" One, Part 2'), strict=True))


class Recipe(NamedTuple):
    """A recipe of the document: what makes the tables, and how they are read."""

    before: str  # shell
    folder: str
    name: str
    how: How


def recipe_of(title: str) -> Recipe:
    (block,) = BLOCK.findall(SECTIONS[title])
    before, found, command = block.replace("\\\n", " ").rpartition("mmesid add ")
    assert found
    name, *rest = shlex.split(command)
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    folder, columns = options.pop("--files"), parse_columns(options.pop("--columns", ""))
    given = {key.removeprefix("--").replace("-", "_"): value for key, value in options.items()}
    return Recipe(before, folder, name, How(columns=columns, **given))


def seconds(time: datetime) -> int:
    return int(time.timestamp())


def text(path: Path, lines: Iterable[str], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text(path, (json.dumps(row) for row in rows))


def python_lines(path: Path, rows: Iterable[dict[str, Any]], mark: str = "") -> None:
    """Dictionaries as Python 3 prints them, or Python 2 with the mark `u`."""
    lines = (re.sub(r"(?<=[{\[ ])(?=['\"])", mark, repr(row)) for row in rows)
    text(path, lines)


def ml_100k(data: Download, raw: Path) -> None:
    text(raw / "ml-100k/u.data", (f"{user}\t{item}\t3\t{seconds(time)}" for user, item, time in data.rows()))
    rest = "|01-Jan-1995||http://us.imdb.com/M/title-exact?Toy%20Story%20(1995)" + "|0" * 18 + "|1"
    text(raw / "ml-100k/u.item", (f"{item}|{title}{rest}" for item, title in data.titles()), "latin-1")


def ml_1m(data: Download, raw: Path) -> None:
    text(raw / "ml-1m/ratings.dat", (f"{user}::{item}::5::{seconds(time)}" for user, item, time in data.rows()))
    films = (f"{item}::{title}::Animation|Children's|Comedy" for item, title in data.titles())
    text(raw / "ml-1m/movies.dat", films, "latin-1")
    text(raw / "ml-1m/users.dat", ["1::F::1::10::48067"])


def ml_25m(data: Download, raw: Path) -> None:
    rows = [f"{user},{item},3.5,{seconds(time)}" for user, item, time in data.rows()]
    text(raw / "ml-25m/ratings.csv", ["userId,movieId,rating,timestamp", *rows])
    films = ['{},"{}",Adventure|Animation'.format(item, title.replace('"', '""')) for item, title in data.titles()]
    text(raw / "ml-25m/movies.csv", ["movieId,title,genres", *films])


def atomic(data: Download, raw: Path) -> None:
    rows = [f"{user}\t{item}\t3\t{seconds(time)}" for user, item, time in data.rows()]
    folder = raw / "recbole/ml-100k"
    text(folder / "ml-100k.inter", ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *rows])
    films = [f"{item}\t{title}\t1995\tAnimation Children's Comedy" for item, title in data.titles()]
    text(folder / "ml-100k.item", ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq", *films])
    text(folder / "ml-100k.user", ["user_id:token\tage:token\tgender:token", "1\t24\tM"])


def amazon_review(user: str, item: str, time: datetime) -> dict[str, Any]:
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "J. Doe",
        "helpful": [0, 0],
        "reviewText": "It's good",
        "overall": 5.0,
        "summary": "Good",
        "unixReviewTime": seconds(time),
        "reviewTime": "09 1, 2016",
    }


def amazon_2014(data: Download, raw: Path) -> None:
    json_lines(raw / "amazon-2014/reviews_Beauty_5.json.gz", (amazon_review(*row) for row in data.rows()))
    meta = [
        {
            "asin": item,
            "description": "It's soft",
            "title": title,
            "imUrl": "http://ecx.images-amazon.com/images/I/41.jpg",
            "salesRank": {"Beauty": 461765},
            "related": {"also_viewed": ["B002J2KT0Q"]},
            "categories": [["Beauty", "Skin Care"]],
        }
        for item, title in data.titles()
    ]
    python_lines(raw / "amazon-2014/meta_Beauty.json.gz", meta)


def amazon_2018(data: Download, raw: Path) -> None:
    reviews = [{**amazon_review(*row), "verified": True, "style": {"Size:": " 1"}} for row in data.rows()]
    json_lines(raw / "amazon-2018/All_Beauty.json.gz", [*reviews, reviews[0]])
    meta = [
        {
            "category": ["Beauty", "Soap"],
            "tech1": "",
            "description": ["Soft"],
            "title": title,
            "also_buy": [],
            "image": ["https://images-na.ssl-images-amazon.com/images/I/41.jpg"],
            "brand": "Acme",
            "feature": ["Mild", "Round"],
            "rank": "2,938,573 in Beauty",
            "details": {"ASIN:": item},
            "price": "$5",
            "asin": item,
        }
        for item, title in data.titles()
    ]
    json_lines(raw / "amazon-2018/meta_All_Beauty.json.gz", [*meta, {**meta[0], "price": ""}])


def amazon_2023(data: Download, raw: Path) -> None:
    reviews = [
        {
            "rating": 5.0,
            "title": "Such a lovely scent",
            "text": "Nice",
            "images": [],
            "asin": f"{item}X",
            "parent_asin": item,
            "user_id": user,
            "timestamp": seconds(time) * 1000 + 923,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for user, item, time in data.rows()
    ]
    json_lines(raw / "amazon-2023/All_Beauty.jsonl.gz", reviews)
    meta = [
        {
            "main_category": "All Beauty",
            "title": title,
            "average_rating": 4.8,
            "rating_number": 10,
            "features": ["Mild"],
            "description": [],
            "price": None,
            "images": [{"thumb": "https://m.media-amazon.com/images/I/41.jpg", "variant": "MAIN"}],
            "videos": [],
            "store": "Acme",
            "categories": [],
            "details": {"UPC": "644287689178"},
            "parent_asin": item,
            "bought_together": None,
        }
        for item, title in data.titles()
    ]
    json_lines(raw / "amazon-2023/meta_All_Beauty.jsonl.gz", meta)


def hm(data: Download, raw: Path) -> None:
    rows = [f"{time:%Y-%m-%d},{user},{item},0.0508,2" for user, item, time in data.rows()]
    text(raw / "hm/transactions_train.csv", ["t_dat,customer_id,article_id,price,sales_channel_id", *rows])
    articles = [
        '{},0108775,"{}",253,Vest top,"Jersey top, narrow straps."'.format(item, title.replace('"', '""'))
        for item, title in data.titles()
    ]
    header = "article_id,product_code,prod_name,product_type_no,product_type_name,detail_desc"
    text(raw / "hm/articles.csv", [header, *articles])
    picture = raw / f"hm/images/{data.items[0][:3]}/{data.items[0]}.jpg"
    picture.parent.mkdir(parents=True)
    Image.linear_gradient("L").convert("RGB").save(picture)


def retailrocket(data: Download, raw: Path) -> None:
    rows = [f"{seconds(time)}117,{user},view,{item}," for user, item, time in data.rows()]
    text(raw / "retailrocket/events.csv", ["timestamp,visitorid,event,itemid,transactionid", *rows])
    for part, time, add in ((1, 1435460400000, 0), (2, 1433041200000, 500)):  # the later value is in the first part
        values = [
            line
            for number, item in enumerate(data.items)
            for line in (f"{time},{item},categoryid,{338 + number + add}", f"{time},{item},790,n17880.000 639502")
        ]
        text(raw / f"retailrocket/item_properties_part{part}.csv", ["timestamp,itemid,property,value", *values])


def mind(data: Download, raw: Path) -> None:
    (one, two), (a, b, c) = data.users, data.items
    behaviors = [
        f"1\t{one}\t11/13/2019 9:05:58 AM\t{a} {b}\tN9-0 {c}-1",
        f"2\t{two}\t11/12/2019 6:11:30 PM\t{c}\t{b}-1 N9-0",
        f"3\t{two}\t11/12/2019 9:11:30 AM\t{c}\t{a}-1 {b}-0",
        f"4\tU7\t11/15/2019 8:55:22 AM\t\t{a}-1",
    ]
    text(raw / "MINDsmall_train/behaviors.tsv", behaviors)
    entities = '[{"Label": "Skin", "Type": "C", "WikidataId": "Q1", "Confidence": 1.0}]'
    news = [
        f"{item}\tlifestyle\tliferoyals\t{title}\tShop the list\thttps://assets.msn.com/labs/mind/AA.html\t[]\t{entities}"
        for item, title in data.titles()
    ]
    text(raw / "MINDsmall_train/news.tsv", news)


def yelp(data: Download, raw: Path) -> None:
    reviews = [
        {
            "review_id": f"r{n}",
            "user_id": user,
            "business_id": item,
            "stars": 3.0,
            "text": "a\nb",
            "date": f"{time:%F %T}",
        }
        for n, (user, item, time) in enumerate(data.rows())
    ]
    json_lines(raw / "yelp/yelp_academic_dataset_review.json", reviews)
    businesses = [
        {
            "business_id": item,
            "name": title,
            "address": "1616 Chapala St, Ste 2",
            "city": "Santa Barbara",
            "postal_code": "93101",
            "latitude": 34.4,
            "is_open": 0,
            "attributes": {"ByAppointmentOnly": "True"},
            "categories": "Doctors, Acupuncture",
            "hours": None,
        }
        for item, title in data.titles()
    ]
    json_lines(raw / "yelp/yelp_academic_dataset_business.json", businesses)


def steam_games(data: Download, raw: Path) -> None:
    games = [
        {
            "publisher": "Kotoshiro",
            "genres": ["Action", "Indie"],
            "app_name": title,
            "title": title,
            "url": f"http://store.steampowered.com/app/{item}",
            "release_date": "2018-01-04",
            "price": 4.99,
            "early_access": False,
            "id": item,
        }
        for item, title in data.titles()
    ]
    python_lines(raw / "steam/steam_games.json.gz", [*games, {"app_name": "No id", "price": 1.0}], "u")


def steam(data: Download, raw: Path) -> None:
    reviews = [
        {"username": user, "hours": 0.1, "product_id": item, "date": f"{time:%F}", "text": "It's\nfun", "page": 1}
        for user, item, time in data.rows()
    ]
    python_lines(raw / "steam/steam_reviews.json.gz", reviews, "u")
    steam_games(data, raw)


def steam_au(data: Download, raw: Path) -> None:
    rows = [
        {
            "user_id": name,
            "user_url": f"http://steamcommunity.com/id/{name}",
            "reviews": [
                {
                    "funny": "",
                    "posted": f"Posted {time:%B} {time.day}, {time.year}.",
                    "item_id": item,
                    "review": "It's ok",
                }
                for user, item, time in data.rows()
                if user == name
            ]
            + [{"funny": "", "posted": "Posted July 3.", "item_id": data.items[0], "review": ""}],
        }
        for name in data.users
    ]
    python_lines(raw / "steam/australian_user_reviews.json.gz", rows)
    steam_games(data, raw)


def lastfm(data: Download, raw: Path) -> None:
    names = dict(data.titles())
    plays = [
        f'{user}\t{time:%Y-%m-%dT%H:%M:%SZ}\t{item}\t{names[item]}\t\t"Heroes" Live' for user, item, time in data.rows()
    ]
    plays.append(f"{data.users[0]}\t2009-05-04T13:54:10Z\t\tNo id\t\tComposition 0919")
    text(raw / "lastfm-dataset-1K/userid-timestamp-artid-artname-traid-traname.tsv", plays)


FILMS = ("Cité des enfants perdus, La (1995)", ("1193", "2", "3105"))
ASINS = ("0205616461", "B0000530HU", "B00YQ6X8EO")
REVIEWERS = ("A3CIUOJXQ5VDQ2", "AGKHLEW2SOWHNMFQIJGBECAF7INQ")

DOWNLOADS: dict[str, Download] = {
    "MovieLens 100K": Download(("196", "22"), FILMS[1], FILMS[0], ml_100k),
    "MovieLens 1M": Download(("1", "6040"), FILMS[1], FILMS[0], ml_1m),
    "MovieLens 25M": Download(("1", "162541"), FILMS[1], FILMS[0], ml_25m),
    "RecBole's atomic files": Download(("196", "22"), FILMS[1], FILMS[0], atomic),
    "Amazon 2014": Download(REVIEWERS, ASINS, "Bath Salt", amazon_2014),
    "Amazon 2018": Download(REVIEWERS, ASINS, "Bath Salt", amazon_2018),
    "Amazon 2023": Download(REVIEWERS, ASINS, "Bath Salt", amazon_2023),
    "H&M": Download(("000058a12d", "00007d2de8"), ("0108775015", "0110065001", "0111565001"), "Strap top", hm),
    "RetailRocket": Download(("257597", "992329"), ("355908", "248676", "318965"), "category 338", retailrocket),
    "MIND": Download(("U13740", "U91836"), ("N55689", "N35729", "N33632"), '"Wheel" Guest Wins', mind),
    "Yelp": Download(("mh_-eMZ6K5", "8g_iMtfSiw"), ("Pns2l4eNsf", "mpf3x-BjTd", "XQfwVwDr-v"), "Café", yelp),
    "Steam": Download(("Chaos Syren", "Ariman1, the 2nd"), ("725280", "761140", "10"), "Lost Summoner Kitty", steam),
    "Steam, Australian users": Download(("7656119797", "js41637"), ("1250", "22200", "43110"), "Zeno Clash", steam_au),
    "Last.fm 1K": Download(
        ("user_000001", "user_001000"),
        ("f1b1cf71-bd35-4e99-8624-24a6e15f133a", "a7f7df4a-77d8-4f12-8acd-5c60c93f4de8", "a3031680-c359-458f-a641"),
        "Björk",
        lastfm,
    ),
}  # fmt: skip


def run(commands: str, folder: Path) -> None:
    """Run shell lines with this environment's commands first on PATH; all must succeed."""
    path = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; set -e\n"
    done = subprocess.run(
        ["sh", "-c", path + commands], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def histories(catalogue: Catalogue) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Each user's items in order of time, and each item's title."""
    prepared = prepare(catalogue, LOOSE)
    return preparing.histories(prepared), dict(zip(prepared.items["item_id"], prepared.items["title"], strict=True))


def limits() -> Validate:
    """The defaults, without what a tiny catalogue cannot have and what the document says to allow."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["validate"]
    few = {"min_users": 1, "min_items": 1, "min_interactions": 1}
    return Validate.model_validate({**section, **few, "max_duplicates": 1.0})


@pytest.mark.parametrize("title", DOWNLOADS)
def test_a_recipe_reads_what_is_downloaded(title: str, tmp_path: Path) -> None:
    data, recipe = DOWNLOADS[title], recipe_of(title)
    data.write(data, tmp_path / "raw")
    project = tmp_path / "project"
    project.mkdir()
    run(recipe.before, project)
    catalogue = files.read(project / recipe.folder, {}, recipe.how)
    taken, titles = histories(catalogue)
    a, b, c = data.items
    assert taken == {data.users[0]: [a, b, c], data.users[1]: [c, a, b]}
    assert titles[a] == data.title
    assert verdict.refusals(catalogue, limits()) == []
    assert catalogue.items["image"].notna().sum() == len(list((tmp_path / "raw").rglob("*.jpg")))


def test_an_item_without_metadata_needs_the_limit_that_the_document_names(tmp_path: Path) -> None:
    data, recipe = DOWNLOADS["MovieLens 25M"], recipe_of("MovieLens 25M")
    data.write(data, tmp_path / "raw")
    films = tmp_path / "raw/ml-25m/movies.csv"
    films.write_text("\n".join(films.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    refused = verdict.refusals(files.read(tmp_path / recipe.folder.removeprefix("../"), {}, recipe.how), limits())
    assert [refusal.allowed_by.partition(":")[0] for refusal in refused] == ["validate.max_unknown_items"]


def test_every_recipe_is_tried() -> None:
    assert list(SECTIONS) == list(DOWNLOADS)


@pytest.mark.parametrize("title", DOWNLOADS)
def test_a_recipe_is_short_and_names_a_dataset(title: str) -> None:
    recipe = recipe_of(title)
    assert NAME.fullmatch(recipe.name)
    assert recipe.before.count("python -c") + len(re.findall(r"^(?:mkdir|cp) ", recipe.before, re.MULTILINE)) <= 4


def test_the_document_shows_every_format() -> None:
    rows = dict(re.findall(r"^\| (`\..+?) \| (.+) \|$", DOCUMENT, re.MULTILINE))
    shown = {ending: says.replace("\\|", "|") for endings, says in rows.items() for ending in endings.split(", ")}
    assert shown == {f"`{ending}`": found.says for ending, found in FORMATS.items()}


def test_the_settings_of_the_document_exist() -> None:
    sections = {"ingest": configuration.Ingest, "validate": Validate, "prepare": configuration.Prepare}
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    shown = [(section, key) for block in blocks for section, keys in yaml.safe_load(block).items() for key in keys]
    named = shown + re.findall(r"`(ingest|validate|prepare)\.(\w+)[`:]", DOCUMENT)
    assert {section for section, _ in shown} == {"validate", "prepare"}
    assert all(key in sections[section].model_fields for section, key in named)
