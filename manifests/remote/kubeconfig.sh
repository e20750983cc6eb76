#!/bin/sh
# Prints the Secret with which an importing cluster reads this cluster: a kubeconfig of the ServiceAccount that
# `kubectl apply -k manifests/remote` has made. Needs kubectl only.
#
#   KUBECONFIG=shared-services.kubeconfig manifests/remote/kubeconfig.sh shared-services |
#     kubectl --kubeconfig workloads.kubeconfig apply -f -
set -eu

namespace=xcc-remote
importing_namespace=cross-cluster-connectivity
token_secret=xcc-remote-token

usage() {
    cat >&2 <<USAGE
usage: ${0##*/} NAME [--server URL]
  NAME          what this cluster is called where it is imported: a RemoteCluster's name
  --server URL  the API server as the importing cluster reaches it (default: as kubectl does here)
The cluster is kubectl's current one; KUBECONFIG chooses another.
USAGE
    exit 2
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

config() {
    kubectl config view --minify --flatten --raw --output "jsonpath={.clusters[0].cluster.$1}"
}

token_field() {
    kubectl --namespace "$namespace" get secret "$token_secret" --output "jsonpath={.data.$1}"
}

name='' server=''
while [ $# -gt 0 ]; do
    case $1 in
    --server)
        [ $# -ge 2 ] || usage
        server=$2
        shift
        ;;
    --server=*) server=${1#--server=} ;;
    -*) usage ;;
    *)
        [ -z "$name" ] || usage
        name=$1
        ;;
    esac
    shift
done
case $name in
'' | [!a-z0-9]* | *[!a-z0-9-]* | *-) usage ;;
esac

authority=$(config certificate-authority-data)
server_name=$(config tls-server-name)
if [ -z "$server" ]; then
    server=$(config server)
    case $server in
    https://127.* | https://localhost[:/]* | https://localhost | https://\[::1\]*)
        fail "kubectl reaches the API server at $server, which another cluster cannot; give --server" ;;
    esac
fi
case $server in
https://*) ;;
*) fail "the API server's address $server does not start with https://" ;;
esac

# The token is filled in shortly after the Secret is made.
token='' tries=0
while [ -z "$token" ]; do
    token=$(token_field token) || fail "no Secret $namespace/$token_secret; run kubectl apply -k manifests/remote first"
    [ -n "$token" ] || {
        tries=$((tries + 1))
        [ "$tries" -le 30 ] || fail "Secret $namespace/$token_secret got no token within 30 s"
        sleep 1
    }
done
# kubectl may verify the server with the system's authorities, or not at all: an xcc does with these.
[ -n "$authority" ] || authority=$(token_field 'ca\.crt')

kubeconfig() {
    cat <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: $name
clusters:
- name: $name
  cluster:
    server: $server
    certificate-authority-data: $authority
${server_name:+    tls-server-name: $server_name
}contexts:
- name: $name
  context:
    cluster: $name
    user: xcc-remote
users:
- name: xcc-remote
  user:
    token: $(printf %s "$token" | base64 -d)
KUBECONFIG
}

cat <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: $name-kubeconfig
  namespace: $importing_namespace
type: Opaque
data:
  value: $(kubeconfig | base64 | tr -d '\n')
SECRET
