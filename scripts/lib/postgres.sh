# shellcheck shell=bash
# A private PostgreSQL for tests and demonstrations: own data directory, Unix socket only. Never
# touches a server that is already on the machine.
#
#     postgres_ensure                     # binaries, installed if need be
#     postgres_start "$dir"               # sets POSTGRES_URL, POSTGRES_SOCKET_DIR, POSTGRES_PID
#     postgres_psql -c 'select 1'
#     postgres_stop "$dir"

[ -z "${CAPCONDUIT_LIB_POSTGRES-}" ] || return 0
CAPCONDUIT_LIB_POSTGRES=1
# shellcheck source-path=SCRIPTDIR
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Set POSTGRES_BIN to a directory with initdb, postgres and psql, version 14 or later; the newest one.
postgres_find() {
    local dir version best=0
    POSTGRES_BIN=
    local candidates=()
    have initdb && candidates+=("$(dirname "$(readlink -f "$(command -v initdb)")")")
    for dir in /usr/lib/postgresql/*/bin; do
        [ -d "$dir" ] && candidates+=("$dir")
    done
    for dir in ${candidates[@]+"${candidates[@]}"}; do
        if [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ] || [ ! -x "$dir/psql" ]; then
            continue
        fi
        version=$("$dir/postgres" --version | sed -n 's/^[^0-9]*\([0-9]*\).*/\1/p')
        if [ "${version:-0}" -ge 14 ] && [ "$version" -gt "$best" ]; then
            best=$version
            POSTGRES_BIN=$dir
        fi
    done
    [ -n "$POSTGRES_BIN" ]
}

postgres_ensure() {
    postgres_find && return 0
    # Debian's package would create and start a cluster.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        printf 'create_main_cluster = false\n' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    apt_install postgresql
    postgres_find || die 'found no PostgreSQL 14 or later, even after installing postgresql'
}

# The user that runs the server: PostgreSQL refuses to run as root.
postgres_user() {
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

# Set POSTGRES_AS to the words that run a command as that user.
postgres_as() {
    POSTGRES_AS=()
    if [ "$(id -u)" -eq 0 ]; then
        local user
        user=$(postgres_user)
        POSTGRES_AS=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env HOME=/)
    fi
}

# postgres_start DIR [SETTING=VALUE...]: create (if need be) and start the server of DIR.
# Data in DIR/data, log in DIR/postgres.log. Superuser `postgres`, no password, socket only.
postgres_start() {
    local dir=$1 user setting options=() shown
    shift
    [ -n "${POSTGRES_BIN-}" ] || postgres_ensure
    user=$(postgres_user)
    postgres_as
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    [ ! -f "$dir/postgres.pid" ] || ! pid_alive "$(cat "$dir/postgres.pid")" || die "a server runs already in $dir"
    if [ "$(id -u)" -eq 0 ]; then
        chown "$user" "$dir"
    fi
    # Everyone who reaches the socket is superuser: only we and root shall.
    chmod 0700 "$dir"
    ${POSTGRES_AS[@]+"${POSTGRES_AS[@]}"} test -w "$dir" ||
        die "user $user cannot reach $dir: use a directory whose parents others may enter (chmod o+x)"
    if [ ! -s "$dir/data/PG_VERSION" ]; then
        ${POSTGRES_AS[@]+"${POSTGRES_AS[@]}"} "$POSTGRES_BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C \
            --no-sync >"$dir/initdb.log" 2>&1 || {
            tail -n 10 "$dir/initdb.log" >&2
            die "initdb failed in $dir"
        }
    fi

    # A socket's path has to fit into 107 bytes.
    POSTGRES_SOCKET_DIR=$dir/s
    if [ "${#POSTGRES_SOCKET_DIR}" -gt 80 ]; then
        POSTGRES_SOCKET_DIR=$(mktemp -d /tmp/capconduit-pg.XXXXXX)
        cleanup_push rm -rf "$POSTGRES_SOCKET_DIR"
    fi
    mkdir -p "$POSTGRES_SOCKET_DIR"
    chmod 0700 "$POSTGRES_SOCKET_DIR"
    [ "$(id -u)" -ne 0 ] || chown "$user" "$POSTGRES_SOCKET_DIR"

    for setting in "$@"; do
        options+=(-c "$setting")
    done
    # fsync off: a crash of the server loses nothing, only a crash of the machine would.
    ${POSTGRES_AS[@]+"${POSTGRES_AS[@]}"} "$POSTGRES_BIN/postgres" -D "$dir/data" -c listen_addresses= -c port=5432 \
        -c "unix_socket_directories=$POSTGRES_SOCKET_DIR" -c fsync=off -c max_connections=200 \
        ${options[@]+"${options[@]}"} >>"$dir/postgres.log" 2>&1 </dev/null &
    POSTGRES_PID=$!
    disown "$POSTGRES_PID"
    echo "$POSTGRES_PID" >"$dir/postgres.pid"
    export POSTGRES_URL="postgresql://postgres@${POSTGRES_SOCKET_DIR//\//%2F}/postgres"
    if ! wait_for 60 "PostgreSQL in $dir answers" postgres_answers "$POSTGRES_PID"; then
        tail -n 10 "$dir/postgres.log" >&2
        stop_pid "$POSTGRES_PID"
        die "PostgreSQL did not start in $dir"
    fi
    # Whoever answers must be the server just started, and no other.
    shown=$(postgres_psql -Atc 'show data_directory')
    [ "$shown" = "$dir/data" ] || die "the server at $POSTGRES_SOCKET_DIR is not ours: its data is in $shown"
}

postgres_answers() {
    pid_alive "$1" || return 0 # no use waiting; the next query fails
    postgres_psql -Atc 'select 1'
}

# postgres_psql ARGS...: psql as superuser in the server last started, stopping at the first error.
postgres_psql() { "$POSTGRES_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$POSTGRES_URL" "$@"; }

# postgres_url DATABASE [USER]: the URL of another database there. No password: the socket is trusted.
postgres_url() { printf 'postgresql://%s@%s/%s\n' "${2:-postgres}" "${POSTGRES_SOCKET_DIR//\//%2F}" "$1"; }

# postgres_stop DIR [MODE]: smart, fast (default) or immediate.
postgres_stop() {
    local dir=$1 signal=INT pid
    case "${2:-fast}" in
        smart) signal=TERM ;;
        immediate) signal=QUIT ;;
    esac
    [ -f "$dir/postgres.pid" ] || return 0
    pid=$(cat "$dir/postgres.pid")
    if pid_alive "$pid"; then
        signal_pid "$signal" "$pid"
        wait_for 20 "PostgreSQL in $dir stops" pid_gone "$pid" || stop_pid "$pid"
    fi
    rm -f "$dir/postgres.pid"
}
