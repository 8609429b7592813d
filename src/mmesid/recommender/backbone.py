"""The language model under the recommender, and a small Llama of our own; pretrained ones are in `pretrained`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmesid.config import EMBEDDED, EmbeddedBackbone

Log = Callable[[dict[str, float], int], None]

# End of turn costs a token per target in packed training, so the embedded template closes a turn with the next header.
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] | trim }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
_BATCH, _LENGTH = 16, 64
OWN_SCALE = 1.0  # of items beside the embedded backbone, which has seen too little text to expect its words' size


class Backbone(NamedTuple):
    """A decoder without its language-model head, its tokenizer, where both came from, and how large its inputs are."""

    model: Any  # transformers.PreTrainedModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    input_scale: float  # root mean square at which items enter
    name: str
    revision: str | None
    dtype: str = "float32"
    trust_remote_code: bool = False
    layers: int | None = None  # of a pretrained one, the first so many; None: all
    weights: str = "pretrained"  # or random: drawn anew
    state: str | None = None  # of a folder's files, which no revision fixes


def embedded(
    texts: Sequence[str], prompts: list[str], settings: EmbeddedBackbone, seed: int, device: str, log: Log
) -> Backbone:
    """Build a small Llama and pretrain it as a causal language model on the catalogue's text.

    Args:
        texts: one text per item.
        prompts: the messages around the items; the vocabulary is made to hold them in few tokens.
        settings: widths, vocabulary and steps.
        seed: of weights and batches.
        device: where to train.
        log: called with {"loss"} every ten steps.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    corpus = [*texts, *prompts * max(1, len(texts) // 20)]
    tokenizer = _train_tokenizer(corpus, settings.vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config).to(device)
    tokens = [token for text in corpus for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    taught = settings.pretrain_steps > 0 and len(tokens) > _LENGTH
    if taught:
        _pretrain(model, torch.tensor(tokens), settings, seed, log)
    weights = "pretrained" if taught else "random"
    return Backbone(model.model.eval(), tokenizer, OWN_SCALE, EMBEDDED, None, weights=weights)


def _train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """Byte-level BPE over the catalogue's text, with a chat template whose assistant header is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_SPECIAL[0],
        bos_token=_SPECIAL[1],
        eos_token=_SPECIAL[1],
        additional_special_tokens=_SPECIAL[2:],
        chat_template=_CHAT_TEMPLATE,
    )


def _pretrain(model: Any, tokens: Tensor, settings: EmbeddedBackbone, seed: int, log: Log) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.pretrain_learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.pretrain_steps)
    draw = np.random.default_rng(seed)
    model.train()
    for step in range(1, settings.pretrain_steps + 1):
        starts = torch.from_numpy(draw.integers(0, len(tokens) - _LENGTH, _BATCH))
        batch = tokens[starts[:, None] + torch.arange(_LENGTH + 1)].to(model.device)  # (B, S + 1)
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits  # (B, S, vocabulary)
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 10 == 0 or step == settings.pretrain_steps:
            log({"language_model_loss": loss.item(), "progress": step / settings.pretrain_steps}, step)
