"""Finished English texts are found again in the catalogue by its templates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from console.core import i18n
from console.core.i18n import LANGUAGE, phrase, recognised

WORDS = {
    LANGUAGE: "zh", "nothing": "无", "name": "名称", "no image is named": "未指定镜像", "set {0}": "设置 {0}",
    "set {0} to {1}": "把 {0} 设为 {1}", "node {0} stands twice": "节点 {0} 出现两次", "{0} is not a text": "{0} 不是文本",
    "{0} is not a text of {1}": "{0} 不是 {1} 的文本", "not a range: {0}": "不是范围：{0}", "[{0}] runs (backwards)?": "[{0}] 是反的？",
    "{0} of {1}": "{1} 的 {0}", "{{0}} or {name: n0}": "{{0}} 或 {name: n0}", "at {place}": "在 {place}", "could not {0}: {1}": "无法 {0}：{1}",
    "take {name}, or leave it out of {0}": "写 {name}，或从 {0} 中去掉",
    "attempt {0} is {1}": "尝试 {0} 为{1!}", "done": "已完成",
}


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    i18n.use(WORDS)
    yield
    i18n.use({})


@pytest.mark.parametrize(("text", "expected"), [
    ("no image is named", "未指定镜像"), ("nothing", "无"), ("", ""), ("No image is named", "未指定镜像"),
    # The longest literal wins, whatever stands first in the catalogue.
    ("set train.iterations", "设置 train.iterations"), ("set a to b", "把 a 设为 b"), ("Set a to b, c", "把 a 设为 b, c"),
    ("key is not a text", "key 不是文本"), ("key is not a text of that", "key 不是 that 的文本"),
    # A capital of a value's own is left to it.
    ("Key is not a text", "Key 不是文本"),
    # Characters of patterns are themselves, in templates as in fields.
    ("[3-1] runs (backwards)?", "[3-1] 是反的？"), ("[3-1] runs backwards", "[3-1] runs backwards"), ("set .*\\d(", "设置 .*\\d("), ("node \\1 stands twice", "节点 \\1 出现两次"),
    # So are braces that are no numbered fields, also of what was filled in.
    ("node {1} stands twice", "节点 {1} 出现两次"), ("take {name}, or leave it out of x", "写 {name}，或从 x 中去掉"),
    ("not a range: a\nb\n", "不是范围：a\nb\n"), ("node\nn0 stands twice", "node\nn0 stands twice"),
    # Templates of few words leave sentences of others alone.
    ("set no image is named", "设置 未指定镜像"), ("set fire to the whole house", "set fire to the whole house"), ("some of these\nand those", "some of these\nand those"),
    # Fields of several words are recognised; a word alone is a value, even where the catalogue has it.
    ("not a range: [3-1] runs (backwards)?", "不是范围：[3-1] 是反的？"), ("name is not a text", "name 不是文本"), ("set nothing", "设置 nothing"),
    ("could not reach n0: no image is named", "无法 reach n0：未指定镜像"),
    # Unless the language has it marked as a word of ours; what it does not know stays.
    ("attempt done is done", "尝试 done 为已完成"), ("attempt a is odd", "尝试 a 为odd"),
    # A named field is filled by ``say`` alone.
    ("at home", "at home"),
    # No field is empty, and nothing else is found by half.
    ("set ", "set "), ("node  stands twice", "node  stands twice"), ("nodes n0 stands twice", "nodes n0 stands twice"), ("nothing at all", "nothing at all"),
])
def test_a_text_is_recognised(text: str, expected: str) -> None:
    assert recognised(text) == expected


def test_phrases_are_said() -> None:
    assert recognised(phrase("at {place}", place="n0")) == "在 n0"


def test_english_stays_as_it_is_and_templates_go_with_their_catalogue() -> None:
    assert recognised("set a") == "设置 a"
    i18n.use({LANGUAGE: "xx", "set {0}": "{0}!"})
    assert recognised("set a") == "a!"
    i18n.use({})
    assert recognised("set a") == "set a"


def test_a_text_that_looks_like_very_many_templates_is_told_all_the_same() -> None:
    text = "could not a b: " * 20_000 + "end"
    assert recognised(text).startswith("无法 a b：无法 a b：") and recognised(text).endswith("end")


def test_a_catalogue_without_words_of_its_own_is_harmless() -> None:
    i18n.use({"{0}": "!{0}", "{0}{1}": "?{1}{0}"})
    assert recognised("anything at all") == "anything at all"
