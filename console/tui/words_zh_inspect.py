"""Chinese for what ``rankdeck inspect`` says of files; part of ``words_zh``. What a log, a tool or a file says itself stays."""

from __future__ import annotations

from collections.abc import Mapping

INSPECT: Mapping[str, str] = {
    # Logs.
    "{name}: {n} lines": "{name}：{n} 行", "{name}: {n} lines, carries the loss": "{name}：{n} 行，损失在此日志中",
    "no training loss in this log": "此日志中没有训练损失", "no training loss in any of these logs": "这些日志中都没有训练损失",
    "iterations": "迭代", "numerics": "数值", "step": "单步", "validations": "验证", "checkpoints": "检查点", "saves": "保存",
    "{n} records, {first} to {last}": "{n} 条记录，{first} 至 {last}", "{n} records, {first} to {last} of {total}": "{n} 条记录，{first} 至 {last}，共 {total}", ", {n} starts": "，启动 {n} 次",
    "{first:.6g} to {last:.6g}, least {least:.6g}": "{first:.6g} 至 {last:.6g}，最小 {least:.6g}",
    "{n} records with NaN or infinity, {skipped} iterations skipped": "{n} 条记录含 NaN 或无穷，跳过 {skipped} 次迭代",
    "{counts}; newest: iteration {n} {what}": "{counts}；最新：迭代 {n} {what}", "{n} run": "{n} 次", "{n} {event}": "{event} {n} 次", "loss {loss}": "损失 {loss}",
    "{s:.1f} s each by their timers ({n})": "每次 {s:.1f} 秒，按计时器（{n} 次）", "{mb:.0f} MB allocated at most": "显存分配峰值 {mb:.0f} MB", "{ms:.1f} ms median": "中位数 {ms:.1f} ms",
    "printed {printed:.1f} tokens/s/p, but GBS x seq / (NPUs x ms) x 1000 gives {ours:.1f}": "日志为 {printed:.1f} tokens/s/p，但 GBS x seq / (NPU 数 x ms) x 1000 得 {ours:.1f}",
    "{rule} x {n}, from line {line}{where}: {action}": "{rule} x {n}，自第 {line} 行起{where}：{action}", " and {n} more": " 等，另有 {n} 个",
    "{name}: {n} more faults of the rule {rule}; the first {most} are told": "{name}：规则 {rule} 还有 {n} 处故障；只列出前 {most} 处",
    "retry": "重试", "resume": "恢复", "isolate": "隔离", "fix-config": "改配置", "fix-code": "改代码", "fix-environment": "改环境", "clean-device": "清理设备", "free-space": "腾出空间",
    # npu-smi and hccn_tool.
    "{output}: {n} devices, {processes} processes": "{output}：{n} 个设备，{processes} 个进程", ", npu-smi {version}": "，npu-smi {version}", "temp": "温度", "hccn_tool: no output": "hccn_tool：没有输出",
    "process {pid} on NPU {npu} chip {chip}: {name}, {mb} MB": "进程 {pid}，NPU {npu} 芯片 {chip}：{name}，{mb} MB", "error {code}: {text}": "错误 {code}：{text}",
    "not complete: rows are missing, the text is cut, or the tool reported an error": "不完整：缺行、文本被截断，或工具报告了错误",
    "device {n}": "设备 {n}", "a device": "某设备", "not readable": "无法识别", "no value": "没有值",
    # Checkpoints.
    "format": "格式", "complete": "完整", "layout": "布局", "saved (UTC)": "保存于 (UTC)", "yes": "是", "weights": "仅权重", "NO": "否", "no save found": "没有找到保存",
    "tracker: {n}": "tracker：{n}", "tracker torn: {text!r}": "tracker 残缺：{text!r}", "no tracker": "没有 tracker", "tracker: release": "tracker：release",
    "go on from: {n}": "可从此继续：{n}", "nothing here to go on from": "此处没有可继续的检查点", "the next save needs about {size}, {free} free here": "下次保存约需 {size}，此处剩余 {free}", ": it will NOT fit": "：放不下",
    "lost if the job died now, at {at}: {n} iterations": "若作业现在（迭代 {at}）中断，损失 {n} 次迭代", ", {s:.0f} s of work": "，{s:.0f} 秒的工作", "problem: {what}": "问题：{what}", "{what}: {why}": "{what}：{why}",
    "the tracker is torn: it says {0}; Megatron would not start from it": "tracker 残缺，内容为 {0}；Megatron 无法由此启动",
    "no tracker: Megatron would start from random weights, silently": "没有 tracker：Megatron 会不声不响地从随机权重开始",
    "the tracker names iteration {0}, which is not there": "tracker 指向迭代 {0}，但它不存在", "the tracker names iteration {0}, which is not complete": "tracker 指向迭代 {0}，但它不完整",
    "go on from {0}: set the tracker to it, or Megatron will try {1}": "请从 {0} 继续：把 tracker 设为它，否则 Megatron 会尝试 {1}",
    "every file that belongs to it is there; not looked into, being of an unknown kind: {0}": "应有的文件都在；未查看内容，因类型未知：{0}",
}
