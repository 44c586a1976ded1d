"""Chinese for checks, job files, logins and the files of checkpoints; part of ``words_zh``."""

from __future__ import annotations

from collections.abc import Mapping

ERRANDS: Mapping[str, str] = {
    ":check quick, standard or deep, and a job file if there is one": ":check quick、standard 或 deep，可再加作业文件",
    "Check": "检查", "Check the nodes: quick, standard or deep, and for a job file if one is named.": "检查节点：quick、standard 或 deep；可指定作业文件。",
    "Derived": "推导值", "Before the launch: {step}": "启动之前：{step}", "After the training, by launch --wait: {step}": "训练之后（launch --wait）：{step}", "Code": "代码", "Finding": "发现", "Job file": "作业文件", "Login": "登录", "Mend": "修复", "Plan": "计划",
    "Launch the job file that was planned. Shows hosts and commands and asks for the job's name first.": "启动已计划的作业文件。先显示主机和命令，并要求输入作业名。",
    "Mend what the selected cell found, where that is safe. Shows the exact commands and asks for the name first.": "修复所选格的问题（仅限安全的）。先显示确切命令，并要求输入名称。",
    "R launches it, once armed": "解锁后按 R 启动",
    "Read a job file: its problems at their lines, and what its launch would do on each node.": "读取作业文件：逐行显示问题，以及启动时在每个节点上会做什么。",
    "Read all about the selected cell; esc goes back to the matrix.": "查看所选格的全部内容；esc 返回矩阵。",
    "That is not the name. Nothing was done.": "名称不符。未做任何事。",
    "The plan behind this shows every line. Nothing starts unless all nodes are ready.": "后面的计划显示每一行。所有节点就绪之前什么都不会启动。",
    "The server asks this. The answer is sent to it and kept nowhere.": "这是服务器的提问。回答只发给它，不在任何地方保存。",
    "View 7: whether the nodes are fit to train, check by check and node by node.": "视图 7：节点是否适合训练，逐项检查、逐个节点。",
    "a check is under way": "检查正在进行", "a launch is under way": "启动正在进行", "a replay has no nodes to ask": "回放中没有可询问的节点",
    "a replay launches nothing": "回放中不启动任何作业", "all": "全部", "asked": "已询问", "asked; the next lines tell what came of it": "已发出；结果见后面几行",
    "asking {n} nodes": "正在询问 {n} 个节点", "asking {n} nodes, {done} have answered": "正在询问 {n} 个节点，{done} 个已回答", "between the nodes": "节点之间", "check": "检查",
    "checked {n} nodes: {how}": "已检查 {n} 个节点：{how}", "checks tells it all.": "checks 显示全部。", "devices {d}": "设备 {d}", "error": "错误", "expected": "应为",
    "files: {names}": "文件：{names}", "fine": "正常", "fit": "合格", "fix": "修复", "found on": "出现在", "got": "实际", "info": "信息", "launched": "已启动",
    "launching {job} on {n} nodes": "正在 {n} 个节点上启动 {job}", "mending {check} on {n} nodes": "正在 {n} 个节点上修复 {check}",
    "mends it on {n} nodes, once armed and confirmed": "解锁并确认后在 {n} 个节点上修复", "next": "下一步",
    "not checked yet; check does it: it only asks, and changes nothing": "尚未检查；用 check 检查：只询问，不做变更",
    "not checked yet; r checks: it only asks, and changes nothing": "尚未检查；按 r 检查：只询问，不做变更",
    "not fit": "不合格", "not known": "未知", "not reached": "未连上", "not ready to launch": "不可启动", "not ready to launch: {n} errors": "不可启动：{n} 个错误",
    "nothing": "无", "nothing here can be mended from the console": "此处没有可从控制台修复的问题", "nothing is wrong here": "此处没有问题",
    "nothing was checked yet": "尚未检查", "nothing was written to prove it: that takes :arm": "未写入验证文件：需要先 :arm",
    "planned anew as another attempt; look at it, and press again": "已重新计划为另一次尝试；看过后再按一次", "reading {path}": "正在读取 {path}", "ready to launch": "可以启动",
    "ready to launch {job}: R launches it, once armed": "{job} 可以启动：解锁后按 R", "remedy": "修复命令", "the answer, enter; esc gives this login up": "输入回答并回车；esc 放弃登录",
    "type the job's name to launch it, enter; esc leaves it": "输入作业名并回车以启动；esc 不启动", "type {word} to do it, enter; esc leaves it": "输入 {word} 并回车以执行；esc 不执行",
    "waived": "已豁免", "warning": "警告", "where": "位置", "which job file? :plan JOB": "哪个作业文件？:plan JOB",
    "{job} is started as attempt {attempt}": "{job} 已启动，尝试 {attempt}", "{node} asks something for its login": "{node} 登录时有提问", "{n} of {all} nodes answered": "{n}/{all} 个节点已回答",
    # Checkpoints.
    "whole": "完整", "not whole": "不完整", "removed": "已删除", "a restart begins at ": "重启将从此处开始：", "the start": "起点", "as printed; nobody has looked at the files": "据日志；尚无人查看文件",
    "files seen {age} ago on {n} nodes": "{age} 前在 {n} 个节点上查看过文件", "next save ": "下次保存 ", "of {free} free": "可用 {free}", "does not fit": "放不下", "tracker ": "跟踪文件 ",
    "the directory cannot be read: {why}": "目录无法读取：{why}", "and {n} more": "另有 {n} 项", "a save takes ": "每次保存 ",
    # Titles of the checks (core.preflight.table).
    "the node answers": "节点有回应", "nothing of the answer is missing": "回答无缺项", "Python 3.7 or later for the agent": "代理所需的 Python 3.7 以上", "npu-smi answers": "npu-smi 有回应",
    "as many NPUs as expected": "NPU 数量符合预期", "every NPU is OK": "每个 NPU 健康", "nobody holds the NPUs": "NPU 未被占用", "the same kind of NPU everywhere": "各节点 NPU 型号相同",
    "the same driver everywhere": "各节点驱动相同", "the same firmware everywhere": "各节点固件相同", "the same CANN everywhere": "各节点 CANN 相同", "room and inodes": "磁盘空间和 inode",
    "shared memory": "共享内存", "open files, processes, locked memory": "打开文件、进程、锁定内存上限", "rendezvous and HCCL ports are free": "集合与 HCCL 端口空闲",
    "IP forwarding for containers": "容器所需的 IP 转发", "the network interface": "网卡", "the same network interface everywhere": "各节点网卡相同", "the same MTU everywhere": "各节点 MTU 相同",
    "the clock is kept right": "时钟有校准", "the clocks agree": "时钟一致", "the work directory": "工作目录", "the job's files and directories": "作业的文件和目录", "a container engine": "容器引擎",
    "the container engine answers": "容器引擎有回应", "the image is there": "镜像存在", "the same image everywhere": "各节点镜像相同", "what is mounted into the container": "容器挂载",
    "the container's name is free": "容器名未被占用", "the job's interpreter and its packages": "作业的解释器和软件包", "the same packages everywhere": "各节点软件包相同",
    "the NPUs' network links": "NPU 网络链路", "an address for each NPU": "每个 NPU 有地址", "the same TLS switch on all NPUs": "各 NPU 的 TLS 开关相同",
    "needed ports are kept from outgoing connections": "所需端口不被外连占用", "checkpoint storage is what the job says": "检查点存储与作业所述一致", "data and checkpoints fit the job's rules": "数据与检查点符合作业规则", "all NPUs reach each other": "所有 NPU 互通", "how fast checkpoints are written": "检查点写入速度",
}
