#!/usr/bin/env bash
# Fails when `make generate` would change a file: generated files are committed with what they are made from.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# The working tree, not the last commit, is what has to be fresh: compare with it as it was before.
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
generated=(envoy/descriptors.bin)

for file in "${generated[@]}"; do
    cp --parents "$file" "$before"
done
make --no-print-directory generate
for file in "${generated[@]}"; do
    cmp -s "$file" "$before/$file" || fail "$file was not fresh: commit what 'make generate' has made of it now"
done
