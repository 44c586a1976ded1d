"""What a record of a data set means: which texts a model reads, and which of them it has to learn to write.

A handler turns a record into a list of ``Turn``, one conversation; a turn that is ``learnt`` carries
loss. Names and record shapes are those of the vendor's preprocessing (S2, S3) and of the data sets they were
made for: Stanford Alpaca (instruction, input, output), MOSS (chat.turn_N), ShareGPT (conversations).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.data.templates import Template, Turn

SHAREGPT_ROLES: Mapping[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "model": "assistant", "system": "system", "observation": "user", "tool": "user", "function_call": "assistant"}


class Unfit(ValueError):
    """A record that a handler cannot take; its text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What handlers are told."""

    template: Template
    keys: Mapping[str, str]
    """Other names of a record's fields: ours -> the record's (``--map-keys``)."""


Handler = Callable[[Mapping[str, Any], Settings], "list[Turn]"]


def instruction(record: Mapping[str, Any], settings: Settings) -> list[Turn]:
    """GeneralInstructionHandler: instruction, input (may be empty), output."""
    asked = _joined(_text(record, settings, "instruction"), _text(record, settings, "input", needed=False))
    return list(settings.template.conversation([("user", asked), ("assistant", _text(record, settings, "output"))]))


def alpaca_style(record: Mapping[str, Any], settings: Settings) -> list[Turn]:
    """AlpacaStyleInstructionHandler: also system, and history, a list of [question, answer]."""
    turns: list[tuple[str, str]] = []
    if system := _text(record, settings, "system", needed=False):
        turns.append(("system", system))
    history = _field(record, settings, "history") or []
    if not isinstance(history, list):
        raise Unfit(f"{_name(settings, 'history')} is not a list")
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise Unfit(f"{_name(settings, 'history')} holds something else than pairs of texts")
        turns += [("user", pair[0]), ("assistant", pair[1])]
    asked = _joined(_text(record, settings, "instruction"), _text(record, settings, "input", needed=False))
    turns += [("user", asked), ("assistant", _text(record, settings, "output"))]
    return list(settings.template.conversation(turns))


def sharegpt_style(record: Mapping[str, Any], settings: Settings) -> list[Turn]:
    """SharegptStyleInstructionHandler: conversations, a list of {from, value} (or messages of {role, content})."""
    turns: list[tuple[str, str]] = []
    if system := _text(record, settings, "system", needed=False):
        turns.append(("system", system))
    name = "conversations" if _field(record, settings, "conversations") is not None else "messages"
    said = _field(record, settings, name)
    if not isinstance(said, list) or not said:
        raise Unfit(f"no list of turns under {_name(settings, 'conversations')!r}")
    for number, turn in enumerate(said, start=1):
        who = turn.get("from", turn.get("role")) if isinstance(turn, Mapping) else None
        text = turn.get("value", turn.get("content")) if isinstance(turn, Mapping) else None
        role = SHAREGPT_ROLES.get(who) if isinstance(who, str) else None
        if role is None or not isinstance(text, str):
            raise Unfit(f"turn {number} has no known speaker or no text (from {who!r})")
        turns.append((role, text))
    return _answered(turns, settings)


def moss(record: Mapping[str, Any], settings: Settings) -> list[Turn]:
    """MOSSInstructionHandler: meta_instruction, and chat with turn_1, turn_2, ... of {Human, MOSS}."""
    chat = _field(record, settings, "chat")
    if not isinstance(chat, Mapping) or not chat:
        raise Unfit(f"no turns under {_name(settings, 'chat')!r}")
    turns: list[tuple[str, str]] = []
    if system := _text(record, settings, "meta_instruction", needed=False):
        turns.append(("system", system))
    for number in range(1, len(chat) + 1):
        turn = chat.get(f"turn_{number}")
        if not isinstance(turn, Mapping) or not isinstance(turn.get("Human"), str) or not isinstance(turn.get("MOSS"), str):
            raise Unfit(f"turn_{number} is missing, or has no texts Human and MOSS")
        turns += [("user", turn["Human"].strip()), ("assistant", turn["MOSS"].strip())]
    return _answered(turns, settings)


INSTRUCTION: Mapping[str, Handler] = {
    "GeneralInstructionHandler": instruction,
    "AlpacaStyleInstructionHandler": alpaca_style,
    "SharegptStyleInstructionHandler": sharegpt_style,
    "MOSSInstructionHandler": moss,
}
PRETRAIN = "GeneralPretrainHandler"
NAMES = (PRETRAIN, *INSTRUCTION)


def plain_text(record: Mapping[str, Any], key: str) -> str:
    """The text of a pretraining record. Raises Unfit when there is none."""
    found = record.get(key)
    if not isinstance(found, str):
        there = ", ".join(map(repr, list(record)[:6]))
        raise Unfit(f"no text under {key!r}" + ("" if key in record else f"; there is {there or 'nothing'}"))
    if not found.strip():
        raise Unfit(f"the text under {key!r} is empty")
    return found


def token_ids(record: Mapping[str, Any], key: str, vocab_size: int) -> list[int]:
    """The ids of a record that is tokenized already; below ``vocab_size`` unless that is 0. Raises Unfit."""
    found = record.get(key)
    if not isinstance(found, list) or not found or not all(type(one) is int and one >= 0 for one in found):
        raise Unfit(f"no list of token ids under {key!r}")
    if vocab_size and max(found) >= vocab_size:
        raise Unfit(f"token id {max(found)} is not below the vocabulary's {vocab_size}")
    return found


def _answered(turns: list[tuple[str, str]], settings: Settings) -> list[Turn]:
    if not any(role == "assistant" and text for role, text in turns):
        raise Unfit("nobody answers in it")
    return list(settings.template.conversation(turns))


def _name(settings: Settings, name: str) -> str:
    return settings.keys.get(name, name)


def _field(record: Mapping[str, Any], settings: Settings, name: str) -> Any:
    return record.get(_name(settings, name))


def _text(record: Mapping[str, Any], settings: Settings, name: str, *, needed: bool = True) -> str:
    found = _field(record, settings, name)
    if found is None and not needed:
        return ""
    if not isinstance(found, str):
        raise Unfit(f"no text under {_name(settings, name)!r}" + ("" if _name(settings, name) in record else f"; there is {', '.join(map(repr, list(record)[:6])) or 'nothing'}"))
    if needed and not found.strip():
        raise Unfit(f"the text under {_name(settings, name)!r} is empty")
    return found


def _joined(*texts: str) -> str:
    return "\n".join(text for text in texts if text.strip())
