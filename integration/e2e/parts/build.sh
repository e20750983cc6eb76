#!/usr/bin/env bash
# Builds the real parts into .cache/e2e/bin, and copies the manifests that come with them: each part once, and again
# only when its sources here or this script change. The first build takes about half an hour on two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../tools/lib.sh"

parts=$root/integration/e2e/parts
e2e=$cache/e2e
bin=$e2e/bin
PATH=$PATH:/usr/local/go/bin
export CGO_ENABLED=0 GOFLAGS= GOWORK=off GOTOOLCHAIN=local

command -v go >/dev/null || fail "go is missing: install Go 1.26 or newer"
lock e2e-build
mkdir -p "$bin" "$e2e/stamps"

# Has the part been made of what is here now?
stamp() {
    cat "${BASH_SOURCE[0]}" "$parts/$1"/* | sha256sum | cut -d' ' -f1
}

fresh() {
    [[ -e $bin/$2 && $(cat "$e2e/stamps/$1" 2>/dev/null) == "$(stamp "$1")" ]]
}

# build PART BINARY PACKAGE [LDFLAGS]: in place whole or not at all.
build() {
    local part=$1 binary=$2 package=$3 flags=${4:-}
    fresh "$part" "$binary" && return
    local start=$SECONDS
    say "building $binary"
    (cd "$parts/$part" && go build -mod=readonly -trimpath -ldflags "-s -w $flags" -o "$bin/.$binary" "$package") ||
        fail "$binary does not build"
    mv "$bin/.$binary" "$bin/$binary"
    stamp "$part" >"$e2e/stamps/$part"
    say "built $binary in $((SECONDS - start)) s"
}

# The folder of a module's sources, downloaded with the build.
module() {
    (cd "$parts/$1" && go list -mod=readonly -m -f '{{.Dir}}' "$2")
}

# Without these Kubernetes calls itself v0.0.0-master, and kubectl warns about it.
kubernetes=$(cd "$parts/kubernetes" && go list -mod=readonly -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes#v1.}
minor=${minor%%.*}
version=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    version+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=$minor"
    version+=" -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

build coredns coredns github.com/coredns/coredns
# Benchmarks need no more than that.
[[ ${1-} != coredns ]] || exit 0
build contour contour github.com/projectcontour/contour/cmd/contour
build cert-manager cert-manager-controller .
build kubernetes kubernetes . "$version"
ln -sf kubernetes "$bin/kubectl"

contour=$(module contour github.com/projectcontour/contour)
certmanager=$(module cert-manager github.com/cert-manager/cert-manager)
rm -rf "$e2e/crds" "$e2e/contour"
mkdir -p "$e2e/crds" "$e2e/contour"
cp "$contour/examples/contour/01-crds.yaml" "$e2e/crds/contour.yaml"
for file in "$certmanager"/deploy/crds/*.yaml; do
    cp "$file" "$e2e/crds/"
done
for file in "$contour"/examples/contour/*.yaml; do
    [[ $file == */01-crds.yaml ]] || cp "$file" "$e2e/contour/"
done
cp "$root/integration/e2e/manifests/contour/kustomization.yaml" "$e2e/contour/"
chmod -R u+w "$e2e/crds" "$e2e/contour"
