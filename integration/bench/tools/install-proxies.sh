#!/usr/bin/env bash
# Installs HAProxy and nginx with its stream module from Debian, for B12; as root, and only what is missing.
# Usage: integration/bench/tools/install-proxies.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

packages=()
command -v haproxy >/dev/null || packages+=(haproxy)
[[ -x /usr/sbin/nginx ]] || packages+=(nginx)
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || packages+=(libnginx-mod-stream)
[[ ${#packages[@]} -eq 0 ]] || install_packages "${packages[@]}"
