"""What is trained on and from: data (rules D) and weights (rules W). Torch-free, pure.

Sources: seeds S3 (data and weights of the AscendSpeed guides), S2 (handlers, load types), S4 (formats);
handler names also from support.huaweicloud.com/bestpractice-modelarts/modelarts_llm_train_590518.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trainer.spec.facts import Facts
from trainer.spec.finding import Finding, error, warning
from trainer.spec.job import JobSpec
from trainer.spec.layout_rules import vendor
from trainer.spec.trainer_rules import own_trainer

HANDLERS = ("GeneralPretrainHandler", "GeneralInstructionHandler", "MOSSInstructionHandler", "AlpacaStyleInstructionHandler",
            "SharegptStyleInstructionHandler")
TOKENIZER_TYPES = ("BertWordPieceLowerCase", "BertWordPieceCase", "GPT2BPETokenizer", "PretrainedFromHF")
QWEN_SIZES = ("7B", "14B", "72B")
PACKED = ("_packed_input_ids_document", "_packed_attention_mask_document", "_packed_labels_document")
"""What preprocess_data.py writes for instruction data, after the prefix."""

TOKENIZER_NOTES: Mapping[str, str] = {
    "qwen": "Qwen's tokenization_qwen.py has to be edited by hand before training",
    "glm3": "ChatGLM3's tokenization_chatglm.py has to be edited by hand before training",
    "glm4": "GLM-4's tokenization_chatglm.py has to be edited by hand before training",
    "llama2": "with the transformers of the vendor's images Llama 2's tokenizer files have to be edited by hand before training",
}
"""S0 and S2: families whose tokenizer files the vendor's guide tells people to edit."""


def check(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    """All findings of data and weights."""
    yield from _prefix(spec, facts)
    yield from _preprocessing(spec)
    yield from _weights(spec)
    yield from _tokenizer(spec)


def data_files(spec: JobSpec) -> tuple[str, ...]:
    """The files that D1 wants to see on every node; empty for data that is no prefix."""
    prefix = spec.data.prefix
    if spec.data.format != "megatron-bin" or not prefix or prefix.endswith((".bin", ".idx")):
        return ()
    packed = spec.run.mode in ("sft", "lora") and vendor(spec)
    return tuple(f"{prefix}{middle}{suffix}" for middle in (PACKED if packed else ("",)) for suffix in (".bin", ".idx"))


def _prefix(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    data, path = spec.data, ("data", "prefix")
    if data.format == "megatron-bin":
        if not data.prefix and not (spec.runner.kind == "ascendfactory" and data.input):
            yield error("D1", path, "no data is named", "nothing", "the prefix of .bin/.idx files", "set data.prefix")
        elif data.prefix.endswith((".bin", ".idx")):
            yield error("D1", path, "the data path is a prefix, without .bin or .idx", data.prefix, data.prefix[:-4], "take the ending off")
        for name in data_files(spec):
            if facts.files.get(name) is False:
                yield error("D1", path, "a data file is missing on a node", "nothing", name, "preprocess the data, or mend the prefix")
    elif spec.runner.kind == "env-script":
        yield error("D1", ("data", "format"), "the script reads .bin/.idx files", data.format, "megatron-bin", "set data.format and data.prefix")
    elif data.format in ("json", "json-gz", "arrow") and spec.runner.kind == "torchrun" and not own_trainer(spec) and not data.pretokenized:
        yield error("D5", ("data", "format"), "samples in this format have to be tokenised already", data.format, "pretokenized: true",
                    "tokenise them and say so in data.pretokenized")
    if vendor(spec) and data.prefix and data.format == "megatron-bin" and not data.prefix.endswith((".bin", ".idx")):
        tail = f"_{data.json_key}_document"
        if spec.run.mode in ("pretrain", "retrain") and spec.runner.kind == "env-script" and not data.prefix.endswith(tail):
            yield warning("D3", path, "pretraining data is called by another ending", data.prefix.rpartition("/")[2], f"...{tail}",
                          "preprocess_data.py appends it to its --output-prefix")
        elif spec.run.mode in ("sft", "lora") and data.prefix.endswith("_document"):
            yield warning("D3", path, "fine-tuning data is named by its prefix alone", data.prefix.rpartition("/")[2],
                          "a name without _document", f"take the ending off; the script reads the three {PACKED[0][:7]}..._document pairs")


def _preprocessing(spec: JobSpec) -> Iterator[Finding]:
    data = spec.data
    if data.seq_length and data.seq_length != spec.train.seq_length:
        yield error("D2", ("data", "seq_length"), "the data was prepared for another sequence length", str(data.seq_length),
                    str(spec.train.seq_length), "preprocess again, or train with the length of the data")
    if data.handler and data.handler not in HANDLERS:
        yield warning("D3", ("data", "handler"), "no handler of this name is known", data.handler, ", ".join(HANDLERS), "mend the name")
    elif data.handler == "GeneralPretrainHandler" and spec.run.mode in ("sft", "lora"):
        yield warning("D3", ("data", "handler"), "this handler makes pretraining data", data.handler, "an instruction handler", "choose another")
    if data.workers < 1:
        yield error("D3", ("data", "workers"), "preprocessing needs a thread", str(data.workers), "1 or more", "8 is usual")
    if data.tokenizer_type not in TOKENIZER_TYPES:
        yield error("D4", ("data", "tokenizer_type"), "no such kind of tokenizer", data.tokenizer_type, ", ".join(TOKENIZER_TYPES),
                    "PretrainedFromHF for Hugging Face files")


def _weights(spec: JobSpec) -> Iterator[Finding]:
    checkpoint, cut = spec.checkpoint, spec.parallel
    for name, was, now in (("load_tp", checkpoint.load_tp, cut.tensor_model_parallel_size), ("load_pp", checkpoint.load_pp, cut.pipeline_model_parallel_size)):
        if was and was != now:
            yield error("W1", ("checkpoint", name), f"the weights were converted for another {name[-2:].upper()}", str(was), str(now),
                        "convert them again, or train with the layout they have")
    if spec.runner.kind == "env-script":
        if spec.run.mode in ("sft", "lora", "retrain") and not checkpoint.load_dir:
            yield error("W2", ("checkpoint", "load_dir"), f"{spec.run.mode} needs weights to start from (MODEL_PATH)", "nothing",
                        "a directory of Megatron weights", "set checkpoint.load_dir")
        elif spec.run.mode == "pretrain" and checkpoint.load_dir:
            yield warning("W2", ("checkpoint", "load_dir"), "pretraining starts from nothing; MODEL_PATH is not passed on", checkpoint.load_dir,
                          "nothing", "set run.mode to retrain to go on from it")
        if spec.runner.entry.endswith("qwen.sh") and spec.model.size not in QWEN_SIZES:
            yield error("W3", ("model", "size"), "qwen.sh knows three sizes (MODEL_TYPE)", spec.model.size or "nothing", ", ".join(QWEN_SIZES), "set model.size")


def _tokenizer(spec: JobSpec) -> Iterator[Finding]:
    note = TOKENIZER_NOTES.get(spec.model.family)
    if note and vendor(spec):
        yield warning("W4", ("model", "family"), note, spec.model.family, "edited tokenizer files",
                      "see the vendor's note on tokenizer files; when it is done, waive W4 with that reason")
    if spec.runner.kind == "env-script" and not spec.model.tokenizer:
        yield error("W4", ("model", "tokenizer"), "the script needs a tokenizer (TOKENIZER_PATH)", "nothing", "a directory", "set model.tokenizer")
