"""The chat-template prompt around the items: tokens before them, tokens after them."""

from typing import Any, NamedTuple

from mmesid.errors import WeightsError, first_line

_DAY = "26 Jul 2024"  # that templates are told is today: a prompt of tomorrow must be the same
_TODAY = f"{{% macro strftime_now(form) %}}{_DAY}{{% endmacro %}}"
_ITEMS = "\u241e"  # stands where the items go; a control picture that no prompt contains


class Prompt(NamedTuple):
    """Token ids before the items (system and user message) and after them (end of turn, assistant header)."""

    before: list[int]  # (I,)
    after: list[int]  # (R,); the last one's hidden state represents the user; empty: that of the last item does


def build_prompt(tokenizer: Any, system: str, user: str, response: str) -> Prompt:
    """Render the chat template of the backbone and cut it where the items go.

    A template without a system role gets both messages as the user's; a backbone without a chat template gets them as
    plain lines and a closing line break. Without either message the items stand alone behind the token that begins a
    text, where there is one.

    Args:
        tokenizer: a Hugging Face tokenizer.
        system: the system message.
        user: the user message; the items follow it.
        response: header (end of turn and assistant header stand behind the items) or none.

    Raises:
        WeightsError: the chat template cannot say the messages.
    """
    begin = tokenizer.bos_token or ""
    if not system and not user:
        text = f"{begin}{_ITEMS}\n"
    elif tokenizer.chat_template:
        text = _rendered(tokenizer, system, f"{user}\n{_ITEMS}")
    else:
        text = f"{begin}{system}\n{user}\n{_ITEMS}\n"
    before, after = text.split(_ITEMS)
    return Prompt(_encode(tokenizer, before), _encode(tokenizer, after) if response == "header" else [])


def _rendered(tokenizer: Any, system: str, user: str) -> str:
    """The chat template's text; some templates refuse a system message, others drop it or want contents by type."""
    faults = []

    def render(messages: list[tuple[str, str]], typed: bool) -> str:
        contents = [[{"type": "text", "text": text}] if typed else text for _, text in messages]
        said = [{"role": role, "content": content} for (role, _), content in zip(messages, contents, strict=True)]
        try:
            template = _TODAY + tokenizer.get_chat_template()
            how = {"chat_template": template, "tokenize": False, "add_generation_prompt": True, "date_string": _DAY}
            return str(tokenizer.apply_chat_template(said, **how))
        except Exception as error:  # a template may do anything
            faults.append(error)
            return ""

    apart, together = [("system", system), ("user", user)], [("user", f"{system}\n{user}")]
    for typed in (False, True):
        for messages in (apart, together):
            text = render(messages, typed)
            if text.count(_ITEMS) == 1 and (system in text or messages is together):
                return text
    why = first_line(faults[0]) if faults else "it does not say the user's message exactly once"
    raise WeightsError(
        f"init_codes.backbone: the chat template of its tokenizer cannot be used ({why}); mend chat_template.jinja or "
        "tokenizer_config.json, or choose another backbone"
    )


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
