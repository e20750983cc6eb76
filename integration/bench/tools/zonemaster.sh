#!/usr/bin/env bash
# Zonemaster's tests of a zone that xcc serves, undelegated, over IPv4 and IPv6, in a network namespace of their own (the
# tests want port 53). Fails at any finding from NOTICE upwards that is not listed below with the reason why it stays, at
# a listed one that is not found any more, and when a test that says so in its own words has not passed.
#
#   zonemaster.sh DNS-SERVER      the program dns-server of xcc-bench
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

# Findings that stay.
expected=(
    # The namespace has private addresses only, and no zone for reverse lookup.
    NAMESERVER_IP_PRIVATE_NETWORK
    NO_RESPONSE_PTR_QUERY
    # One name server, whose address is a Service's: the replicas are behind that one.
    NOT_ENOUGH_NS_DEL
    NOT_ENOUGH_NS_CHILD
    NOT_ENOUGH_IPV4_NS_CHILD
    NOT_ENOUGH_IPV4_NS_DEL
    NOT_ENOUGH_IPV6_NS_CHILD
    NOT_ENOUGH_IPV6_NS_DEL
    # The zone is not signed: its parent is the cluster's forwarding, which checks no signatures.
    NOT_SIGNED
    NEITHER_DNSKEY_NOR_DS
    # Names come and go with what is exported: nobody is to remember for five minutes that there is none.
    SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER
    # Nobody gets mail there.
    RNAME_MAIL_DOMAIN_INVALID
    Z09_MISSING_MAIL_TARGET
)
# What tests say that passed. Others pass silently.
passed=(
    DISTINCT_IP_ADDRESS REFERRAL_SIZE_OK ARE_AUTHORITATIVE NO_NS_CNAME SOA_EXISTS NAMES_MATCH ADDRESSES_MATCH
    ONE_SOA_SERIAL ONE_SOA_RNAME ONE_SOA_TIME_PARAMETER_SET ONE_NS_SET ONE_SOA_MNAME
    NO_RECURSOR EDNS0_SUPPORT AXFR_FAILURE SAME_SOURCE_IP CAN_BE_RESOLVED NO_UPWARD_REFERRAL QNAME_CASE_SENSITIVE
    CASE_QUERIES_RESULTS_OK NAMESERVER_SYNTAX_OK RNAME_NO_AT_SIGN MNAME_SYNTAX_OK
    REFRESH_MINIMUM_VALUE_OK REFRESH_HIGHER_THAN_RETRY RETRY_MINIMUM_VALUE_OK EXPIRE_MINIMUM_VALUE_OK MNAME_IS_NOT_CNAME ONE_SOA
)
addresses=(10.0.0.1 fd00::1)
zone=xcc.test

inside() {
    ip link set lo up
    ip address add "${addresses[0]}/32" dev lo
    ip address add "${addresses[1]}/128" dev lo nodad
    "$1" xcc --listen '[::]:53' --names 100 --name-server "$(IFS=,; echo "${addresses[*]}")" &
    server=$!
    trap 'kill $server' EXIT
    for address in "${addresses[@]}"; do
        until dig +short +time=1 +tries=1 "@$address" soa "$zone" 2>/dev/null | grep -q hostmaster; do
            kill -0 "$server" || fail "the server ended"
            sleep 0.1
        done
    done
    zonemaster-cli "$zone" --ns "ns.dns.$zone/${addresses[0]}" --ns "ns.dns.$zone/${addresses[1]}" \
        --level INFO --raw --ipv4 --ipv6
}

# Tags of the findings with these levels.
tags() {
    awk -v levels="$1" '$2 ~ "^(" levels ")$" {sub(/[^A-Z0-9_].*/, "", $3); print $3}' <<<"$findings" | sort -u
}

if [[ ${1-} == --inside ]]; then
    inside "$2"
    exit
fi
[[ $# -eq 1 ]] || fail "usage: zonemaster.sh DNS-SERVER"
"$root/integration/tools/install-dig.sh"
if ! command -v zonemaster-cli >/dev/null; then
    lock apt
    install_packages zonemaster-cli
fi
findings=$(in_network_namespace timeout 300 "$0" --inside "$(realpath "$1")" 2>&1) || fail "zonemaster-cli failed: $findings"
known=$(printf '%s\n' "${expected[@]}" | sort)
bad=$(tags 'NOTICE|WARNING|ERROR|CRITICAL')
new=$(comm -23 <(echo "$bad") <(echo "$known"))
gone=$(comm -13 <(echo "$bad") <(echo "$known"))
missing=$(comm -13 <(tags INFO) <(printf '%s\n' "${passed[@]}" | sort))
if [[ -n $new$gone$missing ]]; then
    printf '%s\n' "$findings" >&2
    fail "findings that nobody has looked at: ${new:-none}; listed but not found: ${gone:-none}; not passed: ${missing:-none}"
fi
say "${#passed[@]} tests say that they passed; ${#expected[@]} findings, all of them known"
