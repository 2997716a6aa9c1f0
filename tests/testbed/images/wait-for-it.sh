#!/bin/sh
# Entrypoint of the stand-in for sumina46/wait-for-it, by which gitlab-ci-local waits for a service as GitLab's runner does:
#
#   wait-for-it.sh HOST:PORT -t SECONDS
set -eu

deadline=$(($(date +%s) + ${3:-30}))
until nc -w 1 "${1%:*}" "${1##*:}" < /dev/null > /dev/null 2>&1; do
    [ "$(date +%s)" -lt "$deadline" ] || exit 1
    sleep 0.2
done
