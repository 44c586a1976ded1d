"""Chinese for what ``rankdeck import`` finds in a source: what is wrong with it, and why something is not in the job file; part of ``words_zh``.

As in ``words_zh_rules``: ``{0}``, ``{1}``, ... stand for what was filled in, in the order of appearance.
"""

from __future__ import annotations

from collections.abc import Mapping

IMPORTS: Mapping[str, str] = {
    # What was left.
    "the nodes' names": "节点名", "the {0}s {1}": "这些 {0}：{1}", "the AscendFactory directory": "AscendFactory 目录", "the training command": "训练命令", "the directory the command is run in": "运行命令的目录", "the entry script": "入口脚本",
    "{0} docker run lines": "{0} 行 docker run", "commands of node rank {0}": "node rank {0} 的命令", "{0} per device x {1} accumulation steps": "每卡 {0} x 累积 {1} 步", "stage sft with ckpt_load_type 2": "stage sft 且 ckpt_load_type 2",
    "NCCL_* variables": "NCCL_* 变量", "devices {0}": "设备 {0}", "image {0}": "镜像 {0}",
    # Why.
    "put those of your fleet file into fleet.nodes": "把集群文件中的节点名填入 fleet.nodes", "the commands do not have them: put those of your fleet file into fleet.nodes": "命令中没有：把集群文件中的节点名填入 fleet.nodes",
    "the nodes' names are in the fleet file: put them into fleet.nodes": "节点名在集群文件中：把它们填入 fleet.nodes",
    "a job is one {0}: the first, {1}, was taken; give the ascendfactory-cli command beside the file to choose": "一个作业对应一个 {0}：取第一个 {1}；要另选请同时给出 ascendfactory-cli 命令",
    "ModelArts copies to and from OBS; here use hooks of stage": "ModelArts 与 OBS 互相复制；这里请用 stage 的钩子", "the global batch is that times the data-parallel size; {0} is for one node of 8 (rule A1)": "全局批次是它乘以数据并行数；{0} 按一个 8 卡节点计（规则 A1）",
    "every attempt has settings of its own, written in its directory": "每次尝试有自己的设置，写在其目录中", "the text has no cd to it: fill runner.workdir in": "文本中没有 cd：请填写 runner.workdir",
    "run once in a new container (container.setup); without a container run it by hand": "在新容器中运行一次（container.setup）；没有容器则手工运行", "the settings do not say; fill train.iterations in": "设置中没有；请填写 train.iterations",
    "a reference inside the settings file; write the value itself": "设置文件内部的引用；请直接写值", "the job's mode is sft or lora, and checkpoint.load says resume": "作业的 mode 是 sft 或 lora，且 checkpoint.load 为 resume", "set for each node by the launch": "启动时为每个节点设置",
    "the job file has no field for it; it stays in the settings file": "作业文件没有对应字段；保留在设置文件中", "the job file has no field for it": "作业文件没有对应字段",
    "this looks like a placeholder; put the image's reference or id in": "像是占位符；请填入镜像的引用或 id", "a docker run line has none; give it in a file beside this one, or fill runner, train, data and checkpoint in": "docker run 行中没有；请在另一文件中给出，或填写 runner、train、data 和 checkpoint",
    "a job takes the first NPUs of a node: 0 to {0}": "作业使用节点的前几个 NPU：0 至 {0}", "the container is kept open with bash; the training command is run in it": "容器以 bash 保持运行；训练命令在其中执行", "the container is kept open with bash": "容器以 bash 保持运行",
    "the launcher removes its containers itself, and keeps them while something has to be looked at": "启动器自行删除容器，需要查看时保留", "runner.workdir says where the command starts": "runner.workdir 指定命令的起始目录",
    "a container that docker restarts would come back without its ranks": "由 docker 重启的容器回来时没有 rank", "the command does not say and the script's default is not documented; fill it in": "命令中没有，脚本的默认值也无文档；请填写",
    "pretraining starts from nothing; give RUN_TYPE=retrain to go on from weights": "预训练从零开始；要从权重继续请给 RUN_TYPE=retrain", "addresses are in the fleet file; the first of fleet.nodes is the master": "地址在集群文件中；fleet.nodes 的第一个是主节点",
    "the launcher keeps all output; a pipe would also hide the script's exit status": "启动器保存全部输出；管道还会掩盖脚本的退出状态", "they are not in the text; the job is for all nodes, with the values of the ones that are": "文本中没有；作业面向全部节点，取已有命令的值",
    "the command does not say; written out is the script's default {0}": "命令中没有；写出的是脚本的默认值 {0}", "it is not in the text: fill runner.workdir in": "文本中没有：请填写 runner.workdir", "only the shell knows what the $ stands for; write the value itself": "只有 shell 知道 $ 代表什么；请直接写值",
    "0 switches sharded checkpoints off (rule S5r): no interval is set": "0 表示关闭分片检查点（规则 S5r）：未设间隔", "the newest are kept, not the best by {0} ({1})": "保留最新的，而不是按 {0}（{1}）最好的", "a secret is named, never written: it is read from HF_TOKEN on the node": "密钥只写名称，不写内容：在节点上从 HF_TOKEN 读取",
    "a secret is named, never written: it is read from GIT_TOKEN on the node": "密钥只写名称，不写内容：在节点上从 GIT_TOKEN 读取", "a secret is named, never written: it is read from that variable on the node": "密钥只写名称，不写内容：在节点上从该变量读取",
    "only hardware that can do it is allowed to (rule S8r); amax settings are not carried over": "只在支持的硬件上允许（规则 S8r）；amax 设置未带入", "HyperPod's adapter brings its own; name your training script in runner.entry": "HyperPod 的适配器自带入口；请在 runner.entry 中指定训练脚本",
    "choose a hardware profile of your own nodes: ascend-a2-8, ascend-a3-16 or cpu": "选择与自己节点相符的硬件配置：ascend-a2-8、ascend-a3-16 或 cpu", "there is no quantised LoRA here: plain LoRA was taken": "这里没有量化 LoRA：改用普通 LoRA",
    "train_dir may hold JSON, JSON.gz or Arrow, tokenised already: set data.format to what it is (rule D5)": "train_dir 可能是已分词的 JSON、JSON.gz 或 Arrow：请按实际设置 data.format（规则 D5）", "HCCL does not read them; they are kept for CUDA nodes": "HCCL 不读取；为 CUDA 节点保留",
    "nodes here have a file system, no object store: set checkpoint.dir to a shared directory": "这里的节点用文件系统，没有对象存储：请把 checkpoint.dir 设为共享目录", "only one can go with a job; none was taken": "一个作业只能配一行；都未采用",
    "Hydra's own settings": "Hydra 自身的设置", "the nodes are in the fleet file": "节点在集群文件中",
    # What is wrong: messages.
    "these are no settings": "这不是设置", "the settings have no {0} {1}": "设置中没有 {0} {1}", "no such training stage": "没有这个训练阶段", "no such way to load": "没有这种加载方式", "ascendfactory-cli has no such subcommand": "ascendfactory-cli 没有这个子命令",
    "train_auto_resume is true or false": "train_auto_resume 只能是 true 或 false", "{0} is not a whole number": "{0} 不是整数", "{0} is not a number": "{0} 不是数", "AscendFactory does not read {0}": "AscendFactory 不读取 {0}",
    "the line names no image": "该行没有镜像", "there is a blank in the image's name": "镜像名中有空格", "there is a blank at the end of {0}": "{0} 末尾有空格",
    "no such RUN_TYPE": "没有这种 RUN_TYPE", "NNODES is not a number of nodes": "NNODES 不是节点数", "the script does not read {0}": "脚本不读取 {0}",
    "the other nodes cannot reach this master": "其他节点连不上这个主节点", "no such node rank": "没有这个 node rank", "{0} differs between the nodes; only NODE_RANK may": "{0} 在各节点间不同；只有 NODE_RANK 可以不同", "there are blanks round the value of {0}": "{0} 的值前后有空格",
    "there is a blank after {0}=, so the shell gives {1} nothing and runs {2} as a command": "{0}= 之后有空格，shell 会给 {1} 空值并把 {2} 当作命令运行", "{0} is missing in a command for {1} nodes": "{1} 个节点的命令中缺少 {0}", "two nodes have the same rank": "两个节点的 rank 相同",
    "there is a blank before the = of {0}": "{0} 的 = 之前有空格", "the config's recipe was not given": "未给出该配置的配方", "sharded checkpoints of adapters cannot lie on S3": "适配器的分片检查点不能放在 S3",
    "full checkpoints cannot lie on S3": "完整检查点不能放在 S3",
    # Got and expected.
    "a block of parameters": "一组参数", "pt or sft": "pt 或 sft", "0, 1 or 2": "0、1 或 2", "train or config": "train 或 config",
    "the address of node 0 in the training network": "训练网络中 0 号节点的地址", "{0} on node ranks {1}": "node rank {1} 上为 {0}", "{0}={1} on all": "全部为 {0}={1}", "{0}=... on all": "全部为 {0}=...", "no {0} anywhere": "都没有 {0}", "NODE_RANK={0} twice": "NODE_RANK={0} 出现两次", "0 to {0}, each once": "0 至 {0}，各一次",
    "the recipe's file beside the config": "配置旁的配方文件", "auto_checkpoint and every_n_train_steps {0}": "auto_checkpoint 与 every_n_train_steps {0}", "a directory of a file system": "文件系统中的目录", "final_export_dir in a local file system": "本地文件系统中的 final_export_dir",
    # The next move.
    "sft is the default": "默认是 sft", "0 loads nothing, 1 weights, 2 weights and optimizer": "0 不加载，1 权重，2 权重和优化器", "Did you mean train?": "是否指 train？", "Fill it in": "请填写", "Set container.image": "设置 container.image", "The job file has it without": "作业文件中已去掉",
    "Take container.args out if it works without": "若不需要请去掉 container.args", "Did you mean {0}? The job file takes it so": "是否指 {0}？作业文件已按此处理", "The job file has pretrain; mend it": "作业文件写的是 pretrain；请改正", "Write how many nodes take part": "写明有几个节点参加",
    "Give the first node its address in the fleet file": "在集群文件中给第一个节点写地址", "Ranks of nodes count from 0": "node rank 从 0 开始", "The job file has one value for all nodes; check that it is the right one": "作业文件对所有节点用一个值；请确认它正确",
    "The job file has the value that was meant; take the blank out of the command": "作业文件中是想要的值；请去掉命令中的空格", "The launch sets it itself; check that no other is missing": "启动时会自行设置；请确认没有漏掉其他", "The launch numbers nodes itself": "启动时会自行给节点编号",
    "Take the blank out": "去掉空格", "Name both: rankdeck import config.yaml recipe.yaml": "同时给出两者：rankdeck import config.yaml recipe.yaml", "The job file has the manual ones; set auto_checkpoint.enabled to False": "作业文件用手动检查点；请把 auto_checkpoint.enabled 设为 False",
    "Set checkpoint.dir to a shared file system": "把 checkpoint.dir 设到共享文件系统", "Set export.dir": "设置 export.dir",
}
