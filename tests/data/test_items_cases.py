"""Items as other people's files hold them: which columns are text, which file is an item's picture, which embeddings
are used. Every case is made here, small, with the right value beside it."""

import io
import json
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmesid.artifacts.items import text_columns
from mmesid.commands.content import Content, FoundEmbedding, count_content, encoders
from mmesid.commands.inspection import inspect, suggest
from mmesid.data import files, texts
from mmesid.data.checks import frames
from mmesid.data.embedding_files import read_embedding
from mmesid.data.formats import How
from mmesid.data.picture_names import PictureNames, find
from mmesid.data.pictures import list_pictures, read_pictures
from mmesid.data.tables import Origin
from mmesid.encoders import precomputed
from mmesid.errors import DataError

IDS = [f"i{number}" for number in range(8)]  # of the fixture `folder`


def png(shade: int = 0) -> bytes:
    """A small picture of two colors."""
    picture = Image.new("RGB", (12, 12), (shade, 90, 200))
    picture.paste((255, 255, 255), (2, 2, 9, 5))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def write_items(folder: Path, **columns: object) -> None:
    for old in folder.glob("items.*"):
        old.unlink()
    pd.DataFrame({"item_id": IDS, **columns}).to_csv(folder / "items.csv", index=False)


def without_pictures(folder: Path) -> Path:
    for path in (folder / "images").iterdir():
        path.unlink()
    return folder


def without_embeddings(folder: Path) -> Path:
    (folder / "embeddings" / "text_tiny.npz").unlink()
    return folder


# Texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("['Action', 'Comedy']", "Action, Comedy"),
        ('["Action", "Comedy"]', "Action, Comedy"),
        ("['Action' 'Comedy']", "Action, Comedy"),
        (["dim", "warm"], "dim, warm"),
        ([["Home", "Lamps"], ["Desk"]], "Home, Lamps, Desk"),
        (np.array(["a", "b"]), "a, b"),
        ("Action|Comedy|Sci-Fi", "Action, Comedy, Sci-Fi"),
        ("Lamp | amber", "Lamp | amber"),
        ("Amber lamp &amp; shade", "Amber lamp & shade"),
        ("Cut&copy", "Cut&copy"),
        ("<i>Amber</i> lamp &copy 2024", "Amber lamp © 2024"),
        ("<p>Warm <b>light</b>,<br/>dim</p>", "Warm light, dim"),
        ("&lt;p&gt;Warm&lt;/p&gt;", "Warm"),
        ("H<sub>2</sub>O", "H2O"),
        ("<style>p {color: red}</style>Lamp<!-- sold out -->", "Lamp"),
        ("a < b > c <3", "a < b > c <3"),
        ("<Untitled>", "<Untitled>"),
        ("[REC]", "[REC]"),
        ("(500) Days of Summer", "(500) Days of Summer"),
        ("  two\n lines\u00a0", "two lines"),
        ({"Color": "red", "Size": {"cm": 12.0}}, "Color: red, Size: cm: 12"),
        (1984.0, "1984"),
        (12.5, "12.5"),
        ("null", "null"),
        *((blank, None) for blank in ("", " ", [], "[]", {}, "{}", "<br>", None, float("nan"), pd.NA)),
    ],
)
def test_a_value_is_read_as_a_person_would(value: object, text: str | None) -> None:
    assert texts.clean(value) == text


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Unnamed: 0", ["0", "1", "2"], "row numbers"),
        ("price", ["$9.99", "$5.00 - $10.00", "EUR 3,50"], "numbers"),
        ("cost", ["1999.99", "1234.5", "1,000"], "numbers"),
        ("reviewed", ["09 13, 2014", "May 5, 2024", "5 May 2024"], "dates"),
        ("month", ["March 2019", "2019 April", "Sept 2020"], "dates"),
        ("day", ["31.05.2024", "31/5/24", "2024/5/31"], "dates"),
        ("year", ["1995", "1996", "1995"], "numbers"),
        ("rating", [4.1, 4.5, None], "numbers"),
        ("released", ["01-Jan-1995", "02-Feb-1996", None], "dates"),
        ("added", ["2024-05-31T18:00:00Z", "2024-05-31 18:00:00.123 UTC", "May 5, 2024"], "dates"),
        ("seen", pd.to_datetime(["2024-01-01", "2024-01-02", None]), "dates"),
        ("in stock", [True, False, True], "yes or no"),
        ("new", ["yes", "no", "yes"], "yes or no"),
        ("link", ["https://example.org/a?b=c%20d", "http://example.org/b", "//cdn.example.org/c"], "links"),
        ("pictures", [["https://a.org/1.jpg", "https://a.org/2.jpg"], [], ["https://a.org/3.jpg"]], "links"),
        ("poster", ["a.jpg", "posters/b c.PNG", "d.webp"], "file names"),
        ("asin", ["B00YQ6X8EO", "B00YQ6X8E1", "B00YQ6X8E2"], "ids"),
        ("parent", ["d41d8cd98f00b204", "e41d8cd98f00b204", "f41d8cd98f00b204"], "ids"),
        ("also bought", [["B00YQ6X8EO", "B01"], ["B00YQ6X8E1"], ["B00YQ6X8E2", "B03"]], "ids"),
        ("store_id", ["AB", "CD", "AB"], "ids"),
        ("brandId", ["AB", "CD", "AB"], "ids"),
        ("details", [{"Rank": 1}, {"Rank": 2}, None], "nested"),
        ("images", [[{"large": "x"}], [{"large": "y"}], []], "nested"),
        ("as JSON", ['{"Rank": {"Lamps": 0}}', "{'Rank': 1}", "[{'large': 'x'}]"], "nested"),
        ("nothing", [None, None, None], "empty"),
        ("lists of nothing", [[], [], []], "empty"),
        ("title", ["1984", "300", "2012"], None),
        ("movie title", ["1984", "300", "2012"], None),
        ("brand", ["Acme", "Zed", "Foo"], None),
        ("color", ["red", "blue", "red"], None),
        ("genres", ["Action|Comedy", "Drama", "War|Drama"], None),
        ("size", ["3 XL", "12 cm", "5 kg"], None),
        ("feature", [["dim", "warm"], [], ["cold"]], None),
        ("when", ["in May", "March on", "may 5 people come in 2020"], None),
        ("valid", ["12 lamps", "13 lamps", "https://example.org"], None),
    ],
)
def test_the_rule_says_why_a_column_is_no_text(name: str, values: object, reason: str | None) -> None:
    choice = texts.choose(pd.DataFrame({name: values}), None)
    assert choice == (([name], {}) if reason is None else ([], {name: reason}))


