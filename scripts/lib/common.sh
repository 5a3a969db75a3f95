# shellcheck shell=bash
# What the scripts share: messages, root, packages, ports, waiting, cleaning up. Source it from a bash
# script under `set -euo pipefail`; it defines functions and does nothing else but set REPO_ROOT.
# Needs bash 5 and a Debian or Ubuntu machine.

[ -z "${CAPCONDUIT_LIB_COMMON-}" ] || return 0
CAPCONDUIT_LIB_COMMON=1

REPO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# --- messages -------------------------------------------------------------------------------------

say() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- root -----------------------------------------------------------------------------------------

# as_root COMMAND...: run it as root, through sudo if need be.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        die "needs root for: $*  (run as root, or install sudo)"
    fi
}

# need_root WHAT: give up with a clear word where as_root would have no way.
need_root() { [ "$(id -u)" -eq 0 ] || have sudo || die "$1 needs root: run as root, or install sudo"; }

# --- packages -------------------------------------------------------------------------------------

# apt_install PACKAGE...: install those that are missing. Starts no service.
apt_install() {
    local package missing=()
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    have apt-get || die "please install: ${missing[*]}"
    say "installing ${missing[*]}"
    apt_update_once
    local log policy=/usr/sbin/policy-rc.d made_policy=
    log=$(mktemp)
    # A policy of 101 forbids the package scripts to start what they install.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made_policy=1
    fi
    local status=0
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        "${missing[@]}" >"$log" 2>&1 </dev/null || status=$?
    [ -z "$made_policy" ] || as_root rm -f "$policy"
    if [ "$status" -ne 0 ]; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "could not install ${missing[*]}"
    fi
    rm -f "$log"
}

apt_update_once() {
    [ -z "${CAPCONDUIT_APT_UPDATED-}" ] || return 0
    local log
    log=$(mktemp)
    # A broken extra source must not stop us: what matters is whether the install works.
    as_root apt-get update -q >"$log" 2>&1 </dev/null || warn "apt-get update: $(tail -n 1 "$log")"
    rm -f "$log"
    CAPCONDUIT_APT_UPDATED=1
}

# python_pip_ensure: python3 with pip. Debian has them in packages of their own.
python_pip_ensure() {
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip
}

# python_venv DIRECTORY PACKAGE...: a virtual environment with these packages, made once.
python_venv() {
    local directory=$1
    shift
    [ ! -e "$directory/complete" ] || return 0
    # Without Debian's python3-venv there is a module venv, but not what it puts into an environment.
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || apt_install python3 python3-venv
    say "installing $1 in $directory"
    rm -rf "$directory"
    python3 -m venv "$directory" >&2 || die "python3 could not make an environment in $directory"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2 ||
        die "pip could not fetch $*"
    touch "$directory/complete"
}

# --- directories ----------------------------------------------------------------------------------

# Where expensive things are kept between runs.
cache_dir() {
    local dir=${CAPCONDUIT_CACHE:-$REPO_ROOT/.cache}
    mkdir -p "$dir"
    (cd "$dir" && pwd)
}

# --- ports ----------------------------------------------------------------------------------------

CAPCONDUIT_PORTS_GIVEN=' '

# free_port NAME [COUNT]: set NAME to the first of COUNT (default 1) ports in a row that nothing on
# this machine uses, for TCP or UDP, and that were not handed out before. The first one is even.
# Below the ephemeral range, so that no outgoing connection takes it meanwhile.
free_port() {
    local -n free_port_result=$1
    local count=${2:-1} used first port try
    used=$(awk 'FNR > 1 { n = split($2, a, ":"); print a[n] }' \
        /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null | sort -u)
    for ((try = 0; try < 1000; try++)); do
        first=$((20000 + (RANDOM * 32768 + RANDOM) % (12000 - count)))
        first=$((first - first % 2))
        for ((port = first; port < first + count; port++)); do
            case "$CAPCONDUIT_PORTS_GIVEN" in *" $port "*) continue 2 ;; esac
            ! grep -qx "$(printf '%04X' "$port")" <<<"$used" || continue 2
        done
        for ((port = first; port < first + count; port++)); do
            CAPCONDUIT_PORTS_GIVEN+="$port "
        done
        # shellcheck disable=SC2034  # a name reference
        free_port_result=$first
        return 0
    done
    die "found no $count free ports"
}

# --- cleaning up ----------------------------------------------------------------------------------

CAPCONDUIT_CLEANUP=()

# cleanup_push COMMAND...: run it when the script ends, the latest first, however the script ends.
cleanup_push() {
    if [ "${#CAPCONDUIT_CLEANUP[@]}" -eq 0 ]; then
        trap cleanup_run EXIT
        # Deaf at once: bash hands itself a Ctrl-C that also killed a child twice, and the second one
        # would end the cleaning.
        trap 'trap "" HUP INT TERM; exit 129' HUP
        trap 'trap "" HUP INT TERM; exit 130' INT
        trap 'trap "" HUP INT TERM; exit 143' TERM
    fi
    CAPCONDUIT_CLEANUP+=("$(printf '%q ' "$@")")
}

cleanup_run() {
    local status=$? i
    trap - EXIT
    trap '' HUP INT TERM
    set +e
    for ((i = ${#CAPCONDUIT_CLEANUP[@]} - 1; i >= 0; i--)); do
        eval "${CAPCONDUIT_CLEANUP[$i]}"
    done
    exit "$status"
}

# --- processes and waiting --------------------------------------------------------------------------

# wait_for SECONDS WHAT COMMAND...: repeat COMMAND until it succeeds; 1 and a message after SECONDS.
wait_for() {
    local seconds=$1 what=$2 deadline
    shift 2
    deadline=$((${EPOCHREALTIME/[.,]/} + seconds * 1000000))
    until "$@" >/dev/null 2>&1; do
        if [ "${EPOCHREALTIME/[.,]/}" -ge "$deadline" ]; then
            warn "$what: not within $seconds s"
            return 1
        fi
        sleep 0.1
    done
}

# Is there a process PID? Also true of one that we may not signal.
pid_alive() { [ -n "${1-}" ] && [ -d "/proc/$1" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }
pid_gone() { ! pid_alive "$1"; }

# stop_pid PID [SECONDS]: TERM, and KILL if it is still there after SECONDS (default 10).
stop_pid() {
    local pid=$1 seconds=${2:-10}
    pid_alive "$pid" || return 0
    signal_pid TERM "$pid"
    if ! wait_for "$seconds" "process $pid stops" pid_gone "$pid"; then
        signal_pid KILL "$pid"
        wait_for 5 "process $pid is gone" pid_gone "$pid" || true
    fi
}

signal_pid() { kill "-$1" "$2" 2>/dev/null || as_root kill "-$1" "$2" 2>/dev/null || true; }

# port_open HOST PORT: does something listen (TCP)?
port_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }
