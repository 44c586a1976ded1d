"""Checkpoint lines of all trainers: a save began, is done or failed, a checkpoint was loaded.

Owns one line. Refuses timers (under ``--async-save`` Megatron prints ``save-checkpoint ...: (min, max)`` when
the save was only handed over), the shards and side files of a save, and to call a save complete that only
began. Never raises. The iteration is None where the line does not say it.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional, Pattern, Sequence, Tuple

from agent.parse import prefixes
from agent.parse.text import kept, printed_time

_N = r"[ \t]{1,20}([0-9]{1,15})"
_RULES: Tuple[Tuple[str, str, Pattern[str]], ...] = (
    # Megatron: "  successfully saved checkpoint from iteration    2500 to /ckpt [ t 1/2, p 1/1 ]"; before 2023 "at iteration"; NeMo "Successfully"
    ("saved", "ip", re.compile(r"[Ss]ucc?essfully saved checkpoint (?:from|at) iteration" + _N + r"(?: to (.{0,4000}?))?(?:[ \t]{0,9}\[ ?t .{0,99})?[ \t]{0,20}$")),
    # Megatron's own disk beside the shared one; and 2019, a rank at a time: "  successfully saved /ckpt/iter_0000100/mp_rank_00/model_optim_rng.pt"
    ("saved", "i", re.compile(r"succ?essfully saved local checkpoint from iteration" + _N)),
    ("saved", "d", re.compile(r"succ?essfully saved (/\S{0,4000}/iter_[0-9]{7,15}/mp_rank_\S{1,200})")),
    ("loaded", "d", re.compile(r"succ?essfully loaded (/\S{0,4000}/iter_[0-9]{7,15}/mp_rank_\S{1,200})")),
    # "saving checkpoint at iteration    2500 to /ckpt in torch_dist format"
    ("started", "ip", re.compile(r"[Ss]aving checkpoint at iteration" + _N + r" to (.{0,4000}?)(?: in [\w.-]{1,40} format)?[ \t]{0,20}$")),
    ("started", "ip", re.compile(r"scheduled an async checkpoint save at iteration" + _N + r" to (.{0,4000}?)[ \t]{0,20}$")),
    # "  successfully loaded checkpoint from /ckpt [ t 1/1, p 1/1 ] at iteration 10"
    ("loaded", "pi", re.compile(r"succ?essfully loaded checkpoint from (.{0,4000}?)[ \t]{0,9}(?:\[ ?t [^\]]{0,99}\][ \t]{0,9})?at iteration" + _N)),
    ("loaded", "i", re.compile(r"succ?essfully loaded checkpoint at iteration" + _N)),
    # NeMo: "Scheduled async checkpoint save for /ckpt/model_name=0--val_loss=0.00-step=18-consumed_samples=9728.0-last.ckpt",
    # "Async checkpoint save for step 19 finalized successfully." The path counts from 0.
    ("started", "q", re.compile(r"Scheduled async checkpoint save for (\S{1,4000})")),
    ("saved", "t", re.compile(r"Async checkpoint save for step" + _N + r"(?: \(.{0,4000}?\))? finalized successfully")),
    # torchtitan
    ("saved", "s", re.compile(r"Finished saving the checkpoint .{0,60}?in ([0-9.]{1,15}) seconds")),
    ("started", "i", re.compile(r"Saving (?:the|a full|a model(?: weights)? only) checkpoint(?: in \S{1,40})? (?:at|in) (?:last )?step,?(?: step)?" + _N)),
    ("started", "", re.compile(r"Saving (?:the|a full|a model(?: weights)? only) checkpoint\b")),
    ("loaded", "", re.compile(r"Finished loading the checkpoint in ")),
    # Lightning; InternLM: "Saving checkpoint to `/ckpt` at batch count:20..."
    ("started", "ip", re.compile(r"global step" + _N + r": .{1,200}?, saving model to '(.{1,4000}?)'")),
    ("started", "pi", re.compile(r"Saving checkpoint to `([^`]{1,1000})` at batch count:[ \t]{0,20}([0-9]{1,15})")),
    # HF, LLaMA-Factory, swift: "[INFO|trainer.py:2926] 2023-10-19 09:48:54,430 >> Saving model checkpoint to out/checkpoint-10"
    ("started", "d", re.compile(r"Saving model checkpoint to (\S{1,4000})")),
    ("loaded", "i", re.compile(r"Continuing training from global step" + _N)),
    # DeepSpeed under either: "[Torch] Checkpoint global_step100 is about to be saved!"; every rank says that it is ready.
    ("started", "b", re.compile(r"\] Checkpoint (global_step[0-9]{1,15}) is about to be saved")),
    ("saved", "b", re.compile(r"\] Checkpoint (global_step[0-9]{1,15}) is ready now")),
    # MindFormers
    ("started", "", re.compile(r"\.\.\.Saving ckpt\.\.\.")),
    # verl
    ("started", "d", re.compile(r"local_global_step_folder: (\S{1,4000})")),
    ("loaded", "i", re.compile(r"Setting global step to" + _N)),
    ("failed", "", re.compile(r"(?i)\b(?:failed to save (?:the |a )?checkpoint|checkpoint save failed|error (?:while )?saving (?:the )?checkpoint)")),
)
# "checkpoint-10", "global_step_10", "iter_0000010"
_NUMBERED = re.compile(r"(?:checkpoint-|global_step_?|iter_|step[-_=])([0-9]{1,15})(?![0-9])")

# One rank's file of an iteration below the directory that is saved to.
_OF_RANK = re.compile(r"/iter_[0-9]{7,15}/mp_rank_[^/]{1,40}/[^/]{1,200}\Z")

# The rest of a path that a terminal broke, and what may stand behind it.
_PATH_GOES_ON = re.compile(r"(?=\S{0,400}[/_.0-9-])[^\s\[\]()|:'\"<>]{1,400}(?: (?:\[ ?t .{0,99}|in [\w.-]{1,40} format|at iteration .{0,40}|\(.{0,400}))?\s{0,9}\Z")
_PATH_ENDS = re.compile(r"/[^\s\[\]()|:'\"<>]{0,400}\Z")

ANCHORS = ("fully saved ", "fully loaded ", "async checkpoint save", "finalized successfully",
           "saving model to", "Saving the checkpoint", "Saving a full checkpoint", "Saving a model", "Finished saving the", "Finished loading the", "Saving model checkpoint to",
           "Continuing training from", "...Saving ckpt...", "local_global_step_folder", "save checkpoint", "save the checkpoint", "save a checkpoint",
           "is about to be saved", "is ready now", "Setting global step to", "aving checkpoint", "saving the checkpoint", "checkpoint save failed")


def joined(text: str, following: Sequence[str], beside: Sequence[str]) -> Tuple[str, int]:
    """(a line that ends in a path, with what a terminal wrapped of it put back, how many of the following lines that took).

    ``beside``: lines near it. None of a terminal's lines is longer than one that was wrapped.
    """
    whole, taken = kept(text), 0
    width = len(whole)
    if not 60 <= width <= 1000 or not _PATH_ENDS.search(whole[-402:]) or any(len(line) > width + 1 for line in beside):
        return text, 0
    for line in following:
        line = kept(line)
        piece = line[prefixes.length(text, line, taken + 1):]
        if not _PATH_GOES_ON.match(piece):
            break
        whole += piece
        taken += 1
        if len(line) < width - 1 or not _PATH_ENDS.search(whole[-402:]):
            break
    return (whole, taken) if taken else (text, 0)


def event(text: str) -> Optional[Dict[str, Any]]:
    """The checkpoint record in one (cleaned) line; None where there is none.

    With ``beneath`` where it is the word of the library that the trainer saves with, of which the trainer may tell as well.
    """
    if "heckpoint" not in text and "ckpt" not in text and "global step" not in text and "global_step" not in text and "/mp_rank_" not in text:
        return None
    for name, shape, pattern in _RULES:
        found = pattern.search(text)
        if found is None:
            continue
        data: Dict[str, Any] = {"iteration": None, "event": name, "path": None, "seconds": None, "bytes": None,
                                "time": printed_time(text[:found.start()], last=True)}
        for what, value in zip(shape, found.groups()):
            if what in "it":
                data["iteration"] = int(value)
                if what == "t":
                    data["beneath"] = True
            elif what == "s":
                data["seconds"] = _seconds(value)
            elif what == "b":
                data["iteration"], data["beneath"] = int(value[len("global_step"):]), True
            else:
                data["path"] = value or None
        if shape in ("d", "q") and data["path"]:
            numbered = _NUMBERED.search(data["path"])
            data["iteration"] = int(numbered.group(1)) + (1 if shape == "q" else 0) if numbered else None
        if data["path"] and "/mp_rank_" in data["path"]:
            data["path"] = _OF_RANK.sub("", data["path"]) or "/"
        return data
    return None


def _seconds(text: str) -> Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None