def test_a_title_comes_first_under_any_of_its_names() -> None:
    for name in ("title", "Name", "product_title", "movie title", "Item Name"):
        table = pd.DataFrame({"brand": ["Acme", "Zed"], name: ["Lamp", "Chair"], "kind": ["a", "b"]})
        assert texts.choose(table, None).columns == [name, "brand", "kind"]


def test_what_is_asked_for_is_taken_in_its_order_whatever_it_holds() -> None:
    table = pd.DataFrame({"title": ["Lamp"], "price": ["9.99"], "details": [{"Rank": {"Lamps": 1}}]})
    assert texts.choose(table, ["price", "title"]) == (["price", "title"], {"details": "not in ingest.text"})
    assert texts.choose(table, []).columns == []
    with pytest.raises(DataError, match=r"ingest\.text names brand; the items table has: title, price, details"):
        texts.choose(table, ["brand", "title"])


def test_words_for_no_value_among_texts_are_said_where_they_are_many(folder: Path) -> None:
    write_items(folder, title=[f"Thing {item_id}" for item_id in IDS], brand=["Acme", "NULL", None, "nan", *"abcd"])
    assert files.read_items(folder).notes == [
        "column brand with a word for no value, which is read as text: 2, the first is 'NULL' in items.csv, row 2; "
        "leave such cells empty where nothing is meant"
    ]
    write_items(folder, title=["None", *(f"Thing {item_id}" for item_id in IDS[1:])])
    assert files.read_items(folder).notes == []


@pytest.mark.parametrize("text", ["café crème", "“Lamp” – new", "Привет, мир", "中国 日本", "10 °C", "😀 lamp", "Łódź"])
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_texts_that_were_encoded_twice_are_said_where_they_are_many(text: str, encoding: str) -> None:
    origin = Origin(["items.csv"], [100])
    twice = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    for count in (0, 1, 2):
        column = texts.readable("title", pd.Series([text] * (100 - count) + [twice] * count))
        note = texts.encoded_twice("title", column, origin)
        assert (note is None) == (count < 2)
    assert ": 2, the first is" in str(note)
    assert "in items.csv, row 99, perhaps for " in str(note)


