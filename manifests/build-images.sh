#!/usr/bin/env bash
# Builds the binary, linked statically, and the image with it; prints the image's name. `make build-images` runs this.
#
#   IMAGE_REGISTRY  goes before the name, as in registry.example/team (default: none)
#   IMAGE_TAG       default: dev
#   IMAGE_ENGINE    docker, podman or buildah (default: the first that works)
#   IMAGE_ARCHIVE   writes the image to this file (an OCI archive; docker's own format with docker)
#   XCC_BINARY      takes this static binary instead of building one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:$HOME/.cargo/bin

registry=${IMAGE_REGISTRY:-}
image=${registry:+${registry%/}/}xcc:${IMAGE_TAG:-dev}

say() { printf '==> %s\n' "$*" >&2; }
fail() {
    printf '%s: %s\n' "${BASH_SOURCE[0]##*/}" "$*" >&2
    exit 1
}

# Building needs a store that this user can write, which podman and buildah do not need a daemon for. vfs and chroot work
# where overlay mounts and namespaces are not to be had.
engine_works() {
    case $1 in
    docker) docker info ;;
    podman) podman info ;;
    buildah) buildah "${buildah_options[@]}" info ;;
    *) false ;;
    esac >/dev/null 2>&1
}
buildah_options=()
buildah info >/dev/null 2>&1 || buildah_options=(--storage-driver vfs)

choose_engine() {
    local engine
    for engine in ${IMAGE_ENGINE:-docker podman buildah}; do
        if engine_works "$engine"; then
            printf '%s\n' "$engine"
            return
        fi
    done
    fail "none of ${IMAGE_ENGINE:-docker, podman and buildah} works here; on Debian and Ubuntu: apt-get install buildah"
}

# glibc can be linked statically: its archive comes with its headers, so no other toolchain is needed. A target that is
# named keeps the flags from build scripts and from the cache of other builds.
build_binary() {
    local target
    target=$(rustc -vV | sed -n 's/^host: //p')
    RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
        cargo build --release --locked --package xcc --bin xcc --target "$target" >&2
    printf '%s\n' "target/$target/release/xcc"
}

# An image without a loader cannot run anything else.
check_static() {
    if LC_ALL=C readelf --program-headers --wide "$1" 2>/dev/null | grep -q 'INTERP'; then
        fail "$1 is linked dynamically"
    fi
}

# The image has to start: that also shows that the binary needs nothing else.
check_image() {
    local engine=$1 container
    case $engine in
    docker | podman) "$engine" run --rm --network none "$image" version >&2 ;;
    buildah)
        container=$(buildah "${buildah_options[@]}" from --pull-never "$image")
        # shellcheck disable=SC2064 # the container and the directory of now
        trap "buildah ${buildah_options[*]} rm '$container' >/dev/null; rm -rf '$context'" EXIT
        buildah "${buildah_options[@]}" run --isolation chroot "$container" -- /xcc version >&2
        ;;
    esac || fail "$image does not start"
}

main() {
    local engine binary context
    engine=$(choose_engine)
    binary=${XCC_BINARY:-$(build_binary)}
    check_static "$binary"
    # Only the binary goes to the engine, not the whole project.
    context=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$context'" EXIT
    install -m 0755 "$binary" "$context/xcc"
    say "building $image with $engine"
    case $engine in
    docker)
        docker build --quiet --file Containerfile --tag "$image" "$context" >&2
        [[ -z ${IMAGE_ARCHIVE:-} ]] || docker save --output "$IMAGE_ARCHIVE" "$image"
        ;;
    podman)
        podman build --quiet --file Containerfile --tag "$image" "$context" >&2
        [[ -z ${IMAGE_ARCHIVE:-} ]] || podman save --quiet --format oci-archive --output "$IMAGE_ARCHIVE" "$image" >&2
        ;;
    buildah)
        buildah "${buildah_options[@]}" bud --isolation chroot --quiet --file Containerfile --tag "$image" "$context" >&2
        [[ -z ${IMAGE_ARCHIVE:-} ]] ||
            buildah "${buildah_options[@]}" push --quiet "$image" "oci-archive:$IMAGE_ARCHIVE:$image" >&2
        ;;
    esac
    check_image "$engine"
    printf '%s\n' "$image"
}

main
