#!/usr/bin/env bash
# Builds what bench-xds starts: our servers in release, and go-control-plane's below target/release/peers.
# Usage: integration/bench/tools/build.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"
cd "$root"

target=${CARGO_TARGET_DIR:-$root/target}
cargo build --release --locked --package xcc --package xcc-bench
mkdir -p "$target/release/peers"
(cd integration/bench/peers/go-control-plane && go build -o "$target/release/peers/go-control-plane" .)