def test_letters_and_marks_of_sound_texts_are_not_encoded_twice() -> None:
    sound = ["SÃO PAULO", "« À la »", "Über™®", "naïve – “x”", "ĐẶNG VÃ", "Gerät“", "Straße »", "Ångström", "30 €"]
    assert texts.encoded_twice("title", pd.Series(sound), Origin(["items.csv"], [len(sound)])) is None


def test_nested_metadata_leaves_words_alone(folder: Path) -> None:
    rows = [
        {
            "item_id": item_id,
            "title": f"Amber lamp {number} &amp; shade",
            "average_rating": 4.1,
            "features": ["dim", "warm"] if number else [],
            "price": 9.99 if number else None,
            "images": [{"thumb": f"https://img.example.org/{number}.jpg", "variant": "MAIN"}],
            "videos": {"title": [], "url": []},
            "categories": [["Home", "Lamps"]],
            "details": {"Rank": {"Lamps": number}},
            "parent_asin": item_id,
        }
        for number, item_id in enumerate(IDS)
    ]
    (folder / "items.csv").unlink()
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    items = files.read_items(folder).frame
    assert text_columns(items) == ["title", "features", "categories"]
    assert items.loc[1, ["title", "features", "categories"]].to_list() == [
        "Amber lamp 1 & shade",
        "dim, warm",
        "Home, Lamps",
    ]
    assert pd.isna(items["features"][0])
    asked = files.read_items(folder, How(text=["details", "title"])).frame
    assert text_columns(asked) == ["details", "title"]
    assert asked["details"][1] == "Rank: Lamps: 1"
    rows_said = dict(inspect(folder)[0].rows())
    assert rows_said["columns left out"] == (
        "numbers: average_rating, price; nested: images, details; empty: videos; ids: parent_asin "
        "(no text by their values; ingest.text: [COLUMN, ...] names those to take)"
    )


# Pictures


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("x.jpg", "posters/x.jpg"),
        ("images/x.jpg", "x.jpg"),
        ("./x.jpg", "x.jpg"),
        ("C:\\pics\\x.jpg", "x.jpg"),
        ("https://example.org/large/x.jpg?width=300#top", "x.jpg"),
        ("https://example.org/caf%C3%A9%201.jpg", "café 1.jpg"),
        ("X.JPG", "x.jpg"),
        (unicodedata.normalize("NFC", "café 1000.png"), unicodedata.normalize("NFD", "café 1000.PNG")),
        (unicodedata.normalize("NFD", "café.png"), unicodedata.normalize("NFC", "café.png")),
        ("x.jpg", "x.png"),
        ("x", "x.webp"),
        ("a/x.jpg", "x.JPEG"),
        ("x.jpg", "b/c/x.JPEG"),
        ("v1.2", "v1.2.jpg"),
        ("21.0", "21.jpg"),
        ("21", "21.0.jpg"),
    ],
)
def test_a_picture_is_found_by_its_name(name: str, place: str) -> None:
    assert PictureNames([place, "other.jpg", "z/another.png"]).by_name(name) == (place, None)


@pytest.mark.parametrize(
    ("name", "places", "place"),
    [
        ("x.jpg", ["x.jpg", "X.jpg", "x.png", "thumbs/x.jpg"], "x.jpg"),
        ("X.jpg", ["x.jpg", "X.jpg"], "X.jpg"),
        ("a/x.jpg", ["a/x.jpg", "b/x.jpg"], "a/x.jpg"),
        ("old/a/x.jpg", ["new/a/x.jpg", "new/b/x.jpg"], "new/a/x.jpg"),
        ("x.jpg", ["x.json", "x.png"], "x.png"),
    ],
)
def test_an_exact_name_wins(name: str, places: list[str], place: str) -> None:
    assert PictureNames(places).by_name(name).place == place


def found_by(names: list[str], places: list[str]) -> list[str | None]:
    return [one.place for one in find(names, [f"item {n}" for n in range(len(names))], places)]


def test_a_name_whose_folders_contradict_the_files_does_not_mean_it() -> None:
    assert found_by(["men/4.jpg", "women/4.jpg", "women/9.jpg"], ["men/4.jpg", "men/9.jpg"]) == [
        "men/4.jpg",
        None,
        None,
    ]
    assert found_by(["1/main.jpg", "2/main.jpg"], ["1/main.jpg"]) == ["1/main.jpg", None]
    assert found_by(["a/1.jpg", "b/2.jpg"], ["a/1.jpg", "c/2.jpg"]) == ["a/1.jpg", None]


