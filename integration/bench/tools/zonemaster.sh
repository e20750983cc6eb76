#!/usr/bin/env bash
# Zonemaster's tests of a zone that xcc serves, undelegated, in a network namespace of their own (the tests want port 53).
# Fails at any finding from NOTICE upwards that is not listed below with the reason why it stays.
#
#   zonemaster.sh DNS-SERVER      the program dns-server of xcc-bench
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

# Findings that stay.
expected=(
    # The namespace has private addresses only, one name server, and no zone for reverse lookup.
    NAMESERVER_IP_PRIVATE_NETWORK
    NO_RESPONSE_PTR_QUERY
    NOT_ENOUGH_NS_DEL
    NOT_ENOUGH_NS_CHILD
    NOT_ENOUGH_IPV4_NS_CHILD
    NOT_ENOUGH_IPV4_NS_DEL
    NO_IPV6_NS_CHILD
    NO_IPV6_NS_DEL
    # The zone is not signed: its parent is the cluster's forwarding, which checks no signatures.
    NOT_SIGNED
    NEITHER_DNSKEY_NOR_DS
    # Nobody transfers the zone, so that refresh, retry and expire mean nothing; negative answers live as short as
    # positive ones, on purpose; nobody gets mail there.
    REFRESH_MINIMUM_VALUE_LOWER
    RETRY_MINIMUM_VALUE_LOWER
    SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER
    EXPIRE_MINIMUM_VALUE_LOWER
    RNAME_MAIL_DOMAIN_INVALID
    Z09_MISSING_MAIL_TARGET
)
address=10.0.0.1
zone=xcc.test

inside() {
    ip link set lo up
    ip address add "$address/32" dev lo
    "$1" xcc --listen "$address:53" --names 100 &
    server=$!
    trap 'kill $server' EXIT
    for _ in $(seq 100); do
        dig +short +time=1 +tries=1 "@$address" soa "$zone" 2>/dev/null | grep -q hostmaster && break
        sleep 0.1
    done
    zonemaster-cli "$zone" --ns "ns.dns.$zone/$address" --level NOTICE --no-ipv6 --raw
}

if [[ ${1-} == --inside ]]; then
    inside "$2"
    exit
fi
[[ $# -eq 1 ]] || fail "usage: zonemaster.sh DNS-SERVER"
[[ $(id -u) -eq 0 ]] || fail "needs root, for a network namespace"
if ! command -v zonemaster-cli >/dev/null; then
    lock apt
    install_packages zonemaster-cli
fi
findings=$(unshare --net "$0" --inside "$(realpath "$1")" 2>&1) || fail "zonemaster-cli failed: $findings"
grep -q NOT_SIGNED <<<"$findings" || fail "zonemaster-cli has no findings at all, not even those that stay: $findings"
left=$(grep -v -F "$(printf '%s\n' "${expected[@]}")" <<<"$findings" || true)
if [[ -n $left ]]; then
    printf '%s\n' "$left" >&2
    fail "findings that nobody has looked at"
fi
say "$(wc -l <<<"$findings") findings, all of them known"
