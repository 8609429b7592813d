"""The chat-template prompt around the items: tokens before them, tokens after them."""

from typing import Any, NamedTuple

_ITEMS = "\u241e"  # stands where the items go; a control picture that no prompt contains


class Prompt(NamedTuple):
    """Token ids before the items (system and user message) and after them (end of turn, assistant header)."""

    before: list[int]  # (I,)
    after: list[int]  # (R,); the last one's hidden state represents the user; empty: that of the last item does


def build_prompt(tokenizer: Any, system: str, user: str, response: str) -> Prompt:
    """Render the chat template of the backbone and cut it where the items go.

    A backbone without a chat template gets the two messages as plain lines and a closing line break.

    Args:
        tokenizer: a Hugging Face tokenizer.
        system: the system message.
        user: the user message; the items follow it.
        response: header (end of turn and assistant header stand behind the items) or none.
    """
    if tokenizer.chat_template:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{user}\n{_ITEMS}"}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    else:
        text = f"{tokenizer.bos_token or ''}{system}\n{user}\n{_ITEMS}\n"
    before, after = text.split(_ITEMS)
    return Prompt(_encode(tokenizer, before), _encode(tokenizer, after) if response == "header" else [])


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