def test_folders_that_all_files_or_all_names_begin_with_do_not_matter() -> None:
    assert found_by(["a/1.jpg", "b/2.jpg"], ["set/1.jpg", "set/2.jpg"]) == ["set/1.jpg", "set/2.jpg"]
    assert found_by(["/home/me/1.jpg", "/home/me/2.jpg"], ["p/1.jpg", "q/2.jpg"]) == ["p/1.jpg", "q/2.jpg"]
    assert found_by(["C:\\set\\1.jpg", "/srv/set/2.jpg", "x/3.jpg"], ["set/1.jpg", "set/2.jpg", "set/3.jpg"]) == [
        "set/1.jpg",
        "set/2.jpg",
        None,
    ]


def test_one_file_is_not_the_picture_of_different_names() -> None:
    first, second = find(["a/x.jpg", "b/x.jpg"], ["1", "2"], ["x.jpg"])
    assert first == (None, "shared: 'b/x.jpg' leads to 'x.jpg' as well")
    assert second == (None, "shared: 'a/x.jpg' leads to 'x.jpg' as well")
    assert found_by(["x.jpg", "X.jpg"], ["x.jpg"]) == ["x.jpg", None]
    assert found_by(["x.jpg", "x.JPG", "p/x.jpg", "https://a.org/p/x.jpg?w=3"], ["x.jpg"]) == ["x.jpg"] * 4


def test_ids_that_differ_in_letter_case_have_pictures_of_their_own() -> None:
    places = ["Ab1.jpg", "Xy.jpg", "xY.jpg", "kind.jpg"]
    found = find([None] * 5, ["Ab1", "aB1", "Xy", "xY", "KIND"], places)
    assert [one.place for one in found] == ["Ab1.jpg", None, "Xy.jpg", "xY.jpg", "kind.jpg"]
    assert not any(one.fault for one in found)
    assert find([None] * 2, ["QQ", "qQ"], ["qq.jpg"])[0].fault == "shared: 'qQ' leads to 'qq.jpg' as well"


def test_two_files_that_fit_are_named_and_none_is_taken() -> None:
    found = PictureNames(["a/x.jpg", "b/x.jpg"]).by_name("x.jpg")
    assert found == (None, "ambiguous: 'a/x.jpg' and 'b/x.jpg' both fit")
    assert PictureNames(["x.png", "x.webp"]).by_name("x.jpg").place is None


def test_a_miss_names_the_nearest_file() -> None:
    files_there = PictureNames(["0001.jpg", "1000.jpg"])
    assert files_there.by_name("1.jpg").fault == "missing: no such file among the images, the nearest is '1000.jpg'"
    assert PictureNames([]).by_name("1.jpg").fault == "missing: no such file among the images, there are none"


def test_without_a_column_a_picture_is_found_by_the_items_id() -> None:
    places = ["12.jpg", "a/13.PNG", "14.0.webp", "readme.txt", "thumbs/12.jpg"]
    found = find([None] * 5, [" 12 ", "13.0", "14", "15", None], places)
    assert [one.place for one in found] == ["12.jpg", "a/13.PNG", "14.0.webp", None, None]
    assert not any(one.fault for one in found)


def test_a_file_without_a_suffix_is_found_by_the_items_id() -> None:
    places = ["12", "b/13", "14.jpg", "14", "readme", "15.heic", "a.b"]
    found = find([None] * 6, ["12", "13.0", "14", "15", "a.b", None], places)
    assert [one.place for one in found] == ["12", "b/13", "14.jpg", None, "a.b", None]
    assert not any(one.fault for one in found)
    assert find([None], ["12.jpg"], ["12.jpg"])[0].place == "12.jpg"


def test_a_folder_of_an_item_gives_its_first_picture() -> None:
    places = ["a/12/main.PNG", "a/12/2.jpg", "a/13/0.png", "a/13/note.txt", "a/14/note.txt", "15.txt"]
    found = find([None] * 4, ["12", "13.0", "14", "15"], places)
    assert [one.place for one in found] == ["a/12/2.jpg", "a/13/0.png", None, None]
    assert [one.place for one in find(["12", "13"], ["12", "13"], places)] == ["a/12/2.jpg", "a/13/0.png"]
    twice = find([None] * 3, ["12", "13", "14"], ["a/12/1.jpg", "b/12/1.jpg", "a/13/1.jpg", "a/14/1.jpg"])
    assert twice[0] == (None, "ambiguous: 'a/12/1.jpg' and 'b/12/1.jpg' both fit")


