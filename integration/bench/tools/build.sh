#!/usr/bin/env bash
# Builds what bench-xds starts: our servers in release, and below target/release/peers those of go-control-plane
# and rust-control-plane. (The latter's dependencies run protobuf's compiler.)
# Usage: integration/bench/tools/build.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
cd "$root"

target=${CARGO_TARGET_DIR:-$root/target}
cargo build --release --locked --package xcc --package xcc-bench
mkdir -p "$target/release/peers"
(cd integration/bench/peers/go-control-plane && go build -o "$target/release/peers/go-control-plane" .)

if ! command -v protoc >/dev/null || [[ ! -f /usr/include/google/protobuf/descriptor.proto ]]; then
    lock apt
    install_packages protobuf-compiler libprotobuf-dev
fi
cargo build --release --locked --manifest-path integration/bench/peers/rust-control-plane/Cargo.toml \
    --target-dir "$target/peers"
cp "$target/peers/release/rust-control-plane" "$target/release/peers/"
