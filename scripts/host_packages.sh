#!/bin/sh
# Installs what the real-host tests need (Debian, root), and starts none of it.
set -eu
say() { printf '%s\n' "$*" >&2; }

missing=
want() { [ -n "$(PATH="$PATH:/usr/sbin:/sbin" command -v "$1")" ] || missing="$missing $2"; }
want sshd openssh-server
want ssh-keygen openssh-client
want ip iproute2
want nft nftables
want tmux tmux
want nsenter util-linux
want dockerd docker.io
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    say "test-hosts: needs root, to make network namespaces and to install:$missing."
    say "Run it as root on a machine you may change, for instance in a throw-away virtual machine."
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    say "test-hosts: missing:$missing, and there is no apt-get here. Install the programs of these packages by hand."
    exit 1
fi

# Debian starts a service when it installs it; this is its own way to say no (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
say "test-hosts: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update || say "test-hosts: apt-get update failed; going on with the lists that are here"
apt-get -qq install -y --no-install-recommends $missing >/dev/null