def test_pictures_that_count_in_folders_of_items_are_no_items() -> None:
    places = [f"images/{number}/{place}.png" for number in range(1, 9) for place in (1, 10, 2)]
    found = find([None] * 8, [str(number) for number in range(1, 9)], places)
    assert [one.place for one in found] == [f"images/{number}/1.png" for number in range(1, 9)]
    assert find([None], ["7"], ["7/p10.jpg", "7/p2.jpg"])[0].place == "7/p2.jpg"
    assert find([None], ["7"], ["7/p2.jpg", "7/p.jpg"])[0].place == "7/p.jpg"


def test_folders_of_kinds_are_no_items() -> None:
    places = [f"{kind}/photo {number}.jpg" for kind in (1, 2) for number in range(9)]
    assert not any(one.place for one in find([None] * 9, [str(number) for number in range(9)], places))


def test_links_that_lead_to_no_file_give_way_to_ids() -> None:
    links = ["https://example.org/i?a", "https://example.org/i?b"]
    assert [one.place for one in find(links, ["1", "2"], ["1.jpg", "2.jpg"])] == ["1.jpg", "2.jpg"]
    assert [one.place for one in find(["2.jpg", "9.jpg"], ["1", "2"], ["1.jpg", "2.jpg"])] == ["2.jpg", None]


def test_links_that_give_way_to_ids_are_said(folder: Path) -> None:
    write_items(folder, image=[f"https://example.org/i.php?id={9 - number}" for number in range(8)])
    assert [line for line in inspect(folder)[0].warnings if "links" in line] == [
        "links in the column image that lead to no file, where pictures are taken by item_id: 8, the first is "
        "'https://example.org/i.php?id=9', and 'i0.jpg' is taken"
    ]
    write_items(folder, image=[f"https://example.org/s/{item_id}.JPG?w=9" for item_id in IDS])
    assert not any("links" in line for line in inspect(folder)[0].warnings)


@pytest.mark.parametrize("form", ["00{}", "img_{}.jpg", "{}_large.jpg"])
def test_names_that_lead_to_no_file_do_not_give_way_to_ids(form: str) -> None:
    names = [form.format(3 - number) for number in range(3)]
    found = find(names, ["1", "2", "3"], ["1.jpg", "2.jpg", "3.jpg"])
    assert not any(one.place for one in found)
    assert all((one.fault or "").startswith("missing") for one in found)


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("x.jpg?v=2", "x.jpg"),
        ("x.jpg#top", "x.jpg"),
        ('["gone.jpg", "x.jpg"]', "x.jpg"),
        ("['x.jpg' 'y.jpg']", "x.jpg"),
        ("y.jpg|x.jpg", "y.jpg"),
        ('[{"thumb": "https://m.example/x_s.jpg", "large": "https://m.example/x.jpg", "variant": "MAIN"}]', "x.jpg"),
        ("one, two.jpg", "one, two.jpg"),
        ("[1].jpg", "[1].jpg"),
    ],
)
def test_a_cell_may_list_names_and_carry_what_links_carry(cell: str, place: str) -> None:
    assert [one.place for one in find([cell], ["i"], ["x.jpg", "y.jpg", "one, two.jpg", "[1].jpg"])] == [place]


def test_a_list_of_which_nothing_is_there_is_a_miss() -> None:
    (found,) = find(['["gone.jpg", "lost.jpg"]'], ["i"], ["x.jpg"])
    assert found == (None, "missing: no such file among the images, the nearest is 'x.jpg'")


def test_links_without_any_picture_file_are_no_pictures(folder: Path) -> None:
    without_pictures(folder)
    write_items(folder, image=[f"https://m.example/{item_id}.jpg" for item_id in IDS])
    found, catalogue = inspect(folder)
    assert "links in the column image, which nobody fetches: 8; there are no picture files" in found.warnings
    assert catalogue.items["image_name"].isna().all()
    assert len(frames(catalogue, 1)["pictures"]) == 0


