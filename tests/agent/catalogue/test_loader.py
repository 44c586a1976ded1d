from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from agent.catalogue import loader

GOOD: Dict[str, Any] = {"rule": "r", "code": None, "anchors": ["abcd"], "pattern": None, "role": "root", "category": "network",
                        "action": "resume", "sample": "abcd", "source": "s", "meaning": {"en": "e", "zh": "z"},
                        "advice": {"en": "e", "zh": "z"}}


def test_all_files_load_and_rule_ids_are_names() -> None:
    signatures = loader.load()
    assert len(signatures) > 100
    for signature in signatures:
        assert signature.rule == signature.rule.lower().replace(" ", "-")


def test_both_languages_are_there_and_chinese_is_chinese() -> None:
    for signature in loader.load():
        for text in (signature.meaning, signature.advice):
            assert any("\u4e00" <= character <= "\u9fff" for character in text["zh"]), signature.rule
            assert text["en"].isascii() if hasattr(str, "isascii") else True, signature.rule


@pytest.mark.parametrize("change", [
    {"role": "guilty"}, {"category": "misc"}, {"action": "pray"}, {"anchors": []}, {"anchors": ["abc"]},
    {"pattern": "("}, {"meaning": {"en": "e"}}, {"advice": {"en": "e", "zh": ""}}, {"sample": ""}, {"source": None}, {"rule": ""},
])
def test_a_record_that_is_wrong_is_refused_by_name(change: Dict[str, Any]) -> None:
    text = json.dumps({"signatures": [dict(GOOD, **change)]})
    with pytest.raises(loader.CatalogueError):
        loader.read(text)
    assert loader.read(json.dumps({"signatures": [GOOD]}))[0].rule == "r"
