"""Chinese for what the commands say of their work while it is under way, and at its end; part of ``words_zh``.

Documents stay English; ``words_zh_help`` has the usage of the command line.
"""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    # Launches and steps.
    "{what} ({s:.1f} s)": "{what}（{s:.1f} 秒）", "not launched": "未启动",
    "{step} is not waited for; when the job has trained: {command}": "不等待 {step}；作业训练完后运行：{command}",
    "{job} goes on; rankdeck attach {job} watches it, rankdeck stop {job} ends it": "{job} 继续运行；rankdeck attach {job} 观察它，rankdeck stop {job} 结束它",
    "it does not train on all its nodes yet, and nobody ends it everywhere now when it fails on one": "它尚未在所有节点上训练；此后若在一个节点上失败，不再有人在所有节点上结束它",
    "{node} could not be told and ends its part within {s:g} s": "未能告知 {node}，它会在 {s:g} 秒内结束自己的部分",
    "{n} checks ({level}): {how}": "{n} 项检查（{level}）：{how}", ", {n} things are not known": "，{n} 项未知", ", {n} waived": "，{n} 项豁免",
    "nothing is checked: {why}": "不做检查：{why}", "nothing is checked": "不做检查", "preflight.level: none in the job file": "作业文件中 preflight.level: none",
    "checking {n} nodes ({level}); rankdeck launch --no-check leaves it out": "正在检查 {n} 个节点（{level}）；rankdeck launch --no-check 可跳过",
    "iteration {n} of {total}": "迭代 {n}/{total}", ", loss {loss:.4f}": "，损失 {loss:.4f}", "{job}: {status} at iteration {n}": "{job}：{status}，迭代 {n}",
    "no link to {nodes}; the job goes on without us": "与 {nodes} 无连接；作业不受影响", "all links are up again": "全部连接已恢复",
    "{place}: {what}, and {n} more": "{place}：{what}，另有 {n} 项", "the nodes are not fit for the job: {what}": "节点不适合该作业：{what}", "the nodes are not fit for the job: {what}, and {n} more": "节点不适合该作业：{what}，另有 {n} 项",
    "{job}: started as attempt {attempt}": "{job}：已启动，尝试 {attempt}", "{job}: done; it makes {paths}": "{job}：完成；产出 {paths}",
    "no answer ({why}); the step goes on without us": "无回应（{why}）；该步骤继续进行", "attempt {0} is not known to the node any more": "节点已不知道尝试 {0}", "it was {0} before it began": "开始之前已是{0!}状态",
    "no answer for {0} s: {1}": "{0} 秒无回应：{1}", "no output": "没有输出", "{0} (check {1}; see rankdeck check)": "{0}（检查项 {1}；见 rankdeck check）", "(check {0}; see rankdeck check)": "（检查项 {0}；见 rankdeck check）",
    "Mend what it says and run it again; what is made already is left alone": "按其所述修正后再运行；已产出的内容不会重做",
    # Attach, stop, exec.
    "attempt {attempt} on {nodes}: runs": "尝试 {attempt}，节点 {nodes}：运行中", "attempt {attempt} on {nodes}: has ended": "尝试 {attempt}，节点 {nodes}：已结束",
    "on {node} ({host}): {command}": "在 {node}（{host}）：{command}", "Type the node's name to run it there ({name}): ": "输入节点名以在那里运行（{name}）：",
    "something is left on {node}: {what}": "{node} 上有残留：{what}", "{node} did not answer and may still run the job: {why}": "{node} 无回应，可能仍在运行该作业：{why}",
    "job {job}: SIGTERM, {s:g} s, SIGKILL, on": "作业 {job}：SIGTERM，{s:g} 秒后 SIGKILL，节点：", "  {node}  does not answer, and will not be asked: {why}": "  {node}  无回应，不会向它发出请求：{why}",
    "Type the job's name to stop it ({job}): ": "输入作业名以停止它（{job}）：", "processes {pids}": "进程 {pids}", "its container": "其容器", "device {n} is held by process {pid} ({name})": "设备 {n} 被进程 {pid}（{name}）占用",
    # Check.
    "looking again": "重新查看", "{check} has found nothing that can be mended from here": "{check} 未发现可从这里修复的问题", "{check}: will run": "{check}：将运行",
    "Type the node to do it ({word}): ": "输入节点名以执行（{word}）：", "Type the number of nodes to do it ({word}): ": "输入节点数以执行（{word}）：",
    # Looking: status, ps, alarms, note, who.
    "Fleet {fleet}: {up} of {all} nodes up": "集群 {fleet}：{up}/{all} 个节点在线", "{n}/{all} ok": "{n}/{all} 正常", "Job {job}: {status}, attempt {attempt}, round {round}": "作业 {job}：{status}，尝试 {attempt}，第 {round} 轮",
    "done in {time}": "剩余 {time}", "newest checkpoint: iteration {n}": "最新检查点：迭代 {n}", "the launcher": "启动器",
    "first to fail: rank {rank} on {node} in round {round}: {code} ({sure} confidence)": "最先出错：{node} 上的 rank {rank}，第 {round} 轮：{code}（置信度{sure}）", "No job is known here.": "此处未知任何作业。",
    "{node} is not up: {why}": "{node} 不在线：{why}", "{node} did not answer: {why}": "{node} 无回应：{why}", "nothing runs": "没有在运行的", "no layouts": "没有布局", "{text}  {time}/step": "{text}  {time}/步", "nothing has run": "没有运行过的",
    "SEVERITY": "级别", "KEY": "标识", "FOR": "持续", "critical": "严重", "notice": "提示", "{what} by {who}: {text}": "{who} {what}：{text}", "nothing was said": "没有留言",
    "OPERATOR": "操作者", "CONSOLE": "控制台", "NODES": "节点", "SINCE": "始于", "ARMED until {time}": "已解锁至 {time}", "told {n} of {all} nodes": "已告知 {n}/{all} 个节点",
    # Logs, adopt, stage.
    "{log}: it carries the loss: {why}": "{log}：损失在此日志中：{why}", "{n} bytes before these lines are not shown (--lines N, --download DIR)": "这些行之前的 {n} 字节未显示（--lines N、--download DIR）",
    "{n} logs have more than {most} such lines; the rest is not shown (--most N)": "{n} 份日志中这样的行超过 {most} 行；其余未显示（--most N）", "{n:.1f} of {all:.1f} MB": "已取 {n:.1f}/{all:.1f} MB", "{n} files, {mb:.1f} MB, in {folder}": "{n} 个文件，{mb:.1f} MB，在 {folder}",
    "{n} lines wait on the nodes, {lost} were not shown, {late} came late": "{n} 行在节点上等待，{lost} 行未显示，{late} 行迟到", "{node}: released": "{node}：已放开",
    "{node}: adopted a {kind} with {n} processes and {logs} logs as {job}, attempt {attempt}": "{node}：已接管{kind}，含 {n} 个进程、{logs} 份日志，作为 {job}，尝试 {attempt}", "process": "进程",
    "{name}: {kind}, {n:,} bytes, sha256 {digest}, to {folder} on {nodes}": "{name}：{kind}，{n:,} 字节，sha256 {digest}，送往 {nodes} 的 {folder}", "was there": "已在那里", "passed on by {node}": "由 {node} 转送", "sent": "已送达", " (not passed on: {why})": "（未转送：{why}）",
    "{pct} % ({n:,} of {all:,} bytes)": "{pct} %（{n:,}/{all:,} 字节）", "before": "之前", "after": "之后",
    # The demo.
    "setting up a demo fleet of four nodes": "正在准备四个节点的演示集群", "starting four SSH servers on loopback": "正在回环地址上启动四个 SSH 服务", "ending the demo": "正在结束演示",
    "The demo goes on without a screen for up to {n:.0f} hours.": "演示在无界面下最多继续 {n:.0f} 小时。", "look at it again:": "再次查看：", "end it:": "结束：", "another console still has the demo in {root}; it stays": "另一个控制台仍在使用 {root} 中的演示；保留",
    "taking up the demo that is running in {root}": "接手正在 {root} 中运行的演示", "the demo in {root} is in use; it ends with its console": "{root} 中的演示正在使用；随其控制台结束", "ending the demo in {root}": "正在结束 {root} 中的演示",
    "{n} ended": "已结束 {n} 个", "no demo was left running": "没有保留运行的演示", "clearing what a dead demo left in {root}": "正在清理已死的演示在 {root} 中的残留", "empty": "空", "seed {n}": "种子 {n}",
    "processes of the demo that would not end: {pids}": "未能结束的演示进程：{pids}", "cannot remove {root}": "无法删除 {root}", "the job did not finish": "作业没有完成", "not finished within {s:.0f} s": "{s:.0f} 秒内没有完成",
    "the job ended before its final iteration: {ends}": "作业在最后一次迭代之前结束：{ends}", "{node}: signal {n}": "{node}：信号 {n}", "{node}: exit status {n}": "{node}：退出状态 {n}", "the launch did not stand: {nodes}": "启动没有成立：{nodes}",
    "no new iteration for {s:.0f} s (newest: {n} of {total})": "{s:.0f} 秒没有新的迭代（最新：{n}/{total}）", "first iteration, loss {loss:.4f}": "第一次迭代，损失 {loss:.4f}", "final iteration reached": "已到达最后一次迭代",
    "a rank failed that nobody asked to: {who}": "有 rank 无故失败：{who}", "incident: {who} failed first ({code}, {sure} confidence)": "故障：{who}最先出错（{code}，置信度{sure}）", "rank {rank} on {node} in round {round}": "{node} 上的 rank {rank}（第 {round} 轮）",
    "round {round} loaded checkpoint {n}": "第 {round} 轮已加载检查点 {n}", "training again, {s:.1f} s after the fault": "已恢复训练，距故障 {s:.1f} 秒", "FAILED": "失败", "fault {name}: killed a rank at iteration {n}": "故障 {name}：在迭代 {n} 杀掉一个 rank",
    "{job}: {how}, iterations {first} to {last} ({n}), {ranks} ranks on {nodes} nodes, checkpoints {saves}": "{job}：{how}，迭代 {first} 至 {last}（{n}），{nodes} 个节点上的 {ranks} 个 rank，检查点 {saves}", "first iteration after {s:.1f} s": "{s:.1f} 秒后第一次迭代",
    "found {node} rank {rank} ({code}) after {s:.1f} s": "{s:.1f} 秒后找到 {node} rank {rank}（{code}）", "fault {name} on {node} rank {rank} at iteration {n}: {found}": "故障 {name}，{node} rank {rank}，迭代 {n}：{found}",
    "resumed from checkpoint {n}, training again after {s:.1f} s": "从检查点 {n} 恢复，{s:.1f} 秒后重新训练", "why: {why}": "原因：{why}",
    # Export, export-run, config.
    "{url} until interrupted": "{url}，直到被中断", "{n} iterations of this job had to be dropped from the history and are not in it": "此作业有 {n} 次迭代已不得不从历史中丢弃，不在其中", "{n} iterations in {files}": "{n} 次迭代，在 {files}",
    "(not there yet)": "（尚不存在）", "VALUE": "值", "* set there; the others are what holds without. The command line always wins.": "* 已在那里设置；其余为未设置时的值。命令行始终优先。", "the editor ended with {status}": "编辑器以 {status} 结束", "interrupted": "已中断",
    "fleet file, for commands without -i (a job file's own goes first)": "集群文件，用于没有 -i 的命令（作业文件自己的优先）", "who you are, for the nodes' audit trail (empty: your login)": "操作者名，记入节点的审计（空：登录名）", "one of `rankdeck layouts`": "`rankdeck layouts` 之一",
    "a view to begin with": "起始视图", "colours; NO_COLOR outranks it": "颜色；NO_COLOR 优先于它", "en or zh (empty: by the locale)": "en 或 zh（空：按区域设置）", "most frames a second": "每秒最多帧数", "a console that cannot be armed": "不能解锁的控制台",
    "ring the terminal's bell on a new alarm": "有新告警时响铃", "send the terminal a desktop notification (OSC 9), for terminals that show them": "向终端发送桌面通知（OSC 9），适用于支持的终端",
    "shell command run on a new alarm, with the alarm as JSON on its standard input": "有新告警时运行的 shell 命令，标准输入为告警的 JSON", "the least that is told": "提示的最低级别",
    # Import.
    "{name}: written to {path}": "{name}：已写入 {path}", "{severity} in {name}: {text}": "{name} 中的{severity}：{text}", "{name}: not carried over ({where}): {what}: {why}": "{name}：未带入（{where}）：{what}：{why}",
}
