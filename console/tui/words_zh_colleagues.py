"""Chinese for alarms, colleagues and what they say; part of ``words_zh``."""

from __future__ import annotations

from collections.abc import Mapping

COLLEAGUES: Mapping[str, str] = {
    "Alarms": "告警", "Here too": "也在此处", "Said": "留言", "said": "答复", "since": "持续", "nothing wants attention": "没有需要关注的问题", "nobody else": "没有其他人",
    "{n} nodes, since {time}": "{n} 个节点，自 {time}", "nothing yet; :note TEXT is read by everybody who watches this fleet": "暂无；:note 文字 会被所有查看该集群的人看到",
    "until {time}": "至 {time}", "acknowledge": "确认", "mute": "静默", "unmute": "取消静默", "note": "备注",
    "which alarm? Select it in view 8, or name its key": "哪个告警？在视图 8 中选择，或写出它的 key", "say why: :{name} REASON": "请说明原因：:{name} 原因", "say what: :note TEXT": "请写内容：:note 文字",
    "View 8: what wants attention, what was said of it, and who else is here.": "视图 8：需要关注的问题、对它的答复，以及还有谁在。",
    "Say that you see to the selected alarm, and why; holds for a shift or until it begins anew.": "确认所选告警由你处理并说明原因；有效一个班次，或到它再次发生为止。",
    "Say nothing more of the selected alarm for a while (8h if not told), and why.": "在一段时间内（默认 8 小时）不再提示所选告警，并说明原因。",
    "Tell of the selected alarm again.": "恢复提示所选告警。", "A word to everybody who watches this fleet, also to those who come later.": "给所有查看该集群的人（包括后来者）的留言。",
    "there is no other run {name}": "没有其他运行 {name}", "this fleet has had no other run": "该集群没有其他运行", "beside": "对照",
    "Draw other jobs or earlier attempts beside this curve, or the one named; again: no longer.": "在曲线旁对照其他作业或先前的尝试，或指定者；再按一次取消。",
    "Colleagues": "同事", "{n} more here": "另有 {n} 人", "{who} ARMED": "{who} 已解锁", "reason: ": "原因：", "ack": "确认", "text: ": "内容：",
    # Operations, as the audit trail names them.
    "commit": "提交", "abort": "中止", "lock": "锁定设备", "adopt": "接管", "nonce": "写验证文件", "write_speed": "测写入速度", "retire": "代理换代", " ({why})": "（{why}）",
}
