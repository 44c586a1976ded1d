"""What the system's ``ssh`` wrote on standard error, as an error for the operator. Pure.

Sources: OpenSSH 9.2 sshconnect.c (check_host_key, warn_changed_key), sshconnect2.c ("Permission denied (%s)"),
ssh.c and misc.c; texts have not changed since 7.2. At LogLevel DEBUG1 the server's key is named by
``debug1: Server host key: ssh-ed25519 SHA256:...`` whether it is known or not.
"""

from __future__ import annotations

import re

from console.core.errors import ConnectError, HostKeyError
from console.remote.transport import LoginError, UnreachableError

# debug1: Server host key: ssh-ed25519 SHA256:pZ0mCkC2oYbZ3oD0VQ4n4p0m1l0Y8v0g
_SHOWN_KEY = re.compile(r"^debug1: Server host key: (\S+) (SHA256:\S+)", re.MULTILINE)
# debug1: Found key in /home/ops/.ssh/known_hosts:3
_FOUND_KEY = re.compile(r"^debug1: Found key in (.+):[0-9]+$", re.MULTILINE)
# No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.
_UNKNOWN = re.compile(r"^No (\S+) host key is known for (\S+) and you have requested strict checking", re.MULTILINE)
_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
# Offending ED25519 key in /home/ops/.ssh/known_hosts:3
_OFFENDING = re.compile(r"^Offending \S+ key in (.+)$", re.MULTILINE)
# Host key for [127.0.0.1]:2222 has changed and you have requested strict checking.
_CHANGED_NAME = re.compile(r"^Host key for (\S+) has changed", re.MULTILINE)
# ops@127.0.0.1: Permission denied (publickey,keyboard-interactive).
_DENIED = re.compile(r"^(?:(\S+): )?Permission denied \(([^)]*)\)", re.MULTILINE)
_NO_NAME = re.compile(r"^ssh: Could not resolve hostname (\S+): (.+)$", re.MULTILINE)
_NO_WAY = re.compile(r"^ssh: connect to host (\S+) port (\d+): (.+)$", re.MULTILINE)
# channel 0: open failed: connect failed: Connection refused
_NO_TUNNEL = re.compile(r"^channel \d+: open failed: (.+)$", re.MULTILINE)
_CONFIG = re.compile(r"^(\S+(?: line \d+)?: (?:Bad configuration option|Bad owner or permissions|.*unsupported option).*|Bad owner or permissions on .+|.*terminating, \d+ bad configuration options.*)$",
                     re.MULTILINE)


def said(stderr: str) -> str:
    """What a person should read of it: neither debugging nor banners of stars."""
    lines = [line.strip() for line in stderr.replace("\r", "").splitlines()]
    return " / ".join(line for line in lines if line and not line.startswith(("debug1:", "OpenSSH_", "Authenticated to ", "@@@")))[-500:]


def key_shown(stderr: str) -> tuple[str, list[str]]:
    """Fingerprint of the key that the last host on the way showed, "" for none, and the files that have keys of hosts on the way."""
    text = stderr.replace("\r", "")
    shown = _SHOWN_KEY.findall(text)
    return (shown[-1][1] if shown else ""), _FOUND_KEY.findall(text)


def error(stderr: str, where: str) -> ConnectError:
    """Why a master did not come up: HostKeyError, LoginError or a plain ConnectError."""
    text = stderr.replace("\r", "")
    shown = _SHOWN_KEY.findall(text)
    key_type, fingerprint = shown[-1] if shown else ("", "")
    if _CHANGED in text:
        name = _CHANGED_NAME.search(text)
        offending = _OFFENDING.search(text)
        host = name[1] if name else where
        return HostKeyError(
            f"HOST KEY CHANGED: {host} does not show the key it had; someone may be listening in",
            where=offending[1] if offending else where, fingerprint=fingerprint, got=f"{key_type} {fingerprint}".strip(),
            expected="the key in known_hosts",
            fix=f"If the host was really installed anew, remove the old line (ssh-keygen -R '{host}') and connect again.")
    unknown = _UNKNOWN.search(text)
    if unknown or "Host key verification failed" in text:
        return HostKeyError(f"host key of {unknown[2] if unknown else where} is not known", where=where, fingerprint=fingerprint,
                            got=f"{key_type} {fingerprint}".strip(), expected="a key from known_hosts",
                            fix="Compare the fingerprint with the host's own, then connect once with --accept-new.")
    denied = _DENIED.search(text)
    if denied or "Too many authentication failures" in text:
        return LoginError(f"{denied[1] if denied and denied[1] else 'the server'} does not let us in", where=where, got=said(text),
                          expected=f"a login by {denied[2].replace(',', ' or ')}" if denied else "",
                          fix="Try `ssh` by hand: it uses the same configuration. Load the key with ssh-add, or name it in the fleet file.")
    if found := _CONFIG.search(text):
        return ConnectError("the SSH configuration cannot be used", where=where, got=found[1], fix="Mend that line, or name another file.")
    if found := _NO_NAME.search(text):
        return UnreachableError(f"the name {found[1]} cannot be resolved", where=where, got=found[2],
                                fix="Check `host` in the fleet file and the resolver on this machine.")
    if found := _NO_TUNNEL.search(text):
        return UnreachableError("the jump host cannot reach the node", where=where, got=found[1],
                                fix="Is the machine up, and does the jump host's sshd allow TCP forwarding?")
    if found := _NO_WAY.search(text):
        silent = "timed out" in found[3]
        fix = "Is the machine up, and does a firewall drop the connection?" if silent else "Is sshd running there, on that port?"
        return (ConnectError if silent else UnreachableError)(f"no connection to {found[1]} port {found[2]}", where=where, got=found[3], fix=fix)
    return ConnectError("ssh did not connect", where=where, got=said(text) or "no word of why",
                        fix="Try `ssh` by hand: it uses the same configuration.")