@pytest.mark.parametrize("emptied", [True, False])
def test_a_word_for_no_value_in_the_column_image_means_no_picture(emptied: bool, folder: Path) -> None:
    write_items(folder, image=["i0.jpg", "nan", "NULL", *(f"{item_id}.jpg" for item_id in IDS[3:])])
    (folder / "images" / "i1.jpg").rename(folder / "images" / "None.jpg")
    if emptied:
        without_pictures(folder)
    found, catalogue = inspect(folder)
    assert not any("links in the column image" in warning for warning in found.warnings)
    assert catalogue.items["image_name"].isna().tolist() == [number in (1, 2) for number in range(8)]
    assert len(frames(catalogue, 1)["pictures"]) == 6
    assert find(["None"], ["i1"], ["None.jpg", "b.jpg"])[0].place == "None.jpg"


def test_names_without_any_picture_file_are_missing(folder: Path) -> None:
    without_pictures(folder)
    assert frames(files.read(folder, {}), 1)["pictures"]["fault"].str.startswith("missing").all()


def test_an_archive_that_a_mac_packed_is_read(folder: Path) -> None:
    without_pictures(folder)
    (folder / "images").rmdir()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number, item_id in enumerate(IDS):
            archive.writestr(f"posters/{item_id}.jpg", png(number))
            archive.writestr(f"__MACOSX/posters/._{item_id}.jpg", b"\0\5\x16\7")
        archive.writestr("posters/.DS_Store", b"Bud1")
        archive.writestr("posters/Thumbs.db", b"\xd0\xcf")
    assert list_pictures(folder) == [f"posters/{item_id}.jpg" for item_id in IDS]
    items = files.read(folder, {}).items
    assert items["image"].to_list() == [png(number) for number in range(8)]
    assert inspect(folder)[0].with_picture == 1


def test_names_in_utf_8_that_an_archive_does_not_mark_are_read(folder: Path) -> None:
    without_pictures(folder)
    (folder / "images").rmdir()
    plain, marked = b"cafx", "café".encode()
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("cafxx.jpg", png())
    content = (folder / "images.zip").read_bytes().replace(plain + b"x", marked)
    (folder / "images.zip").write_bytes(content)
    assert list_pictures(folder) == ["café.jpg"]
    assert read_pictures(folder, ["café.jpg"]) == [png()]


def test_a_missing_picture_shows_a_name_of_each_side_in_add_and_gate(folder: Path) -> None:
    (folder / "images" / "i2.jpg").rename(folder / "images" / "i2x.jpg")
    (sentence,) = [line for line in inspect(folder)[0].warnings if "not there" in line]
    assert sentence == (
        "pictures that the items table names but that are not there: 1, as 'i2.jpg' "
        "(no such file among the images, the nearest is 'i2x.jpg')"
    )
    pictures = frames(files.read(folder, {}), 1)["pictures"]
    assert pictures["fault"][2] == "missing: no such file among the images, the nearest is 'i2x.jpg'"


def test_pictures_that_nothing_leads_to_are_said_with_a_name_of_each_side(folder: Path) -> None:
    write_items(folder, title=[f"Thing {item_id}" for item_id in IDS])
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(f"photo of {path.name}"))
    warnings = "\n".join(inspect(folder)[0].warnings)
    assert "picture files that no item uses: 8, as 'photo of i0.jpg'" in warnings
    assert "as 'i0'" in warnings


def test_files_of_a_kind_that_is_not_looked_for_are_told_beside_pictures(folder: Path) -> None:
    write_items(folder, title=[f"Thing {item_id}" for item_id in IDS])
    for number, path in enumerate(sorted((folder / "images").iterdir())):
        path.rename(path.with_suffix(".heic" if number < 3 else ".JPG"))
    (folder / "images" / "notes.txt").write_text("no picture", encoding="utf-8")
    (sentence,) = [line for line in inspect(folder)[0].warnings if "images/" in line]
    assert sentence.startswith(
        "files in images/ that are named by an item_id but are of no kind that is looked for: 3, as 'i0.heic'; looked "
        "for are jpg, jpeg,"
    )


@pytest.mark.parametrize("cell", [f"data:image/png;base64,{'iVBORw0K' * 5}", "iVBORw0K" * 500])
def test_a_picture_that_a_cell_holds_is_told_in_few_words(cell: str, folder: Path) -> None:
    write_items(folder, title=[f"Thing {item_id}" for item_id in IDS], image=[cell] * len(IDS))
    (sentence,) = [line for line in inspect(folder)[0].warnings if "not there" in line]
    assert len(sentence) < 300
    assert "(the cell holds the picture itself, write it as a file into images/)" in sentence


