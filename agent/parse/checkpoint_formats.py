"""What one saved iteration must consist of, format by format. Pure; Python 3.7 syntax.

Each ``judge_*`` takes the iteration's own files (``Folder``) and returns a ``Verdict``. Formats as written by
Megatron-LM and MindSpeed-LLM (``mp_rank_*`` and torch_dist, core 0.16), PyTorch distributed checkpoint,
transformers' Trainer, DeepSpeed 0.14, and the HyperPod recipes' adapter for NeMo. A file that was cut off is
found by its own structure where it has one: a zip's end record, a safetensors header, a pickle's table. One that
holds something else under the same name (packed, enciphered, another library's) is held to be whole, and named.
Refuses to find iterations or to weigh one against another (``checkpoint``).
"""

from __future__ import annotations

import functools
import io
import json
import operator
import re
import struct
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from agent.parse import pickled

Read = Callable[[str, int, int], bytes]
"""(name, start, length) -> bytes of the file, fewer at its end, none where it cannot be read."""

TABLE_LIMIT = 64 << 20
"""A table of contents larger than this is searched for names, not read."""
TEXT_LIMIT = 8 << 20
FILES_MAX = 1 << 17
"""More files or directories of one kind than any save has. A list of all that a number in a name asks for has an end there."""

_MP_RANK = re.compile(r"mp_rank_(\d{2,})(?:_(\d{3,}))?(?:_(\d{3,}))?\Z")
_SHARD = re.compile(r"__(\d{1,6})_(\d{1,4})\.distcp\Z")
_SHARD_NAME = re.compile(rb"__\d{1,6}_\d{1,6}\.distcp")
_OF = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\.\w+)\Z")
_TP_EP_FSDP = re.compile(r"tp(\d+)_ep(\d+)_fsdp(\d+)\Z")
_TP_EP = re.compile(r"tp(\d+)_ep(\d+)\Z")
_ZERO = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)(?:_\d+)?_optim_states\.pt\Z")

