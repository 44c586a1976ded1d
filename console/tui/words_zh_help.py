"""Chinese for the command line itself: what ``--help`` says of every command and option, and argparse's own words.

Apart from ``words_zh``: help is asked for without a screen and must not load a screen's words.
"""

from __future__ import annotations

from collections.abc import Mapping

from console.core.i18n import LANGUAGE

HELP: Mapping[str, str] = {
    # The whole.
    "Rankdeck: a terminal console for people who run LLM training on Ascend NPU nodes.": "Rankdeck：面向在昇腾 NPU 节点上训练大模型者的终端控制台。",
    "rankdeck COMMAND [options]": "rankdeck COMMAND [选项]",
    "look:": "查看：", "train:": "训练：", "files:": "文件：", "habits:": "习惯：", "examples:": "示例：",
    "the screen: nodes, NPUs, loss, checkpoints, logs; changes nothing until armed": "界面：节点、NPU、损失、检查点、日志；解锁前不做变更",
    "the same as text or JSON, once": "同样的内容，一次性输出为文本或 JSON", "attempts on the nodes, as the nodes know them": "节点所知的各次尝试",
    "what wants attention, and what was said of it; acknowledge, mute": "需要关注的事项及其留言；确认、静音", "a word to everybody who watches the fleet": "给所有查看此集群者留言",
    "which consoles are attached, of whom, and which are armed": "接入了哪些控制台、属于谁、哪些已解锁", "lines of a job's logs: the end, a search, all ranks merged, a copy": "作业日志：末尾、查找、合并所有 rank、复制",
    "whether the nodes are fit to train, what is wrong, what to type": "节点是否适合训练、有何问题、应输入什么", "what happened, from the history, with the same views and a time cursor": "从历史重放经过，视图相同，带时间光标",
    "a fleet without hardware, to look at or to rehearse an incident on": "无需硬件的集群，可供观看或演练故障",
    "whether a job fits, and exactly what would be executed where": "作业是否合适，以及将在何处执行什么", "start a job on all its nodes, or on none": "在全部节点上启动作业，否则都不启动",
    "watch a job to its end": "观察作业直到结束", "end a job: SIGTERM, a grace period, SIGKILL": "结束作业：SIGTERM、宽限时间、SIGKILL", "run one command on one node": "在一个节点上运行一条命令",
    "watch a job that somebody started by hand": "观察他人手工启动的作业", "code, trainer, data and images to nodes without internet": "把代码、训练器、数据和镜像送到无外网的节点",
    "one step before or after training, alone: workspace, preprocess, convert, export, merge-lora": "单独执行训练前后的一步：workspace、preprocess、convert、export、merge-lora",
    "a job's metrics as CSV or TensorBoard event files, from the history": "从历史导出作业指标：CSV 或 TensorBoard 事件文件",
    "what captured output says: log FILE…, npu FILE (npu-smi, hccn_tool), checkpoint DIR; offline": "解读取得的输出：log FILE…、npu FILE（npu-smi、hccn_tool）、checkpoint DIR；离线",
    "a job file out of launch commands, a docker run line, AscendFactory settings, a HyperPod recipe": "由启动命令、docker run、AscendFactory 设置或 HyperPod recipe 得到作业文件",
    "what a job file may hold, and what --json prints, as JSON schema": "作业文件的内容和 --json 的输出，以 JSON schema 表示", "screen layouts to choose from": "可选的界面布局",
    "your own defaults": "自己的默认值", "Prometheus metrics": "Prometheus 指标", "for bash, zsh and fish": "用于 bash、zsh 和 fish 的补全", "all of this as a manual page": "以上全部，作为 man 手册页",
    "look around on a fleet of four simulated nodes": "在四个模拟节点的集群上看一看", "watch your own": "观察自己的集群", "read what would be run": "查看将要运行什么",
    "run it, and come back when it has ended": "运行，并在结束后返回", "for scripts": "供脚本使用", "the options of a command": "某命令的选项",
    # Options that many have.
    "show this help message and exit": "显示此帮助并退出", "print the version": "显示版本", "fleet file (YAML)": "集群文件（YAML）", "accept host keys that are not known yet, and remember them": "接受尚不认识的主机密钥并记住",
    "who you are, for the nodes' audit trail (default: your login)": "操作者名，记入节点的审计（默认：登录名）", "print one JSON document": "输出一个 JSON 文档",
    "en or zh, of what is told (default: by LC_ALL, LC_MESSAGES, LANG); --json is always English": "所说的语言，en 或 zh（默认：按 LC_ALL、LC_MESSAGES、LANG）；--json 始终为英文",
    "seconds to wait for the nodes' answers (default: 20)": "等待节点回应的秒数（默认：20）", "run.name of the job": "作业的 run.name", "job file (YAML)": "作业文件（YAML）",
    # The screen.
    "Show the fleet on the screen. Changes nothing until armed; quitting leaves jobs running.": "在界面上显示集群。解锁前不做变更；退出后作业继续运行。",
    "job file (YAML) to show with its problems and its plan, and to launch from the screen": "作业文件（YAML）：显示其问题和计划，并可从界面启动", "one of `rankdeck layouts` (default: default)": "`rankdeck layouts` 之一（默认：default）",
    "begin with a view: fleet, launch, training, checkpoints, logs, incident, checks, alarms (default: the layout)": "起始视图：fleet、launch、training、checkpoints、logs、incident、checks、alarms（默认：布局）",
    "ansi (default), dark, light, high-contrast, colour-blind; NO_COLOR outranks it": "ansi（默认）、dark、light、high-contrast、colour-blind；NO_COLOR 优先于它",
    "en or zh (default: by LC_ALL, LC_MESSAGES, LANG)": "en 或 zh（默认：按 LC_ALL、LC_MESSAGES、LANG）",
    "most frames a second, 0.2 to 60 (default: 10); a slow line gets fewer by itself": "每秒最多帧数，0.2 到 60（默认：10）；线路慢时自动减少",
    "text instead of a screen, command by command; for screen readers and dumb terminals": "用文本代替界面，逐条命令；适合读屏软件和简单终端",
    "click panes, lines and cells, and scroll with the wheel; the terminal then selects text only with shift held": "用鼠标点击面板、行和格，用滚轮滚动；此时按住 shift 才能选择文字",
    "a console that cannot be armed": "不能解锁的控制台",
    "Show a run from the history on the same screen, with a time cursor that runs. Connects to nothing.": "在同样的界面上重放历史中的一次运行，时间光标自行走动。不建立任何连接。",
    "run.name of a job, or an attempt id (default: the newest)": "作业的 run.name 或尝试编号（默认：最新）", "seconds of history a second (default: 10; space holds)": "每秒播放多少秒历史（默认：10；空格暂停）",
    "where to begin: HH:MM:SS, or -30m before the end (default: the start)": "从何处开始：HH:MM:SS，或距结束 -30m（默认：开头）",
    # Looking.
    "Say how the fleet and its newest jobs are. Exit status 1 when something needs attention.": "说明集群及其最新作业的状况。有需要关注的事项时退出码为 1。", "List the attempts that the nodes know of.": "列出节点所知的尝试。", "also those that have ended": "也包括已结束的",
    "Say whether the nodes are fit to train, what exactly is wrong, and what to type. Exit status 1 when they are not.": "说明节点是否适合训练、具体有何问题、应输入什么。不适合时退出码为 1。",
    "job file (YAML): also its paths, image and interpreter, on its nodes alone": "作业文件（YAML）：还检查其路径、镜像和解释器，只在其节点上", "quick, standard (default) or deep": "quick、standard（默认）或 deep",
    "let a check fail, and say why; may be repeated": "允许某项检查不通过，并说明理由；可重复", "mend what this check found, where that is safe, after you have confirmed the exact command": "修复此项检查发现的问题（限安全时），先由您确认确切的命令",
    "the node, or the number of nodes, instead of typing it when asked": "节点名或节点数，代替询问时的输入", "seconds for each node (default: 20 to 90, by level and job)": "每个节点的秒数（默认：20 到 90，按级别和作业）",
    "What wants attention on the fleet and what was said of it; acknowledge or mute one. Exit status 1 while one is unanswered.": "集群上需要关注的事项及其留言；确认或静音其中一项。有未回应的时退出码为 1。",
    "say that this one is being seen to, for a shift or until it begins anew": "表示正在处理此项，持续一个班次或到它再次发生", "say nothing more of this one, or of all that a pattern fits: 'node/atlas-04/*'": "不再提示此项，或符合模式的全部：'node/atlas-04/*'",
    "the same key or pattern, no longer muted": "同一标识或模式，取消静音", "with --mute: 30m, 8h, 2d (default: a shift of 8h)": "与 --mute 合用：30m、8h、2d（默认：一个班次 8h）", "the reason, for the others": "给其他人看的理由",
    "Say something to everybody who watches the fleet, also to those who come later; without a text: what was said.": "给所有查看此集群者留言，后来的人也能看到；不带文本：列出留言。", "what to say": "留言内容",
    "Which consoles are attached to the fleet's nodes, of whom, and which of them are armed.": "哪些控制台接入了集群的节点、属于谁、哪些已解锁。",
    "Lines of a job's logs, from its nodes: the end, a search made there, all ranks in one order by corrected time, or a copy.": "从节点取作业日志的行：末尾、在节点上查找、按校正时间合并所有 rank，或复制。",
    "attempt (default: the newest)": "尝试（默认：最新）", "round within the attempt (default: the newest)": "尝试中的轮次（默认：最新）", "this rank's log (default: the last rank's)": "此 rank 的日志（默认：最后一个 rank）",
    "all ranks' logs": "所有 rank 的日志", "lines from the end of each log (default: 200)": "每份日志末尾的行数（默认：200）", "go on until interrupted": "持续到被中断", "with --follow: stop after so many seconds": "与 --follow 合用：多少秒后停止",
    "only lines with this text, searched on the nodes": "只要含此文本的行，在节点上查找", "TEXT is a regular expression": "TEXT 是正则表达式", "upper and lower case are the same": "不区分大小写",
    "lines shown around each found one (at most 50)": "每处匹配前后显示的行数（最多 50）", "found lines of each log (default: 1000)": "每份日志的匹配行数（默认：1000）", "copy the logs there; goes on where an earlier copy broke off": "把日志复制到那里；从上次中断处继续",
    # Training.
    "Check a job and print what launch would write and run on each node, word for word. Connects to nothing, but for an attempt of --diff that only the nodes have.":
        "检查作业，并逐字输出启动时在每个节点上写入和运行的内容。不建立连接，除非 --diff 的尝试只在节点上有。",
    "attempt id to plan with (default: a new one)": "计划所用的尝试编号（默认：新编号）", "show what differs from an attempt: its id (under paths.work here, or on the nodes), its directory, or a printed plan": "显示与某次尝试的差别：其编号（本机 paths.work 之下或节点上）、目录，或输出过的计划",
    "Start a job on all its nodes, or on none.": "在全部节点上启动作业，否则都不启动。", "start without looking whether the nodes are fit; the nodes' audit trail says so": "不检查节点是否合格就启动；节点的审计会记录",
    "stay until the job has ended; exit status 0 only if it reached its final iteration": "停留到作业结束；只有到达最后一次迭代时退出码为 0",
    "leave as soon as it is started, and to its nodes; the default is to stay until it trains, and to end it everywhere when it fails on one node or this console is killed":
        "启动后立即离开，交给节点；默认停留到开始训练，若在一个节点上失败或此控制台被终止，则在所有节点上结束它",
    "End a job on all its nodes: SIGTERM, a grace period, SIGKILL.": "在全部节点上结束作业：SIGTERM、宽限时间、SIGKILL。", "seconds between SIGTERM and SIGKILL (default: 60)": "SIGTERM 与 SIGKILL 之间的秒数（默认：60）",
    "leave the job's containers there, whatever the job file says": "保留作业的容器，无论作业文件怎么写", "the job's name once more, instead of typing it when asked": "再写一次作业名，代替询问时的输入",
    "Watch a job to its end. Leaving it (Ctrl-C) leaves the job running.": "观察作业直到结束。离开（Ctrl-C）后作业继续运行。",
    "Run one command on one node, as the agent's user; the node's audit trail keeps it. Exit status: the command's own.": "以代理的用户在一个节点上运行一条命令；记入节点的审计。退出码为该命令的退出码。",
    "name in the fleet file": "集群文件中的名称", "the program and its arguments, as they are; for a shell's line: sh -c '...'": "程序及其参数，照原样；shell 语句用：sh -c '...'", "the node's name once more, instead of typing it when asked": "再写一次节点名，代替询问时的输入",
    "seconds after which it is given up (default: 600)": "多少秒后放弃（默认：600）",
    "Watch what somebody started by hand (a log, a process, a container) like any job. Nothing of it is touched.": "像作业一样观察他人手工启动的东西（日志、进程、容器）。不触碰它。", "what to call it": "给它的名称",
    "where it runs; may be repeated (default: all nodes)": "在何处运行；可重复（默认：所有节点）", "a log on the node; may be repeated": "节点上的日志；可重复", "a process of the node: it, what it started, and the logs they write": "节点上的进程：它、它启动的进程及其日志",
    "a running container: all that is in it": "运行中的容器：其中的一切", "where it saves, so that its saves are looked at": "检查点保存位置，以便查看", "add these nodes to that adopted attempt": "把这些节点加入该接管的尝试", "watch it no longer; it runs on": "不再观察；它继续运行",
    "Send code, the trainer, data and images to nodes: by digest, resumed, verified there.": "把代码、训练器、数据和镜像送到节点：按摘要、可续传、在节点上校验。", "directory on the nodes": "节点上的目录", "a node; may be repeated (default: all)": "节点；可重复（默认：全部）",
    "a directory, or what git has of it at a commit": "目录，或 git 中某次提交的内容", "the project's own trainer": "本项目自带的训练器", "with --trainer: a directory of wheels to go along": "与 --trainer 合用：一并发送的 wheel 目录",
    "a file or a directory as it is": "照原样的文件或目录", "an archive of `docker save`, loaded there": "`docker save` 的归档，在节点上载入", "nodes at once (default: 8)": "同时处理的节点数（默认：8）",
    "megabytes a second over all nodes (default: no limit)": "所有节点合计每秒兆字节数（默认：不限）", "run here first, for instance to fetch from an object store": "先在本机运行，例如从对象存储取数据", "run here when everything has arrived": "全部送达后在本机运行",
    "Carry out one step of a job, alone, as a launch would: in a directory and, where the job has one, a container of its own, detached, its log shown on standard error. What is made already is left alone. Exit status 0 when it ended well.":
        "单独执行作业的一步，与启动时相同：在自己的目录中，作业有容器时也在自己的容器中，脱离终端，日志显示在标准错误上。已产出的内容不会重做。顺利结束时退出码为 0。",
    "what would be run": "将要运行什么", "on that node, to its end": "在该节点上，直到结束", "the tree on every node's own disk": "每个节点自己磁盘上的目录树", "start it, for scripts": "启动它，供脚本使用",
    "workspace, preprocess, convert, export or merge-lora": "workspace、preprocess、convert、export 或 merge-lora", "where; may be repeated (default: the job's first node)": "在何处；可重复（默认：作业的第一个节点）",
    "on all the job's nodes: for disks that they do not share": "在作业的所有节点上：用于不共享的磁盘", "come back when it is started; rankdeck attach JOB--STEP watches it": "启动后即返回；用 rankdeck attach JOB--STEP 观察",
    "print exactly what would be written and run, and connect to nothing": "逐字输出将写入和运行的内容，不建立连接",
    # The demo.
    "A fleet of four simulated nodes that really train a small model, over SSH, on this machine.": "四个模拟节点的集群，在本机上经 SSH 真正训练一个小模型。",
    "no screen: launch, fault, resume, final iteration, then print what happened": "无界面：启动、故障、恢复、最后一次迭代，然后输出经过", "length of the job (default: 600, headless 60)": "作业长度（默认：600，无界面 60）",
    "iterations between checkpoints (default: 25, headless 10)": "检查点间隔的迭代数（默认：25，无界面 10）",
    "break something: rank-killed@20 (an iteration), node-gone@30s (a time), random; may be repeated": "制造故障：rank-killed@20（迭代）、node-gone@30s（时间）、random；可重复",
    "of what --fault random picks (default: a new one, printed at the end)": "--fault random 的随机种子（默认：新种子，结束时输出）", "leave the fleet and its job running when the screen is closed": "关闭界面后集群和作业继续运行", "end a demo that was kept running": "结束保留运行的演示",
    # Files.
    "Write a job file out of how something was started so far, and list what could not be carried over.": "由现有的启动方式写出作业文件，并列出未能带入的内容。", "each node's commands, a container's line, settings; - is standard input": "各节点的命令、容器命令行、设置；- 为标准输入",
    "file to write, never over one (default: standard output)": "要写的文件，不覆盖已有文件（默认：标准输出）", "Print the JSON schema of a job file, or of what a command prints with --json.": "输出作业文件或某命令 --json 输出的 JSON schema。",
    "job, or a command: plan, launch, status, run-step, ...; a wrong one lists them": "job 或命令：plan、launch、status、run-step 等；写错会列出全部", "List the screen layouts.": "列出界面布局。",
    "Write a job's metrics from the history on this machine: CSV, or TensorBoard event files. Connects to nothing.": "从本机历史写出作业指标：CSV 或 TensorBoard 事件文件。不建立连接。", "fleet, where several have had a job of that name": "集群，用于多个集群有同名作业时",
    "file to write; - is standard output (the default)": "要写的文件；- 为标准输出（默认）", "folder to write event files into, one run for each attempt and one joined": "写事件文件的目录，每次尝试一个 run，另有一个合并的", "only this attempt (default: all, joined where they resumed)": "只要此次尝试（默认：全部，在恢复处相接）",
    "Say what captured files hold. Connects to nothing.": "解读取得的文件。不建立连接。",
    "Iterations, validations, checkpoints and faults in training, plog and system logs. Exit status 1 when there is a fault that may start an incident.": "训练日志、plog 和系统日志中的迭代、验证、检查点和故障。有可能引发事故的故障时退出码为 1。",
    "log file, or - for standard input": "日志文件，或 - 表示标准输入", "What npu-smi or hccn_tool printed. Exit status 1 when it is cut short or reports an error.": "npu-smi 或 hccn_tool 的输出。被截断或报告错误时退出码为 1。",
    "captured output, or - for standard input": "取得的输出，或 - 表示标准输入",
    "Every save below a directory: whole or not and why, its layout and size, the tracker, and which one to go on from. Exit status 1 when something is wrong. Several directories are taken for the parts of one that lie on several nodes' disks.":
        "目录下的每次保存：是否完整及原因、布局和大小、tracker，以及可从哪一个继续。有问题时退出码为 1。多个目录视为同一检查点分布在多个节点磁盘上的部分。",
    "checkpoint directory, or copies of it from several nodes": "检查点目录，或来自多个节点的副本", "iteration the job has reached: tells what would be lost": "作业已到达的迭代：说明会损失什么", "seconds of one iteration, for --at": "一次迭代的秒数，用于 --at",
    # Habits.
    "The fleet's state as Prometheus metrics: once on standard output, or for a scraper until interrupted.": "集群状态的 Prometheus 指标：一次输出到标准输出，或持续提供给抓取程序直到被中断。", "serve http://ADDRESS:PORT/metrics (address: 127.0.0.1)": "提供 http://ADDRESS:PORT/metrics（地址：127.0.0.1）",
    "write the file anew every time, for a node exporter's textfile collector": "每次重写该文件，供 node exporter 的 textfile 收集器使用", "with --output: seconds between two writes (default: 15)": "与 --output 合用：两次写入间隔的秒数（默认：15）",
    "Your own defaults: what is set and where it stands, or one value set, taken out, or the file in your editor.": "自己的默认值：已设置的内容及其位置；设置或去掉一项，或在编辑器中打开文件。", "show (default), path, set, unset, edit": "show（默认）、path、set、unset、edit",
    "a setting, such as theme or notify.command": "设置项，例如 theme 或 notify.command", "with set": "与 set 合用", "A script that lets your shell complete commands, options, nodes, jobs and layouts.": "让 shell 补全命令、选项、节点、作业和布局的脚本。",
    "bash, zsh or fish": "bash、zsh 或 fish", "This command line as a manual page: rankdeck man | man -l -": "此命令行的 man 手册页：rankdeck man | man -l -",
    # argparse's own, of Python 3.10 to 3.13, and what our kinds of values refuse.
    "positional arguments": "位置参数", "options": "选项", "usage: ": "用法：", "%(prog)s: error: %(message)s\n": "%(prog)s: 错误：%(message)s\n", "argument %(argument_name)s: %(message)s": "参数 %(argument_name)s：%(message)s",
    "the following arguments are required: %s": "缺少参数：%s", "one of the arguments %s is required": "需要以下参数之一：%s", "unrecognized arguments: %s": "不认识的参数：%s", "not allowed with argument %s": "不能与参数 %s 合用",
    "expected one argument": "需要一个值", "expected at most one argument": "最多一个值", "expected at least one argument": "至少需要一个值", "expected %s argument": "需要 %s 个值", "expected %s arguments": "需要 %s 个值",
    "ignored explicit argument %r": "不带值，但给了 %r", "ambiguous option: %(option)s could match %(matches)s": "选项有歧义：%(option)s 可能是 %(matches)s", "unexpected option string: %s": "意外的选项：%s",
    "invalid %(type)s value: %(value)r": "值无效：%(value)r", "invalid choice: %(value)r (choose from %(choices)s)": "没有这个选择：%(value)r（可选：%(choices)s）",
    "unknown parser %(parser_name)r (choices: %(choices)s)": "没有这个命令：%(parser_name)r（可选：%(choices)s）", "%(heading)s:": "%(heading)s：",
    "{text}: from 0.2 to 60": "{text}：应为 0.2 到 60", "{text}: from 0 to a week": "{text}：应为 0 到一周", "{text}: above 0, at most 10000": "{text}：应大于 0，最大 10000", "{text}: at least 1": "{text}：至少为 1",
    LANGUAGE: "zh",
}
