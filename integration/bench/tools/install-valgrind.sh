#!/usr/bin/env bash
# Installs valgrind from Debian, for the instruction counts; as root, and only if it is missing.
# Usage: integration/bench/tools/install-valgrind.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

command -v valgrind >/dev/null || install_packages valgrind
