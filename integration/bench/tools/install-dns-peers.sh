#!/usr/bin/env bash
# Makes sure that NSD, Knot and dnsperf are there, which xcc's DNS is compared with and measured by. None of them is
# started: the packages' services are kept from running while they are installed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
PATH=$PATH:/usr/sbin

missing() {
    command -v nsd >/dev/null || echo nsd
    command -v knotd >/dev/null || echo knot
    command -v dnsperf >/dev/null || echo dnsperf
}

[[ -z $(missing) ]] && exit 0
lock apt
mapfile -t packages < <(missing)
[[ ${#packages[@]} -eq 0 ]] && exit 0
# Exit code 101 of this file means: start no service (invoke-rc.d). A file that is there already says what it says.
policy=/usr/sbin/policy-rc.d
if [[ $(id -u) -eq 0 && ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
install_packages "${packages[@]}"
