"""Preprocessing from the command line: what lands in the files, the same with any number of workers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.data import preprocess
from trainer.data.encode import Encoding
from trainer.data.index import Reader
from trainer.data.packing import IGNORED
from trainer.data.progress import Progress
from trainer.data.refusal import DataError


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)) + "\n" for one in records), "utf-8")
    return path


def run(*words: object, prefix: Path) -> int:
    return main(["preprocess", "--tokenizer-type", "Byte", "--output-prefix", str(prefix), *map(str, words)])


def text_of(ids: list[int]) -> str:
    return bytes(ids).decode()


def test_pretraining_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d.jsonl", {"text": "one", "title": "1"}, {"text": "zwölf", "title": "12"})
    assert run("--input", source, "--append-eod", "--json-keys", "text", "title", prefix=tmp_path / "out" / "d") == 0
    found = Reader(str(tmp_path / "out" / "d_text_document"))
    assert [text_of(found.sequence(n)) for n in range(len(found))] == ["one\0", "zwölf\0"]
    assert list(found.bounds) == [0, 1, 2] and found.numbers == "uint16" and found.in_one_run
    titles = Reader(str(tmp_path / "out" / "d_title_document"))
    assert text_of(titles.sequence(1)) == "12\0"
    told = capsys.readouterr()
    assert "2 documents, 4 sequences" in told.out and "100%  2 records" not in told.out
    note = json.loads((tmp_path / "out" / "d_preprocess.json").read_text())
    assert (note["tokens"], note["greatest_id"], note["encoding"]["append_eod"]) == (4 + 7 + 2 + 3, 0xC3, True)


@pytest.mark.parametrize(("handler", "record", "whole", "learnt"), [
    ("GeneralInstructionHandler", {"instruction": "Add", "input": "1 2", "output": "3"}, "### Instruction:\nAdd\n1 2\n\n### Response:\n3\0", ["3\0"]),
    ("GeneralInstructionHandler", {"instruction": "Add", "input": "", "output": "3"}, "### Instruction:\nAdd\n\n### Response:\n3\0", ["3\0"]),
    ("AlpacaStyleInstructionHandler", {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]},
     "s\n\n### Instruction:\na\n\n### Response:\nb\0\n\n### Instruction:\nc\n\n### Response:\nd\0", ["b\0", "d\0"]),
    ("SharegptStyleInstructionHandler", {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
     "s\n\n### Instruction:\na\n\n### Response:\nb\0", ["b\0"]),
    ("SharegptStyleInstructionHandler", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
     "### Instruction:\na\n\n### Response:\nb\0", ["b\0"]),
    ("MOSSInstructionHandler", {"chat": {"turn_1": {"Human": "a\n", "MOSS": "b"}, "turn_2": {"Human": "c", "MOSS": "d"}}},
     "### Instruction:\na\n\n### Response:\nb\0\n\n### Instruction:\nc\n\n### Response:\nd\0", ["b\0", "d\0"]),
])
def test_answers_alone_are_learnt(handler: str, record: dict[str, Any], whole: str, learnt: list[str], tmp_path: Path) -> None:
    assert run("--input", lines(tmp_path / "d", record), "--handler-name", handler, "--seq-length", 200, prefix=tmp_path / "d") == 0
    ids, labels, mask = (Reader(str(tmp_path / f"d_packed_{name}_document")).sequence(0) for name in preprocess.PACKED)
    assert text_of(ids) == whole
    assert text_of([label for label in labels if label != IGNORED]) == "".join(learnt)
    assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))
    assert mask == [1] * len(ids)


def test_chat_marks_and_other_field_names(tmp_path: Path) -> None:
    source = lines(tmp_path / "d", {"q": "a", "output": "b"})
    assert run("--input", source, "--handler-name", "AlpacaStyleInstructionHandler", "--seq-length", 200, "--prompt-type", "qwen", "--map-keys", '{"instruction": "q"}', prefix=tmp_path / "d") == 0
    ids, labels = (Reader(str(tmp_path / f"d_packed_{name}_document")).sequence(0) for name in ("input_ids", "labels"))
    assert text_of(ids) == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>"
    assert text_of([label for label in labels if label != IGNORED]) == "b<|im_end|>"


def test_conversations_are_packed_in_order_and_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d", *({"instruction": "i", "output": "o" * size} for size in (10, 20, 300, 5)))
    assert run("--input", source, "--handler-name", "GeneralInstructionHandler", "--seq-length", 100, prefix=tmp_path / "d") == 0
    ids, mask = (Reader(str(tmp_path / f"d_packed_{name}_document")) for name in ("input_ids", "attention_mask"))
    assert [sorted(set(mask.sequence(n))) for n in range(len(mask))] == [[1, 2], [1], [1]]
    assert list(ids.lengths)[1] == 100
    assert "1 conversations were longer" in capsys.readouterr().out


@pytest.mark.parametrize(("handler", "broken", "why"), [
    ("GeneralPretrainHandler", "{", "not JSON"),
    ("GeneralPretrainHandler", {"txt": "a"}, "no text under 'text'; there is 'txt'"),
    ("GeneralPretrainHandler", {"text": None}, "no text under 'text'"),
    ("GeneralPretrainHandler", {"text": " "}, "is empty"),
    ("GeneralInstructionHandler", {"instruction": "a", "output": 3}, "no text under 'output'"),
    ("GeneralInstructionHandler", {"instruction": "a" * 300, "output": "b"}, "nothing of an answer is within 200 tokens"),
    ("SharegptStyleInstructionHandler", {"conversations": [{"from": "human", "value": "a"}]}, "nobody answers"),
    ("SharegptStyleInstructionHandler", {"conversations": [{"from": "cat", "value": "a"}]}, "turn 1 has no known speaker"),
    ("AlpacaStyleInstructionHandler", {"instruction": "a", "output": "b", "history": [["a"]]}, "pairs of texts"),
    ("MOSSInstructionHandler", {"chat": {"turn_2": {"Human": "a", "MOSS": "b"}}}, "turn_1 is missing"),
])
def test_broken_records_are_refused_with_their_line_or_counted(handler: str, broken: Any, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"text": "a", "instruction": "a", "output": "b", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "chat": {"turn_1": {"Human": "a", "MOSS": "b"}}}
    source = lines(tmp_path / "d", good, broken, good)
    words = ("--input", source, "--handler-name", handler, "--seq-length", 200)
    assert run(*words, prefix=tmp_path / "o") == 3
    told = capsys.readouterr().err
    assert f"rankdeck: {source}, line 2: broken record: " in told and why in told
    assert [path.name for path in tmp_path.iterdir()] == ["d"], "nothing is left"
    assert run(*words, "--on-error", "skip", "--json", prefix=tmp_path / "o") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["documents"], outcome["broken"]) == (2, 1)
    assert outcome["broken_examples"][0].startswith(f"{source}, line 2: ") and why in outcome["broken_examples"][0]


@pytest.mark.timeout(90)
def test_the_same_files_with_any_number_of_workers(tmp_path: Path) -> None:
    source = lines(tmp_path / "d", *({"instruction": f"question {n}", "output": "x" * (n * 37 % 90 + 1)} for n in range(1200)), "broken")
    made = []
    for workers in (1, 3):
        prefix = tmp_path / f"w{workers}"
        assert run("--input", source, "--handler-name", "GeneralInstructionHandler", "--seq-length", 256, "--on-error", "skip", "--workers", workers, prefix=prefix) == 0
        made.append({path.name.partition("_")[2]: path.read_bytes() for path in tmp_path.glob(f"w{workers}_packed*")})
    assert len(made[0]) == 6 and made[0] == made[1]


def test_a_broken_record_in_a_worker_is_refused_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d", *({"text": "a"} for _ in range(600)), {"text": 1})
    assert run("--input", source, "--workers", 2, prefix=tmp_path / "o") == 3
    assert f"{source}, line 601: broken record" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_token_ids_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d", {"text": [1, 70000]}, {"text": [5]})
    assert run("--input", source, "--pretokenized", prefix=tmp_path / "o") == 0
    assert Reader(str(tmp_path / "o_text_document")).sequence(0) == [1, 70000]
    assert run("--input", source, "--pretokenized", "--vocab-size", 70000, "--overwrite", prefix=tmp_path / "o") == 3
    assert "line 1: broken record: token id 70000 is not below" in capsys.readouterr().err


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d", {"text": "a"})
    assert run("--input", source, prefix=tmp_path / "o") == 0
    assert run("--input", source, prefix=tmp_path / "o") == 3
    assert "the output is there already" in capsys.readouterr().err
    assert run("--input", source, "--overwrite", prefix=tmp_path / "o") == 0


def test_what_cannot_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = lines(tmp_path / "d", {"text": "a"})
    assert run("--input", source, "--handler-name", "GeneralInstructionHandler", prefix=tmp_path / "o") == 3
    assert "Say --seq-length" in capsys.readouterr().err
    assert main(["preprocess", "--input", str(source), "--output-prefix", str(tmp_path / "o")]) == 3
    assert "--tokenizer-name-or-path: there is no tokenizer" in capsys.readouterr().err
    assert run("--input", lines(tmp_path / "e", "[", "x"), "--on-error", "skip", prefix=tmp_path / "o") == 3


def test_a_hugging_face_tokenizer_by_its_directory(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "hello": 1, "world": 2, "</s>": 3}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 3)])
    made.enable_truncation(1)
    (tmp_path / "tok").mkdir()
    made.save(str(tmp_path / "tok" / "tokenizer.json"))
    (tmp_path / "tok" / "tokenizer_config.json").write_text('{"eos_token": {"content": "</s>"}}')
    source = lines(tmp_path / "d", {"text": "hello world hello"})
    assert main(["preprocess", "--input", str(source), "--output-prefix", str(tmp_path / "o"), "--tokenizer-name-or-path", str(tmp_path / "tok"), "--append-eod", "--make-vocab-size-divisible-by", "128"]) == 0
    assert Reader(str(tmp_path / "o_text_document")).sequence(0) == [1, 2, 1, 3]
    assert json.loads((tmp_path / "o_preprocess.json").read_text())["padded_vocab_size"] == 128


def test_a_tokenizer_without_tokenizer_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    directory = tmp_path / "tok"
    directory.mkdir()
    # A word-piece tokenizer, whose files are these two.
    (directory / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "train", "##ing", "rank", "</s>"]) + "\n")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "eos_token": "</s>"}')
    source = lines(tmp_path / "d", {"text": "training rank other"})
    assert main(["preprocess", "--input", str(source), "--output-prefix", str(tmp_path / "o"), "--tokenizer-name-or-path", str(directory), "--append-eod"]) == 0
    assert Reader(str(tmp_path / "o_text_document")).sequence(0) == [5, 6, 7, 1, 8], "pieces; nothing put before or behind but the end"

    (tmp_path / "none").mkdir()
    assert main(["preprocess", "--input", str(source), "--output-prefix", str(tmp_path / "p"), "--tokenizer-name-or-path", str(tmp_path / "none")]) == 3
    assert "the tokenizer cannot be read" in capsys.readouterr().err


def test_code_beside_a_tokenizer_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "tok").mkdir()
    (tmp_path / "tok" / "tokenization_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    (tmp_path / "tok" / "tokenizer_config.json").write_text('{"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tokenization_own.Own", null]}}')
    source = lines(tmp_path / "d", {"text": "a"})
    assert main(["preprocess", "--input", str(source), "--output-prefix", str(tmp_path / "o"), "--tokenizer-name-or-path", str(tmp_path / "tok")]) == 3
    assert "the tokenizer cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = iter(range(100))
    terminal = Terminal()
    bar = Progress(200, terminal, every=10, clock=lambda: float(next(now)))
    bar.read(100)
    bar.done(7)
    bar.end()
    assert "\r[###############...............]  50%  7 records" in terminal.getvalue() and terminal.getvalue().endswith("\n")
    log = io.StringIO()
    told = Progress(200, log, every=10, clock=lambda: 0.0)
    for _ in range(5):
        told.read(40)
        told.done(6)
    assert [line.split("  ")[1] for line in log.getvalue().splitlines()] == ["12 records", "24 records", "30 records"]


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    settings = preprocess.Settings(inputs=(str(lines(tmp_path / "d", "{")),), output_prefix=str(tmp_path / "o"), on_error="skip", encoding=Encoding(tokenizer_type="Byte"))
    with pytest.raises(DataError, match="no record could be used"):
        preprocess.run(settings, progress_to=io.StringIO())
    assert not list(tmp_path.glob("o*"))


@pytest.mark.torch
def test_megatron_reads_the_same(tmp_path: Path) -> None:
    datasets = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    source = lines(tmp_path / "d", *({"text": "x" * (n % 9 + 1), "instruction": f"{n}", "output": "y"} for n in range(50)))
    assert run("--input", source, "--append-eod", prefix=tmp_path / "o") == 0
    assert run("--input", source, "--handler-name", "GeneralInstructionHandler", "--seq-length", 128, prefix=tmp_path / "o") == 0
    for name in ("text", *(f"packed_{one}" for one in preprocess.PACKED)):
        theirs, ours = datasets.IndexedDataset(str(tmp_path / f"o_{name}_document")), Reader(str(tmp_path / f"o_{name}_document"))
        assert len(theirs) == len(ours) > 0
        assert [theirs[n].tolist() for n in range(len(theirs))] == [ours.sequence(n) for n in range(len(ours))]
        assert theirs.document_indices.tolist() == list(ours.bounds)
    builder = datasets.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=datasets.DType.optimal_dtype(256))
    import torch

    mine = Reader(str(tmp_path / "o_text_document"))
    for number in range(len(mine)):
        builder.add_item(torch.tensor(mine.sequence(number)))
        builder.end_document()
    builder.finalize(str(tmp_path / "theirs.idx"))
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"theirs{suffix}").read_bytes() == (tmp_path / f"o_text_document{suffix}").read_bytes()
