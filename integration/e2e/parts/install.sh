#!/usr/bin/env bash
# Installs the Debian packages that the end-to-end tests need, as root where apt-get is; elsewhere it names them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

# program package
needed="ip iproute2
nft nftables
nsenter util-linux
setpriv util-linux
bwrap bubblewrap
nginx nginx-light
curl curl
dig bind9-dnsutils"

[[ $(id -u) -eq 0 ]] || fail "network namespaces need root"
PATH=$PATH:/usr/sbin:/sbin
missing=()
while read -r program package; do
    command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needed"
if [[ ${#missing[@]} -gt 0 ]]; then
    lock apt
    # A package that brings a service must not start it here.
    export RUNLEVEL=1
    install_packages "${missing[@]}"
fi

# What no package brings is the kernel's: say so here rather than in the middle of a run.
probe=xcc-e2e.probe.$$
ip netns add "$probe" || fail "this kernel or container does not allow network namespaces"
trap 'ip netns delete "$probe"' EXIT
ip -n "$probe" link add name probe0 type veth peer name probe1 || fail "this kernel has no veth"
ip netns exec "$probe" nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 100; }' ||
    fail "this kernel has no nftables NAT"
