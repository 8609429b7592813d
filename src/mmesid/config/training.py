"""The sections of all that is trained: encoders, tokenizer, recommender, rivals. No defaults."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmesid.config.values import Dropout, Modality, Positive, Rate, Rival, Section, Weight

EMBEDDED = "embedded"  # the backbone of our own


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


class VisionModel(Section):
    model: str
    revision: str | None
    trust_remote_code: bool
    features: Literal["auto", "pooler", "cls", "mean"]
    batch_size: Positive
    dtype: Literal["auto", "float32", "bfloat16"]


class Llm2Clip(Section):
    clip: str
    clip_revision: str | None
    language_model: str
    language_model_revision: str | None
    max_tokens: Annotated[int, Field(ge=16)]
    batch_tokens: Positive
    batch_size: Positive
    dtype: Literal["auto", "float32", "bfloat16"]


class EncodeContent(Section):
    text: Literal["open_clip", "sentence_transformers", "llm2clip", "precomputed", "lsa", "none"]
    image: Literal["open_clip", "transformers", "llm2clip", "precomputed", "pixels", "none"]
    open_clip: OpenClip
    sentence_transformers: SentenceTransformers
    transformers: VisionModel
    llm2clip: Llm2Clip
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
    distinct: bool
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
    weights: Literal["pretrained", "random"]
    dtype: Literal["auto", "float32", "bfloat16", "nf4"]
    embedded: EmbeddedBackbone
    system_prompt: str
    user_prompt: str
    response: Literal["none", "header"]
    code_init: Literal["trained", "random"]
    items: Literal["tied", "table"]
    input_hidden: Annotated[int, Field(ge=0)]
    item_modalities: list[Modality]
    item_codes: list[Modality]
    item_id: bool
    temperature: Rate
    item_table: Literal["content", "random"]
    item_table_std: Rate
    input_table: bool
    score_modalities: list[Modality]
    fusion_temperature: Rate

    @model_validator(mode="after")
    def _weights(self) -> "InitCodes":
        if self.weights == "random" and self.backbone == EMBEDDED:
            raise ValueError(
                "weights: random is for a pretrained backbone; of embedded, set embedded.pretrain_steps: 0"
            )
        return self


class Finetune(Section):
    adapter: Literal["lora", "full", "frozen"]
    rank: Positive
    alpha: Positive
    adapter_dropout: Dropout
    target_modules: list[str] | None
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
    adapter_learning_rate: Rate | None
    table_learning_rate: Rate
    weight_decay: Weight
    warmup_steps: Annotated[int, Field(ge=0)]
    epochs: Positive
    max_hours: Annotated[float, Field(gt=0)] | None
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
