#!/bin/sh
# Entrypoint of the stand-in for docker:dind, with the manners of the public image's own: TLS with certificates made
# anew in $DOCKER_TLS_CERTDIR where that is set, else plain TCP; words that begin with a dash are the engine's flags.
set -eu

# The subjects must differ: a certificate whose issuer has its own name is taken for self-signed.
certificate() { # certificate FOLDER NAME EXTENSIONS
    mkdir -p "$1"
    openssl ecparam -genkey -name prime256v1 -noout -out "$1/key.pem"
    openssl req -new -key "$1/key.pem" -subj "/CN=$2" -out "$1/request.pem"
    printf '%s\n' "$3" > "$1/extensions"
    openssl x509 -req -days 2 -in "$1/request.pem" -CA "$DOCKER_TLS_CERTDIR/ca/cert.pem" \
        -CAkey "$DOCKER_TLS_CERTDIR/ca/key.pem" -CAcreateserial -extfile "$1/extensions" -out "$1/cert.pem" 2> /dev/null
    cp "$DOCKER_TLS_CERTDIR/ca/cert.pem" "$1/ca.pem"
}

certificates() {
    mkdir -p "$DOCKER_TLS_CERTDIR/ca"
    openssl ecparam -genkey -name prime256v1 -noout -out "$DOCKER_TLS_CERTDIR/ca/key.pem"
    openssl req -new -x509 -days 2 -key "$DOCKER_TLS_CERTDIR/ca/key.pem" -subj "/CN=authority" \
        -addext keyUsage=critical,keyCertSign -out "$DOCKER_TLS_CERTDIR/ca/cert.pem"
    certificate "$DOCKER_TLS_CERTDIR/server" server "subjectAltName=DNS:docker,DNS:localhost,DNS:$(hostname),IP:127.0.0.1"
    certificate "$DOCKER_TLS_CERTDIR/client" client extendedKeyUsage=clientAuth
}

if [ -n "${DOCKER_TLS_CERTDIR:-}" ]; then
    certificates
    set -- --tlsverify --tlscacert "$DOCKER_TLS_CERTDIR/server/ca.pem" --tlscert "$DOCKER_TLS_CERTDIR/server/cert.pem" \
        --tlskey "$DOCKER_TLS_CERTDIR/server/key.pem" --host tcp://0.0.0.0:2376 "$@"
else
    set -- --tls=false --host tcp://0.0.0.0:2375 "$@"
fi

# The second version of cgroups has no processes in a group with children; the engine's own leave the root for one.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p /sys/fs/cgroup/init
    xargs -rn1 < /sys/fs/cgroup/cgroup.procs > /sys/fs/cgroup/init/cgroup.procs 2> /dev/null || true
    sed -e 's/ / +/g' -e 's/^/+/' < /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control || true
fi

# The variables are those of the job's client, and not meant for this engine.
unset DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH
exec dockerd --host unix:///var/run/docker.sock "$@"