_TORCH = re.compile(rb"PK|P\Z|\x80")    # before torch 1.6 a bare pickle
_KINDS = {".safetensors": re.compile(rb".{0,7}\Z|.{8}(?:\{|\Z)", re.DOTALL), ".json": re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[\[{]|\Z)"),
          ".pt": _TORCH, ".pth": _TORCH, ".bin": _TORCH, ".ckpt": _TORCH}
"""How the kinds of files that can be judged begin, whole or cut."""


class Folder:
    """The files of one iteration: name within it -> size, and a way to read them."""

    def __init__(self, files: Dict[str, int], read: Read) -> None:
        self.files = files
        self.read = read

    def names(self, at: str = "") -> Set[str]:
        """First components below ``at``."""
        prefix = at + "/" if at else ""
        return {name[len(prefix):].split("/", 1)[0] for name in self.files if name.startswith(prefix)}

    def inside(self, at: str) -> "Folder":
        """A folder within it."""
        prefix = at + "/"
        return Folder({name[len(prefix):]: size for name, size in self.files.items() if name.startswith(prefix)},
                      lambda name, start, length: self.read(prefix + name, start, length))

    def whole(self, name: str, limit: int = TEXT_LIMIT) -> bytes:
        """All of a small file; b"" when it is larger, missing or unreadable."""
        size = self.files.get(name, 0)
        return self.read(name, 0, size) if 0 < size <= limit else b""


class Verdict:
    """What was found: ``problems`` if it is not complete; ``resumable`` is False for weights alone."""

    def __init__(self, format: str) -> None:
        self.format = format
        self.problems: List[str] = []
        self.gaps: List[str] = []
        """Those problems that only say that something is not here."""
        self.absent: List[str] = []
        """What they say is not here, by the name within the save that another node's disk may have it under."""
        self.good = ""
        self.unread: List[str] = []
        """Files of a kind that is not known here."""
        self.layout: Dict[str, Any] = {"tp": None, "pp": None, "ep": None, "world_size": None}
        self.resumable = True
        self.iteration: Optional[int] = None

    @property
    def why(self) -> str:
        """The first problem and how many there are besides; of a complete one what that was judged by."""
        if not self.problems and self.unread and not self.good:
            return "every file that belongs to it is there; not looked into, being of an unknown kind: " + some(sorted(self.unread))
        if not self.problems:
            return self.good or "every file that belongs to it is there and whole"
        more = len(self.problems) - 1
        return self.problems[0] + (" (and %d more)" % more if more else "")

    def can_be(self, number: int) -> bool:
        """Whether so many files of a kind can be meant; else it is noted that a number in a name is none of a run's."""
        if number <= FILES_MAX:
            return True
        self.problems.append("a number in a name is too large: %d of a kind would have to be there" % number)
        return False

    def missing(self, names: List[str], of: int, what: str = "files", ending: str = "") -> None:
        """Note what is not there; ``ending``: of the files' names, where ``names`` leave it out."""
        if names:
            self.gap("%d of %d %s missing: %s" % (len(names), of, what, some(names)), [name + ending for name in names])

    def gap(self, problem: str, names: List[str]) -> None:
        """Note a problem that only says that these are not here."""
        self.problems.append(problem)
        self.gaps.append(problem)
        self.absent += names


def some(names: List[str], limit: int = 3) -> str:
    """The first few of many."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def damage(folder: Folder, names: List[str], unread: Optional[List[str]] = None) -> List[str]:
    """What is wrong with these files by their own structure, a text each; those of an unknown kind go to ``unread``."""
    found = []
    empty = sorted(name for name in names if folder.files.get(name) == 0)
    if empty:
        found.append("%d of %d files are empty: %s" % (len(empty), len(names), some(empty)))
    for name in sorted(names):
        size = folder.files.get(name, 0)
        if not size:
            continue
        if name.endswith(tuple(_KINDS)) and _foreign(folder.read(name, 0, 16), _KINDS["." + name.rpartition(".")[2]]):
            if unread is not None:
                unread.append(name)
            wrong = ""
        elif name.endswith(".safetensors"):
            wrong = _safetensors(folder, name, size)
        elif name.endswith((".pt", ".pth", ".bin", ".ckpt")):
            wrong = _zip(folder, name, size)
        elif name.endswith(".json"):
            wrong = "" if size > TEXT_LIMIT or _json(folder, name) is not None else "is no whole JSON"
        else:
            wrong = ""
        if wrong:
            found.append("%s %s" % (name, wrong))
    return found


def _foreign(head: bytes, begins: "re.Pattern[bytes]") -> bool:
    """Whether a file that begins so is of another kind; one of zeros alone is a hole that a crash left."""
    return bool(head.strip(b"\0")) and begins.match(head) is None


def is_foreign(table: bytes) -> bool:
    """Whether a ``.metadata`` is of a kind that is not known here."""
    return _foreign(table[:16], _TORCH)


def judge_legacy(folder: Folder) -> Verdict:
    """Megatron's own format: ``mp_rank_TP[_PP][_EP]/model_optim_rng.pt``, and ``distrib_optim.pt`` with the distributed optimizer."""
    verdict = Verdict("legacy")
    ranks: Dict[str, Tuple[int, ...]] = {}
    for name in folder.names():
        match = _MP_RANK.match(name)
        if match:
            ranks[name] = tuple(int(part) for part in match.groups() if part is not None)
    ranks = _without_optimizers(folder, ranks, verdict)
    arguments: Optional[Dict[str, Any]] = None
    for name in sorted(ranks):
        model = [file for file in ("model_optim_rng.pt", "model_rng.pt") if "%s/%s" % (name, file) in folder.files]
        if model:
            arguments = arguments or torch_arguments(folder, "%s/%s" % (name, model[0]))
            break
    width = max(len(place) for place in ranks.values())
    sizes = [1 + max(place[axis] if axis < len(place) else 0 for place in ranks.values()) for axis in range(width)]
    tp, pp, ep = (_argument(arguments, key) for key in ("tensor_model_parallel_size", "pipeline_model_parallel_size", "expert_model_parallel_size"))
    if tp and pp:
        # The third part is the expert rank; with one pipeline stage it takes the second's place.
        said = [tp] + ([pp] if pp > 1 else []) + ([ep] if ep and ep > 1 else [])
        if len(said) == width:
            sizes = [max(one, other) for one, other in zip(sizes, said)]
    expected = [""] if verdict.can_be(_product(sizes)) else []
    for axis, size in enumerate(sizes):
        expected = [("%s_%03d" % (head, at)) if axis else "mp_rank_%02d" % at for head in expected for at in range(size)]
    verdict.layout.update(tp=tp or sizes[0], pp=pp or (sizes[1] if width > 1 else 1), ep=ep or (sizes[2] if width > 2 else None),
                          world_size=_argument(arguments, "world_size"))
    verdict.missing([name for name in expected if name not in ranks], len(expected), "rank directories")
    files = {name: set(folder.inside(name).files) for name in ranks}
    optimizer = {file for names in files.values() for file in names if file in ("distrib_optim.pt", "optim.pt")}
    for name in sorted(ranks):
        if not files[name] & {"model_optim_rng.pt", "model_rng.pt"}:
            verdict.problems.append("%s has no model_optim_rng.pt" % name)
        absent = sorted(optimizer - files[name])
        if absent:
            verdict.problems.append("%s has no %s, others have" % (name, absent[0]))
    verdict.problems += damage(folder, list(folder.files), verdict.unread)
    return verdict


def _without_optimizers(folder: Folder, ranks: Dict[str, Tuple[int, ...]], verdict: Verdict) -> Dict[str, Tuple[int, ...]]:
    """The rank directories without those that hold a data-parallel rank's part of the optimizer alone (``mp_rank_00_000_001/optim.pt``, 2022)."""
    models = {name: place for name, place in ranks.items() if name + "/model_rng.pt" in folder.files}
    parts = {name for name in ranks if name.rpartition("_")[0] in models}
    if not parts or any(folder.inside(name).files.keys() - {"optim.pt"} for name in parts):
        return ranks
    count = 1 + max(ranks[name][-1] for name in parts)
    if not verdict.can_be(count * len(models)):
        count = 0
    names = ["%s_%03d/optim.pt" % (name, at) for name in sorted(models) for at in range(count)]
    verdict.missing([name for name in names if name not in folder.files], len(names), "parts of the optimizer")
    return {name: place for name, place in ranks.items() if name not in parts}


def judge_dcp(folder: Folder, megatron: bool) -> Verdict:
    """PyTorch's distributed checkpoint, Megatron's torch_dist (``megatron``: with ``common.pt`` and ``metadata.json``)."""
    verdict = Verdict("torch_dist")
    shards = sorted(name for name in folder.files if name.endswith(".distcp") and "/" not in name)
    if ".metadata" not in folder.files:
        verdict.gap("no .metadata: it is written last, so the save did not end, or another node's disk has it", [".metadata"])
    elif not folder.files[".metadata"]:
        verdict.problems.append(".metadata is empty")
    else:
        _hold_against_table(folder, shards, verdict)
    if megatron:
        verdict.missing([name for name in ("common.pt", "metadata.json") if name not in folder.files], 2, "of Megatron's own files")
        verdict.layout.update(megatron_layout(folder, "common.pt"))
    if not shards:
        verdict.problems.append("no *.distcp shard")
    verdict.problems += damage(folder, [name for name in folder.files if name != ".metadata"], verdict.unread)
    return verdict


def _hold_against_table(folder: Folder, shards: List[str], verdict: Verdict) -> None:
    size = folder.files[".metadata"]
    table = folder.read(".metadata", 0, min(size, TABLE_LIMIT))
    if size <= TABLE_LIMIT:
        ends = shard_ends(table)
        if ends is None and _foreign(table[:16], _TORCH):
            verdict.unread.append(".metadata")
            # What the names alone tell: ranks and a rank's files are counted from 0.
            last: Dict[int, int] = {}
            for match in map(_SHARD.match, shards):
                if match:
                    rank, part = int(match.group(1)), int(match.group(2))
                    last[rank] = max(last.get(rank, 0), part)
            if not verdict.can_be(max(last, default=-1) + 1 + sum(last.values())):
                last = {}
            ends = {"__%d_%d.distcp" % (rank, part): 1 for rank in range(max(last, default=-1) + 1) for part in range(last.get(rank, 0) + 1)}
        if ends is None:
            verdict.problems.append(".metadata is torn: not a whole pickle")
            return
    else:
        ends = {match.decode("ascii"): 1 for match in set(_SHARD_NAME.findall(table))}
    verdict.missing([name for name in sorted(ends) if name not in folder.files], len(ends), "shards")
    short = [name for name in shards if 0 < folder.files[name] < ends.get(name, 0)]
    if short:
        verdict.problems.append("%d of %d shards are cut off: %s has %d bytes, .metadata speaks of %d" % (
            len(short), len(ends), short[0], folder.files[short[0]], ends[short[0]]))


def shard_ends(table: bytes) -> Optional[Dict[str, int]]:
    """Shard name -> how many bytes it must have at least, of a ``.metadata``; None when that is torn.

    ``torch.distributed.checkpoint.metadata.Metadata`` keeps ``storage_data``: index -> (relative_path, offset,
    length). Of a table of another shape the names alone are told.
    """
    found = pickled.read(table)
    if found is None:
        return None
    ends: Dict[str, int] = {}
    storage = getattr(found, "storage_data", None)
    for place in (storage.values() if isinstance(storage, dict) else ()):
        name, offset, length = (getattr(place, field, None) for field in ("relative_path", "offset", "length"))
        if isinstance(name, str) and isinstance(offset, int) and isinstance(length, int):
            ends[name] = max(ends.get(name, 0), offset + length)
    return ends or {match.decode("ascii"): 1 for match in set(_SHARD_NAME.findall(table))}


def judge_hf(folder: Folder) -> Verdict:
    """A transformers folder: weights whole by their index, its configuration, and with a Trainer what it resumes from."""
    verdict = Verdict("hf")
    top = folder.names()
    state = "trainer_state.json" in top
    adapter = any(name.startswith("adapter_model.") for name in top)
    config = "adapter_config.json" if adapter else "config.json"
    if config not in top:
        verdict.problems.append("no %s" % config)
    weights = [name for name in top if name.endswith((".safetensors", ".bin")) and not name.startswith(("training_args", "optimizer", "scheduler"))]
    indexes = sorted(name for name in top if name.endswith((".safetensors.index.json", ".bin.index.json")))
    for name in indexes:
        index = _json(folder, name)
        wanted = sorted(set(index["weight_map"].values())) if isinstance(index, dict) and isinstance(index.get("weight_map"), dict) else []
        if not wanted:
            verdict.problems.append("%s is torn or lists no weights" % name)
        verdict.missing([shard for shard in wanted if shard not in folder.files], len(wanted), "shards")
    for head, count, tail in sorted({(match.group(1), match.group(3), match.group(4)) for match in map(_OF.match, weights) if match}):
        shards = ["%s%05d-of-%s%s" % (head, at, count, tail) for at in range(1, int(count) + 1)]
        if not indexes:
            verdict.problems.append("no index of the %s shards" % count)
            verdict.missing([shard for shard in shards if shard not in folder.files], len(shards), "shards")
    distributed = [name for name in top if name.startswith(("pytorch_model_fsdp", "optimizer_")) or re.match(r"global_step\d+\Z", name)]
    if not weights and not indexes and not distributed:
        verdict.problems.append("no weights")
    for name in sorted(distributed):
        inner = folder.inside(name)
        if inner.files:
            part = judge_deepspeed(inner) if name.startswith("global_step") else judge_dcp(inner, False)
            verdict.problems += ["%s: %s" % (name, problem) for problem in part.problems]
            verdict.unread += [name + "/" + one for one in part.unread]
    if state:
        found = _json(folder, "trainer_state.json")
        if not isinstance(found, dict):
            verdict.problems.append("trainer_state.json is torn")
        elif isinstance(found.get("global_step"), int):
            verdict.iteration = found["global_step"]
    verdict.resumable = state and bool(distributed or top & {"optimizer.pt", "optimizer.bin"})
    verdict.problems += damage(folder, [name for name in folder.files if "/" not in name and name not in indexes and name != "trainer_state.json"], verdict.unread)
    return verdict


def judge_deepspeed(folder: Folder) -> Verdict:
    """DeepSpeed's ``global_stepN``: model states by mp rank (or layer files), ZeRO states by data-parallel rank."""
    verdict = Verdict("deepspeed")
    models = sorted(int(match.group(1)) for match in (re.match(r"mp_rank_(\d+)_model_states\.pt\Z", name) for name in folder.files) if match)
    zero = sorted((int(match.group(1)), int(match.group(2))) for match in map(_ZERO.match, folder.files) if match)
    if models:
        there = set(models)
        if verdict.can_be(models[-1] + 1):
            verdict.missing(["mp_rank_%02d_model_states.pt" % at for at in range(models[-1] + 1) if at not in there], models[-1] + 1, "model states")
        verdict.layout["tp"] = models[-1] + 1
    elif not any(name.startswith(("layer_", "zero_pp_rank_")) and "model" in name for name in folder.files):
        verdict.problems.append("no model states")
    if zero:
        ranks, parts = max(one for one, _ in zero) + 1, sorted({part for _, part in zero})
        known = set(zero)
        if verdict.can_be(ranks * len(parts)):
            absent = ["zero_pp_rank_%d_mp_rank_%02d" % (one, part) for part in parts for one in range(ranks) if (one, part) not in known]
            verdict.missing(absent, ranks * len(parts), "optimizer states", "_optim_states.pt")
    verdict.problems += damage(folder, list(folder.files), verdict.unread)
    return verdict


def judge_hyperpod_auto(folder: Folder) -> Verdict:
    """A slot of HyperPod's automatic checkpoints: ``tpI_epJ_fsdpK/`` for every shard, each with ``.local.metadata`` of one step.

    It resumes only with the same sharding.
    """
    verdict = Verdict("hyperpod-auto")
    places = _grid(folder, _TP_EP_FSDP, verdict)
    steps: Dict[str, Optional[int]] = {}
    for name in sorted(places):
        inner = folder.inside(name)
        part = judge_dcp(inner, False)
        verdict.problems += ["%s: %s" % (name, problem) for problem in part.problems]
        verdict.unread += [name + "/" + one for one in part.unread]
        if ".local.metadata" not in inner.files:
            verdict.problems.append("%s: no .local.metadata: this shard was not finished" % name)
            continue
        said = pickled.read(_data_pickle(inner, ".local.metadata") or inner.whole(".local.metadata"))
        step = said.get("step") if isinstance(said, dict) else None
        steps[name] = step if isinstance(step, int) else None
        if steps[name] is None:
            verdict.problems.append("%s: .local.metadata is torn" % name)
    known = sorted({step for step in steps.values() if step is not None})
    if len(known) > 1:
        verdict.problems.append("shards of different steps: %s" % some([str(step) for step in known]))
    if known:
        verdict.iteration = known[-1]
    return verdict


def judge_hyperpod_manual(folder: Folder) -> Verdict:
    """One of HyperPod's sharded checkpoints: a distributed checkpoint in each ``tpI_epJ/``."""
    verdict = Verdict("hyperpod-manual")
    for name in sorted(_grid(folder, _TP_EP, verdict)):
        part = judge_dcp(folder.inside(name), False)
        verdict.problems += ["%s: %s" % (name, problem) for problem in part.problems]
        verdict.unread += [name + "/" + one for one in part.unread]
    return verdict


def _grid(folder: Folder, pattern: "re.Pattern[str]", verdict: Verdict) -> List[str]:
    places = {name: tuple(int(part) for part in match.groups()) for name in folder.names() for match in [pattern.match(name)] if match}
    sizes = [1 + max(place[axis] for place in places.values()) for axis in range(len(next(iter(places.values()))))]
    labels = ("tp", "ep", "fsdp")
    expected = [""] if verdict.can_be(_product(sizes)) else []
    for axis, size in enumerate(sizes):
        expected = ["%s%s%s%d" % (head, "_" if head else "", labels[axis], at) for head in expected for at in range(size)]
    verdict.layout.update(dict(zip(labels, sizes)))
    verdict.missing([name for name in expected if name not in places], len(expected), "shard directories")
    return [name for name in expected if name in places] or sorted(places)


def _product(sizes: List[int]) -> int:
    # math.prod came with Python 3.8
    return functools.reduce(operator.mul, sizes, 1)


def torch_arguments(folder: Folder, name: str) -> Optional[Dict[str, Any]]:
    """Megatron's ``args`` in a ``torch.save`` file; None where there are none that can be read."""
    data = _data_pickle(folder, name)
    found = pickled.read(data) if data else None
    args = found.get("args") if isinstance(found, dict) else None
    return args.state if isinstance(args, pickled.Shape) else None


def megatron_layout(folder: Folder, name: str) -> Dict[str, Optional[int]]:
    """{tp, pp, ep, world_size} of Megatron's arguments in a file, each None where it does not say."""
    arguments = torch_arguments(folder, name)
    return {"tp": _argument(arguments, "tensor_model_parallel_size"), "pp": _argument(arguments, "pipeline_model_parallel_size"),
            "ep": _argument(arguments, "expert_model_parallel_size"), "world_size": _argument(arguments, "world_size")}


def _argument(arguments: Optional[Dict[str, Any]], name: str) -> Optional[int]:
    value = (arguments or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class _Window(io.RawIOBase):
    """A file of the folder as zipfile wants it: seek and read, nothing held."""

    def __init__(self, folder: Folder, name: str) -> None:
        super().__init__()
        self._folder, self._name, self._at = folder, name, 0
        self._size = folder.files[name]

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        want = max(0, self._size - self._at) if size is None or size < 0 else size
        data = self._folder.read(self._name, self._at, min(want, max(0, self._size - self._at)))
        self._at += len(data)
        return data


def _data_pickle(folder: Folder, name: str) -> Optional[bytes]:
    """``data.pkl`` out of a file that ``torch.save`` wrote (since 1.6 a zip); None for anything else."""
    if not folder.files.get(name):
        return None
    # Here, not above: it brings three compressors along, and most nodes never see such a file.
    import zipfile

    try:
        with zipfile.ZipFile(_Window(folder, name)) as archive:
            for info in archive.infolist():
                if info.filename.endswith("/data.pkl") and info.file_size <= TABLE_LIMIT:
                    return archive.read(info)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, struct.error):
        pass
    return None


def _zip(folder: Folder, name: str, size: int) -> str:
    head = folder.read(name, 0, 4)
    if head != b"PK\x03\x04":
        # Before torch 1.6 a bare pickle; that has no end that could be looked for cheaply.
        return "" if head[:1] == b"\x80" else "is none of torch's files"
    tail = folder.read(name, max(0, size - 65558), min(size, 65558))
    return "" if _ends_there(tail) else "is cut off: it has no end record"


def _ends_there(tail: bytes) -> bool:
    at = tail.rfind(b"PK\x05\x06")
    return at >= 0 and len(tail) - at >= 22 and bool( at + 22 + struct.unpack("<H", tail[at + 20:at + 22])[0] == len(tail))


def _safetensors(folder: Folder, name: str, size: int) -> str:
    """https://github.com/huggingface/safetensors: 8 bytes of header length, a JSON header, then the tensors back to back."""
    raw = folder.read(name, 0, 8)
    length = struct.unpack("<Q", raw)[0] if len(raw) == 8 else 0
    if not 2 <= length <= size - 8:
        return "is cut off in its header" if size < 8 or length > size - 8 else "is no safetensors file"
    if length > TABLE_LIMIT:
        return ""
    try:
        header = json.loads(folder.read(name, 8, length).decode("utf-8"))
        end = max([tensor["data_offsets"][1] for key, tensor in header.items() if key != "__metadata__"], default=0)
    except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError):
        return "is no safetensors file"
    return "" if size >= 8 + length + end else "is cut off: %d of %d bytes" % (size, 8 + length + end)


def _json(folder: Folder, name: str) -> Any:
    try:
        return json.loads(folder.whole(name).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
