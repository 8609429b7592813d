"""Which parameters exist and which values are possible: a section per stage, `protocol` and `gate`. No defaults."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Modality = Literal["collaborative", "text", "image"]
Rival = Literal["content_transformer"]
Evidence = Literal["popularity", "transitions", "text", "image", "text_codes", "image_codes"]


class Section(BaseModel):
    """A section of the parameters: unknown keys are errors, values never change, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Protocol(Section):
    """How every model of a dataset is judged, in training and after it."""

    exclude_history: bool
    history_length: Annotated[int, Field(ge=2)]


class Ingest(Section):
    source: Literal["sample", "files"]
    interactions: str | None
    items: str | None
    columns: dict[str, str | Positive]
    encoding: str
    timestamp_format: str | None
    embeddings: dict[Modality, str]
    text: list[str] | None


class Validate(Section):
    min_users: Positive
    min_items: Positive
    min_interactions: Positive
    min_user_interactions: Positive
    max_short_users: Share
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


class SequentialTransformer(Section):
    """Size and schedule of a transformer over items."""

    dimension: Positive
    blocks: Positive
    heads: Positive
    dropout: Dropout
    learning_rate: Rate
    weight_decay: Weight
    batch_users: Positive
    epochs: Positive
    patience: Positive

    @model_validator(mode="after")
    def _heads_divide(self) -> "SequentialTransformer":
        if self.dimension % self.heads:
            raise ValueError(f"dimension ({self.dimension}) must be a multiple of heads ({self.heads})")
        return self


class EncodeCollaborative(SequentialTransformer):
    encoder: Literal["sasrec", "precomputed"]


class OpenClip(Section):
    model: str
    pretrained: str | None
    dimension: Positive
    image_size: Annotated[int, Field(ge=16)]
    context_length: Annotated[int, Field(ge=8)]
    learning_rate: Rate
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Positive


class SentenceTransformers(Section):
    model: str
    revision: str | None
    trust_remote_code: bool
    prompt: str | None
    pooling: Literal["auto", "mean", "cls", "last"]
    max_tokens: Annotated[int, Field(ge=8)]
    batch_tokens: Positive
    dtype: Literal["auto", "float32", "bfloat16"]


class EncodeContent(Section):
    text: Literal["open_clip", "sentence_transformers", "precomputed", "lsa", "none"]
    image: Literal["open_clip", "precomputed", "pixels", "none"]
    open_clip: OpenClip
    sentence_transformers: SentenceTransformers
    lsa_dimension: Positive
    pixels_dimension: Positive


class Tokenize(Section):
    levels: Positive
    codes: Annotated[int, Field(ge=2)]
    dimension: Positive
    hidden: list[Positive]
    reconstruction: Literal["mmd", "mse", "mmd+mse"]
    reconstruction_weight: Weight
    alignment: Literal["infonce", "mmd", "none"]
    alignment_weight: Weight
    temperature: Rate
    commitment: Weight
    kmeans_init: bool
    sinkhorn_epsilon: Weight
    sinkhorn_iterations: Positive
    revive_after: Positive
    learning_rate: Rate
    weight_decay: Weight
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Positive


class EmbeddedBackbone(Section):
    width: Positive
    layers: Positive
    heads: Positive
    vocabulary: Annotated[int, Field(ge=300)]
    pretrain_steps: Annotated[int, Field(ge=0)]
    pretrain_learning_rate: Rate

    @model_validator(mode="after")
    def _heads_divide(self) -> "EmbeddedBackbone":
        if self.width % (2 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of twice heads ({self.heads}): heads are rotary")
        return self


class InitCodes(Section):
    backbone: str
    revision: str | None
    trust_remote_code: bool
    layers: Positive | None
    dtype: Literal["float32", "bfloat16", "nf4"]
    embedded: EmbeddedBackbone
    system_prompt: str
    user_prompt: str
    response: Literal["none", "header"]
    code_init: Literal["trained", "random"]
    items: Literal["tied", "table"]
    input_hidden: Positive
    item_modalities: list[Modality]
    item_codes: list[Modality]
    item_id: bool
    temperature: Rate
    item_table: Literal["content", "random"]
    item_table_std: Rate
    input_table: bool
    score_modalities: list[Modality]
    fusion_temperature: Rate


class Finetune(Section):
    adapter: Literal["lora", "full"]
    rank: Positive
    alpha: Positive
    adapter_dropout: Dropout
    target_modules: list[str]
    input_dropout: Dropout
    layer_dropout: Dropout
    output_dropout: Dropout
    row_tokens: Annotated[int, Field(ge=32)]
    batch_tokens: Annotated[int, Field(ge=32)]
    targets_per_step: Positive | None
    max_targets_per_epoch: Positive | None
    loss: Literal["exact", "sampled"]
    loss_memory: Positive
    negatives: Positive
    learning_rate: Rate
    table_learning_rate: Rate
    weight_decay: Weight
    warmup_steps: Annotated[int, Field(ge=0)]
    epochs: Positive
    patience: Positive
    checkpoint_steps: Positive
    precision: Literal["auto", "float32", "bfloat16"]
    attention: Literal["auto", "sdpa", "eager", "flex"]
    gradient_checkpointing: bool
    compile: bool
    sharding: Literal["none", "full"]


class ContentTransformer(SequentialTransformer):
    hidden: Positive
    warmup_steps: Positive


class Baselines(Section):
    rivals: list[Rival]
    content_transformer: ContentTransformer

    @model_validator(mode="after")
    def _once(self) -> "Baselines":
        if len(self.rivals) != len(set(self.rivals)):
            raise ValueError(f"rivals must name each one once; they are {self.rivals}")
        return self


class Fuse(Section):
    evidence: Annotated[list[Evidence], Field(min_length=1)]
    bins: list[Annotated[int, Field(ge=0)]]
    users: Positive
    ridge: Rate
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
    example_users: Annotated[int, Field(ge=0)]
    recommendations: Positive


class Config(Section):
    """All parameters of one dataset: a section per stage, `protocol` and `gate`. `seed` holds for every dataset."""

    dataset: str
    seed: Annotated[int, Field(ge=0)]
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


SECTIONS = tuple(field.alias or name for name, field in Config.model_fields.items() if name not in ("dataset", "seed"))
