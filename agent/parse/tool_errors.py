"""What npu-smi, hccn_tool and the shells that start them print instead of an output, or in the middle of one.

Owns the wording of those lines and the codes in them. Refuses to say what a code means (``agent.catalogue``
does) and to look for lines. Never raises. Source: the tools' printing code (hicann/driver: npu_smi.c,
npu_chip_info.c, the error lists of hccn_tool) and captures; all of npu-smi's come on stdout.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional

TEXT_LIMIT = 500
LINE_LIMIT = 2000
"""Characters of a line that are looked at, as in the parsers of the outputs."""

_CODE = r"(?P<code>-?[0-9]{1,9})(?:\s*\.)?\s*$"
_SMI = (
    re.compile(r"dcmi mod(?:ule|el) initiali[sz]ed? failed\b.*?ret is " + _CODE),
    re.compile(r"\bret(?:urn)? ?code: ?(?P<code>-[0-9]{3,9})\b"),
    re.compile(r"^\s*(?:Invalid (?:card|chip|device|npu) id\b|Error parameter (?:of -|in )|This device does not support |The vnpu is not in docker mode"
               r"|get npu info failed|show npu card info fail|This command cannot be executed on a VM)"),
    re.compile(r"^\s*[Ff]ailed to (?:get|query|obtain) (?:npu|mcu|cpu|chip|card|board|device)\b(?:.*?\b(?:ret|err)(?: is |=| ?: ?)" + _CODE + ")?"),
    re.compile(r"^\s*\[WARNING\] ?The driver package may not be completely installed"),
)
# bash, dash, zsh, env, a container's runtime, the loader; in the languages of their users
_SHELL = (
    re.compile(r"\b(?:npu-smi|hccn_tool)['\"]?\s?[:：] ?(?:(?:command )?not found\b|未找到命令|No such file or directory|没有那个文件或目录|Permission denied|权限不够)"
               r"|\bcommand not found: (?:npu-smi|hccn_tool)\b|exec: \"?(?:/\S*/)?(?:npu-smi|hccn_tool)\"?: (?:executable file not found|permission denied|stat )"),
    re.compile(r"\blib(?:dcmi|drvdsmi_host)\.so\b.*(?:cannot open|No such file)|\b(?:npu-smi|hccn_tool): error while loading shared libraries: "),
)
# hccn_tool's own, whole lines: nothing else in them is a value
_NETWORK = re.compile(
    r"^\s*(?:(?:Cmd|Command) execute failed\b.*|hccn_tool is busy, .*|permission denied: pls check .*|Get (?:gateway|ipconf|ip) failed, because .*"
    r"|Get (?:device health status|device info|lock) failed[!.].*|Get (?:invalid|unknown) (?:device id|major cmd|parameters|option|input)\b.*"
    r"|The device is (?:not exist|occupied)\b.*|Control link unreachable\.?|(?:The command|This optical module|The VM) (?:is|does) not support.*"
    r"|Command unsupported on this optical module\.?|I2c is busy\..*|Execute failed: .*|The cmd line execute timeout!|Get (?:net )?health status failed!?"
    r"|No certificate found, .*|The [Cc]ertificate has expired!|The certificates are illegal!|target (?:chip|udie|port) is invalid, .*"
    r"|Please specify a (?:valid )?(?:mode|cmd)\.|Parse cmd option failed\.|The total count of (?:options|input parameters) is wrong[.!]"
    r"|Read file failed, .*|The (?:hccn\.conf|conf file) can't access, .*|The system is in optical module initializing, .*"
    r"|Destination Host Unreachable|Message too long|Traceroute execution (?:failed|timeout)\.)\s*$")

# DCMI's own codes, -8001 to -8255: none of them is the beginning of another number that the tool prints.
_WHOLE_CODE = re.compile(r"-8[0-9]{3}$")


def smi(line: str, ended: bool = True) -> Optional[Dict[str, Any]]:
    """{code, text} where a (cleaned) line is an error of npu-smi or of a shell that was to start one of the tools; None for any other.

    ``code`` is None where none is printed, or where its last digits may be missing (not ``ended``).
    """
    ended = ended and len(line) <= LINE_LIMIT
    for pattern in _SMI + _SHELL:
        found = pattern.search(line[:LINE_LIMIT])
        if found:
            code = found.groupdict().get("code")
            sure = code is not None and (ended or _WHOLE_CODE.match(code))
            return {"code": int(code) if code is not None and sure else None, "text": line.strip()[:TEXT_LIMIT]}
    return None


def network(line: str) -> Optional[Dict[str, Any]]:
    """{code: None, text} where a (cleaned) line is an error of hccn_tool, or of a shell that was to start it; None for any other."""
    line = line[:LINE_LIMIT]
    if _NETWORK.match(line) or ("hccn_tool" in line and any(pattern.search(line) for pattern in _SHELL)):
        return {"code": None, "text": line.strip()[:TEXT_LIMIT]}
    return None
