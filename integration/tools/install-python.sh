#!/usr/bin/env bash
# Makes a Python virtual environment in .cache/python, with dnspython for the DNS tests, gRPC and Envoy's
# API for the xDS tests, and pip for Envoy.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

requirements=$root/integration/tools/requirements.txt
target=$cache/python
# A virtual environment cannot be moved into place: the copy of the requirements, written last, says it is whole.
complete() { cmp -s "$requirements" "$target/.complete"; }

complete && exit 0
lock python
complete && exit 0

command -v python3 >/dev/null || install_packages python3 python3-venv
rm -rf "$target"
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install_packages python3-venv
fi
python3 -m venv "$target" || fail "python3 -m venv failed: is the Debian package python3-venv installed?"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" ||
    fail "pip could not install $(tr '\n' ' ' <"$requirements")"
cp "$requirements" "$target/.complete"