# Embeddings


def test_an_embedding_file_that_is_not_used_has_a_line_with_the_right_name(folder: Path) -> None:
    places, matrix = folder / "embeddings", np.eye(8, dtype=np.float32)
    np.save(places / "text_feat.npy", matrix)
    for name in ("clip", "vision_clip", "text-minilm", "image_second"):
        np.savez(places / f"{name}.npz", item_id=np.array(IDS), embedding=matrix)
    np.savez(folder / "img.npz", item_id=np.array(IDS), embedding=matrix)
    (places / ".DS_Store").write_bytes(b"Bud1")
    without_pictures(folder)
    said = [detail for subject, detail in inspect(folder)[0].rows() if subject == "not used"]
    assert said == [
        "embeddings/clip.npz: its name does not begin with a modality and `_`; rename it to text_clip.npz or "
        "image_clip.npz",
        "embeddings/text-minilm.npz: its name does not begin with a modality and `_`; rename it to text_minilm.npz",
        "embeddings/text_feat.npy: it is no .npz file; save it with np.savez as text_feat.npz, with the arrays item_id "
        "and embedding",
        "embeddings/vision_clip.npz: its name does not begin with a modality and `_`; rename it to image_clip.npz",
        "img.npz: it lies beside embeddings/; move it there as image_own.npz",
    ]


def test_a_conf_that_names_a_file_of_another_name_is_told_the_right_one(folder: Path) -> None:
    (folder / "embeddings" / "text_tiny.npz").rename(folder / "embeddings" / "text-tiny.npz")
    with pytest.raises(DataError, match=r"usable are: none; text-tiny\.npz is not: .* rename it to text_tiny\.npz"):
        files.read(folder, {"text": "tiny"})


def test_an_embedding_that_the_conf_does_not_name_has_a_line(folder: Path) -> None:
    np.savez(folder / "embeddings" / "collaborative_mine.npz", item_id=np.array(IDS), embedding=np.eye(8))
    rows = [detail for subject, detail in inspect(folder)[0].rows() if subject == "not used"]
    assert rows == [
        "embeddings/collaborative_mine.npz: the conf does not name it; to use it, put `collaborative: mine` under "
        "ingest.embeddings and set encode_collaborative.encoder to precomputed"
    ]


@pytest.mark.parametrize(("offset", "far"), [(0, False), (5, False), (100, True), (1000, True)])
def test_vectors_far_from_zero_are_said(offset: int, far: bool, folder: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(len(IDS), 64)) + offset
    np.savez(folder / "embeddings" / "text_far.npz", item_id=np.array(IDS), embedding=matrix)
    said = [line for line in inspect(folder)[0].warnings if "far from zero" in line]
    assert [line for line in files.read(folder, {"text": "far"}).notes if "far from zero" in line] == said
    assert len(said) == far
    for line in said:
        assert line.startswith("embeddings/text_far.npz: its vectors lie ")
        assert line.endswith("subtract the mean before it is saved")


def test_vectors_of_zeros_are_missing_ones(folder: Path) -> None:
    matrix = np.eye(8, dtype=np.float32)
    matrix[[2, 5]] = 0
    np.savez(folder / "embeddings" / "text_tiny.npz", item_id=np.array(IDS), embedding=matrix)
    catalogue = files.read(folder, {"text": "tiny"})
    joined = precomputed.join("text", np.array(IDS, dtype=object), catalogue.embeddings["text"])
    assert joined.present.tolist() == [False, True, True, False, True, True, False, True, True]
    assert frames(catalogue, 1)["items"]["has_text_embedding"].sum() == 6
    (found,) = inspect(folder)[0].embeddings
    assert found.coverage == 0.75
    assert ("text embedding", "tiny: 8 wide, 75.0% of the items; 2 vectors of zeros count as missing") in inspect(
        folder
    )[0].rows()


@pytest.mark.parametrize("ids", [np.array([10, 11]), np.array([10.0, 11.0]), np.array([" 10", "11.0 "])])
def test_ids_of_an_embedding_are_in_the_form_of_the_tables(ids: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "text_a.npz", item_id=ids, embedding=np.eye(2))
    assert read_embedding(tmp_path / "text_a.npz").item_ids.tolist() == ["10", "11"]


