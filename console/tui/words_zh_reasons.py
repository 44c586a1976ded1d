"""Chinese for the reasons that a node's agent gives: refused requests, ends of attempts, checkpoints; part of ``words_zh``.

As in ``words_zh_errors``: ``{0}``, ``{1}``, ... stand for what the agent filled in, in the order of appearance.
"""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    # Adopting.
    "there is no container {0}": "没有容器 {0}", "a container of this node's engine": "此节点引擎中的容器", "Look again: docker ps": "重新查看：docker ps", "the logs must be absolute paths": "日志必须是绝对路径", "Correct the request": "改正请求",
    "a log is not there": "日志不在那里", "files that can be read": "可读的文件", "Name the file as it is on that node": "按该节点上的名称指定文件", "there is no process {0}": "没有进程 {0}", "a process of this node": "此节点的进程", "Look again: ps, or rankdeck exec": "重新查看：ps 或 rankdeck exec",
    "a log, a process or a container": "日志、进程或容器", "container {0} does not run": "容器 {0} 未运行", "a running container": "运行中的容器", "Start it first, or adopt its log": "先启动它，或接管其日志",
    # Remarks.
    "there is no such remark": "没有这种标注", "one of {0}": "{0} 之一", "the remark is too long": "标注过长", "{0} characters": "{0} 个字符", "Say it in fewer words": "写短一些", "the remark cannot be kept": "标注无法保存",
    "a spool that cannot be written": "无法写入的暂存", "See to the node's disk": "请处理该节点的磁盘",
    # Attempts.
    "the container did not come up": "容器未启动", "it was still busy after {0} s": "{0} 秒后仍在忙", "it was still busy after {0} s: {1}": "{0} 秒后仍在忙：{1}", "Mend what it says, then launch again": "按其所述修正，再重新启动", "attempt {0} was undone meanwhile": "尝试 {0} 其间已撤销", "Launch again": "重新启动",
    "this request belongs to another launch": "此请求属于另一次启动", "epoch {0}": "纪元 {0}", "Look at rankdeck status; launch again if it is still wanted": "查看 rankdeck status；若仍需要请重新启动", "devices must be whole numbers": "设备必须是整数",
    "the attempt's directory is there already": "此次尝试的目录已存在", "no such directory": "没有这个目录", "Launch again, under a new attempt id": "用新的尝试编号重新启动", "attempt {0} is not prepared": "尝试 {0} 未准备", "another state": "其他状态", "a prepared attempt": "已准备的尝试",
    "limit_s is out of range": "limit_s 超出范围", "up to {0}": "最多 {0}", "attempt {0} is {1}": "尝试 {0} 为{1!}状态", "attempt {0} was committed": "尝试 {0} 已提交", "a running or ended attempt": "运行中或已结束的尝试", "a prepared one": "已准备的尝试", "Stop it instead": "请改为停止它",
    "{0} was adopted: it is only watched": "{0} 是接管的：只观察", "an attempt that somebody started by hand": "有人手工启动的尝试", "one that was launched": "经启动的尝试", "End it where it was started; rankdeck adopt --release ends the watching": "在启动它的地方结束它；rankdeck adopt --release 结束观察",
    "attempt {0} was told to stop {1} times": "尝试 {0} 已被要求停止 {1} 次", "See which process hangs, and why": "查看哪个进程卡住及其原因", "attempt {0} is here already": "尝试 {0} 已在此", "a new attempt id": "新的尝试编号", "Adopt again": "重新接管",
    "ttl_s must be positive": "ttl_s 必须为正", "not an attempt's directory": "不是尝试的目录", "an absolute path ending in {0}": "以 {0} 结尾的绝对路径", "attempt {0} is not known here": "此处没有尝试 {0}", "See rankdeck status": "见 rankdeck status",
    "the attempt could not be started": "此次尝试无法启动", "no shim.json": "没有 shim.json", "a running shim": "运行中的 shim", "Check the node's Python, disk and process limits": "检查该节点的 Python、磁盘和进程数上限", "the attempt could not be prepared": "此次尝试无法准备",
    "a writable directory with room": "可写且有空间的目录", "Check the work directory's owner and free space": "检查工作目录的属主和剩余空间", "attempt {0} has been told to stop": "尝试 {0} 已被要求停止", "the commit comes too late": "提交来得太晚", "no prepared attempt any more": "已没有准备好的尝试",
    "a commit within the time limit": "时限内的提交", "by {0}: {1}": "操作者 {0}：{1}", "no reason given": "未说明理由", "a running attempt": "运行中的尝试", "{0} is not a name": "{0} 不是名称", "letters, digits, '.', '_' and '-'": "字母、数字、'.'、'_' 和 '-'",
    "not a file for an attempt's directory": "不能放入尝试目录的文件", "a relative path with a text, none of the agent's own files": "带文本的相对路径，不是代理自己的文件", "an attempt of this node": "此节点的尝试",
    "no commit came within the time limit": "时限内没有提交", "its time limit of {0} s is over": "已到 {0} 秒的时限", "the console that launched it has been silent for {0} s, and it did not train on all its nodes yet": "启动它的控制台已静默 {0} 秒，而它尚未在所有节点上训练", "signal {0}": "信号 {0}",
    # Devices.
    "device {0} is in use": "设备 {0} 被占用", "attempt {0} of job {1}, by {2} since {3}": "作业 {1} 的尝试 {0}，操作者 {2}，自 {3}", "a free device": "空闲的设备", "Stop that attempt (rankdeck stop {0}) or choose other devices": "停止该次尝试（rankdeck stop {0}），或另选设备",
    "a newer launch has had {0}": "较新的启动已占用 {0}", "epoch {0}, behind {1}": "纪元 {0}，在其后：{1}", "epoch {0} or later": "纪元 {0} 或更新", "This launch was overtaken; launch again if it is still wanted": "此次启动已被赶超；若仍需要请重新启动",
    "device {0} was locked by somebody else at this moment": "设备 {0} 此刻被他人锁定", "Try again": "请重试",
    # Looking into files.
    "not a text to look for": "不是可查找的文本", "1 to 1000 characters of one line": "一行内 1 至 1000 个字符", "Correct the pattern": "改正模式", "the search cannot be made": "无法查找", "Correct the pattern or the path": "改正模式或路径", "the search was given up": "查找已放弃",
    "no end after {0} s": "{0} 秒后仍未结束", "a pattern that is tried quickly": "能很快匹配的模式", "Look for a literal text, or a simpler expression": "查找字面文本，或用更简单的表达式", "exit status {0} (out of time or memory)": "退出状态 {0}（超时或内存不足）",
    "too many open logs": "打开的日志过多", "Close one": "关闭一个", "not a path on this node": "不是此节点上的路径", "an absolute path": "绝对路径", "not a regular file": "不是普通文件",
    # Mending and proving.
    "the proof file cannot be written": "验证文件无法写入", "the proof file cannot be removed": "验证文件无法删除", "a directory that can be written": "可写的目录", "Free space there": "腾出那里的空间", "Look at the directory's owner and mode, and whether it is mounted read-only": "查看目录的属主和权限，以及是否只读挂载",
    "the disk's speed cannot be measured": "无法测量磁盘速度", "a proof file is small": "验证文件应很小", "Write less": "写少一些", "too much to write": "写入过多", "Ask for less": "请减少", "the confirmed command is not this agent's": "确认的命令不是此代理的", "Check again: console and agent are of different versions": "重新检查：控制台与代理版本不同",
    "{0} is not on this node": "此节点上没有 {0}", "Install it, or mend this by hand": "安装它，或手工修复", "the remedy failed": "修复命令失败", "Run it by hand there, perhaps as root": "在那里手工运行，可能需要 root", "that is no name of a proof file": "不是验证文件的名称", "a directory": "目录",
    "Create it, or correct the path in the job file": "创建它，或改正作业文件中的路径", "that is not a remedy": "不是修复命令", "See rankdeck check for what can be mended": "可修复的内容见 rankdeck check",
    # Requests.
    "this agent does not know the request": "此代理不认识该请求", "A newer agent may: connect again with this console to renew it": "较新的代理可能认识：用此控制台重连以更新代理", "args must be an object": "args 必须是对象", "{0} needs {1}": "{0} 需要 {1}",
    "the request failed": "请求失败", "See resident.log in the agent's state directory": "见代理状态目录中的 resident.log", "the node is too busy with earlier requests": "节点忙于先前的请求", "Check whether its work directory still answers, then try again": "检查其工作目录是否仍有响应，然后重试",
    "a queue of them ({0})": "请求排队（{0}）", "this agent is not older": "此代理并不更旧", "revision {0}": "修订 {0}", "a revision above {0}": "高于 {0} 的修订", "Attach to it as it is": "照原样连接它",
    # Checkpoints.
    "it says it is of iteration {0}": "它自称属于迭代 {0}", "an empty directory: the save had only begun": "空目录：保存刚开始", "none of the formats known here: {0}": "不是已知的格式：{0}", "newer than the tracker ({0}): not finished, or the tracker was set back": "比跟踪文件（{0}）新：未完成，或跟踪文件被改回",
    "its manifest cannot be read": "其清单无法读取", "its manifest is not an object": "其清单不是对象", "{0} has another size than in the manifest": "{0} 的大小与清单不同", "no readable manifest": "没有可读的清单", "manifest is not an object": "清单不是对象", "manifest of version {0}, this program reads {1}": "清单版本为 {0}，本程序读取 {1}",
    "manifest is of iteration {0}": "清单属于迭代 {0}", "manifest lists no files": "清单未列出文件", "manifest lists {0} with size {1}": "清单列出 {0}，大小 {1}", "{0} of {1} files missing: {2}": "{1} 个文件缺 {0} 个：{2}", "{0} of {1} files have another size: {2} has {3} bytes, manifest says {4}": "{1} 个文件中 {0} 个大小不同：{2} 有 {3} 字节，清单为 {4}",
    "fewer ranks ({0}) than in {1} ({2}): its last ones are missing, or it was saved with another layout": "rank 数（{0}）少于 {1}（{2}）：缺末尾几个，或以另一种布局保存", "{0} (and {1} more)": "{0}（另有 {1} 项）", "{0} of {1} rank directories missing: {2}": "{1} 个 rank 目录缺 {0} 个：{2}",
    "a number in a name is too large: {0} of a kind would have to be there": "名称中的编号过大：同类文件须有 {0} 个",
    "{0} of {1} of Megatron's own files missing: {2}": "Megatron 自身的 {1} 个文件缺 {0} 个：{2}", "{0} of {1} model states missing: {2}": "{1} 份模型状态缺 {0} 份：{2}", "{0} of {1} optimizer states missing: {2}": "{1} 份优化器状态缺 {0} 份：{2}", "{0} of {1} shard directories missing: {2}": "{1} 个分片目录缺 {0} 个：{2}",
    "{0} of {1} files are empty: {2}": "{1} 个文件中 {0} 个为空：{2}", "{0} has no model_optim_rng.pt": "{0} 没有 model_optim_rng.pt", "{0} has no {1}, others have": "{0} 没有 {1}，其他有", "no .metadata: it is written last, so the save did not end, or another node's disk has it": "没有 .metadata：它最后写入，故保存未结束，或在另一节点的磁盘上",
    ".metadata is empty": ".metadata 为空", "no *.distcp shard": "没有 *.distcp 分片", ".metadata is torn: not a whole pickle": ".metadata 残缺：不是完整的 pickle", "{0} of {1} shards are cut off: {2} has {3} bytes, .metadata speaks of {4}": "{1} 个分片中 {0} 个被截断：{2} 有 {3} 字节，.metadata 记为 {4}",
    "{0} is torn or lists no weights": "{0} 残缺或未列出权重", "no index of the {0} shards": "{0} 个分片没有索引", "no weights": "没有权重", "trainer_state.json is torn": "trainer_state.json 残缺", "no model states": "没有模型状态", "{0}: no .local.metadata: this shard was not finished": "{0}：没有 .local.metadata：此分片未完成",
    "{0}: .local.metadata is torn": "{0}：.local.metadata 残缺", "shards of different steps: {0}": "分片的步数不同：{0}", "{0} is none of torch's files": "{0} 不是 torch 的文件", "{0} is cut off: it has no end record": "{0} 被截断：没有结束记录", "{0} is no whole JSON": "{0} 不是完整的 JSON",
    "its mark says that it is not finished": "其标记表明尚未完成", "its name says that it is not finished": "其名称表明尚未完成", "{0}: no rank's file": "{0}：没有任何 rank 的文件", "{0} of {1} arrays have no data: {2}": "{1} 个数组中 {0} 个没有数据：{2}",
    "{0} of {1} model files of ranks missing: {2}": "{1} 个 rank 的模型文件缺 {0} 个：{2}", "{0} of {1} optim files of ranks missing: {2}": "{1} 个 rank 的优化器文件缺 {0} 个：{2}", "{0} of {1} extra_state files of ranks missing: {2}": "{1} 个 rank 的 extra_state 文件缺 {0} 个：{2}",
    "{0} of {1} parts of the optimizer missing: {2}": "{1} 份优化器分片缺 {0} 份：{2}", "{0} of {1} arrays' descriptions (.zarray) missing: {2}": "{1} 份数组描述（.zarray）缺 {0} 份：{2}",
    "no part of it is there": "没有它的任何部分", "its part is not known": "其部分未知", "on no node: {0}": "任何节点上都没有：{0}", "on no node: {0} and {1} more": "任何节点上都没有：{0} 等，另有 {1} 个", "not whole": "不完整", "and {0} more": "另有 {0} 项",
}
