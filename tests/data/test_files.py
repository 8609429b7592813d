"""The source `files`: what is read unchanged, what becomes null, and one clear error for each kind of bad input."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mmesid.artifacts.ingest import load_catalogue, save_catalogue
from mmesid.artifacts.items import text_columns
from mmesid.artifacts.store import Store
from mmesid.data import SOURCES, files
from mmesid.data.formats import How
from mmesid.data.tables import as_text, read_table
from mmesid.errors import DataError

ROWS = pd.DataFrame({"user_id": ["u", "u", "v"], "item_id": ["i0", "i1", "i0"], "timestamp": [3, 1, 2]})


def write_items(folder: Path, table: pd.DataFrame, ending: str = "parquet") -> None:
    (folder / "items.csv").unlink(missing_ok=True)
    if ending == "jsonl":
        table.to_json(folder / "items.jsonl", orient="records", lines=True, force_ascii=False)
    else:
        getattr(table, f"to_{ending}")(folder / f"items.{ending}", index=False)


def write_csv(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_a_good_folder_becomes_canonical_tables(folder: Path) -> None:
    catalogue = SOURCES["files"](folder, {"text": "tiny"})
    assert list(catalogue.interactions.columns) == ["user_id", "item_id", "timestamp", "file", "row"]
    assert list(catalogue.items.columns) == ["item_id", "title", "brand", "image", "image_name", "file", "row"]
    assert catalogue.interactions["timestamp"].dtype == np.int64
    assert catalogue.interactions["row"].to_list() == list(range(1, 37))
    assert set(catalogue.interactions["file"]) == {"interactions.csv"}
    assert catalogue.items["image"][3] == b"\xff\xd8i3"
    assert catalogue.items["brand"].isna().to_list() == [False, True] * 4
    assert text_columns(catalogue.items) == ["title", "brand"]
    embedding = catalogue.embeddings["text"]
    assert embedding.matrix.dtype == np.float32
    assert embedding.matrix[2].tolist() == [6, 7, 8]
    assert embedding.item_ids.tolist() == [f"i{number}" for number in range(8)]


def test_saving_and_loading_is_identity(folder: Path, tmp_path: Path) -> None:
    catalogue, store = files.read(folder, {"text": "tiny"}), Store("shop", tmp_path)
    save_catalogue(store, catalogue)
    loaded = load_catalogue(store)
    pd.testing.assert_frame_equal(loaded.interactions, catalogue.interactions)
    pd.testing.assert_frame_equal(loaded.items, catalogue.items)
    assert np.array_equal(loaded.embeddings["text"].matrix, catalogue.embeddings["text"].matrix)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_formats_give_the_same_items(ending: str, folder: Path) -> None:
    table = pd.DataFrame({"item_id": ["7", "8"], "title": ["A, B", None], "image": [None, "i1.jpg"]})
    write_items(folder, table, ending)
    items = files.read_items(folder).frame
    assert items["item_id"].to_list() == ["7", "8"]
    assert items["title"][0] == "A, B"
    assert items["title"].isna().to_list() == [False, True]
    assert items["image_name"].isna().to_list() == [True, False]


def test_columns_that_are_not_asked_for_are_ignored_and_the_order_of_the_file_stays(folder: Path) -> None:
    (folder / "interactions.csv").unlink()
    ROWS.assign(rating=5, item_title="x").to_parquet(folder / "interactions.parquet")
    interactions = files.read_interactions(folder).frame
    assert list(interactions.columns) == ["user_id", "item_id", "timestamp", "file", "row"]
    assert interactions["timestamp"].to_list() == [3, 1, 2]


def test_number_ids_are_text_even_beside_nulls(folder: Path) -> None:
    (folder / "interactions.csv").unlink()
    ROWS.assign(user_id=[1.0, None, 2.0], item_id=[10, 11, 10]).to_parquet(folder / "interactions.parquet")
    interactions = files.read_interactions(folder).frame
    assert interactions["user_id"].fillna("-").to_list() == ["1", "-", "2"]
    assert interactions["item_id"].to_list() == ["10", "11", "10"]


def test_leading_zeros_and_words_like_null_survive_in_csv(folder: Path) -> None:
    write_csv(folder, "items.csv", "item_id,title\n007,None\nNA,null\n,nan\n")
    items = files.read_items(folder).frame
    assert items["item_id"].fillna("-").to_list() == ["007", "NA", "-"]
    assert items["title"].to_list() == ["None", "null", "nan"]


def test_null_and_repeated_and_unknown_rows_are_left_to_validate(folder: Path) -> None:
    write_csv(folder, "interactions.csv", "user_id,item_id,timestamp\n,i0,1\nu,,2\nu,nowhere,3\nu,i0,4\nu,i0,4\n")
    assert len(files.read_interactions(folder).frame) == 5
    write_csv(folder, "items.csv", "item_id,title\ni0,a\ni0,b\n")
    assert len(files.read_items(folder).frame) == 2


def test_titles_are_read_unchanged_but_for_white_space(folder: Path) -> None:
    titles = ["x" * 100_000, "Пальто из шерсти", "茶壶 🫖", "مصباح", 'quoted "word", comma\nnew line', " padded "]
    for ending in ("csv", "parquet", "jsonl"):
        for old in folder.glob("items.*"):
            old.unlink()
        write_items(folder, pd.DataFrame({"item_id": list("abcdef"), "title": titles}), ending)
        assert files.read_items(folder).frame["title"].to_list() == [" ".join(title.split()) for title in titles]


def test_blank_text_is_null() -> None:
    assert as_text(pa.array(["", "  ", "a", None])).isna().to_list() == [True, True, False, True]


def test_numbers_and_lists_are_written_out(folder: Path) -> None:
    assert as_text(pa.array([12.5, None])).to_list()[0] == "12.5"
    assert as_text(pa.array([12.0, None])).to_list()[0] == "12"
    table = pd.DataFrame(
        {"item_id": [1, 2, 3], "words": [["Beauty", "Hair"], ["x"], None], "facts": [{"a": 1}, {}, {}]}
    )
    for ending in ("parquet", "jsonl"):
        for old in folder.glob("items.*"):
            old.unlink()
        write_items(folder, table.assign(facts=[{"a": 1}] * 3), ending)
        items = files.read_items(folder).frame
        assert items["words"].fillna("-").to_list() == ["Beauty, Hair", "x", "-"]
        assert "facts" not in items


def test_a_catalogue_without_pictures_has_them_null(folder: Path) -> None:
    write_items(folder, pd.DataFrame({"item_id": ["a"], "brand": ["Acme"]}))
    items = files.read(folder, {}).items
    assert items[["image", "image_name"]].isna().all(axis=None)
    assert text_columns(items) == ["brand"]


def test_pictures_come_from_a_folder_or_an_archive_alike(folder: Path) -> None:
    expected = files.read(folder, {}).items["image"].to_list()
    for prefix in ("", "images/"):
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for path in (folder / "images").iterdir():
                archive.write(path, f"{prefix}{path.name}")
        (folder / "images").rename(folder / "aside")
        assert files.read(folder, {}).items["image"].to_list() == expected
        (folder / "aside").rename(folder / "images")
        (folder / "images.zip").unlink()


def test_a_missing_picture_is_null_and_keeps_its_name(folder: Path) -> None:
    (folder / "images" / "i2.jpg").unlink()
    items = files.read(folder, {}).items
    assert items["image"].isna().to_list() == [number == 2 for number in range(8)]
    assert items["image_name"][2] == "i2.jpg"


def test_damaged_pictures_stay_as_bytes(folder: Path) -> None:
    (folder / "images" / "i0.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (folder / "images" / "i1.jpg").write_bytes(b"no picture")
    (folder / "images" / "i2.jpg").write_bytes(b"")
    assert files.read(folder, {}).items["image"].to_list()[:3] == [b"\xff\xd8\xff\xe0 cut", b"no picture", b""]


def test_no_picture_name_leads_out_of_the_folder(folder: Path) -> None:
    secret = folder.parent / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    write_items(folder, pd.DataFrame({"item_id": list("abc"), "image": ["../../secret.txt", str(secret), "i0.jpg"]}))
    assert files.read(folder, {}).items["image"].isna().to_list() == [True, True, False]


def _keep_both(folder: Path) -> None:
    ROWS.to_parquet(folder / "interactions.parquet")


def _pictures_twice(folder: Path) -> None:
    zipfile.ZipFile(folder / "images.zip", "w").close()


def _bad_archive(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()
    (folder / "images").rmdir()
    (folder / "images.zip").write_bytes(b"PK no archive")


def _damaged_archive(folder: Path) -> None:
    _bad_archive(folder)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("i0.jpg", b"picture bytes")
    content = (folder / "images.zip").read_bytes()
    (folder / "images.zip").write_bytes(content.replace(b"picture bytes", b"pixture bytes"))


def _csv(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: write_csv(folder, name, text)


def _latin(folder: Path) -> None:
    (folder / "items.csv").write_bytes("item_id,title\n1,Café\n".encode("latin-1"))


def _bad_parquet(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items.parquet").write_bytes(b"PAR1 not really PAR1")


def _empty_parquet(folder: Path) -> None:
    (folder / "interactions.csv").unlink()
    ROWS.head(0).to_parquet(folder / "interactions.parquet")


def _json_lines(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "items.csv").unlink()
        write_csv(folder, "items.jsonl", text)

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / "interactions.csv").unlink(),
            r"has no interactions: expected is one of interactions\.csv, .*; it holds: embeddings, images, items\.csv",
        ),
        (lambda f: (f / "items.csv").unlink(), r"has no items: .*items\.jsonl"),
        (_keep_both, r"has interactions\.csv and interactions\.parquet; keep the one"),
        (_csv("interactions.csv", ""), r"interactions\.csv is empty: it has no bytes"),
        (_csv("interactions.csv", "user_id,item_id,timestamp\n"), r"interactions\.csv is empty: it has columns but no"),
        (_csv("items.csv", ""), r"items\.csv is empty"),
        (_empty_parquet, r"interactions\.parquet is empty"),
        (
            _csv("interactions.csv", "user,item_id,timestamp\nu,i,1\n"),
            r"lacks the column user_id; it has: user, ",
        ),
        (_csv("items.csv", "id,title\n1,a\n"), r"items\.csv lacks the column item_id; it has: id, title"),
        (_csv("interactions.csv", "\n\n"), r"interactions\.csv is empty: it has neither a header nor rows"),
        (_csv("interactions.csv", "user_id^item_id^timestamp\nu^i^1\n"), r"delimiter looks wrong: line 1 has a single"),
        (
            _csv("interactions.csv", "1,2,978300760\n1,3,978300761\n"),
            r"first line looks like a row.*user_id=1,interactions\.item_id=2,timestamp=3`",
        ),
        (
            _csv("interactions.csv", "userId,movieId,ts\nu,i,1\n"),
            r"--columns user_id=userId,interactions\.item_id=movieId,timestamp=ts`",
        ),
        (_csv("items.csv", "item_id,title,title\n1,a,b\n"), r"items\.csv has the column title 2 times"),
        (_csv("items.csv", "item_id,title\n1,a,b,c\n"), r"items\.csv, line 2: expected 2 fields, found 4"),
        (_csv("items.csv", "item_id,title\n1,a\n2,a,b\n"), r"items\.csv, line 3: expected 2 fields, found 3"),
        (_csv("items.csv", "item_id,title\n1,a\n\n2\n"), r"items\.csv, line 4: expected 2 fields, found 1"),
        (_csv("items.csv", 'item_id,title\n1,"never closed\n'), r"items\.csv, line 2: a quote opens here"),
        (_csv("items.csv", 'item_id,title\n1,a\n2,"x\n3,y\n4,"z"\n'), r"items\.csv, line 3: a quote opens .* line 5"),
        (_csv("items.csv", 'item_id,title\n1,"a\nb"\n2,"c"d\n'), r"items\.csv, line 4: a quote opens here"),
        (_latin, r"items\.csv, line 2, byte 6: 0xe9 is not UTF-8 text; .*key ingest\.encoding"),
        (_bad_parquet, r"items\.parquet cannot be read as parquet"),
        (_json_lines(""), r"items\.jsonl is empty"),
        (_json_lines('{"item_id": 1}\n{"item_id": \n'), r"items\.jsonl, line 2: expected one JSON object"),
        (_json_lines("[1]\n"), r"items\.jsonl, line 1: expected one JSON object, found list"),
        (_csv("items.csv", "item_id,row\n1,first\n"), r"items\.csv has a column row.*rename it"),
        (_pictures_twice, r"has both images/ and images\.zip"),
        (_bad_archive, r"images\.zip is not a readable ZIP archive"),
        (_damaged_archive, r"images\.zip: i0\.jpg cannot be unpacked"),
    ],
)
def test_bad_input_gets_one_clear_error(spoil: Callable[[Path], object], message: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        files.read(folder, {})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shop does not exist; `mmesid add shop --files PATH`"):
        files.read(tmp_path / "shop", {})
    (tmp_path / "shop").symlink_to(tmp_path / "moved")
    with pytest.raises(DataError, match=r"shop links to .*moved, which does not exist"):
        files.read(tmp_path / "shop", {})
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="file is not a folder"):
        files.read(tmp_path / "file", {})


def test_a_link_to_a_folder_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert len(files.read(tmp_path / "link", {}).items) == 8


def _arrays(**arrays: object) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)  # type: ignore[arg-type]


IDS, MATRIX = np.array(["a", "b"]), np.eye(2, 3)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_arrays(item_id=IDS), r"lacks the array embedding; it has: item_id"),
        (_arrays(vectors=MATRIX), r"lacks the array item_id, embedding; it has: vectors"),
        (
            _arrays(item_id=IDS.astype(object), embedding=MATRIX),
            r"not an \.npz file .*store item_id as text",
        ),
        (_arrays(item_id=IDS, embedding=np.ones(2)), r"embedding must be \(items, width\) numbers, it is \(2,\)"),
        (_arrays(item_id=IDS, embedding=np.ones((2, 0))), r"embedding must be \(items, width\)"),
        (_arrays(item_id=IDS, embedding=np.array([["x"], ["y"]])), r"embedding must be \(items, width\) numbers"),
        (_arrays(item_id=IDS, embedding=np.ones((3, 2))), r"item_id has 2 entries, but embedding has 3 rows"),
        (_arrays(item_id=IDS[None], embedding=MATRIX), r"item_id must be \(items,\) text"),
        (
            _arrays(item_id=np.array([7.0, np.nan]), embedding=MATRIX),
            r"item_id holds NaN, which is no item: 1 of 2, the first in row 2",
        ),
        (_arrays(item_id=np.array(["a", "a"]), embedding=MATRIX), r"item_id 'a' appears 2 times"),
        (
            _arrays(item_id=IDS, embedding=np.full((2, 3), 0.7)),
            r"all its vectors are the same, or nearly.*leave it out",
        ),
        (_arrays(item_id=IDS, embedding=1000 + 1e-4 * MATRIX), r"are the same, or nearly.*subtract the mean"),
        (_arrays(item_id=IDS, embedding=np.zeros((2, 3))), r"all its vectors are zeros"),
        (
            _arrays(item_id=IDS, embedding=1e30 * MATRIX),
            r"values differ by .*e\+29 from their mean, .*scale the vectors",
        ),
        (
            _arrays(item_id=IDS, embedding=1e-30 * MATRIX),
            r"values differ by .*e-31 from their mean, .*scale the vectors",
        ),
        (lambda path: path.write_bytes(b"text"), r"is not an \.npz file"),
        (lambda path: path.write_bytes(b""), r"is not an \.npz file"),
        (lambda path: np.save(path.open("wb"), MATRIX), r"is not an \.npz file"),
    ],
)
def test_a_bad_embedding_file_is_named(write: Callable[[Path], object], message: str, folder: Path) -> None:
    write(folder / "embeddings" / "image_bad.npz")
    with pytest.raises(DataError, match=message):
        files.read(folder, {"image": "bad"})


def test_an_embedding_file_that_is_not_named_is_not_read(folder: Path) -> None:
    (folder / "embeddings" / "image_bad.npz").write_bytes(b"text")
    assert list(files.read(folder, {"text": "tiny"}).embeddings) == ["text"]


def test_a_missing_embedding_lists_the_others(folder: Path) -> None:
    with pytest.raises(DataError, match=r"names \{text: minilm\}, but .* does not exist; usable are: \{text: tiny\}"):
        files.read(folder, {"text": "minilm"})


def test_nan_in_an_embedding_is_left_to_validate(folder: Path) -> None:
    np.savez(folder / "embeddings" / "image_nan.npz", item_id=IDS, embedding=np.array([[1, np.nan], [np.inf, 0]]))
    assert np.isnan(files.read(folder, {"image": "nan"}).embeddings["image"].matrix[0, 1])


def test_number_ids_of_an_embedding_are_text(folder: Path) -> None:
    np.savez(folder / "embeddings" / "image_int.npz", item_id=np.array([7, 8]), embedding=MATRIX)
    assert files.read(folder, {"image": "int"}).embeddings["image"].item_ids.tolist() == ["7", "8"]


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(b"\xef\xbb\xbfitem_id,title\n1,a\n")
    assert list(read_table(tmp_path, "items", ["item_id"], How()).columns) == ["item_id", "title"]


def test_an_encoding_that_is_named_is_used(folder: Path) -> None:
    _latin(folder)
    assert files.read_items(folder, How(encoding="cp1252")).frame["title"].to_list() == ["Café"]
    with pytest.raises(DataError, match=r"ingest\.encoding: there is no encoding 'klingon'"):
        files.read_items(folder, How(encoding="klingon"))


def test_parts_are_read_in_the_order_of_their_numbers_and_rows_count_in_each(folder: Path) -> None:
    (folder / "interactions.csv").unlink()
    (folder / "interactions").mkdir()
    for number in (10, 2):
        write_csv(folder, f"interactions/part-{number}.csv", f"user_id,item_id,timestamp\n\nu,i{number},1\nu,i1,2\n")
    frame = files.read_interactions(folder).frame
    assert frame["item_id"].to_list() == ["i2", "i1", "i10", "i1"]
    assert frame["file"].to_list() == ["interactions/part-2.csv"] * 2 + ["interactions/part-10.csv"] * 2
    assert frame["row"].to_list() == [1, 2, 1, 2]


def test_lines_may_end_in_two_ways(folder: Path) -> None:
    (folder / "items.csv").write_bytes(b'item_id,title\n1,"a\r\nb"\r\n2,c\n')
    assert files.read_items(folder).frame["title"].to_list() == ["a b", "c"]


def test_lines_may_end_as_on_old_macs(folder: Path) -> None:
    (folder / "items.csv").write_bytes(b"item_id,title\r1,a\r2,b\r")
    assert files.read_items(folder).frame["title"].to_list() == ["a", "b"]


def test_parts_of_several_names_are_in_the_order_of_names(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items").mkdir()
    for name in ("b0", "a11", "a2"):
        write_csv(folder, f"items/{name}.csv", f"item_id\n{name}\n")
    assert files.read_items(folder).frame["item_id"].to_list() == ["a2", "a11", "b0"]


def test_a_torn_gzip_is_named(folder: Path) -> None:
    (folder / "items.csv").unlink()
    for spoilt in (gzip.compress(b"item_id\n" + b"1\n" * 999)[:-9], b"\x1f\x8bno gzip at all"):
        (folder / "items.csv.gz").write_bytes(spoilt)
        with pytest.raises(DataError, match=r"items\.csv\.gz cannot be read"):
            files.read_items(folder)


def test_json_that_python_wrote_is_read(folder: Path) -> None:
    (folder / "items.csv").unlink()
    write_csv(folder, "items.jsonl", """{"item_id": 1, "price": NaN}\n{'item_id': '2', "title": "it's"}\n""")
    items = files.read_items(folder).frame
    assert items["item_id"].to_list() == ["1", "2"]
    assert items["title"].fillna("-").to_list() == ["-", "it's"]


@pytest.mark.parametrize("header", ["item_id,title", 'item_id,"ti\ntle"'])
def test_a_line_break_in_the_first_record_loses_no_row(header: str, folder: Path) -> None:
    how = How(columns={"items.title": "ti\ntle"} if '"' in header else {})
    for end in ("\n", "\r\n"):
        (folder / "items.csv").write_bytes(f'{header}{end}1,"a\nb"{end}2,"c\r\nd"{end}'.encode())
        assert files.read_items(folder, how).frame["title"].to_list() == ["a b", "c d"]
        (folder / "items.csv").write_bytes(f'1,"a\nb"{end}2,c{end}3,d{end}'.encode())
        items = files.read_items(folder, How(columns={"item_id": 1, "title": 2})).frame
        assert items["title"].to_list() == ["a b", "c", "d"]


def test_quotes_of_a_tsv_are_quotes_unless_they_make_no_sense(folder: Path) -> None:
    (folder / "items.csv").unlink()
    (folder / "items.tsv").write_bytes(b'item_id\ttitle\n1\t"a b"\r\n2\tc\n')
    assert files.read_items(folder).frame["title"].to_list() == ["a b", "c"]
    write_csv(folder, "items.tsv", 'item_id\ttitle\n1\t"The Lamp" and more\n2\t"open\n')
    assert files.read_items(folder).frame["title"].to_list() == ['"The Lamp" and more', '"open']
