"""tqdm progress bars: where a run is, and the metrics that NeMo, Lightning and VeOmni hang on them.

Owns the drawings of bars. Refuses bars that count something else (validation, loading, tokenising), and to
choose between several drawings of one step (the reader does). Never raises.
"""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Sequence, Tuple

from agent.parse import fields, prefixes
from agent.parse.fields import Pair, Record
from agent.parse.text import kept, printed_time

# "Epoch 0:   3%|x  | 34103/1100000 [5:28:58<171:22:21,  1.73it/s, loss=2.52, v_num=, reduced_train_loss=2.510, ...]"
# "  1%|1         | 1/100 [00:27<44:53, 27.20s/it]"; before the first step "0/16 [00:00<?, ?it/s]";
# steps without a known end "795/? [9:07:58<00:00, 41.36s/it, ...]"
_COUNTS = r"(?:^|[|\s])([0-9]{1,12})/([0-9]{1,12}|\?) \[(?:[0-9]{1,4} days?, )?[0-9:]{4,12}<(?:[0-9]{1,4} days?, )?[0-9:?]{1,12}"
_HEAD = re.compile(_COUNTS)
_BAR = re.compile(_COUNTS + r"([^\]\n]{0,2000})")
_POSTFIX = re.compile(r"[,\s]{0,8}([A-Za-z_][^,=:\]]{0,60}?)(?:=|: )\s{0,8}([^,\]]{0,40})")
_EPOCH_OF = re.compile(r"[Ee]poch {0,3}([0-9]{1,6})(?:/([0-9]{1,6}))?:")
_OTHER = re.compile(r"valid|eval|test|predict|load|map\b|token|filter|generat|download|sav", re.IGNORECASE)

# "Epoch 0, global step 500: 'val_loss' reached 5.12345 (best 5.12345), saving model to '...' as top 1"
_REACHED = re.compile(r"global step ([0-9]{1,12}): '(?:val_loss|validation_loss|eval_loss)' reached ([0-9]{1,9}(?:\.[0-9]{1,15})?) ")

LIGHTNING = "v_num"
"""A bar with this among its metrics is Lightning's: it is drawn with the step before's metrics first."""


def place(text: str, first: bool = False) -> Optional[Tuple[int, int]]:
    """(step, steps) of the last training bar in the text (``first``: of the first); None without one."""
    found = None
    for match in _BAR.finditer(text):
        if match.group(2) != "?" and int(match.group(2)) and not _OTHER.search(text[max(0, match.start() - 200):match.start()]):
            found = int(match.group(1)), int(match.group(2))
            if first:
                break
    return found


def records(text: str) -> List[Record]:
    """The iteration records of the bars in a text that carry a loss and have a step done: of several drawings of one step
    the first (Lightning's last)."""
    heads = [match.start() for match in _HEAD.finditer(text)]
    if len(heads) < 2:
        return _record(text) if heads else []
    found: Dict[object, Record] = {}
    begin = 0
    for head, following in zip(heads, heads[1:] + [0]):
        end = _parted(text, head, following) if following else len(text)
        for record in _record(text[begin:end]):
            if record[1]["iteration"] not in found or LIGHTNING in text:
                found[record[1]["iteration"]] = record
        begin = end
    return list(found.values())


def _parted(text: str, head: int, following: int) -> int:
    """Where, between two bars whose carriage return was lost, the second's drawing begins: its label stands before its counts."""
    closed = text.find("]", head, following) + 1
    if closed:
        return closed
    drawn = text.rfind("%|", head, following)
    label = text.rfind(",", head, drawn) if drawn >= 0 else -1
    return label if label >= 0 else following


def _record(text: str) -> List[Record]:
    match = _BAR.search(text)
    if match is None or not int(match.group(1)):
        return []
    before = text[:match.start()]
    if _OTHER.search(before):
        return []
    pairs: List[Pair] = []
    for item in _POSTFIX.finditer(match.group(3)):
        value = fields.value_at(item.group(2))
        if value is not None:
            pairs.append((" ".join(item.group(1).split()), value[0], value[1]))
    data, _ = fields.filled(pairs)
    if data["lm_loss"] is None:
        return []
    iteration, total = int(match.group(1)), int(match.group(2)) if match.group(2) != "?" else None
    data.update(iteration=iteration, total=total)
    epoch = _EPOCH_OF.search(before)
    if epoch:
        past = int(epoch.group(1)) - (1 if epoch.group(2) else 0)
        across_epochs(data, past, int(epoch.group(2)) if epoch.group(2) else None)
    return [("iteration", data)]


def is_open(text: str) -> bool:
    """Whether a training bar begins in the line and does not end in it."""
    match = _BAR.search(text) if "<" in text and "[" in text else None
    return match is not None and "]" not in text[match.end():match.end() + 1] and len(text) == match.end() and not _OTHER.search(text[:match.start()])


def joined(text: str, following: Sequence[str]) -> Tuple[str, int]:
    """(the line with what a terminal wrapped of its bar put back, how many of the following lines that took; none where it does not end soon)."""
    whole, width = kept(text), len(kept(text))
    for taken, line in enumerate(following, 1):
        line = kept(line)
        line = line[prefixes.length(text, line, taken):]
        end = line.find("]")
        if not line or len(line) > width or "[" in (line if end < 0 else line[:end]):
            break
        whole += line
        if end >= 0:
            return whole, taken
    return text, 0


def reached(text: str) -> List[Record]:
    """The validation that Lightning tells of when it was the best so far, and so is saved."""
    found = _REACHED.search(text) if "' reached " in text else None
    if found is None:
        return []
    return [("validation", {"iteration": int(found.group(1)), "lm_loss": float(found.group(2)), "ppl": None, "time": printed_time(text[:found.start()], last=True)})]


def across_epochs(data: Dict[str, object], past: int, epochs: Optional[int]) -> None:
    """Turn a count that starts anew each epoch into the step of the run. ``past``: epochs gone by.

    In the first epoch the printed numbers stay: they are the run's own.
    """
    iteration, total, extra = data["iteration"], data["total"], data["extra"]
    if past <= 0 or not isinstance(iteration, int) or not isinstance(total, int) or not isinstance(extra, dict):
        return
    extra.update({"iteration_in_epoch": iteration, "total_in_epoch": total})
    data.update(iteration=past * total + iteration, total=epochs * total if epochs else None)
