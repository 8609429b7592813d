"""Which parameters exist and which values are possible: a section per stage, `protocol` and `gate`. No defaults."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmesid.config.training import Baselines, EncodeCollaborative, EncodeContent, Finetune, InitCodes, Tokenize
from mmesid.config.values import Evidence, Modality, Positive, Rate, Section, Share, Weight


class Protocol(Section):
    """How every model of a dataset is judged, in training and after it."""

    exclude_history: bool
    history_length: Annotated[int, Field(ge=2)]


class Ingest(Section):
    source: Literal["sample", "files", "amazon"]
    base_url: str | None
    category: Annotated[str, Field(pattern=r"^[\w&-]+$")] | None
    release: Literal["2014", "2018", "2023", "2023-5core"]
    sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    fetch_images: bool
    connections: Annotated[int, Field(ge=1, le=32)]
    max_broken_lines: Share
    max_unanswered: Share
    interactions: str | None
    items: str | None
    columns: dict[str, str | Positive]
    encoding: str
    timestamp_format: str | None
    embeddings: dict[Modality, str]
    text: list[str] | None

    @model_validator(mode="after")
    def _amazon_has_an_address(self) -> "Ingest":
        if self.source == "amazon" and not (self.base_url and self.category):
            raise ValueError(
                "ingest.source: amazon needs ingest.base_url, the folder or http(s) address of the files, and "
                "ingest.category, as in their names: Beauty, Toys_and_Games"
            )
        return self


class Validate(Section):
    min_users: Positive
    min_items: Positive
    min_interactions: Positive
    min_user_interactions: Positive
    max_short_users: Share
    max_missing_ids: Share
    max_unknown_items: Share
    max_duplicates: Share
    max_duplicate_items: Share
    max_unordered: Share
    max_missing_text: Share
    max_missing_image: Share
    max_broken_images: Share
    max_missing_embeddings: Share
    max_text_length: Positive
    min_image_side: Positive


class Prepare(Section):
    min_user_interactions: Annotated[int, Field(ge=3)]
    min_item_interactions: Positive
    repeats: Literal["drop", "keep"]
    ties: Literal["source", "shuffled"]
    drop_items_without: list[Literal["text", "image"]]


class Fuse(Section):
    evidence: Annotated[list[Evidence], Field(min_length=1)]
    bins: list[Annotated[int, Field(ge=0)]]
    users: Positive
    ridge: Rate
    smoothing: Weight
    memory: Positive
    neighbors: Positive
    dimension: Positive

    @model_validator(mode="after")
    def _bins_ascend(self) -> "Fuse":
        if not self.bins or self.bins[0] != 0 or self.bins != sorted(set(self.bins)):
            raise ValueError(f"bins must ascend from 0, like [0, 4, 8, 20]; they are {self.bins}")
        if len(self.evidence) != len(set(self.evidence)):
            raise ValueError(f"evidence must name each kind once; it is {self.evidence}")
        return self


class Evaluate(Section):
    batch_users: Positive
    bootstrap: Annotated[int, Field(ge=100)]
    frequency_buckets: list[Annotated[int, Field(ge=0)]]
    length_buckets: list[Annotated[int, Field(ge=0)]]
    forgetting_users: Positive


class Gate(Section):
    """Limits of the promotion gate; no stage reads them."""

    max_loss: Share
    min_users: Positive
    slice_gain: Weight
    max_collisions: Share
    min_code_use: Share
    resamples: Annotated[int, Field(ge=100)]


class Report(Section):
    example_users: Annotated[int, Field(ge=0, le=20)]  # `evaluate` draws as many users, and items for each
    recommendations: Annotated[int, Field(ge=1, le=20)]


class Config(Section):
    """All parameters of one dataset: a section per stage, `protocol` and `gate`. `seed` holds for every dataset."""

    dataset: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]  # scikit-learn takes no larger ones
    protocol: Protocol
    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    prepare: Prepare
    encode_collaborative: EncodeCollaborative
    encode_content: EncodeContent
    tokenize: Tokenize
    init_codes: InitCodes
    finetune: Finetune
    baselines: Baselines
    fuse: Fuse
    evaluate: Evaluate
    gate: Gate
    report: Report

    @model_validator(mode="after")
    def _rivals_have_content(self) -> "Config":
        content = self.encode_content
        if "content_transformer" in self.baselines.rivals and content.text == content.image == "none":
            raise ValueError(
                "baselines.rivals: content_transformer makes items of content, but encode_content.text and "
                "encode_content.image are both none; name an encoder there, or take it off the list"
            )
        return self

    @model_validator(mode="after")
    def _whole_weights_are_trained(self) -> "Config":
        if self.finetune.adapter == "full" and self.init_codes.dtype == "nf4":
            raise ValueError(
                "finetune.adapter: full trains the backbone's weights, which init_codes.dtype: nf4 packs in 4 bit; "
                "take lora, or another dtype"
            )
        return self


SECTIONS = tuple(field.alias or name for name, field in Config.model_fields.items() if name not in ("dataset", "seed"))
