"""Chinese names of metrics, beside the English ones or in place of them, and full-width punctuation.

Owns putting such a line into the spelling that the grammar reads. Refuses to translate anything else: what is
not known is left out of the names. Pure; never raises.
"""

from __future__ import annotations

import re
from typing import Match

ITERATION, LOSS = "\u8fed\u4ee3", "\u635f\u5931"
ANCHORS = (ITERATION, LOSS)
_NAMES = {
    ITERATION: "iteration", "迭代步": "iteration", "迭代次数": "iteration", LOSS: "loss", "损失值": "loss", "训练损失": "loss", "语言模型损失": "lm loss",
    "学习率": "learning rate", "梯度范数": "grad norm", "梯度": "grad norm", "损失缩放": "loss scale", "损失缩放因子": "loss scale", "损失缩放系数": "loss scale",
    "全局批大小": "global batch size", "全局批次大小": "global batch size", "全局批量大小": "global batch size", "全局批处理大小": "global batch size",
    "已消费样本": "consumed samples", "已消费样本数": "consumed samples", "已消耗样本": "consumed samples", "已消耗样本数": "consumed samples", "消耗样本数": "consumed samples",
    "跳过迭代数": "skipped iterations", "跳过的迭代数": "skipped iterations", "跳过的迭代次数": "skipped iterations", "每步耗时": "elapsed time per iteration",
    "单步耗时": "elapsed time per iteration", "每次迭代耗时": "elapsed time per iteration", "每迭代耗时": "elapsed time per iteration", "单次迭代耗时": "elapsed time per iteration",
}
_HAN = "[\u4e00-\u9fff]{1,40}"
_WIDE = {ord(wide): ord(narrow) for wide, narrow in zip("：，｜（）＝；［］\u3000", ":,|()=;[] ")}
# "lm loss(损失): 2.3"
_BESIDE = re.compile(r" ?\(" + _HAN + r"\)(?= {0,4}[:=])")
# "损失 (lm loss): 2.3"; "梯度范数: 1.2", "每步耗时(ms): 12.3"; "梯度 grad norm: 1.2"
_NAMED = re.compile(r"(" + _HAN + r")(?: {0,4}\((?P<inside>[A-Za-z][A-Za-z _-]{2,40})\)(?= {0,4}[:=])|(?P<end>(?: {0,4}\((?:ms|s)\))? {0,4}[:=]| {1,20}\[? {0,20}[0-9]{1,15} {0,20}/))?")


def keyed(text: str) -> str:
    """The line with English names and narrow punctuation; any other line as it is."""
    if text.isascii():
        return text
    text = text.translate(_WIDE)
    return _NAMED.sub(_english, _BESIDE.sub("", text))


def _english(found: Match[str]) -> str:
    if found.group("inside"):
        return found.group("inside")
    return _NAMES.get(found.group(1), "") + found.group("end") if found.group("end") else " "
