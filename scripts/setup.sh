#!/bin/sh
# Makes .venv and installs the project into it, in place. Usage: scripts/setup.sh EXTRAS STAMP
#
#   EXTRAS  of pyproject.toml, e.g. demo or demo,trainer,dev
#   STAMP   file inside .venv, touched at the end; make compares it with pyproject.toml
#
# Nothing is asked, nothing outside .venv is written but pip's own cache, and no root is needed.
set -eu
extras=$1
stamp=$2
say() { printf '%s\n' "$*" >&2; }

find_python() {
    # Run each candidate: a version manager's shim may exist for a version that is not active.
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.10 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    say "setup: no Python 3.10 or later was found (got: $( (python3 --version) 2>/dev/null || echo none), expected: python3.11)."
    say "Install Python 3.11, or name one: make PYTHON=/path/to/python3.11 ..."
    exit 1
}

# A .venv whose interpreter is gone, or that was interrupted before pip was in it, is of no use.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    rm -rf .venv
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        say "setup: $python cannot make virtual environments: its ensurepip or venv module is missing."
        say "Debian and Ubuntu ship them apart: apt-get install python$version-venv, then try again."
        exit 1
    fi
    say "setup: making .venv with $python ($("$python" --version 2>&1))"
    "$python" -m venv .venv
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }
started=$(date +%s)
torch=$(sed -n 's/^trainer = .*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
if ! pip show -q torch >/dev/null 2>&1; then
    # Apart and first, so that the one large download is not repeated when something later fails.
    say "setup: installing $torch (the one large download, a few minutes)"
    pip install -q --no-compile "$torch"
fi
say "setup: installing the project with its extras: $extras"
pip install -q --no-compile -e ".[$extras]"
# pip would do it on one core. Without bytecode the first screen takes half as long again; what does not compile
# (templates, samples for other Pythons) is imported by nobody.
.venv/bin/python -m compileall -qq -j 0 "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
.venv/bin/python -m compileall -q console agent trainer bench || true
touch "$stamp"
say "setup: done in $(($(date +%s) - started)) s"
