# shellcheck shell=bash
# To be sourced: a registry, and engines with empty state, from what `setup` beside this file made.
#
#   registry_up               starts the registry unless one answers at $REGISTRY
#   engine_up KIND NAME       starts an engine; exports DOCKER_HOST, DOCKER_CONFIG and PATH for it
#   engine_down NAME          stops it and deletes all that it had
#   engines_sweep             engine_down for every engine whose owner is gone
#   crane ARGUMENTS...        the independent client that checks what was pushed
#
# KIND is 20, 26g, 26c, 28g or 28c: the Docker version, then its image store (graph driver or containerd).
# NAME must be unique among those who use the machine at the same time. An engine belongs to the process
# $ENGINE_OWNER (this shell), and is swept when that has ended without stopping it. $ENGINE_INSECURE names further
# registries for plain HTTP, separated by blanks; $ENGINE_MIRROR another mirror for Docker's own images. With $ENGINE_TLS, a
# port, it listens there on loopback as well, to those who have the certificates of run/NAME/tls (DOCKER_CERT_PATH).
# Processes are ended by their own pid and only after a look at their command line.

TESTBED=${LAYERLIFT_TESTBED:-/tmp/layerlift-testbed}
REGISTRY=${LAYERLIFT_TESTBED_REGISTRY:-localhost:5177}

crane() { "$TESTBED/engines/tools/usr/bin/crane" "$@"; }

registry_answers() { curl -fs -m 5 "http://$REGISTRY/v2/" > /dev/null 2>&1; }

registry_up() {
    registry_answers && return
    (
        flock 8
        registry_answers && exit
        mkdir -p "$TESTBED/registry"
        printf '%s\n' 'version: 0.1' 'log: {level: error}' 'http: {addr: "127.0.0.1:'"${REGISTRY##*:}"'"}' \
            "storage: {filesystem: {rootdirectory: $TESTBED/registry}, delete: {enabled: true}}" > "$TESTBED/registry.yml"
        # It outlives the shell that started it, and must not inherit the locks.
        setsid "$TESTBED/engines/tools/usr/bin/docker-registry" serve "$TESTBED/registry.yml" \
            > "$TESTBED/registry.log" 2>&1 < /dev/null 8>&- 9>&- &
        echo $! > "$TESTBED/registry.pid"
        for _ in {1..100}; do
            registry_answers && exit
            sleep 0.1
        done
        echo "the registry did not start:" >&2
        tail -n 5 "$TESTBED/registry.log" >&2
        exit 1
    ) 8> "$TESTBED/registry.lock"
}

# started_at PID: a process's start time, which tells it from a later one with the same number.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2> /dev/null | cut -d ' ' -f 20; }

# certificates FOLDER: an authority, an engine's certificate for loopback, and a client's.
certificates() {
    mkdir -p "$1"
    local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2)
    "${new[@]}" -subj /CN=authority -keyout "$1/ca-key.pem" -out "$1/ca.pem"
    "${new[@]}" -subj /CN=engine -CA "$1/ca.pem" -CAkey "$1/ca-key.pem" -keyout "$1/server-key.pem" \
        -out "$1/server.pem" -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE
    "${new[@]}" -subj /CN=client -CA "$1/ca.pem" -CAkey "$1/ca-key.pem" -keyout "$1/key.pem" -out "$1/cert.pem" \
        -addext extendedKeyUsage=clientAuth -addext basicConstraints=critical,CA:FALSE
}

engine_up() {
    local version=${1%[gc]} store=${1:2} folder=$TESTBED/run/$2 features="" insecure="\"$REGISTRY\"" registry
    local engine=$TESTBED/engines/$version owner=${ENGINE_OWNER:-$$}
    [ -x "$engine/usr/sbin/dockerd" ] || { echo "no engine of kind $1: run tests/testbed/setup" >&2; return 1; }
    engine_down "$2"
    mkdir -p "$folder/config/cli-plugins"
    echo "$owner $(started_at "$owner")" > "$folder/owner"
    # Docker's CLI looks for plugins in the system's folder or in its configuration's; the former is not ours.
    find "$engine/usr/libexec/docker/cli-plugins" -type f -exec ln -s {} "$folder/config/cli-plugins/" \; 2> /dev/null
    case $store in
        c) features='"features": {"containerd-snapshotter": true},' ;;
        g) features='"features": {"containerd-snapshotter": false},' ;;
    esac
    for registry in ${ENGINE_INSECURE:-}; do insecure+=", \"$registry\""; done
    # A graph driver tries a layer six times, over 75 seconds, before it says that it cannot be had. Tests need not wait.
    printf '{%s "max-download-attempts": 1, "insecure-registries": [%s], "registry-mirrors": ["%s"], "bridge": "none", "iptables": false}\n' \
        "$features" "$insecure" "${ENGINE_MIRROR:-http://$REGISTRY}" > "$folder/daemon.json"
    local listen=()
    if [ -n "${ENGINE_TLS:-}" ]; then
        certificates "$folder/tls" 2> "$folder/tls.log" || { cat "$folder/tls.log" >&2; return 1; }
        listen=(-H "tcp://127.0.0.1:$ENGINE_TLS" --tlsverify --tlscacert "$folder/tls/ca.pem"
            --tlscert "$folder/tls/server.pem" --tlskey "$folder/tls/server-key.pem")
    fi
    local system_path
    system_path=$(printf '%s' "$PATH" | tr ':' '\n' | grep -v "^$TESTBED/engines/" | paste -sd:)
    export PATH=$engine/usr/bin:$engine/usr/sbin:$TESTBED/engines/20/usr/bin:$TESTBED/engines/20/usr/sbin:$system_path
    export DOCKER_HOST=unix://$folder/sock DOCKER_CONFIG=$folder/config
    setsid dockerd --config-file "$folder/daemon.json" --data-root "$folder/data" --exec-root "$folder/exec" \
        -H "$DOCKER_HOST" "${listen[@]}" --pidfile "$folder/pid" > "$folder/log" 2>&1 < /dev/null 8>&- 9>&- &
    disown
    for _ in {1..300}; do
        [ "$(curl -fs -m 5 --unix-socket "$folder/sock" http://localhost/_ping 2> /dev/null)" = OK ] && return
        sleep 0.1
    done
    echo "engine $1 did not start:" >&2
    tail -n 5 "$folder/log" >&2
    return 1
}

# stop PIDFILE FOLDER: ends the process that the file names, if it is one that was started for the folder.
stop() {
    local pid
    pid=$(cat "$1" 2> /dev/null) || return 0
    is_of() { grep -qaF "$1/" "/proc/$pid/cmdline" 2> /dev/null; }
    is_of "$2" || return 0
    kill "$pid" 2> /dev/null
    for _ in {1..150}; do
        is_of "$2" || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2> /dev/null
}

engine_down() {
    local folder=$TESTBED/run/$1
    [ -d "$folder" ] || return 0
    stop "$folder/pid" "$folder"
    # The engine ends its containerd itself, unless it had to be killed.
    stop "$folder/exec/containerd/containerd.pid" "$folder"
    awk -v below="$folder/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n 1 umount -l 2> /dev/null
    rm -rf "$folder"
}

engines_sweep() {
    local folder owner since
    for folder in "$TESTBED"/run/*/; do
        read -r owner since 2> /dev/null < "$folder/owner" || continue
        if [ -z "$since" ] || [ "$(started_at "$owner")" != "$since" ]; then engine_down "$(basename "$folder")"; fi
    done
}
