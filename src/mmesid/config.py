"""`params.yaml` + `conf/<dataset>.yaml` -> frozen, strict sections: one per stage, `protocol` and `gate`.

Every default stands once, in `params.yaml`; the classes below only say which keys exist and which values are possible.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmesid.errors import ConfigError

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Modality = Literal["collaborative", "text", "image"]


class Section(BaseModel):
    """A section of the parameters: unknown keys are errors, values never change, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Protocol(Section):
    """How every model of a dataset is judged, in training and after it."""

    exclude_history: bool
    history_length: Annotated[int, Field(ge=2)]


class Ingest(Section):
    source: Literal["sample", "files"]
    embeddings: dict[Modality, str]


class Validate(Section):
    min_users: Positive
    min_items: Positive
    min_interactions: Positive
    min_user_interactions: Positive
    max_short_users: Share
    max_unknown_items: Share
    max_duplicates: Share
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


class EncodeCollaborative(Section):
    encoder: Literal["sasrec", "precomputed"]
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
    def _heads_divide(self) -> "EncodeCollaborative":
        if self.dimension % self.heads:
            raise ValueError(f"dimension ({self.dimension}) must be a multiple of heads ({self.heads})")
        return self


class OpenClip(Section):
    model: str
    pretrained: str | None
    dimension: Positive
    image_size: Annotated[int, Field(ge=16)]
    context_length: Annotated[int, Field(ge=8)]
    learning_rate: Rate
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Positive


class EncodeContent(Section):
    text: Literal["open_clip", "precomputed", "lsa", "none"]
    image: Literal["open_clip", "precomputed", "none"]
    open_clip: OpenClip
    lsa_dimension: Positive


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
    dtype: Literal["float32", "bfloat16", "nf4"]
    embedded: EmbeddedBackbone
    system_prompt: str
    user_prompt: str
    code_init: Literal["trained", "random"]
    input_hidden: Positive
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
    output_dropout: Dropout
    row_tokens: Annotated[int, Field(ge=32)]
    batch_tokens: Annotated[int, Field(ge=32)]
    targets_per_step: Positive
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
    precision: Literal["float32", "bfloat16"]
    attention: Literal["auto", "sdpa", "flex"]
    gradient_checkpointing: bool
    compile: bool
    sharding: Literal["none", "full"]


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
    evaluate: Evaluate
    gate: Gate
    report: Report


def load(dataset: str, root: Path = Path()) -> Config:
    """Read the parameters of `dataset`: `params.yaml`, overridden by `conf/<dataset>.yaml`.

    Args:
        dataset: name of a file in `conf/`, without the ending.
        root: the project's folder.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown or missing, a value has a wrong type or range.
    """
    params = _read(root / "params.yaml")
    override_path = root / "conf" / f"{dataset}.yaml"
    if not override_path.exists():
        known = ", ".join(sorted(path.stem for path in (root / "conf").glob("*.yaml"))) or "none"
        raise ConfigError(
            f"dataset '{dataset}' has no {override_path.relative_to(root)} (known: {known}); "
            f"`mmesid add {dataset} --files PATH` writes it"
        )
    params.pop("datasets", None)
    merged = _merge(params, _read(override_path))
    try:
        return Config.model_validate({**merged, "dataset": dataset})
    except ValidationError as error:
        raise ConfigError(_explain(error, dataset)) from None


def datasets(root: Path = Path()) -> list[str]:
    """Names of the datasets that `dvc repro` runs, from `datasets` in `params.yaml`."""
    names = _read(root / "params.yaml").get("datasets")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"params.yaml: `datasets` must be a list of names, like [sample]; it is {names!r}")
    return names


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run from the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold sections (`name: {{key: value}}`), not {type(content).__name__}")
    return content


def _merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`override` wins, key by key; `ingest.embeddings` and other free-form mappings merge the same way."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(error: ValidationError, dataset: str) -> str:
    lines = [f"params.yaml or conf/{dataset}.yaml:"]
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        lines.append(f"  {key}: {_say(problem, key)}")
    return "\n".join(lines)


def _say(problem: Any, key: str) -> str:
    if problem["type"] == "extra_forbidden":
        return f"no such key.{_suggest(problem['loc'])}"
    if problem["type"] == "missing":
        return "this key is missing; every default stands in params.yaml"
    hint = ""
    if isinstance(problem["input"], str) and problem["type"].startswith(("float", "int")):
        hint = " (YAML reads 1e-3 as text: write 0.001)"
    return f"{problem['msg']}; it is {problem['input']!r}{hint}"


def _suggest(location: tuple[int | str, ...]) -> str:
    """The nearest name among the section's keys, or all of them when none is near."""
    section: Any = Config
    for part in location[:-1]:
        field = next((f for n, f in section.model_fields.items() if part in (n, f.alias)), None)
        section = field.annotation if field is not None else Config
    names = [field.alias or name for name, field in section.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else f" Known keys: {', '.join(names)}."


def split_names(text: str) -> list[str]:
    """Names of datasets between commas or spaces, as every command line takes them."""
    return text.replace(",", " ").split()


def check_datasets(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError where a name is not among the known ones."""
    known = sorted(known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"{', '.join(unknown)}: no such dataset among {', '.join(known) or 'none'}; `datasets` in params.yaml "
            "lists them, and `mmesid add NAME --files PATH` makes a new one"
        )
