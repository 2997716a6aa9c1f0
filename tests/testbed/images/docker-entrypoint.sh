#!/bin/sh
# Entrypoint of the stand-in for docker:cli, with the manners of the public image's own: without a socket and without
# DOCKER_HOST it points the client at the service `docker`, with TLS where there are certificates.
set -eu

if [ -z "${DOCKER_HOST:-}" ] && [ ! -S /var/run/docker.sock ]; then
    if [ -n "${DOCKER_TLS_CERTDIR:-}" ] && [ -s "$DOCKER_TLS_CERTDIR/client/ca.pem" ]; then
        export DOCKER_HOST=tcp://docker:2376 DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH="$DOCKER_TLS_CERTDIR/client"
    else
        export DOCKER_HOST=tcp://docker:2375
    fi
fi
exec "$@"
