"""Inspection and the first conf file: what is found is said, and what is suggested is valid."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mmesid import config
from mmesid.artifacts import packaged
from mmesid.commands.content import Content
from mmesid.commands.inspection import Core, Inspection, inspect, render_conf, suggest
from mmesid.config import SECTIONS, Config
from mmesid.data import files
from mmesid.data.formats import How
from mmesid.data.preparation import prepare
from mmesid.errors import DataError

ROOT = Path(__file__).parents[2]


def loaded(conf: str, tmp_path: Path) -> Config:
    """The conf file as the stages would read it."""
    (tmp_path / "conf").mkdir(exist_ok=True)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "conf" / "shop.yaml").write_text(conf, encoding="utf-8")
    return config.load("shop", tmp_path)


def drop_pictures(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


def drop_texts(folder: Path) -> None:
    table = pd.read_csv(folder / "items.csv")
    table[["item_id", "image"]].to_csv(folder / "items.csv", index=False)


def drop_embeddings(folder: Path) -> None:
    (folder / "embeddings" / "text_tiny.npz").unlink()


def add_image_embedding(folder: Path) -> None:
    np.savez(folder / "embeddings" / "image_net.npz", item_id=np.array(["i0", "i1"]), embedding=np.eye(2, 5))


def test_counts_modalities_and_embeddings_are_found(folder: Path) -> None:
    (folder / "images" / "i7.jpg").unlink()
    add_image_embedding(folder)
    found = inspect(folder)[0]
    assert (found.users, found.items, found.interactions) == (6, 8, 36)
    assert found.text_columns == {"title": 1.0, "brand": 0.5}
    assert (found.with_text, found.with_picture) == (1.0, 0.875)
    assert [tuple(item) for item in found.embeddings] == [
        ("image", "net", 5, 0.25, 2, 0, (), ()),
        ("text", "tiny", 3, 1.0, 8, 0, (), ()),
    ]
    assert found.warnings[0].startswith("pictures that the items table names but that are not there: 1, as 'i7.jpg' (")


def test_rows_hold_every_finding(folder: Path) -> None:
    rows = inspect(folder)[0].rows()
    assert ("interactions", "36") in rows
    assert ("items with text", "100.0%; columns: title (100%), brand (50%)") in rows
    assert ("text embedding", "tiny: 3 wide, 100.0% of the items") in rows


def test_what_lies_there_and_is_not_read_is_named(folder: Path, tmp_path: Path) -> None:
    assert not inspect(folder)[0].unread
    for name in (
        "README.md",
        "interactions_test.csv",
        "interactions (1).csv",
        "._items.csv",
        "text_embeddings.parquet",
    ):
        (folder / name).write_text("x", encoding="utf-8")
    table = pd.read_csv(folder / "interactions.csv")
    table.assign(event="click", rating=-1).to_csv(folder / "interactions.csv", index=False)
    rows = inspect(folder)[0].rows()
    assert ("files not read", "interactions (1).csv, interactions_test.csv, README.md") in rows
    assert (
        "columns not read",
        "event, rating; every row of the interactions counts, whatever stands there",
    ) in rows
    assert (
        "not used",
        "text_embeddings.parquet: embeddings lie in embeddings/; save it there with np.savez as text_embeddings.npz, "
        "with the arrays item_id and embedding",
    ) in rows
    loaded(render_conf("shop", inspect(folder)[0]), tmp_path)


@pytest.mark.parametrize(
    "ending", [".parquet", ".jsonl", ".json", ".tsv", " by place", " of pandas", " of Python", " wrapped"]
)
def test_columns_that_are_not_read_are_named_in_every_format(ending: str, folder: Path) -> None:
    table = pd.read_csv(folder / "interactions.csv").assign(rating=5)
    (folder / "interactions.csv").unlink()
    how = How()
    if ending == ".parquet":
        table.to_parquet(folder / "interactions.parquet")
    elif ending == " of pandas":
        table.to_json(folder / "interactions.json", orient="table", index=False)
    elif ending == " wrapped":
        rows = json.dumps({"status": "ok", "results": table.to_dict("records")}, indent=1)
        (folder / "interactions.json").write_text(rows, encoding="utf-8")
    elif ending == " of Python":
        rows = "".join(f"{row}\n" for row in table.to_dict("records"))
        (folder / "interactions.json").write_text(rows, encoding="utf-8")
    elif ending.startswith(".j"):
        table.to_json(folder / f"interactions{ending}", orient="records", lines=ending == ".jsonl")
    else:
        table.to_csv(folder / "interactions.tsv", sep="\t", index=False, header=ending == ".tsv")
    if ending == " by place":
        how = How(columns={"user_id": 1, "interactions.item_id": 2, "timestamp": 3})
    named = {" by place": "column4"}.get(ending, "rating")
    said = dict(inspect(folder, how)[0].rows()).get("columns not read")
    assert said == f"{named}; every row of the interactions counts, whatever stands there"


@pytest.mark.parametrize(
    ("changes", "encoders", "embeddings"),
    [
        ([], ("precomputed", "pixels"), {"text": "tiny"}),
        ([drop_embeddings], ("lsa", "pixels"), {}),
        ([drop_embeddings, drop_pictures], ("lsa", "none"), {}),
        ([drop_embeddings, drop_texts], ("none", "pixels"), {}),
        ([drop_embeddings, drop_texts, drop_pictures], ("none", "none"), {}),
        ([drop_embeddings, drop_texts, drop_pictures, add_image_embedding], ("none", "precomputed"), {"image": "net"}),
        ([drop_pictures, add_image_embedding], ("precomputed", "precomputed"), {"text": "tiny", "image": "net"}),
        ([add_image_embedding], ("precomputed", "pixels"), {"text": "tiny"}),
    ],
)
def test_the_suggested_conf_is_valid_and_fits_the_modalities(
    changes: list[Callable[[Path], None]],
    encoders: tuple[str, str],
    embeddings: dict[str, str],
    folder: Path,
    tmp_path: Path,
) -> None:
    for change in changes:
        change(folder)
    found = inspect(folder)[0]
    conf = loaded(render_conf("shop", found), tmp_path)
    assert conf.ingest.source == "files"
    assert conf.ingest.embeddings == embeddings
    assert (conf.encode_content.text, conf.encode_content.image) == encoders
    made_of = ["collaborative", "image"] if encoders == ("none", "pixels") else ["text", "image"]
    assert conf.init_codes.item_modalities == conf.init_codes.item_codes == made_of
    prepared = prepare(files.read(folder, embeddings), conf.prepare)
    assert prepared.sequences.n_items == found.core.items
    assert len(prepared.sequences.user_ids) == found.core.users


def test_the_text_encoder_is_named_with_what_a_stronger_one_needs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        return dict(inspect(folder)[0].rows())["texts read by"]

    assert said() == "precomputed, the catalogue's own"
    drop_embeddings(folder)
    assert said().startswith("lsa, learned from this catalogue alone; a pretrained model (minilm, 91 MB) needs `make")
    monkeypatch.setenv(packaged.HOME, str(tmp_path / "weights"))
    packaged.folder("minilm").mkdir(parents=True)
    assert said() == "sentence_transformers, by minilm, a pretrained model that is installed here"
    conf = loaded(render_conf("shop", inspect(folder)[0]), tmp_path)
    assert (conf.encode_content.text, conf.encode_content.sentence_transformers.model) == (
        "sentence_transformers",
        "minilm",
    )
    table = pd.read_csv(folder / "items.csv").assign(title="花瓶 и лампа", brand=None)
    table["title"] += [f" {number}" for number in range(len(table))]
    table.to_csv(folder / "items.csv", index=False)
    assert said().endswith("reads English, and most letters here are not Latin")
    drop_texts(folder)
    assert said() == "none"


def test_the_image_encoder_is_named_with_what_a_stronger_one_needs(folder: Path) -> None:
    def said() -> str:
        return dict(inspect(folder)[0].rows())["pictures read by"]

    assert said().startswith("pixels, learned from this catalogue alone; a pretrained model needs a download: ")
    named = config.load("sample", ROOT).encode_content.transformers.model
    assert f"`encode_content.image: transformers` ({named} by default" in said()
    drop_pictures(folder)
    assert said() == "none"
    add_image_embedding(folder)
    assert said() == "precomputed, the catalogue's own"


def test_only_sections_that_differ_from_the_defaults_are_there(folder: Path) -> None:
    conf = yaml.safe_load(render_conf("shop", inspect(folder)[0]))
    assert all(conf.values())
    assert {"ingest", "encode_content"} <= set(conf) < set(SECTIONS)


def test_an_embedding_that_is_not_used_is_offered(folder: Path) -> None:
    add_image_embedding(folder)
    assert "put `image: net` under ingest.embeddings and set encode_content.image to" in render_conf(
        "s", inspect(folder)[0]
    )


def test_an_unusable_embedding_is_a_warning(folder: Path) -> None:
    (folder / "embeddings" / "image_bad.npz").write_bytes(b"text")
    np.savez(folder / "embeddings" / "image_far.npz", item_id=np.array(["x"]), embedding=np.ones((1, 2)))
    found = inspect(folder)[0]
    assert [item.name for item in found.embeddings] == ["tiny"]
    assert [path for path, _ in found.unusable] == ["embeddings/image_bad.npz", "embeddings/image_far.npz"]


def test_the_k_core_is_loosened_until_it_keeps_half(folder: Path) -> None:
    assert inspect(folder)[0].core[:2] == (3, 3)  # each item has 4 or 5 of the 36 interactions: the 5-core is empty
    rows = [(f"u{user}", f"i{item}", item) for user in range(2) for item in range(4)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    assert inspect(folder)[0].core == Core(3, 1, 2, 4, 8)


def test_the_k_core_is_loosened_until_there_are_items_to_choose_from(folder: Path) -> None:
    rows = [(f"u{user}", item, at) for user in range(6) for at, item in enumerate(["i0"] * 8 + [f"i{user + 1}"])]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    assert inspect(folder)[0].core == Core(3, 1, 6, 7, 54)
    pd.DataFrame(rows[:8], columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    with pytest.raises(DataError, match="users with at least 3 interactions took one item only"):
        inspect(folder)
    threes = pd.DataFrame([row for row in rows if row[2] > 5], columns=["user_id", "item_id", "timestamp"])
    threes.to_csv(folder / "interactions.csv", index=False)
    with pytest.raises(DataError, match="no user has more than 3 interactions"):
        inspect(folder)


def _inspection(items: int, interactions: int = 1000, users: int = 100) -> Inspection:
    core = Core(5, 5, users, items, interactions)
    content = Content(items, items, items)
    return Inspection(users, items, interactions, {"title": 1.0}, 1.0, 1.0, [], core, [], content, {}, [])


@pytest.mark.parametrize(("items", "codes"), [(3, 2), (8, 2), (100, 16), (1000, 128), (1023, 128), (1024, None)])
def test_codebooks_are_at_most_a_quarter_of_the_items(items: int, codes: int | None) -> None:
    assert suggest(_inspection(items)).get("tokenize", {}).get("codes") == codes


def test_large_sets_get_fewer_epochs_and_train_the_whole_backbone() -> None:
    small, large = suggest(_inspection(5000, 150_000, 10_000)), suggest(_inspection(50_000, 990_000, 6_000))
    assert not {"encode_collaborative", "finetune"} & set(small)
    assert large["encode_collaborative"] == {"epochs": 8}
    assert large["finetune"] == {"epochs": 10, "adapter": "full"}  # and every target in each


def test_dense_sets_get_less_dropout() -> None:
    assert "encode_collaborative" not in suggest(_inspection(1000, 99_999, 6_000))
    assert suggest(_inspection(1000, 100_000, 6_000))["encode_collaborative"] == {"dropout": 0.2}


def test_faults_are_counted_in_warnings(folder: Path) -> None:
    text = (folder / "interactions.csv").read_text(encoding="utf-8")
    (folder / "interactions.csv").write_text(text + "u0,i0,0\nu0,nowhere,1\n,i0,5\n", encoding="utf-8")
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"i{n},{'' if n else 'a'}\n" for n in range(8)))
    found = inspect(folder)[0]
    for sentence in (
        "interactions without user_id or item_id: 1",
        "interactions with an item that the items table lacks: 1",
        "interactions that repeat user, item and timestamp: 1",
        "items without any text, to be masked: 7",
    ):
        assert sentence in found.warnings


def test_pictures_that_are_all_the_same_are_left_out_and_said(folder: Path) -> None:
    same = next((folder / "images").iterdir()).read_bytes()
    for path in (folder / "images").iterdir():
        path.write_bytes(same)
    found = inspect(folder)[0]
    assert found.content.pictures == found.content.pairs == 0
    assert found.encoders()["image"] == "none"
    assert "all 8 items that have a picture have the same one: it tells nothing of them" in found.warnings


def test_items_that_nothing_is_encoded_of_get_ids(folder: Path) -> None:
    drop_embeddings(folder)
    drop_pictures(folder)
    (folder / "items.csv").write_text(
        "item_id,title\n" + "".join(f"i{n},{'' if n < 1 else n * 'a'}\n" for n in range(8))
    )
    assert suggest(inspect(folder)[0])["init_codes"] == {"item_id": True}  # 1 of 8
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"i{n},{(n + 1) * 'a'}\n" for n in range(8)))
    assert "init_codes" not in suggest(inspect(folder)[0])


def test_a_last_item_that_is_a_repeat_is_said(folder: Path) -> None:
    rows = [(f"u{user}", f"i{item}", at) for user in range(6) for at, item in enumerate([0, 1, 2, 3, 4, 0])]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    table.to_csv(folder / "interactions.csv", index=False)
    (said,) = [line for line in inspect(folder)[0].warnings if "protocol.exclude_history" in line]
    assert said.startswith("users whose last item is one that they had before: 6 of 6;")
    table.iloc[::-1].assign(timestamp=range(36)).to_csv(folder / "interactions.csv", index=False)
    assert any("had before: 6 of 6" in line for line in inspect(folder)[0].warnings)
    table[table["timestamp"] < 5].to_csv(folder / "interactions.csv", index=False)
    assert not any("had before" in line for line in inspect(folder)[0].warnings)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_file_that_runs_backwards_in_time_is_said_where_times_are_equal(newest_first: bool, folder: Path) -> None:
    table = pd.read_csv(folder / "interactions.csv").assign(timestamp=lambda rows: rows["timestamp"] // 200)
    table.iloc[:: -1 if newest_first else 1].to_csv(folder / "interactions.csv", index=False)
    (said,) = [line for line in inspect(folder)[0].warnings if "share user and time" in line]
    assert ("stand newest first" in said) == newest_first


def test_odd_names_stay_valid_yaml(folder: Path, tmp_path: Path) -> None:
    (folder / "embeddings" / "text_tiny.npz").rename(folder / "embeddings" / "text_a: b #1.npz")
    assert loaded(render_conf("shop", inspect(folder)[0]), tmp_path).ingest.embeddings == {"text": "a: b #1"}


def test_a_line_break_in_a_column_name_stays_in_its_comment(folder: Path, tmp_path: Path) -> None:
    table = pd.read_csv(folder / "items.csv").rename(columns={"brand": "brand\nprepare: {}\x85evaluate: 3"})
    table.to_csv(folder / "items.csv", index=False)
    assert loaded(render_conf("shop", inspect(folder)[0]), tmp_path).prepare.min_user_interactions == 3


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        inspect(tmp_path / "nothing")


def test_how_files_are_read_goes_into_the_conf(folder: Path, tmp_path: Path) -> None:
    text = (folder / "interactions.csv").read_text(encoding="utf-8")
    (folder / "ratings.txt").write_text(text.replace("user_id", "userId").replace(",", ";"), encoding="utf-8")
    (folder / "interactions.csv").unlink()
    ingest = {"interactions": "ratings.txt", "columns": {"user_id": "userId"}}
    conf = loaded(render_conf("shop", inspect(folder, How(**ingest), ingest)[0]), tmp_path)
    assert (conf.ingest.interactions, conf.ingest.columns) == ("ratings.txt", {"user_id": "userId"})