def test_ids_of_no_item_are_shown_beside_one_of_the_items(folder: Path) -> None:
    np.savez(folder / "embeddings" / "image_far.npz", item_id=np.array(["'i0'"]), embedding=np.ones((1, 2)))
    (said,) = [detail for subject, detail in inspect(folder)[0].rows() if subject == "not used"]
    assert "its ids look like \"'i0'\", the items' like 'i0'" in said


def test_ids_of_an_embedding_that_are_no_items_are_said(folder: Path) -> None:
    ids = np.array([*IDS[:4], *(f"0{item_id}" for item_id in IDS[4:])])
    np.savez(folder / "embeddings" / "image_half.npz", item_id=ids, embedding=np.eye(8))
    rows = dict(inspect(folder)[0].rows())
    assert rows["image embedding"] == "half: 8 wide, 50.0% of the items; 4 ids are no item's, such as '0i4'"


# One modality or none


def _only_ids(folder: Path) -> None:
    without_pictures(without_embeddings(folder))
    write_items(folder)


def _only_pictures(folder: Path) -> None:
    without_embeddings(folder)
    write_items(folder)


def _only_texts(folder: Path) -> None:
    without_pictures(without_embeddings(folder))
    write_items(folder, title=[f"Thing {item_id}" for item_id in IDS])


def _only_given(modality: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        _only_ids(folder)
        np.savez(folder / "embeddings" / f"{modality}_own.npz", item_id=np.array(IDS), embedding=np.eye(8))

    return change


def test_the_small_open_clip_model_is_chosen_where_enough_items_have_both() -> None:
    assert encoders(Content(100, 100, 32), [], 100) == {"text": "open_clip", "image": "open_clip"}
    assert encoders(Content(100, 31, 31), [], 100) == {"text": "lsa", "image": "pixels"}
    assert encoders(Content(1000, 40, 40), [], 1000) == {"text": "lsa", "image": "none"}
    net = FoundEmbedding("image", "net", 5, 0.3, 30, 0)
    assert encoders(Content(100, 60, 0), [net], 100)["image"] == "precomputed"
    assert encoders(Content(100, 61, 0), [net], 100)["image"] == "pixels"


def test_the_pretrained_text_model_is_chosen_where_it_is_installed_and_can_read() -> None:
    own = FoundEmbedding("text", "own", 5, 1.0, 100, 0)
    assert encoders(Content(100, 100, 32), [], 100, True) == {"text": "sentence_transformers", "image": "open_clip"}
    assert encoders(Content(100, 0, 0), [], 100, True) == {"text": "sentence_transformers", "image": "none"}
    assert encoders(Content(100, 0, 0), [own], 100, True)["text"] == "precomputed"
    assert encoders(Content(0, 100, 0), [], 100, True) == {"text": "none", "image": "pixels"}
    assert encoders(Content(100, 0, 0, latin=False), [], 100, True)["text"] == "lsa"


def test_the_script_of_the_texts_is_seen() -> None:
    items = pd.DataFrame({"item_id": ["a", "b"], "title": ["A red lamp, 12 €", "Crème brûlée"], "image": None})
    kept = pd.Series([True, True])
    assert count_content(items, kept).latin
    assert not count_content(items.assign(title=["花瓶 red", "Лампа настольная"]), kept).latin
    assert count_content(items.assign(title=["12", "13"]), kept).latin


@pytest.mark.parametrize(
    ("change", "text", "image"),
    [
        (_only_ids, "none", "none"),
        (_only_pictures, "none", "pixels"),
        (_only_texts, "lsa", "none"),
        (_only_given("text"), "precomputed", "none"),
        (_only_given("image"), "none", "precomputed"),
    ],
)
def test_one_modality_or_none_gets_encoders_that_can_run(
    change: Callable[[Path], None], text: str, image: str, folder: Path
) -> None:
    change(folder)
    assert suggest(inspect(folder)[0])["encode_content"] == {"text": text, "image": image}


def test_too_few_pictures_are_left_out_and_said(folder: Path) -> None:
    without_embeddings(folder)
    for item_id in IDS[1:]:
        (folder / "images" / f"{item_id}.jpg").unlink()
    found = inspect(folder)[0]
    assert suggest(found)["encode_content"] == {"text": "lsa", "image": "none"}
    assert any(line.startswith("only 1 of 8 items after preparation have a picture") for line in found.warnings)
