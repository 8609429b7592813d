"""Text files with the small faults that exports leave: each is read rightly, said with its row, or refused clearly."""

from pathlib import Path

import pytest

from mmesid.data import files
from mmesid.data.formats import How
from mmesid.errors import DataError
from tests.data.test_cases import RIGHT, histories, rows, shop
from tests.data.test_exports import refusal

__all__ = ["shop"]

NAMES = ("user_id", "item_id", "timestamp")


def commented(folder: Path, comments: dict[int, str], mark: str = ",", name: str = "interactions.csv") -> None:
    """The interactions with a further column, in which rows, from 1, have these comments."""
    taken = [(*NAMES, "comment"), *((*row, comments.get(n, "fine")) for n, row in enumerate(rows(folder), start=1))]
    (folder / "interactions.csv").unlink()
    (folder / name).write_text("".join(mark.join(row) + "\n" for row in taken), encoding="utf-8")


def items(folder: Path, text: str, name: str = "items.csv") -> None:
    (folder / "items.csv").unlink(missing_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


# Quotes


@pytest.mark.parametrize(("mark", "name"), [(",", "interactions.csv"), ("\t", "interactions.tsv")])
def test_a_quote_in_a_column_that_is_not_read_is_told(mark: str, name: str, shop: Path) -> None:
    commented(shop, {3: '"Loved it', 9: 'again"'}, mark, name)
    (note,) = files.read_interactions(shop).notes
    assert note.startswith(f"{name}, row 3, column comment: some of its 7 lines look like rows of the table")
    assert note.endswith("; 1 rows are like this")


def test_a_quote_that_closes_in_the_next_row_is_told(shop: Path) -> None:
    commented(shop, {3: '"Loved it', 4: 'again"'})
    (note,) = files.read_interactions(shop).notes
    assert note.startswith("interactions.csv, row 3, column comment: some of its 2 lines look like rows of the table")


@pytest.mark.parametrize(
    "comment",
    [
        '"Loved it.\nGood, cheap, quick, well made"',
        '"Loved it\n\nAll in all, 5, 6 or 7, all good\nbye"',
        '"one\na,b,c,d\ne,f,3,h"',
        '"a,b\nc,d"',
        '"\n,,,\n"',
    ],
)
def test_a_text_of_several_lines_is_no_fault(comment: str, shop: Path) -> None:
    commented(shop, {3: comment, 9: comment})
    assert not files.read_interactions(shop).notes
    assert histories(shop) == RIGHT


def test_bytes_of_a_column_that_is_not_read_do_not_matter(shop: Path) -> None:
    commented(shop, {23: '"one\ntwo"'})  # behind the rows by which the delimiter is known
    text = (shop / "interactions.csv").read_bytes()
    (shop / "interactions.csv").write_bytes(text.replace(b"two", b"caf\xe9"))
    assert histories(shop) == RIGHT


@pytest.mark.parametrize("rows_between", [0, 1, 3])
@pytest.mark.parametrize("kind", ["", ",amber"])
def test_a_quote_that_swallows_items_is_told(kind: str, rows_between: int, shop: Path) -> None:
    last = 2 + rows_between
    titles = {1: '"Lamp', last: f'Lamp {last}"'}
    lines = [f"{1000 + 7 * n},{titles.get(n, f'Lamp {n}')}{kind}" for n in range(8)]
    items(shop, "\n".join([f"item_id,title{',kind' * bool(kind)}", *lines]) + "\n")
    (note,) = files.read_items(shop).notes
    assert note.startswith(f"items.csv, row 2, column title: some of its {last} lines look like rows of the table")


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_swallows_one_item_is_told_whatever_ends_the_file(end: str, shop: Path) -> None:
    items(shop, 'item_id\ttitle\n1000\tAmber\n1007\t"Birch\n1014\tCedar"\n1021\tDune' + end, "items.tsv")
    (note,) = files.read_items(shop).notes
    assert note.startswith("items.tsv, row 2, column title: some of its 2 lines look like rows of the table")


# Fields


@pytest.mark.parametrize(
    ("line", "mark"),
    [
        ("1007,Birch lamp, large,delta,", ","),
        ("1007;Birch; lamp;delta;", ";"),
        ("1007\tBirch\\\tlamp\tdelta\t", "\t"),
        ("1007\tBirch\\\tlamp\tdelta\t\\N", "\t"),
    ],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_delimiter_too_many_is_told_where_the_last_field_is_blank(line: str, mark: str, end: str, shop: Path) -> None:
    others = [mark.join((str(1014 + 7 * n), f"Lamp {n}", "amber", "good" if n % 2 else "")) for n in range(6)]
    header = mark.join(("item_id", "title", "kind", "description"))
    items(shop, (end or "\n").join([header, *others, line]) + end, f"items.{'tsv' if mark == chr(9) else 'csv'}")
    with pytest.raises(DataError, match=r"line 8: expected 4 fields, found 5\. The line reads '1007"):
        files.read_items(shop)


@pytest.mark.parametrize("text", ["plain", '"a, b,\nc"'])
def test_a_delimiter_behind_every_row_is_none_too_many(text: str, shop: Path) -> None:
    rows_of = [f"{1000 + 7 * n},Lamp {n},{text}," for n in range(8)]
    items(shop, "\n".join(["item_id,title,description", *rows_of]) + "\n")
    assert files.read_items(shop).frame["title"].tolist() == [f"Lamp {n}" for n in range(8)]
    rows_of = [f"{1000 + 7 * n},Lamp {n},{text if n % 2 else ''}" for n in range(8)]
    items(shop, "\n".join(["item_id,title,description", *rows_of]) + "\n")
    assert files.read_items(shop).frame["title"].tolist() == [f"Lamp {n}" for n in range(8)]


@pytest.mark.parametrize("title", ['"Lamp\n1007,5 cm"', '"Lamp,\nwarm"', '"Lamp\nwarm, bright"', '"Lamp\n10,5 cm"'])
def test_a_title_of_several_lines_is_no_fault(title: str, shop: Path) -> None:
    items(shop, f"item_id,title\n1000,{title}\n1007,b\n1014,c\n")
    assert not files.read_items(shop).notes


@pytest.mark.parametrize("late", [0, 40])
@pytest.mark.parametrize("name", ["items.csv", "items.tsv"])
def test_quotes_with_a_backslash_before_them_are_read(name: str, late: int, shop: Path) -> None:
    mark = "\t" if name == "items.tsv" else ","
    lines = [
        ["item_id", "title"],
        *([str(n), "plain"] for n in range(late)),
        ["1000", r"9\" wide, \"tall\""],
        ["x", "y"],
    ]
    items(shop, "".join(mark.join(f'"{cell}"' for cell in line) + "\n" for line in lines), name)
    frame = files.read_items(shop).frame
    assert frame["item_id"].to_list()[-2:] == ["1000", "x"]
    assert frame["title"].to_list()[-2:] == ['9" wide, "tall"', "y"]


def test_quotes_that_stay_around_texts_are_said(shop: Path) -> None:
    lines = "".join(f'{n}\t"Lamp {n}"\n' for n in range(30))
    items(shop, f'item_id\ttitle\n{lines}30\t"Lamp" 30\n', "items.tsv")
    (note,) = files.read_items(shop).notes
    assert note.startswith(
        "items.tsv, column title: quotes stay around 30 of 31 values, because quotes make no sense in"
    )
    assert "line 32" in note


def test_quotes_of_a_header_are_quotes(shop: Path) -> None:
    items(shop, '"item_id"\t"title"\n"1"\t"Lamp" 1\n', "items.tsv")
    assert "items.tsv, line 2: a quote opens here" in refusal(shop)


# Lines that are no rows


@pytest.mark.parametrize("line", ["   ", "\x1a", " , , ", "\t,,"])
def test_blank_lines_are_no_rows(line: str, shop: Path) -> None:
    path = shop / "interactions.csv"
    text = path.read_text(encoding="utf-8")
    for end in ("", "\n"):
        path.write_text(text + line + end, encoding="utf-8")
        assert histories(shop) == RIGHT


@pytest.mark.parametrize("line", [" \n", ",,\n", "\n"])
def test_a_blank_line_above_the_header_is_none(line: str, shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8")
    (shop / "interactions.csv").write_text(line + text, encoding="utf-8")
    assert histories(shop) == RIGHT


@pytest.mark.parametrize("title", ["# exported 2024", "My export", "report, 2024"])
def test_a_title_above_the_header_is_told(title: str, shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8")
    (shop / "interactions.csv").write_text(f"{title}\n\n{text}", encoding="utf-8")
    said = refusal(shop)
    assert f"interactions.csv, line 3: the columns stand here, but {title!r} stands above them" in said


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("item_id,title\n1,a\n2,b\nitem_id,title\n3,c\n", How()),
        ("1,a\n2,b\nitem_id,title\n", How(columns={"item_id": 1, "title": 2})),
        ("id,title\n1,a\n2,b\nid,title\n", How(columns={"item_id": "id"})),
    ],
)
def test_a_header_among_rows_is_said(text: str, how: How, shop: Path) -> None:
    items(shop, text)
    (note,) = files.read_items(shop, how).notes
    assert note.startswith("items.csv, row 3: the names of the columns stand here as a row")


def test_a_name_that_stands_twice_matters_where_it_is_read(shop: Path) -> None:
    lines = ["id,user_id,item_id,timestamp,id", *(f"1,{','.join(row)},2" for row in rows(shop))]
    (shop / "interactions.csv").write_text("\n".join(lines), encoding="utf-8")
    assert histories(shop) == RIGHT
    assert "has the column id 2 times" in refusal(shop, How(columns={"interactions.user_id": "id"}))


# Line ends


@pytest.mark.parametrize(("name", "mark"), [("items.csv", ","), ("items.tsv", "\t"), ("items.dat", "::")])
@pytest.mark.parametrize(("at", "line"), [(0, 1), (2, 3), (5, 6)])
def test_a_carriage_return_inside_a_line_is_told(at: int, line: int, name: str, mark: str, shop: Path) -> None:
    lines = (shop / "items.csv").read_text(encoding="utf-8").replace(",", mark).splitlines(keepends=True)
    mixed = "".join(text.replace("\n", "\r") if number == at else text for number, text in enumerate(lines))
    items(shop, f"{mixed}1099{mark}Lamp 99{mark}amber\n", name)
    assert f"{name}, line {line}: a carriage return stands inside of the line" in refusal(shop)


def test_invisible_characters_around_a_name_are_no_part_of_it(shop: Path) -> None:
    text = (shop / "interactions.csv").read_text(encoding="utf-8").replace("user_id", "\u200b\u00a0user_id\u2060", 1)
    (shop / "interactions.csv").write_text(text, encoding="utf-8")
    assert histories(shop) == RIGHT


def test_a_table_of_very_many_columns_is_read(shop: Path) -> None:
    lines = (shop / "items.csv").read_text(encoding="utf-8").splitlines()
    head = ",".join(f"c{number}" for number in range(1500))
    items(shop, "\n".join([f"{lines[0]},{head}", *(f"{line}{',0' * 1500}" for line in lines[1:])]))
    assert files.read_items(shop).frame["title"][0] == "Lamp 0"


# Delimiters


@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("mark", [";", "|"])
@pytest.mark.parametrize("line", ["101{}King, Stephen", "101{}48.1,11.5", "101{}King, Stephen{}1999"])
def test_one_comma_in_every_text_is_no_delimiter(line: str, mark: str, ending: str, shop: Path) -> None:
    items(
        shop,
        "".join(f"{line}\n".replace("101", str(n)).replace("{}", mark) for n in range(101, 131)),
        f"items.{ending}",
    )
    found = files.read_items(shop, How(columns={"items.item_id": 1, "title": 2})).frame
    assert found["item_id"][0] == "101"
    assert found["title"][0] == line.split("{}")[1]


def test_semicolons_in_texts_are_no_delimiter(shop: Path) -> None:
    items(shop, "".join(f"{n},one; two\n" for n in range(101, 131)))
    found = files.read_items(shop, How(columns={"items.item_id": 1, "title": 2})).frame
    assert found["title"][0] == "one; two"


# Backslashes

COPIED = (r"C:\\temp\\new", r"Tab\tand\nline", r"\\N", r"a\_b")


@pytest.mark.parametrize("quoted", [False, True])
def test_backslashes_beside_a_null_are_those_of_a_database(quoted: bool, shop: Path) -> None:
    mark, ending = (",", "csv") if quoted else ("\t", "tsv")
    texts = [f'"{text}"' if quoted else text for text in COPIED]
    items(shop, "".join(f"{n}{mark}{text}{mark}\\N\n" for n, text in enumerate(texts)), f"items.{ending}")
    found = files.read_items(shop, How(columns={"items.item_id": 1, "title": 2})).frame["title"].to_list()
    assert found == [r"C:\temp\new", "Tab and line", r"\N", r"a\_b"]


def test_backslashes_without_one_stay(shop: Path) -> None:
    items(shop, "item_id\ttitle\n" + "".join(f"{n}\t{text}\n" for n, text in enumerate(COPIED)), "items.tsv")
    assert files.read_items(shop).frame["title"].to_list() == list(COPIED)


# Files


def test_a_file_that_links_to_nowhere_is_named(shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    (shop / "interactions.csv").symlink_to("moved.csv")
    assert "interactions.csv links to moved.csv, which does not exist" in refusal(shop)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_utf_16_without_a_mark_is_told_and_read(ending: str, encoding: str, shop: Path) -> None:
    text = '{"item_id": "1", "title": "é"}\n' if ending == "jsonl" else "item_id,title\n1,é\n"
    (shop / "items.csv").unlink()
    (shop / f"items.{ending}").write_bytes(text.encode(encoding))
    assert files.read_items(shop, How(encoding=encoding)).frame["title"].to_list() == ["é"]
    for named in ("utf-8", "utf-16"):
        with pytest.raises(DataError, match=rf"looks like UTF-16 without a byte order mark.* --encoding {encoding}`"):
            files.read_items(shop, How(encoding=named))


def test_utf_16_that_is_named_needs_its_mark(shop: Path) -> None:
    (shop / "items.csv").write_bytes("商品,题\n1,x\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"items\.csv.* is not utf-16 text"):
        files.read_items(shop, How(encoding="utf-16"))


@pytest.mark.parametrize("encoding", ["base64", "rot13"])
def test_what_encodes_no_text_is_no_encoding(encoding: str, shop: Path) -> None:
    assert f"there is no encoding '{encoding}'" in refusal(shop, How(encoding=encoding))


CAFES = "item_id,title\n" + "".join(f"{n},Café Zürich {n}\n" for n in range(9))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("encoding", ["cp1252", "gb18030"])
def test_a_file_that_is_utf_8_is_read_as_that_whatever_is_named(ending: str, encoding: str, shop: Path) -> None:
    text = CAFES if ending == "csv" else '{"item_id": "1", "title": "Café Zürich 0"}\n'
    items(shop, text, f"items.{ending}")
    found = files.read_items(shop, How(encoding=encoding))
    assert found.frame["title"][0] == "Café Zürich 0"
    assert found.notes == [f"items.{ending} is UTF-8 and is read as that, not as {encoding}"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_utf_8_with_a_character_that_is_cut_is_to_be_mended(encoding: str, shop: Path) -> None:
    (shop / "items.csv").write_bytes(CAFES.encode().replace(b" 5\n", b" 5\xc3\n"))
    with pytest.raises(DataError) as caught:
        files.read_items(shop, How(encoding=encoding))
    assert "items.csv, line 7, byte 18: 0xc3 is not UTF-8 text; 1 of 10 lines is not, but 8 with" in str(caught.value)
    assert "--encoding" not in str(caught.value)


def test_what_is_advised_is_never_what_was_tried(shop: Path) -> None:
    (shop / "items.csv").write_bytes("item_id,title\n1,Crème brûlée\n".encode("mac_roman"))
    with pytest.raises(DataError, match=r"ENCODING`\), such as cp1252 \(Western\), cp1250 .*gb18030 \(Chinese\)"):
        files.read_items(shop)
    (shop / "items.csv").write_bytes("item_id,title\n1,こんにちは世界\n".encode("shift_jis"))
    with pytest.raises(DataError, match=r"is not cp1252 text; .* such as cp1250 .*shift_jis \(Japanese\)"):
        files.read_items(shop, How(encoding="cp1252"))


@pytest.mark.parametrize(
    ("title", "encoding", "named"),
    [
        ("精神小伙五爱街搞笑", "gb18030", "cp1252"),
        ("Привет мир", "cp1251", "cp1252"),
        ("Привет мир", "cp1251", "latin-1"),
        ("こんにちは世界", "shift_jis", "latin-1"),
        ("Crème brûlée", "mac_roman", "latin-1"),
    ],
)
def test_text_of_another_encoding_is_told(title: str, encoding: str, named: str, shop: Path) -> None:
    (shop / "items.csv").write_bytes(f"item_id,title\n1,{title}\n2,plain\n".encode(encoding))
    (note,) = files.read_items(shop, How(encoding=named)).notes
    assert note.startswith(
        f"items.csv is read as {named}, and 1 of 1 lines with letters beyond ASCII look garbled, such"
    )
    assert repr(title.encode(encoding).decode(named))[1:-1] in note


@pytest.mark.parametrize(
    ("title", "encoding"),
    [
        ("Crème brûlée façon été", "cp1252"),
        ("Coração de ações: não irmãos!", "latin-1"),
        ("Þýðing á íslensku – Größe", "cp1252"),
        ("Příliš žluťoučký kůň úpěl", "cp1250"),
        ("Привет мир", "cp1251"),
        ("精神小伙五爱街搞笑", "gb18030"),
        ("こんにちは世界", "shift_jis"),
    ],
)
def test_text_of_the_encoding_that_is_named_is_not(title: str, encoding: str, shop: Path) -> None:
    (shop / "items.csv").write_bytes(
        f"item_id,title\n1,{title}\n2,{title.split()[-1]}\n3,{title[-3:]}\n".encode(encoding)
    )
    found = files.read_items(shop, How(encoding=encoding))
    assert found.frame["title"][0] == title
    assert not found.notes


@pytest.mark.parametrize("encoding", ["mac_roman", "cp1252", "utf-16"])
def test_lines_of_old_macs_are_read_in_every_encoding(encoding: str, shop: Path) -> None:
    (shop / "items.csv").write_bytes("item_id,title\r1000,Bärch lamp\r1007,Cedar lamp\r".encode(encoding))
    frame = files.read_items(shop, How(encoding="utf-8" if encoding == "utf-16" else encoding)).frame
    assert frame["title"].tolist() == ["Bärch lamp", "Cedar lamp"]
    assert frame["row"].tolist() == [1, 2]
