"""Asks every kind of name for every kind of type, over UDP and TCP, and compares with the rules.

Usage: matrix.py SERVER PORT GATEWAY. Prints what is wrong and exits with 1, or how many checks passed.
The names are exported by the test that runs this: nginx.xcc.test, a.deep.xcc.test and *.team.xcc.test.
"""

import sys

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype

SERVER, PORT, GATEWAY = sys.argv[1], int(sys.argv[2]), sys.argv[3]
TIMEOUT_S = 5
ZONE = "xcc.test."

# Names that have addresses, that exist without any (the apex apart), and that do not exist.
SERVED = ["nginx.xcc.test.", "NGINX.xcc.TEST.", "a.deep.xcc.test.", "x.team.xcc.test.", "x.y.team.xcc.test.",
          "*.team.xcc.test."]
EMPTY = ["deep.xcc.test.", "team.xcc.test."]
ABSENT = ["unknown.xcc.test.", "x.nginx.xcc.test.", "b.deep.xcc.test.", "x.a.deep.xcc.test.", "nginx.xcc.test.xcc.test."]
OUTSIDE = ["example.com.", "test.", ".", "notxcc.test."]
OTHER_TYPES = ["AAAA", "TXT", "MX", "HTTPS", "SVCB", "SRV", "CNAME", "PTR", "DS", "DNSKEY", "CAA", "TYPE1000"]

passed = 0
failures = []


def check(what, held, response):
    global passed
    if held:
        passed += 1
    else:
        failures.append(f"{what}\n{response}")


def udp(query):
    return dns.query.udp(query, SERVER, port=PORT, timeout=TIMEOUT_S)


def tcp(query):
    return dns.query.tcp(query, SERVER, port=PORT, timeout=TIMEOUT_S)


def ask(name, rdtype, transport):
    query = dns.message.make_query(name, rdtype, use_edns=False)
    response = transport(query)
    what = f"{name} {rdtype} over {transport.__name__}"
    # dnspython has compared id and question already; case must be the same, too.
    check(f"{what}: question echoed byte for byte",
          [str(q.name) for q in response.question] == [str(q.name) for q in query.question], response)
    check(f"{what}: RA and AD clear", not response.flags & (dns.flags.RA | dns.flags.AD), response)
    return what, response


def check_negative(what, response, rcode):
    check(f"{what}: {dns.rcode.to_text(rcode)}", response.rcode() == rcode, response)
    check(f"{what}: authoritative", response.flags & dns.flags.AA, response)
    check(f"{what}: nothing in the answer", not response.answer, response)
    soa = [rrset for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    check(f"{what}: one SOA of the zone", len(soa) == 1 and soa[0].name == dns.name.from_text(ZONE), response)
    # RFC 2308 section 3: how long a negative answer may be kept.
    check(f"{what}: TTL of the SOA is its minimum at most", bool(soa) and soa[0].ttl <= soa[0][0].minimum, response)


def check_served(name, transport):
    what, response = ask(name, "A", transport)
    check(f"{what}: NOERROR", response.rcode() == dns.rcode.NOERROR, response)
    check(f"{what}: authoritative", response.flags & dns.flags.AA, response)
    addresses = [rdata.address for rrset in response.answer for rdata in rrset]
    check(f"{what}: the gateway's address", addresses == [GATEWAY], response)
    check(f"{what}: the owner is the name asked for",
          [rrset.name for rrset in response.answer] == [dns.name.from_text(name)], response)


for transport in (udp, tcp):
    for name in SERVED:
        check_served(name, transport)
        for rdtype in OTHER_TYPES:
            check_negative(*ask(name, rdtype, transport), dns.rcode.NOERROR)
    for name in EMPTY:
        for rdtype in ["A"] + OTHER_TYPES:
            check_negative(*ask(name, rdtype, transport), dns.rcode.NOERROR)
    for name in ABSENT:
        for rdtype in ["A"] + OTHER_TYPES:
            check_negative(*ask(name, rdtype, transport), dns.rcode.NXDOMAIN)
    for name in OUTSIDE:
        what, response = ask(name, "A", transport)
        check(f"{what}: REFUSED", response.rcode() == dns.rcode.REFUSED, response)
        check(f"{what}: neither data nor referral",
              not response.answer and not response.authority and not response.flags & dns.flags.AA, response)
    check_negative(*ask(ZONE, "A", transport), dns.rcode.NOERROR)
    for rdtype in ("SOA", "NS"):
        what, response = ask(ZONE, rdtype, transport)
        check(f"{what}: one record", [len(rrset) for rrset in response.answer] == [1], response)

for opcode in (dns.opcode.IQUERY, dns.opcode.STATUS, dns.opcode.NOTIFY, dns.opcode.UPDATE):
    query = dns.message.Message()
    query.set_opcode(opcode)
    response = udp(query)
    check(f"opcode {dns.opcode.to_text(opcode)}: NOTIMP", response.rcode() == dns.rcode.NOTIMP, response)

# EDNS: our own size, no matter what the client offers; padding and cookies are not echoed.
for payload in (512, 1232, 4096):
    query = dns.message.make_query("nginx.xcc.test.", "A", use_edns=0, payload=payload, want_dnssec=True)
    response = udp(query)
    check(f"EDNS with {payload} bytes", response.edns == 0 and response.payload == 1232, response)
    check("EDNS: DO copied, no options", response.ednsflags & dns.flags.DO and not response.options, response)

if failures:
    print("\n".join(failures))
    sys.exit(1)
print(f"{passed} checks passed")
