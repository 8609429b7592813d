"""How a text-embedding model wants to be used, read from the files of sentence-transformers beside its weights."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from mmesid.errors import WeightsError

Pooling = Literal["mean", "cls", "last"]
ReadFile = Callable[[str], Any | None]  # name of a file beside the weights -> its JSON, None where there is none

SECTION = "encode_content.sentence_transformers"
NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}  # as newer files call them
FLAGS: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


LIBRARY = "sentence_transformers."
MODULES = ("Transformer", "Pooling", "Dense", "Normalize")  # in this order
SETTINGS = tuple(  # of the Transformer, as older releases called them by its kind
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


class Recipe(NamedTuple):
    """What turns texts into tokens, and their vectors into the embedding that the model was trained for."""

    pooling: Pooling
    normalize: bool  # to length 1
    prompt: str  # before every text
    max_tokens: int | None  # of a text with its prompt; None where no file says so
    source: str  # where pooling and normalization come from
    lower_case: bool = False
    dense: tuple[str, ...] = ()  # folders of the linear layers behind the pooling

    def prepare(self, texts: Sequence[str]) -> list[str]:
        """What the tokenizer gets: each text behind the prompt, without the space around both."""
        prepared = [(self.prompt + text).strip() for text in texts]
        return [text.lower() for text in prepared] if self.lower_case else prepared


def read_recipe(read: ReadFile, decoder: bool, pooling: Pooling | None = None, prompt: str | None = None) -> Recipe:
    """The recipe in modules.json and the files that it names.

    A model without such files is pooled over its last token if it is a decoder, whose earlier tokens have not seen the
    whole text, else over the mean of all; the embedding is brought to length 1 and there is no prompt.

    Args:
        read: one of the model's files.
        decoder: whether every token sees only those before it.
        pooling: instead of the files' own.
        prompt: likewise.

    Raises:
        WeightsError: the files demand what is not implemented here.
    """
    modules = _modules(read)
    if prompt is None:
        prompt = _default_prompt(read("config_sentence_transformers.json") or {})
    if modules is None:
        return Recipe(pooling or ("last" if decoder else "mean"), True, prompt, None, "default")
    place = transformer_folder(read)
    found = (read(place + name) for name in SETTINGS)
    transformer: dict[str, Any] = next((settings for settings in found if settings is not None), {})
    pools = _folders(modules, "Pooling")
    settings = (read(f"{pools[0]}/config.json") if pools else None) or {}
    if prompt and settings.get("include_prompt") is False:
        raise WeightsError(f'{SECTION}.model: it leaves its prompt out of the pooling; set {SECTION}.prompt to ""')
    return Recipe(
        pooling or _pooling(settings) or ("last" if decoder else "mean"),
        any(_kind(module) == "Normalize" for module in modules),
        prompt,
        transformer.get("max_seq_length"),
        "modules.json",
        bool(transformer.get("do_lower_case")),
        _folders(modules, "Dense"),
    )


def transformer_folder(read: ReadFile) -> str:
    """Where configuration, weights and tokenizer lie beside modules.json: `0_Transformer/`, or empty.

    Raises:
        WeightsError: modules.json names what is not implemented here.
    """
    places = _folders(_modules(read) or (), "Transformer")
    return f"{places[0]}/" if places and places[0] else ""


def folder_reader(find: Callable[[str], str | Path | None]) -> ReadFile:
    """Read JSON from where `find` says a file lies."""

    def read(name: str) -> Any | None:
        path = find(name)
        return json.loads(Path(path).read_text(encoding="utf-8")) if path is not None else None

    return read


def _modules(read: ReadFile) -> Sequence[dict[str, Any]] | None:
    """Of modules.json; None where there is no such file."""
    modules: Sequence[dict[str, Any]] | None = read("modules.json")
    if modules is None:
        return None
    listed = isinstance(modules, list) and all(
        isinstance(each, dict) and {"type", "path"} <= each.keys() for each in modules
    )
    if not listed or not modules:
        raise WeightsError(
            f"{SECTION}.model: its modules.json is no list of modules, each with `type` and `path`; fetch it again, or "
            "delete it where the model is none of sentence-transformers"
        )
    kinds = [_kind(module) for module in modules]
    if unknown := [kind for kind in kinds if kind not in MODULES]:
        raise WeightsError(
            f"{SECTION}.model: its modules.json names {', '.join(unknown)}; supported are {', '.join(MODULES)}, so "
            "choose another model"
        )
    if kinds != sorted(kinds, key=MODULES.index) or kinds.count(MODULES[0]) != 1 or kinds.count(MODULES[1]) > 1:
        raise WeightsError(
            f"{SECTION}.model: its modules.json has the order {', '.join(kinds)}; supported is {', '.join(MODULES)}, "
            "so choose another model"
        )
    return modules


def _folders(modules: Sequence[dict[str, Any]], kind: str) -> tuple[str, ...]:
    return tuple(str(module["path"]) for module in modules if _kind(module) == kind)


def _kind(module: dict[str, Any]) -> str:
    """Name of a module's class; the full one where it is not of sentence-transformers, whatever its last part is."""
    name = str(module["type"])
    return name.rpartition(".")[2] if name.startswith(LIBRARY) else name


def _pooling(settings: dict[str, Any]) -> Pooling | None:
    """What 1_Pooling/config.json names; None where it names nothing."""
    named = settings.get("pooling_mode")
    chosen: Sequence[str] = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
    if named is not None:
        chosen = [named] if isinstance(named, str) else list(named)
    if not chosen:
        return None
    found = {**NAMES, **FLAGS}.get(chosen[0])
    if found is None or len(chosen) > 1:
        raise WeightsError(
            f"{SECTION}.model: it pools by {' and '.join(chosen)}; {SECTION}.pooling can be mean, cls or last instead"
        )
    return found


def _default_prompt(settings: dict[str, Any]) -> str:
    prompts, name = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if name and name not in prompts:
        raise WeightsError(
            f"{SECTION}.model: its default prompt is {name!r}, its prompts are {', '.join(prompts) or 'none'}; write "
            f"the text that it wants into {SECTION}.prompt"
        )
    return cast(str, prompts[name] or "") if name else ""
