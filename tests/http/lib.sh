# shellcheck shell=bash
# A daemon on a private PostgreSQL with the sample data, for scripts that speak HTTP to it. Source it after
# scripts/lib/common.sh and scripts/lib/postgres.sh.
#
#     api_prepare                       # finds the daemon, starts PostgreSQL; sets WORK
#     api_start NAME [KEY=VALUE...]     # a fresh world; sets API, DAEMON_PID, INTERNAL_TOKEN
#     api_login USERNAME [PASSWORD]     # prints the session's token
#     api_stop

[ -z "${CAPCONDUIT_LIB_HTTP-}" ] || return 0
CAPCONDUIT_LIB_HTTP=1

# Sets BINARY: CAPCONDUIT_BINARY, or the newer one of the profiles ci and debug.
api_find_daemon() {
    local file
    BINARY=${CAPCONDUIT_BINARY-}
    if [ -z "$BINARY" ]; then
        for file in "$REPO_ROOT"/target/{ci,debug}/capconduit; do
            if [ -x "$file" ] && { [ -z "$BINARY" ] || [ "$file" -nt "$BINARY" ]; }; then BINARY=$file; fi
        done
    fi
    [ -x "$BINARY" ] || die 'no daemon to test: build one, or say CAPCONDUIT_BINARY'
    BINARY=$(realpath "$BINARY")
}

api_prepare() {
    api_find_daemon
    have curl || apt_install curl
    postgres_ensure
    WORK=$(mktemp -d /tmp/capconduit-http.XXXXXX)
    chmod 0711 "$WORK"
    cleanup_push rm -rf "$WORK"
    cleanup_push postgres_stop "$WORK/pg"
    postgres_start "$WORK/pg"
}

# A database and a daemon of their own; SAMPLE=no leaves the database without rows. Recordings are kept in
# $WORK/NAME.kept.
api_start() {
    local name=$1 database url http_port agi_port ops_port
    shift
    database=w_$name
    postgres_psql -c "create database $database"
    url=$(postgres_url "$database")
    free_port http_port
    free_port agi_port
    free_port ops_port
    # Only the daemon that listens on the port we were given may answer our requests.
    INTERNAL_TOKEN=internal-token-of-$name-$RANDOM$RANDOM
    CONFIG=$WORK/$name.toml
    cat >"$CONFIG" <<TOML
[node]
name = "$name"
[database]
url = "$url"
[agi]
listen = "127.0.0.1:$agi_port"
[ops]
listen = "127.0.0.1:$ops_port"
[http]
listen = "127.0.0.1:$http_port"
internal_token = "$INTERNAL_TOKEN"
login_attempts = ${LOGIN_ATTEMPTS-1000}
connections_per_address = 1000
requests_per_minute = ${REQUESTS_PER_MINUTE-1000000}
anonymous_requests_per_minute = ${REQUESTS_PER_MINUTE-1000000}
[recording]
directory = "$WORK/$name.recorded"
storage = "$WORK/$name.kept"
TOML
    mkdir "$WORK/$name.recorded" "$WORK/$name.kept"
    chmod 0600 "$CONFIG"
    local sample=(--sample-data)
    [ "${SAMPLE-yes}" = yes ] || sample=()
    "$BINARY" migrate --config "$CONFIG" ${sample[@]+"${sample[@]}"} >"$WORK/$name.migrate.log" ||
        die "could not prepare the database: $(tail -n 3 "$WORK/$name.migrate.log")"
    API=http://127.0.0.1:$http_port
    # shellcheck disable=SC2034  # for those who source this
    AGI_PORT=$agi_port
    DATABASE_URL=$url
    # Sample accounts come without a password. Here it is "password": nobody but the tests reaches this daemon.
    # shellcheck disable=SC2016  # the dollar signs are the hash's
    [ "${SAMPLE-yes}" != yes ] || api_psql -c "update users set password_hash = '"'$argon2id$v=19$m=19456,t=2,p=1$ZqADbYT0xhv7lBlKi77tZA$bIwhQCUq7TzoeibWpbQJzCHpncC3ozonNZQKY8cxm0c'"'"
    DAEMON_LOG=$WORK/$name.log
    "$BINARY" serve --config "$CONFIG" >"$DAEMON_LOG" 2>&1 &
    DAEMON_PID=$!
    cleanup_push stop_pid "$DAEMON_PID"
    wait_for 60 'the API listens' curl -sf "$API/health" || {
        tail -n 20 "$DAEMON_LOG" >&2
        die 'the daemon did not start'
    }
    pid_alive "$DAEMON_PID" || die "another program answers at $API"
}

api_stop() { stop_pid "$DAEMON_PID"; }

api_psql() { "$POSTGRES_BIN/psql" -X -q -At -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }

api_login() {
    local headers=$WORK/login.$RANDOM token
    curl -s -o /dev/null -D "$headers" -H 'Content-Type: application/json' \
        -d "{\"username\": \"$1\", \"password\": \"${2-password}\"}" "$API/api/auth/login"
    token=$(sed -n 's/^[Ss]et-[Cc]ookie: session=\([^;]*\);.*/\1/p' "$headers")
    [ -n "$token" ] || die "could not log in as $1: $(head -n 1 "$headers")"
    printf '%s\n' "$token"
}
