"""How a conversation is written down for a family of models: marks before and behind what each side says.

Only what an assistant says, and the mark that ends it, is learnt. The marks are those that the families'
own tokenizers have as single tokens; a tokenizer without them takes them apart, which trains all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """A piece of text; ``learnt``: it carries loss; ``ends``: the tokenizer's end token follows, and is learnt."""

    text: str
    learnt: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Marks around what is said, by role; ``{}`` stands for the text."""

    begin: str = ""
    """Before everything."""
    system: str = "{}\n\n"
    user: str = "{}"
    assistant: str = ""
    """Before an answer; not learnt."""
    answered: str = ""
    """Behind an answer; learnt. Empty: the tokenizer's end token."""
    between: str = ""
    """Behind that, before the next question."""

    def conversation(self, turns: Iterable[tuple[str, str]]) -> Iterator[Turn]:
        """The pieces of a conversation, one after another the whole text."""
        before = self.begin
        for role, text in turns:
            if role == "assistant":
                yield Turn(before + self.assistant)
                yield Turn(text + self.answered, learnt=True, ends=not self.answered)
                before = self.between
            else:
                before += (self.system if role == "system" else self.user).replace("{}", text)


TEMPLATES: Mapping[str, Template] = {
    "alpaca": Template(user="### Instruction:\n{}\n\n", assistant="### Response:\n", between="\n\n"),
    "qwen": Template(
        system="<|im_start|>system\n{}<|im_end|>\n", user="<|im_start|>user\n{}<|im_end|>\n", assistant="<|im_start|>assistant\n",
        answered="<|im_end|>", between="\n"),
    "llama3": Template(
        begin="<|begin_of_text|>", system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>", assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
        answered="<|eot_id|>"),
    "llama2": Template(begin="<s>", system="<<SYS>>\n{}\n<</SYS>>\n\n", user="[INST] {} [/INST]", assistant=" ", between="<s>"),
    "glm4": Template(begin="[gMASK]<sop>", system="<|system|>\n{}", user="<|user|>\n{}", assistant="<|assistant|>\n"),
    "plain": Template(system="{}\n", user="{}\n", between="\n"),
}
"""``qwen`` is ChatML."""
