#!/usr/bin/env bash
# Makes sure that BIND's dig is there, which the DNS tests ask with.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v dig >/dev/null && exit 0
lock apt
command -v dig >/dev/null && exit 0
install_packages bind9-dnsutils
