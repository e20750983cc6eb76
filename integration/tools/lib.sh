# What the installers share; sourced, never run.
# Everything that is installed goes below .cache/ in the project's own folder, is put in place whole or not at
# all, and is left alone when it is there: a second run needs no network.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/.cache
# The Rust toolchain may be installed without the login shell's PATH, as on a bare CI machine.
PATH=$PATH:$HOME/.cargo/bin

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

say() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
}

# Two `make` at once would otherwise install over each other. The lock goes when the script ends.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/.$1.lock"
    flock 9
}

# Runs a command in a network namespace of its own. Whoever is not root is it in a user namespace of their own, where the
# kernel lets them.
in_network_namespace() {
    unshare --net $([[ $(id -u) -eq 0 ]] || echo --map-root-user) "$@"
}

# Installs Debian packages: only as root, only on a machine that has apt-get, else it says what to do.
install_packages() {
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        fail "missing: $*. Install with: sudo apt-get install $*"
    fi
    say "installing $* with apt-get"
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$cache/apt.log" 2>&1; then
        apt-get update -qq >"$cache/apt.log" 2>&1 || fail "apt-get update failed: $(tail -n 3 "$cache/apt.log")"
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$cache/apt.log" 2>&1 ||
            fail "apt-get install $* failed: $(tail -n 3 "$cache/apt.log")"
    fi
}
