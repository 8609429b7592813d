"""Files of the MME-SID authors' form: read as they are meant, and never executed."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmesid import config
from mmesid.data import authors_files, files
from mmesid.data.foreign_tensors import read_rows
from mmesid.errors import DataError
from tests.adding import run

USERS, ITEMS = 30, 24
SEQUENCES = [[(user + step) % ITEMS + 1 for step in range(6)] for user in range(USERS)]


def vectors(width: int, padding: bool = True) -> np.ndarray[Any, Any]:
    """A row for each item whose first number is the item's; a row 0 of zeros."""
    matrix = np.random.default_rng(width).standard_normal((ITEMS + padding, width)).astype(np.float32)
    matrix[:, 0] = np.arange(not padding, ITEMS + 1)
    return matrix


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    lines = [" ".join(map(str, [user, *items])) for user, items in enumerate(SEQUENCES, 1)]
    (folder / "Beauty_new.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "SASRec_Beauty.pkl").write_bytes(pickle.dumps(vectors(8)))
    torch.save(torch.from_numpy(vectors(12)).bfloat16(), folder / "llm2clip_text.pt")
    torch.save(torch.from_numpy(vectors(10, padding=False)), folder / "llm2clip_image.pt")
    return folder


def test_their_files_become_a_dataset(theirs: Path, checkout: Path) -> None:
    said = run("theirs", "--files", str(theirs), "--preset", "authors")
    assert f"Beauty_new.txt: {USERS} users, {ITEMS} items, {USERS * 6} interactions, in order" in said
    assert "row 0 is padding" in said
    assert "row 0 is item 1" in said
    settings = config.load("theirs", checkout)
    assert (settings.encode_content.text, settings.encode_content.image) == ("precomputed", "precomputed")
    assert settings.tokenize.alignment == "mmd"
    source = checkout / "sources" / "theirs"
    assert not list(source.rglob("*.p*kl")) + list(source.rglob("*.pt"))
    named = {"collaborative": "sasrec_beauty", "text": "llm2clip_text", "image": "llm2clip_image"}
    catalogue = files.read(source, named)
    found = catalogue.interactions.groupby("user_id", sort=False)["item_id"].agg(list)
    assert [list(map(int, items)) for items in found] == SEQUENCES
    assert catalogue.interactions.groupby("user_id")["timestamp"].is_monotonic_increasing.all()
    for raw in catalogue.embeddings.values():
        assert [round(first) for first in raw.matrix[:, 0].tolist()] == [int(item) for item in raw.item_ids]


def test_interactions_of_ones_own_are_no_file_of_theirs(theirs: Path) -> None:
    (theirs / "interactions.csv").write_text("user_id,item_id,timestamp\n", encoding="utf-8")
    assert authors_files.find(theirs) is None


def test_an_interaction_a_line_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "Beauty.txt"
    path.write_text("1 5\n2 5\n1 7\n", encoding="utf-8")
    assert authors_files.find(tmp_path) == path
    frame = authors_files.read_sequences(path)
    assert frame.to_numpy().tolist() == [["1", "5", 1], ["1", "7", 2], ["2", "5", 1]]


RATINGS = [
    (user, (7 * user + 3 * step) % 90 + 1, step % 5 + 1, 1_608_662_701 + step)
    for user in range(24)
    for step in range(9)
]


@pytest.mark.parametrize(
    ("columns", "mark", "said"),
    [
        (
            (0, 1, 2, 3),
            "\t",
            r"user, item, rating, time.* --columns user_id=1,interactions\.item_id=2,timestamp=4` reads it$",
        ),
        ((0, 1, 3), "\t", r"user, item, time, .*timestamp=3`"),
        ((0, 1, 2), " ", r"user, item, rating, .*add a column of times"),
        ((0, 1, 3), " ", r"user, item, time, .*with tabs instead of spaces"),
    ],
)
def test_a_table_of_ratings_is_no_file_of_sequences(
    columns: tuple[int, ...], mark: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "ratings.txt"
    path.write_text("".join(mark.join(str(row[at]) for at in columns) + "\n" for row in RATINGS), encoding="utf-8")
    with pytest.raises(DataError, match=rf"ratings\.txt looks like a table of {said}"):
        authors_files.convert(tmp_path, path, tmp_path)


@pytest.mark.parametrize("first", [1, 4_000_000_000])
def test_sequences_of_equal_length_are_sequences(first: int, tmp_path: Path) -> None:
    path = tmp_path / "Beauty.txt"
    lines = [f"{user} {' '.join(str(first + (5 * user + step) % 11) for step in range(3))}\n" for user in range(200)]
    path.write_text("".join(lines), encoding="utf-8")
    assert len(authors_files.read_sequences(path)) == 600


def test_a_table_of_items_beside_them_is_kept(theirs: Path, tmp_path: Path) -> None:
    titles = pd.DataFrame({"item_id": range(1, ITEMS + 1), "title": "soap"})
    titles.to_csv(theirs / "items.csv", index=False)
    (tmp_path / "target").mkdir()
    authors_files.convert(theirs, theirs / "Beauty_new.txt", tmp_path / "target")
    assert list(files.read(tmp_path / "target", {}).items["title"]) == ["soap"] * ITEMS


STATE = {"item_emb.weight": torch.ones(3, 2), "pos_emb.weight": torch.ones(5, 2)}
HARMLESS: dict[str, Callable[[], Any]] = {
    "an array": lambda: np.ones((3, 2)),
    "a list of arrays": lambda: [np.ones(2)] * 3,
    "a tensor": lambda: torch.ones(3, 2),
    "a tensor of bfloat16": lambda: torch.ones(3, 2).bfloat16(),
    "a parameter": lambda: torch.nn.Parameter(torch.ones(3, 2)),
    "a state dict": lambda: OrderedDict(STATE),
    "vectors by number": lambda: {number: [1.0, 1.0] for number in (2, 0, 1)},
    "one of one": lambda: {"embedding": torch.ones(3, 2)},
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_array_or_tensor_is_read(kind: str, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "sasrec.pkl"
    path.write_bytes(pickle.dumps(HARMLESS[kind](), protocol))
    assert read_rows(path).matrix.tolist() == [[1.0, 1.0]] * 3
    for name in ("sasrec.pt", "sasrec.pkl"):
        torch.save(HARMLESS[kind](), tmp_path / name)
        assert read_rows(tmp_path / name).matrix.tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "<i8", "|u1"])
def test_an_array_that_torch_saved_is_read(kind: str, tmp_path: Path) -> None:
    for zipped in (True, False):
        torch.save(np.ones((3, 2), kind), tmp_path / "text.pt", _use_new_zipfile_serialization=zipped)
        assert read_rows(tmp_path / "text.pt").matrix.tolist() == [[1.0, 1.0]] * 3


def test_a_pickle_is_read_under_the_name_of_tensors(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_bytes(pickle.dumps(np.ones((3, 2))))
    assert read_rows(tmp_path / "text.pt").matrix.tolist() == [[1.0, 1.0]] * 3


@pytest.mark.parametrize("before", ["\ufeff", "\n\n", " ", "\t"])
def test_what_stands_before_the_first_number_is_no_matter(before: str, tmp_path: Path) -> None:
    path = tmp_path / "Beauty.txt"
    path.write_text(f"{before}1 5 7\n2 5\n", encoding="utf-8")
    assert authors_files.find(tmp_path) == path
    assert authors_files.read_sequences(path).to_numpy().tolist() == [["1", "5", 1], ["1", "7", 2], ["2", "5", 1]]


class Runs:
    """Whose reading calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


def malice(target: Path) -> dict[str, Any]:
    """Pickles that would write a file."""
    touch = Runs(exec, f"open({str(target)!r}, 'w').close()")
    inside = torch.storage._load_from_bytes  # which itself reads pickles
    return {
        "builtins.exec": pickle.dumps(touch),
        "builtins.eval": pickle.dumps([np.ones((3, 2)), Runs(eval, "1")]),
        "posix.system": pickle.dumps({"item_emb.weight": Runs(__import__("os").system, f"touch {target}")}),
        "builtins.getattr": pickle.dumps(Runs(getattr, np.ndarray, "tofile")),
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        "is damaged": pickle.dumps(Runs(inside, pickle.dumps(touch))),
    }


@pytest.mark.parametrize("said", malice(Path()))
def test_a_pickle_that_runs_code_is_refused_by_name_and_runs_nothing(said: str, tmp_path: Path) -> None:
    target, path = tmp_path / "written", tmp_path / "sasrec.pkl"
    path.write_bytes(malice(target)[said])
    with pytest.raises(DataError) as caught:
        read_rows(path)
    assert said in str(caught.value)
    assert not target.exists()


def test_the_malice_is_real(tmp_path: Path) -> None:
    pickle.loads(malice(tmp_path / "written")["builtins.exec"])
    assert (tmp_path / "written").exists()


def test_a_file_of_tensors_that_runs_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    target, path = tmp_path / "written", tmp_path / "text.pt"
    torch.save({"text": Runs(exec, f"open({str(target)!r}, 'w').close()")}, path)
    with pytest.raises(DataError, match=r"text\.pt asks for .*exec, which is neither array nor tensor"):
        read_rows(path)
    assert not target.exists()


def test_a_malicious_file_adds_nothing(theirs: Path, checkout: Path, tmp_path: Path) -> None:
    (theirs / "SASRec_Beauty.pkl").write_bytes(malice(tmp_path / "written")["builtins.exec"])
    with pytest.raises(DataError, match=r"builtins\.exec"):
        run("theirs", "--files", str(theirs))
    assert not (checkout / "sources" / "theirs").exists()
    assert not (tmp_path / "written").exists()


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a row is missing": ("has 23 rows", lambda p: (p / "SASRec_Beauty.pkl").write_bytes(pickle.dumps(vectors(8)[2:]))),
    "cut short": ("is damaged", lambda p: (p / "SASRec_Beauty.pkl").write_bytes(pickle.dumps(vectors(8))[:200])),
    "no modality": ("says no modality", lambda p: (p / "llm2clip_text.pt").rename(p / "vectors.pt")),
    "a word": ("line 31: expected `user item item", lambda p: append(p, "u1 2 3")),
    "item 0": ("item 0 is padding", lambda p: append(p, "31 0 3")),
    "a vector": ("expected a matrix", lambda p: torch.save(torch.ones(24), p / "llm2clip_text.pt")),
    "sparse": ("a sparse tensor", lambda p: torch.save(torch.eye(ITEMS).to_sparse(), p / "llm2clip_text.pt")),
    "compressed": ("a sparse tensor", lambda p: torch.save(torch.eye(ITEMS).to_sparse_csr(), p / "llm2clip_text.pt")),
    "meta": ("a meta tensor", lambda p: torch.save(torch.eye(ITEMS, device="meta"), p / "llm2clip_text.pt")),
    "quantized": (
        "a quantized tensor",
        lambda p: torch.save(torch.quantize_per_tensor(torch.eye(ITEMS), 1.0, 0, torch.quint8), p / "llm2clip_text.pt"),
    ),
    "a pointer": (
        "is a pointer of Git LFS",
        lambda p: (p / "llm2clip_text.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    ),
    "an object": ("asks for", lambda p: torch.save(Path("x"), p / "llm2clip_text.pt")),
    "no cut .pt": ("is damaged", lambda p: (p / "llm2clip_text.pt").write_bytes(b"PK\3\4")),
    "numbers from 0": ("for the numbers 0 to 23", lambda p: save_numbered(p, 0, ITEMS)),
    "too many numbers": ("for the numbers 1 to 25", lambda p: save_numbered(p, 1, ITEMS + 2)),
    "too few numbers": ("for the numbers 1 to 23", lambda p: save_numbered(p, 1, ITEMS)),
    "a gap": ("with gaps between 2 and 24", lambda p: save_numbered(p, 2, ITEMS + 1)),
    "a name twice": (
        "SASRec_Beauty.pkl and {folder}/sasrec-beauty.pt would both become embeddings/collaborative_sasrec_beauty.npz",
        lambda p: torch.save(torch.ones(ITEMS, 2), p / "sasrec-beauty.pt"),
    ),
    "two files": ("several files of sequences", lambda p: (p / "Toys.txt").write_text("1 2 3\n")),
}


def save_numbered(folder: Path, first: int, end: int) -> None:
    """SASRec's embedding as vectors by number; each holds its number."""
    (folder / "SASRec_Beauty.pkl").write_bytes(pickle.dumps({n: np.full(4, n, np.float32) for n in range(first, end)}))


@pytest.mark.parametrize("first", [0, 1])
def test_vectors_by_number_go_to_the_item_of_that_number(first: int, theirs: Path, tmp_path: Path) -> None:
    save_numbered(theirs, first, ITEMS + 1)
    translate(theirs, tmp_path / "target")
    found = np.load(tmp_path / "target" / "embeddings" / "collaborative_sasrec_beauty.npz")
    assert found["embedding"][:, 0].tolist() == [int(one) for one in found["item_id"]]


def translate(folder: Path, target: Path) -> None:
    sequences = authors_files.find(folder)
    assert sequences is not None
    target.mkdir()
    authors_files.convert(folder, sequences, target)


def append(folder: Path, line: str) -> None:
    with (folder / "Beauty_new.txt").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of kinds of tensors that are rare
@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_sentence(fault: str, theirs: Path, tmp_path: Path) -> None:
    said, change = FAULTS[fault]
    change(theirs)
    with pytest.raises(DataError) as caught:
        translate(theirs, tmp_path / "target")
    assert said.format(folder=theirs) in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)
