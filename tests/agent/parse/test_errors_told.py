"""What each maker's error lines are told as: the rule, its role, the code, and the device or rank that the line names."""

from __future__ import annotations

from typing import Optional

import pytest

from agent.parse import scan

SCANNER = scan.Scanner()
PLOG = "[ERROR] %s(60570,python):2025-11-19-11:14:58.516.606 "
RAISED = "[PID: 2969] 2025-09-01-10:00:00.123.456 "


@pytest.mark.parametrize("line, rule, role, code", [
    # HCCL, by the names that its catalogue prints before the code, and with the code first
    (RAISED + "Communication_Error_Timeout(EI0002): A timeout occurs when the Notify register waits for execution. Waiting peer rank: 3;", "hccl-notify-timeout", "cascade", "EI0002"),
    (RAISED + "Execution_Error_SDMA(EI0012): SDMA memory copy task exception occurred. Remote rank: 3.", "hccl-sdma-failed", "unclear", "EI0012"),
    ("EI0013: " + RAISED + "An error CQE occurred during operator execution. Local information: server a, device ID 2, device IP b.", "hccl-error-cqe", "root", "EI0013"),
    ("Execution_Error_UB_CQE(EI0018): An error CQE occurred during operator execution.", "hccl-error-cqe", "root", "EI0018"),
    ("EI0015: " + RAISED + "Failed to collect cluster information of the communicator based on rootInfo detection. Reason: x.", "hccl-cluster-info", "cascade", "EI0015"),
    (RAISED + "Config_Error_Ranktable(EI0017): Config x is missing in the ranktable file.", "hccl-config-invalid", "root", "EI0017"),
    ("EI0007: " + RAISED + "Failed to allocate resource stream with info 1. Reason: Resources are exhausted.", "hccl-resources-exhausted", "root", "EI0007"),
    ("EI0008: " + RAISED + "The HCCL versions are inconsistent. The local 8.0, while the remote 8.1.", "hccl-version-differs", "root", "EI0008"),
    ("EI0009: " + RAISED + "Device 3 transport init error. Reason: timeout.", "hccl-transport-init", "cascade", "EI0009"),
    ("EI0011: " + RAISED + "Failed to allocate 209715200 bytes of NPU memory.", "npu-malloc-failed", "root", "EI0011"),
    ("EI0020: " + RAISED + "Failed to enable listening for the NPU network adapter socket. Reason: x", "hccl-port-bound", "root", "EI0020"),
    ("RuntimeError: createHCCLComm:build/x.ts:1508 HCCL function error: HcclGetRootInfo(&hcclID), error code is 7", "npu-dist-call-failed", "cascade", "ERR02200"),
    (PLOG % "HCCL" + "[x.cc:1] [RankConsistentImpl][CompareFrame]errNo[0x1] dataCount differs", "hccl-collectives-differ", "root", "EI0005"),
    (PLOG % "HCCL" + "[x.cc:1] rank [[10.0.0.1/3]] status[LOST] by rank [[10.0.0.1/2]]", "hccl-heartbeat-lost", "unclear", None),
    (PLOG % "HCCL" + "[x.cc:1] Some ranks tlsStatus are inconsistent", "hccl-tls-differs", "root", None),
    # the stages that CANN 8.5 names, and what its 950 prints without a blank
    (PLOG % "HCCL" + "[sal.cc:501] [9][InitGroupStage][EnvConfig]set ifname to [abc] by HCCL_SOCKET_IFNAME, but not found in the environment", "hccl-config-invalid", "root", None),
    (PLOG % "HCCL" + "[param_check.cc:66] [9][InitGroupStage][RanktableConfig]errNo[0x0000000005010001] path /ranktable.json is not a valid real path", "hccl-ranktable-invalid", "root", "EI0004"),
    (PLOG % "HCCL" + "[checker.cc:429] [9][InitChannelStage][ParameterConflict]CMD information tag check fail.", "hccl-collectives-differ", "root", "EI0005"),
    (PLOG % "HCCL" + "[handler.cc:771] [9][TaskExecStage][Timeout][Host]Task run failed, groupRank information is group:[x], rankSize[4], rankId[2].", "hccl-task-failed", "cascade", None),
    ("[INFO] HCCL(686,python):2025-10-23-07:52:59.191.363 [heartbeat.cc:951] [8970][TaskExecStage][HeartbeatAbnormal]local rank [127.0.0.1/1]: crimer rank [127.0.0.2/2] "
     "status[LOST] by informer rank [127.0.0.3/3]", "hccl-heartbeat-lost", "unclear", None),
    (PLOG % "HCCL" + "[heartbeat.cc:1229] [9][TaskExecStage][HeartbeatAbnormal][ROCE CQE ERROR]cqe error status[12], time:[x],localInfo{server[a]}", "roce-retransmission", "root", "CQE-12"),
    ("        Transport init error. Reason: [Create][DestLink]Create Dest error! createLink para:rank[1]-localUserrank[1]-localIpAddr[a]", "hccl-transport-init", "cascade", None),
    ("[ERROR]HCCL(3729526,python3.11):2025-10-23-17:30:40.098.973 [externalinput.cc:963] [3729526] something", "cann-plog-error", "cascade", None),
    # the driver's and the runtime's numbers
    ("RuntimeError: Sync:build/x.cpp:1 NPU function error: aclrtSynchronizeStream, error code is 107020", "npu-sync-timeout", "cascade", "107020"),
    ("NPU function error: aclrtMalloc, error code is 207018", "npu-malloc-failed", "root", "207018"),
    ("NPU function error: aclrtSetDevice, error code is 107001", "npu-return-code", "unclear", "107001"),
    ("EE8888: Inner Error!", "cann-error", "unclear", "EE8888"),
    ("E30005: " + RAISED + "TSD device disconnected", "cann-error-code", "unclear", "E30005"),
    ("[ERROR] KERNEL(1,sklogd):2025-03-01-10:00:00.000.000 [dms] Event id=0x80e01801, event_name=x", "hbm-ecc-event", "root", "80e01801"),
    ("[dms] event_id:  [0x80fa4e00], assertion", "npu-fault-event", "unclear", "80fa4e00"),
    ("RuntimeError: Allocate continuous memory failed, size:1024", "npu-out-of-memory", "root", None),
    ("The node: 3 is timed out. It may exit with exception, please check this node's log.", "mindspore-node-timeout", "unclear", None),
    # a process log's own error, which no rule knows
    (PLOG % "RUNTIME" + "[engine.cc:1263]60666 ReportExceptProc:[EXEC][DEFAULT]Task exception! device_id=0", "cann-plog-error", "cascade", None),
    ("run/plog/plog-1_2.log:" + PLOG % "DRV" + "[ascend][curpid: 1, 2][drv] Mem alloc fail", "cann-plog-error", "cascade", None),
    # NCCL and the store
    ("torch.distributed.DistBackendError: NCCL error in: ../x.cpp:1331, unhandled system error (run with NCCL_DEBUG=INFO for details)", "nccl-error", "unclear", None),
    ("RuntimeError: NCCL error in: x.cpp:1, remote process exited or there was a network error, NCCL version 2.18.1", "nccl-remote-error", "cascade", None),
    ("[rank0]:[E1122 10:11:12.123 ProcessGroupNCCL.cpp:1785] [PG ID 0 Rank 0] Exception (either an error or timeout) detected by watchdog at work: 1235", "nccl-failed-or-timed-out", "cascade", None),
    ("socket.gaierror: [Errno -2] Name or service not known", "name-resolution-failed", "root", None),
    ("ConnectionRefusedError: [Errno 111] Connection refused", "peer-unreachable", "cascade", None),
    # the process
    ("Killed", "killed-by-shell", "unclear", None), ("[rank3]: Killed", "killed-by-shell", "unclear", None),
    ("bash: line 12: 12345 Killed                  python3 train.py", "killed-by-shell", "unclear", None),
    ("ImportError: libhccl.so: cannot open shared object file: No such file or directory", "module-not-found", "root", None),
    ("/bin/bash: line 1: torchrun: command not found", "module-not-found", "root", None),
    ("python3: can't open file '/w/pretrain_gpt.py': [Errno 2] No such file or directory", "module-not-found", "root", None),
    ("OSError: [Errno 24] Too many open files", "process-limit", "root", None), ("RuntimeError: can't start new thread", "process-limit", "root", None),
    ("RuntimeError: unable to mmap 1234 bytes from file </x>: Cannot allocate memory (12)", "host-memory-exhausted", "root", None),
    ("RuntimeError: DataLoader worker (pid(s) 1234, 1235) exited unexpectedly", "dataloader-worker-killed", "unclear", None),
    ("Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.", "loss-scale-minimum", "root", None),
    ("Exception: something of its own", "python-exception", "unclear", None),
    ("pretrain_gpt.py: error: unrecognized arguments: --use-flash-atn", "arguments-refused", "root", None),
    ("torchrun: error: the following arguments are required: training_script", "arguments-refused", "root", None),
    ("[2023-01-01 00:00:00,000] [ERROR] [launch.py:321:sigkill_handler] ['/usr/bin/python', 'train.py'] exits with return code = -9", "launcher-worker-ended", "unclear", "-9"),
    ("mpirun noticed that process rank 3 with PID 1234 on node n1 exited on signal 9 (Killed).", "launcher-worker-ended", "unclear", None),
    ("[2023-01-01 00:00:00,000] [INFO] [launch.py:319:sigkill_handler] Killing subprocess 1234", "torchrun-closing", "teardown", None),
    ("(WorkerDict pid=1) *** SIGSEGV received at time=1700000000 on cpu 3 ***", "native-crash", "root", None),
    # what is stored
    ("OSError: [Errno 30] Read-only file system: '/ckpt'", "read-only-filesystem", "root", "EROFS"),
    ("RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory", "checkpoint-unreadable", "root", None),
    ("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge", "checkpoint-unreadable", "root", None),
    ("RuntimeError: Error(s) in loading state_dict for GPTModel:", "checkpoint-mismatch", "root", None),
    # the host
    ("Nov 22 10:11:12 n3 kernel: blk_update_request: I/O error, dev sdb, sector 12345", "io-error", "root", "EIO"),
    ("Nov 22 10:11:12 n3 kernel: nvme nvme0: I/O 123 QID 4 timeout, aborting", "disk-device-error", "unclear", None),
    ("Nov 22 10:11:12 n3 kernel: XFS (sdb1): Metadata corruption detected at xfs_agf_read_verify", "filesystem-error", "root", None),
    ("Nov 22 10:11:12 n3 kernel: nfs: server 10.0.0.1 not responding, timed out", "shared-storage-stall", "unclear", None),
    ("Nov 22 10:11:12 n3 kernel: EDAC MC0: 1 UE memory read error on CPU_SrcID#0", "host-memory-error", "root", None),
    ("Nov 22 10:11:12 n3 kernel: python3[1234]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so", "native-crash", "root", None),
    ("Nov 22 10:11:12 n3 kernel: INFO: task python3:1234 blocked for more than 120 seconds.", "host-kernel-stall", "unclear", None),
    ("[12345.678901] hns3 0000:7d:00.0 eth0: link down", "host-link-down", "unclear", None),
    ("Nov 22 10:11:12 n3 kernel: [12345.678901] mlx5_core 0000:c1:00.0 ib0: Link down", "host-link-down", "unclear", None),
    ("Nov 22 10:11:12 n3 kernel: pcieport 0000:c0:01.0: AER: Uncorrected (Fatal) error received: 0000:c1:00.0", "pcie-error", "root", None),
    ("node3 systemd[1]: docker.service: Main process exited, code=exited, status=2/INVALIDARGUMENT", "container-engine-died", "unclear", None),
    ("write /var/lib/docker/x: no space left on device", "disk-full", "root", "ENOSPC"),
    ("docker: Error response from daemon: could not select device driver", "container-start-failed", "root", None),
])
def test_an_error_line_is_told_as(line: str, rule: str, role: str, code: Optional[str]) -> None:
    assert [(fault["rule"], fault["role"], fault["code"]) for fault in SCANNER.faults(line)] == [(rule, role, code)]


