#!/usr/bin/env bash
# Replies come from the address that was asked (RFC 2181, section 4), also when the server listens on all of them: IPv4 and
# IPv6, UDP and TCP, and a link-local address from another host. In network namespaces of their own; dig takes no reply
# from elsewhere.
#
#   reply-source.sh DNS-SERVER      the program dns-server of xcc-bench
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

name=service-00000.xcc.test

# ask ADDRESS [SOURCE [COMMAND...]]: by UDP and TCP, with dig run by the command; no source is whatever there is.
ask() {
    local address=$1 source=${2-} transport
    shift $(($# < 2 ? $# : 2))
    for transport in +notcp +tcp; do
        "$@" dig +short +time=2 +tries=2 "$transport" ${source:+-b "$source"} "@$address" a "$name" | grep -qx 10.0.0.1 ||
            fail "no reply of $address ($transport)"
    done
}

inside() {
    ip link set lo up
    for address in 10.0.0.1 10.0.0.2; do ip address add "$address/32" dev lo; done
    for address in fd00::1 fd00::2; do ip address add "$address/128" dev lo nodad; done
    unshare --net sleep 120 &
    local other=$!
    "$1" xcc --listen '[::]:53' --names 1 &
    local server=$!
    # shellcheck disable=SC2064
    trap "kill $server $other" EXIT
    until [[ $(readlink /proc/$other/ns/net) != $(readlink /proc/self/ns/net) ]]; do sleep 0.05; done
    local elsewhere=(nsenter --net="/proc/$other/ns/net")
    ip link add name v0 type veth peer name v1
    ip link set v1 netns "$other"
    ip address add fe80::a/64 dev v0 nodad
    ip link set v0 up
    "${elsewhere[@]}" ip address add fe80::b/64 dev v1 nodad
    "${elsewhere[@]}" ip link set v1 up
    until dig +short +time=1 +tries=1 @127.0.0.1 a "$name" 2>/dev/null | grep -q .; do
        kill -0 "$server" || fail "the server ended"
        sleep 0.1
    done
    for address in 127.0.0.1 127.0.0.3 10.0.0.1 10.0.0.2; do ask "$address" 127.0.0.1; done
    for address in ::1 fd00::1 fd00::2; do ask "$address" ::1; done
    ask fe80::a%v1 "" "${elsewhere[@]}"
}

if [[ ${1-} == --inside ]]; then
    inside "$2"
    exit
fi
[[ $# -eq 1 ]] || fail "usage: reply-source.sh DNS-SERVER"
"$root/integration/tools/install-dig.sh"
in_network_namespace timeout 120 "$0" --inside "$(realpath "$1")"
say "each reply came from the address that was asked"
