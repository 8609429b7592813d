"""Where the weights of an open_clip model lie, without loading or fetching them."""

from pathlib import Path
from typing import NamedTuple

from mmesid.errors import WeightsError


class Place(NamedTuple):
    """A folder or a repository of the hub, and the file in it: the first of these names that is there."""

    folder: Path | None
    repository: str  # empty: a folder, or an address of the model's own
    names: list[str]


def place_of(model: str, pretrained: str | None) -> Place:
    """Where open_clip takes a model's weights from.

    Args:
        model: as `encode_content.open_clip.model` names it, but for `embedded`.
        pretrained: a tag or a file; None where the model brings its own weights.

    Raises:
        WeightsError: open_clip knows no such weights.
    """
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
    from open_clip.factory import HF_HUB_PREFIX, LOCAL_DIR_PREFIX

    usual = [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    if model.startswith(HF_HUB_PREFIX):
        return Place(None, model.removeprefix(HF_HUB_PREFIX), usual)
    if model.startswith(LOCAL_DIR_PREFIX):
        return Place(Path(model.removeprefix(LOCAL_DIR_PREFIX)), "", usual)
    if (file := Path(pretrained or "")).is_file():
        return Place(file.parent, "", [file.name])
    known = get_pretrained_cfg(model, pretrained or "")
    if not known:
        tags = ", ".join(list_pretrained_tags_by_model(model)) or "none"
        raise WeightsError(f"{model} has no weights {pretrained!r} that open_clip knows (tags of this model: {tags})")
    repository, _, name = known.get("hf_hub", "").rpartition("/")
    return Place(None, repository, [str(Path(name).with_suffix(".safetensors")), name] if name else usual)
