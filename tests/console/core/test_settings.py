"""The operator's defaults: what is read, what is refused, and one value changed in place."""

from __future__ import annotations

import pytest

from console.core.errors import FileError
from console.core.launch.problems import ProblemsError
from console.core.settings import BY_KEY, from_word, read, with_setting

NAME = "config.yaml"


def test_what_is_given_is_read_and_nothing_else() -> None:
    assert read("theme: dark\nnotify:\n  bell: false\n  command: 'notify --now'\nfps: 4\n", NAME) == {
        "theme": "dark", "notify.bell": False, "notify.command": "notify --now", "fps": 4.0}
    assert read("", NAME) == {} and read("notify:\n", NAME) == {}


def test_everything_wrong_is_told_at_once_with_its_place() -> None:
    with pytest.raises(ProblemsError) as caught:
        read("theem: dark\nfps: 400\nnotify:\n  bell: 1\n  bel: true\nlang: de\noperator: \"a\\x1b[2J\"\n", NAME)
    text = str(caught.value)
    assert [problem.where for problem in caught.value.problems] == [
        f"{NAME}:1:1", f"{NAME}:2:6", f"{NAME}:4:9", f"{NAME}:5:3", f"{NAME}:6:7", f"{NAME}:7:11"]
    assert "Did you mean theme?" in text and "Did you mean notify.bell?" in text and "0.2 to 60" in text and "true or false" in text and "\x1b" not in text


@pytest.mark.parametrize(("before", "key", "value", "after"), [
    ("", "theme", "dark", "theme: dark\n"),
    ("# mine\ntheme: light  # by day\nfps: 5\n", "theme", "dark", "# mine\ntheme: dark  # by day\nfps: 5\n"),
    ("fps: 5\n", "notify.command", "a 'b' # c", "fps: 5\nnotify:\n  command: 'a ''b'' # c'\n"),
    ("notify:\n    bell: false\nfps: 5\n", "notify.severity", "warning", "notify:\n    severity: warning\n    bell: false\nfps: 5\n"),
    ("notify:\nfps: 5", "notify.bell", True, "notify:\n  bell: true\nfps: 5\n"),
    ("theme: dark\nfps: 5\n", "theme", None, "fps: 5\n"), ("fps: 5\n", "theme", None, "fps: 5\n"),
    ("operator: 'a # b'\n", "operator", "true", "operator: 'true'\n"), ("operator: x\n", "operator", "", "operator: ''\n")])
def test_one_value_is_changed_and_the_rest_stays(before: str, key: str, value: object, after: str) -> None:
    assert with_setting(before, NAME, key, value) == after
    assert read(after, NAME).get(key) == value


@pytest.mark.parametrize("text", ["{theme: dark, fps: 5}\n", "notify: {bell: true, desktop: true}\n", "theme:\n  dark\n"])
def test_what_cannot_be_changed_by_itself_is_left_alone(text: str) -> None:
    key = "theme" if "theme" in text else "notify.bell"
    with pytest.raises(FileError, match="by hand"):
        with_setting(text, NAME, key, None)


@pytest.mark.parametrize(("key", "word", "value"), [("fps", "2", 2.0), ("read_only", "TRUE", True), ("theme", "dark", "dark"), ("operator", "7", "7")])
def test_a_typed_word_becomes_a_value(key: str, word: str, value: object) -> None:
    assert from_word(BY_KEY[key], word) == value


@pytest.mark.parametrize(("key", "word"), [("fps", "fast"), ("fps", "nan"), ("read_only", "yes"), ("theme", "drak")])
def test_a_word_that_is_none_is_refused(key: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"number|true or false|one of"):
        from_word(BY_KEY[key], word)
