"""Small text-embedding models with true architectures and random weights, as folders that `from_pretrained` loads."""

import json
from pathlib import Path
from typing import Any

import torch

CORPUS = [
    "a red wool scarf for cold days",
    "an oak lamp with a glass shade",
    "blue bottle of rose shampoo, two ounces",
    "yellow nail polish that dries in a minute",
]


def bert(folder: Path) -> Path:
    """Two layers, 16 wide, WordPiece; the pooler is left out, as in many checkpoints."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def roberta(folder: Path, tokenizer: Path) -> Path:
    """An XLM-R that numbers its 34 positions from behind that of padding; it names no other limit."""
    from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaModel

    found = AutoTokenizer.from_pretrained(tokenizer)
    found.model_max_length = 10**30
    found.save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=found.vocab_size,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=34,
        pad_token_id=found.pad_token_id,
        initializer_range=0.5,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def t5(folder: Path, tokenizer: Path) -> Path:
    """A whole T5, encoder and decoder."""
    from transformers import AutoTokenizer, T5Config, T5Model

    found = AutoTokenizer.from_pretrained(tokenizer)
    found.save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=found.vocab_size, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5Model(config).save_pretrained(folder)
    return folder


def qwen(folder: Path) -> Path:
    """Two layers, 16 wide, byte-level BPE with an end token behind each text, as Qwen3-Embedding's tokenizer has it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[end], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, 0)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=end, eos_token=end).save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def sentence_transformers_files(
    folder: Path, modules: list[str], pooling: dict[str, Any], transformer: str = "", **more: Any
) -> None:
    """modules.json and what it names; `more` is the content of config_sentence_transformers.json.

    Args:
        folder: of the model.
        modules: their kinds.
        pooling: settings.
        transformer: the folder that the model itself lies in, empty where it is this one.
        more: for instance the prompts.
    """
    paths = {
        "Transformer": transformer,
        "Pooling": "1_Pooling",
        "Normalize": "2_Normalize",
        "Dense": "2_Dense",
        "LSTM": "3",
    }
    listed = [
        {"idx": place, "name": str(place), "path": paths[kind], "type": f"sentence_transformers.models.{kind}"}
        for place, kind in enumerate(modules)
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in (
        ("modules.json", listed),
        ("1_Pooling/config.json", pooling),
        (f"{transformer or '.'}/sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False}),
        ("config_sentence_transformers.json", more),
    ):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