@pytest.mark.parametrize("line, name, value", [
    ("EI0013: x Local information: server 10.0.0.7, device ID 2, device IP 192.0.2.2.", "device", 2),
    ("[rank4]:   Transport init error. Reason: createLink para:rank[5]-localUserrank[4]-localIpAddr[127.10.0.1], dst_rank[6]-remoteUserrank[7]", "rank", 4),
    ("EI0009: [PID: 7] Device 3 transport init error.", "device", 3),
    ("[ERROR] DRV(60570,python):2025-11-19-11:14:58.516.606 x", "pid", 60570),
    ("n3 kernel: python3[1234]: segfault at 0 ip 0", "pid", 1234),
    ("RuntimeError: DataLoader worker (pid(s) 1234, 1235) exited unexpectedly", "pid", 1234),
])
def test_what_the_line_names(line: str, name: str, value: int) -> None:
    assert [fault[name] for fault in SCANNER.faults(line)] == [value]


@pytest.mark.parametrize("line", [
    "[INFO] HCCL(1,python):2025-12-23-22:31:40.239.170[base_config.cc:33][1][Init][EnvVarParam]Env config \"HCCL_IF_IP\" is not set.",
    "[WARNING] HCCL(60570,python):2025-11-19-11:14:58.516.606 [x.cc:1] retry",
    "[ERROR] 2025-05-15-10:00:00 of something that is no process log",
    "Killed 3 stale workers before the start", "the task was Killed and started again",
    "waiting for event_id=970, timeout=1868", "cron.service: Main process exited, code=killed", "train.py: error: 3 of 4 files skipped",
    "INFO: task list: 3 entries", "eth0: link is down for maintenance, says the plan",
    "ls: cannot access '/x': No such file or directory", "waiting for a lock: Resource temporarily unavailable, will retry",
])
def test_what_looks_like_one_is_none(line: str) -> None:
    assert SCANNER.faults(line) == []
