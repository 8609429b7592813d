"""The paper's run made small: a category at an address with all its faults, and tiny checkpoints of the true forms."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmesid.pipeline.downloads import cache
from tests import tiny
from tests.amazon_files import item, pack, picture, product
from tests.faulty_pages import Page, Server

NAME, CATEGORY = "fixture", "Fixture"
USERS, ITEMS, STEPS = 60, 36, 8
FEW = {"users": USERS, "items": ITEMS - 4, "items_with_image": ITEMS - 4}  # three pictures and one text are none
WIDTH = 32  # C and d
CONNECTIONS = 2  # downloads at a time
REVIEWS, PRODUCTS = f"/reviews_{CATEGORY}_5.json.gz", f"/meta_{CATEGORY}.json.gz"
LLAMA_3_TEMPLATE = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim "
    "+ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)


def publish(server: Server, hanging: bool = False, filler: int = 0) -> None:
    """Reviews, products and pictures; each fault that a server or a file may have, and nothing that ends a run."""
    taken = [
        f'{{"reviewerID": "U{user}", "asin": "{item((user + step * step) % ITEMS)}", "overall": 5.0, '
        f'"unixReviewTime": {1_300_000_000 + 86_400 * step}}}'
        for user in range(USERS)
        for step in range(STEPS)
    ]
    found = [product("2014", number, server.url) for number in range(ITEMS)]
    found[3] |= {"title": None, "description": None, "categories": None}
    unseen = {
        "asin": "nobody's",
        "title": np.random.default_rng(0).bytes(filler).hex(),
    }  # so that the file takes a while
    lines = [*map(repr, found), "{'asin': 'B0", repr(unseen)]
    server.pages[REVIEWS] = Page(pack([*taken, "{'broken"]), cut=500, fails=2, busy=1)
    server.pages[PRODUCTS] = Page(pack(lines), head=False, ranges=False, etag=False)
    kinds: list[dict[str, Any]] = [{}, {"kind": "GIF"}, {"kind": "WEBP"}, {"mode": "CMYK"}, {"side": 200}]
    for number in range(ITEMS):
        content = picture(number, **kinds[number % len(kinds)])
        server.pages[f"/pictures/{number}.jpg"] = Page(content, "image/jpeg")
    faults = {
        0: Page(status=404),
        1: Page(b"<html>gone</html>", "text/html"),
        2: Page(b"no picture at all", "image/jpeg"),
        5: Page(location="/pictures/6.jpg"),
        7: server.pages["/pictures/7.jpg"]._replace(busy=1),
        8: server.pages["/pictures/8.jpg"]._replace(cut=200, fails=1),
    }
    if hanging:
        faults[0] = Page(picture(0), "image/jpeg", hangs=True)
    server.pages |= {f"/pictures/{number}.jpg": page for number, page in faults.items()}


def preset(models: Path) -> dict[str, Any]:
    """The paper's settings where size is no matter; all that makes them large is made small."""
    from tests.encoders import tiny_vision_models

    clip, llama = tiny_vision_models.llm2clip(models)
    content = {"clip": str(clip), "language_model": str(llama), "max_tokens": 64, "batch_tokens": 512, "batch_size": 8}
    small = {name: tiny.CONF[name] for name in ("encode_collaborative", "baselines", "evaluate")}
    return {
        "base": "paper",
        **small,
        "prepare": {"min_user_interactions": 3, "min_item_interactions": 1},
        "encode_content": {"llm2clip": {**content, "dtype": "float32"}},
        "tokenize": {"codes": 8, "dimension": WIDTH, "hidden": [WIDTH] * 3, "epochs": 3, "batch_size": 64},
        "init_codes": {"backbone": str(backbone(models / "llama-3")), "dtype": "float32", "input_hidden": 3 * WIDTH},
        "finetune": {"rank": 2, "epochs": 2, "targets_per_step": 64, "checkpoint_steps": 1, "precision": "float32"},
    }


def backbone(folder: Path) -> Path:
    """A Llama of Llama 3's form: grouped queries, rotary positions, its special tokens and its chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from tests.encoders import tiny_vision_models

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_vision_models.llama_tokenizer(), bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
    )
    tokenizer.chat_template = LLAMA_3_TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def make(root: Path, models: Path) -> Path:
    """A fresh checkout with the preset `fixture`, whose models go into a folder, and an environment for `make`."""
    tiny.write_yaml(root / "conf" / "presets" / f"{NAME}.yaml", preset(models))
    return tiny.with_environment(root)


def loosen(root: Path) -> None:
    """So few lines make any fault a large share."""
    path = root / "conf" / f"{NAME}.yaml"
    conf = yaml.safe_load(path.read_text(encoding="utf-8"))
    conf["ingest"] |= {"max_broken_lines": 0.1, "max_unanswered": 0.1, "connections": CONNECTIONS}
    tiny.write_yaml(path, conf)


def add_command(server: Server) -> list[str]:
    """What adds it."""
    address = ["--category", CATEGORY, "--from", server.url]
    return ["mmesid", "add", NAME, "--source", "amazon", *address, "--preset", NAME]


def alone(folder: Path) -> dict[str, str]:
    """Downloads in a folder of the test's own; no hub."""
    return {cache.HOME: str(folder / "downloads"), "HF_HUB_OFFLINE": "1"}
