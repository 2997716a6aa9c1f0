# shellcheck shell=bash
# To be sourced after lib.sh: the machine that a CI runner starts its jobs on, as `runners` beside this file made it.
#
#   runner_up OWNER      starts it unless it runs; exports DOCKER_HOST, DOCKER_CONFIG, PATH and RUNNER_ADDRESS
#   runner_down OWNER    this owner needs it no longer; it is stopped when nobody does
#   runner_sweep         runner_down for every owner that is gone
#
# It is an engine of Docker 28 with a network bridge of its own, whose images stand in for those of public registries:
# docker:28-cli, docker:28-dind and their like. Jobs are containers there, with a docker:dind service each. They reach
# this machine at $RUNNER_ADDRESS: the testbed's registry at its usual port, and whatever a test makes listen there.
# All tests share one, since it holds no state that a job could see. OWNER is the number of a process.

RUNNER=$TESTBED/runner
RUNNER_BRIDGE=layerlift0 # engines without a bridge delete docker0, whosever it is
RUNNER_ADDRESS=172.29.0.1

runner_engine_answers() { [ "$(curl -fs -m 5 --unix-socket "$RUNNER/sock" http://localhost/_ping 2> /dev/null)" = OK ]; }

runner_docker() {
    PATH=$TESTBED/engines/28/usr/bin:$PATH DOCKER_HOST=unix://$RUNNER/sock DOCKER_CONFIG=$RUNNER/config docker "$@"
}

runner_up() {
    mkdir -p "$RUNNER/users" "$RUNNER/config/cli-plugins"
    (
        flock 8
        started_at "$1" > "$RUNNER/users/$1"
        runner_bridge_up && runner_registry_up && runner_engine_up
    ) 8> "$RUNNER/lock" || return
    export PATH=$TESTBED/engines/28/usr/bin:$PATH DOCKER_HOST=unix://$RUNNER/sock DOCKER_CONFIG=$RUNNER/config RUNNER_ADDRESS
}

runner_bridge_up() {
    [ -e "/sys/class/net/$RUNNER_BRIDGE" ] && return
    ip link add "$RUNNER_BRIDGE" type bridge && ip address add "$RUNNER_ADDRESS/24" dev "$RUNNER_BRIDGE" \
        && ip link set "$RUNNER_BRIDGE" up
}

# The testbed's registry listens on the loopback only. This one has the same storage.
runner_registry_up() {
    local address=$RUNNER_ADDRESS:${REGISTRY##*:}
    curl -fs -m 5 "http://$address/v2/" > /dev/null 2>&1 && return
    mkdir -p "$TESTBED/registry"
    printf '%s\n' 'version: 0.1' 'log: {level: error}' "http: {addr: \"$address\"}" \
        "storage: {filesystem: {rootdirectory: $TESTBED/registry}, delete: {enabled: true}}" > "$RUNNER/registry.yml"
    setsid "$TESTBED/engines/tools/usr/bin/docker-registry" serve "$RUNNER/registry.yml" \
        > "$RUNNER/registry.log" 2>&1 < /dev/null 8>&- 9>&- &
    echo $! > "$RUNNER/registry.pid"
    for _ in {1..100}; do
        curl -fs -m 5 "http://$address/v2/" > /dev/null 2>&1 && return
        sleep 0.1
    done
    echo "the runner's registry did not start:" >&2
    tail -n 5 "$RUNNER/registry.log" >&2
    return 1
}

runner_engine_up() {
    local engine=$TESTBED/engines/28
    runner_engine_answers && return
    find "$engine/usr/libexec/docker/cli-plugins" -type f -exec ln -sf {} "$RUNNER/config/cli-plugins/" \;
    printf '{"features": {"containerd-snapshotter": false}, "bridge": "%s", "insecure-registries": ["%s/24"],\n%s}\n' \
        "$RUNNER_BRIDGE" "$RUNNER_ADDRESS" '"default-address-pools": [{"base": "172.30.0.0/16", "size": 24}]' \
        > "$RUNNER/daemon.json"
    # A killed engine leaves its pid file, whose number may be another process by now.
    rm -f "$RUNNER/pid" "$RUNNER/exec/containerd/containerd.pid"
    PATH=$engine/usr/bin:$engine/usr/sbin:$PATH setsid dockerd --config-file "$RUNNER/daemon.json" \
        --data-root "$RUNNER/data" --exec-root "$RUNNER/exec" -H "unix://$RUNNER/sock" --pidfile "$RUNNER/pid" \
        > "$RUNNER/log" 2>&1 < /dev/null 8>&- 9>&- &
    for _ in {1..300}; do
        runner_engine_answers && return
        sleep 0.1
    done
    echo "the runner's engine did not start:" >&2
    tail -n 5 "$RUNNER/log" >&2
    return 1
}

runner_down() {
    [ -d "$RUNNER" ] || return 0
    (
        flock 8
        rm -f "$RUNNER/users/$1"
        runner_stop_unless_used
    ) 8> "$RUNNER/lock"
}

runner_sweep() {
    [ -d "$RUNNER" ] || return 0
    (
        flock 8
        runner_stop_unless_used
    ) 8> "$RUNNER/lock"
}

runner_stop_unless_used() {
    local user used=""
    for user in "$RUNNER"/users/*; do
        [ -e "$user" ] || continue
        if [ "$(started_at "$(basename "$user")")" = "$(cat "$user")" ]; then used=yes; else rm -f "$user"; fi
    done
    [ -z "$used" ] || return 0
    if runner_engine_answers; then
        # What killed tests left.
        runner_docker ps --all --quiet | xargs -r -n 20 env PATH="$TESTBED/engines/28/usr/bin:$PATH" \
            DOCKER_HOST="unix://$RUNNER/sock" docker rm --volumes --force > /dev/null
        runner_docker volume prune --all --force > /dev/null
        runner_docker network prune --force > /dev/null
    fi
    stop "$RUNNER/pid" "$RUNNER"
    stop "$RUNNER/exec/containerd/containerd.pid" "$RUNNER"
    stop "$RUNNER/registry.pid" "$RUNNER"
    ip link delete "$RUNNER_BRIDGE" 2> /dev/null || true
}
