# shellcheck shell=bash
# scripts/bench http; see there. Defines functions only; wants common.sh, postgres.sh and bench.sh.

# goal TEXT MEASURED LIMIT [most|least]: a line of the table of goals.
goal() {
    local kept
    kept=$(awk -v m="$2" -v l="$3" -v how="${4-most}" 'BEGIN { print ((how == "most") ? (m <= l) : (m >= l)) }')
    if [ "$kept" = 1 ]; then
        goals+=("| $1 | $2 |")
    else
        goals+=("| $1 | **$2, missed** |")
    fi
}

ask() { "$http" "$1" --addr "127.0.0.1:$http_port" --token "$token" --server-pid "$daemon" "${@:2}"; }

# Whole calls at a fixed rate, each ended at once.
calls() { "$route" open --addr "127.0.0.1:$agi_port" "${dids[@]}" --end inline --rate "${rate:-200}" --seconds "$1"; }

# checked LINE: LINE, and a warning if there were errors in it.
checked() {
    [ "$(value errors "$1")" = 0 ] || warn "errors: $1"
    printf '%s\n' "$1"
}

# row WHAT LINE: a line of the table of requests.
row() { line "| $1 | $(value per_second "$2") | $(value p50_ms "$2") | $(value p99_ms "$2") | $(value max_ms "$2") | $(value errors "$2") |"; }

# http_start LOGS [COMMAND…]: builds, fills a database with so many calls and starts a daemon on it, by way of COMMAND if one is
# given. Sets http, route, target, dir, url, daemon, biggest, victim, victims, filled, dids and the ports; wants token.
http_start() {
    local logs=$1 name n
    shift
    cd "$REPO_ROOT" || exit
    say 'building (profile ci)'
    cargo build --quiet --profile ci --bin capconduit
    http=$(build_generator http)
    route=$(build_generator route)
    target=$(dirname "$(dirname "$http")")

    dir=$(mktemp -d "${TMPDIR:-/tmp}/capconduit-bench.XXXXXX")
    chmod 0711 "$dir"
    cleanup_push rm -rf "$dir"
    cleanup_push postgres_stop "$dir/pg"
    for name in agi_port http_port ops_port; do
        free_port "$name"
    done
    say "filling a database with $logs calls"
    postgres_start "$dir/pg" fsync=off full_page_writes=off max_wal_size=8GB checkpoint_timeout=1h
    postgres_psql -c 'create database bench'
    url=$(postgres_url bench)
    cat >"$dir/capconduit.toml" <<TOML
[node]
name = "bench"
[database]
url = "$url"
[agi]
listen = "127.0.0.1:$agi_port"
[http]
listen = "127.0.0.1:$http_port"
internal_token = "$token"
login_attempts = 1000
connections_per_address = 1000
requests_per_minute = 1000000
anonymous_requests_per_minute = 1000000
[ops]
listen = "127.0.0.1:$ops_port"
TOML
    chmod 0600 "$dir/capconduit.toml"
    "$target/capconduit" migrate --config "$dir/capconduit.toml" >"$dir/migrate.log"
    filled=$SECONDS
    "$POSTGRES_BIN/psql" -X -q -v "logs=$logs" -d "$url" -f sql/bench/http.sql >"$dir/fill.log"
    filled=$((SECONDS - filled))
    # A hash like everybody's, of a password that nobody knows.
    "$target/capconduit" user create bench-login --email login@example.invalid --config "$dir/capconduit.toml" >/dev/null
    sql "update users set password_hash = (select password_hash from users where username = 'bench-login')
         where username = 'bench-admin'"
    # As autovacuum would have done long ago: else the first who read it write it once more.
    sql 'vacuum (analyze) call_logs'
    sql checkpoint
    postgres_stop "$dir/pg"
    # Measured as it would be run: nothing acknowledged that is not on the disk.
    postgres_start "$dir/pg" fsync=on shared_buffers=1GB
    biggest=$(sql 'select count(*) from call_logs where user_id = 1')
    read -r victim victims < <(sql "select user_id || ' ' || count(*) from call_logs where user_id <> 1
        group by user_id order by abs(count(*) - 100000) limit 1")

    say 'starting the daemon'
    "$@" "$target/capconduit" serve --config "$dir/capconduit.toml" >"$dir/daemon.log" 2>&1 &
    daemon=$!
    cleanup_push stop_pid "$daemon"
    wait_for 20 'the daemon listens' port_open 127.0.0.1 "$http_port" || {
        tail -n 20 "$dir/daemon.log" >&2
        die 'the daemon did not start'
    }
    dids=()
    for n in 0000007 0001234 0003333 0005678 0009876; do
        dids+=(--did "+1555$n")
    done
}

bench_http() {
    local out='' logs=10000000 seconds=8
    while [ $# -gt 0 ]; do
        case "$1" in
            --out) out=$2 ;;
            --logs) logs=$2 ;;
            --seconds) seconds=$2 ;;
            *) usage 2 ;;
        esac
        shift 2
    done
    local http route target goals=() dir url token=token-of-the-benchmark daemon biggest victim victims filled dids
    local agi_port='' http_port='' ops_port='' n
    http_start "$logs"

    line "# HTTP API benchmark"
    line ""
    line "\`scripts/bench http\` measures this again: 1,000 sellers, 10,000 DIDs, 5,000 campaigns, 200 clients, 20,000 links, $logs calls of 90 days ($biggest of one seller), filled in $filled s. Closed loop: each connection asks again when it has its answer."
    line ""
    line "GOALS"
    line ""
    line "$(machine) PostgreSQL with fsync and 1 GB of shared buffers."
    line ""
    line "| requests | per second | p50 ms | p99 ms | worst ms | errors |"
    line "| --- | --- | --- | --- | --- | --- |"

    local a b first deep
    say 'pages of the log'
    ask logs --connections 8 --seconds 3 >/dev/null
    # Longer than totals are remembered, so that all of them are counted anew while it measures.
    a=$(checked "$(ask logs --connections 8 --seconds $((seconds > 65 ? seconds : 65)))")
    row 'first page of the log with its count, random sellers, 8 connections' "$a"
    goal 'first page of the log: p99 at most 10 ms with 8 connections' "$(value p99_ms "$a")" 10
    a=$(checked "$(ask logs --cursor --connections 8 --seconds "$seconds")")
    row 'the same by cursor, without count' "$a"
    local page=600
    [ "$biggest" -ge 31000 ] || page=$((biggest / 60 + 1))
    deep=$(ask deep --page "$page" --connections 1 --seconds "$seconds")
    first=$(sed -n 's/^first: //p' <<<"$deep")
    deep=$(sed -n 's/^deep: //p' <<<"$deep")
    row 'largest seller, page 1 by cursor, 1 connection' "$first"
    row "largest seller, page $page by cursor, 1 connection" "$deep"
    goal "page $page by cursor: median at most 2 times that of page 1" "$(ratio "$(value p50_ms "$deep")" "$(value p50_ms "$first")")" 2

    say 'internal calls'
    for n in 1 8 64; do
        a=$(checked "$(ask route-info --connections "$n" --seconds "$seconds")")
        row "route_info, $n connections" "$a"
    done
    goal "route_info: at least 5,000 a second with 64 connections" "$(value per_second "$a")" 5000 least
    a=$(checked "$(ask log-call --connections 64 --seconds "$seconds")")
    row "log_call, 64 connections" "$a"
    goal "log_call: at least 3,000 a second with 64 connections" "$(value per_second "$a")" 3000 least
    line ""

    say 'export'
    a=$(ask export)
    local more
    more=$(awk -v a="$(value rss_before_kib "$a")" -v b="$(value rss_peak_kib "$a")" 'BEGIN { printf "%.1f", (b - a) / 1024 }')
    line "Export of $(value rows "$a") calls as CSV: $(value seconds "$a") s, $(value rows_per_second "$a") rows a second; the daemon's memory went from $(mib "$(value rss_before_kib "$a")") to $(mib "$(value rss_peak_kib "$a")") MiB."
    line ""
    goal "export of $(value rows "$a") calls: at most 64 MiB more" "$more" 64

    say 'logins'
    a=$(ask logins)
    line "A failed login takes $(value known_ms "$a") ms with a name that exists and $(value unknown_ms "$a") ms with one that does not (medians)."
    line ""

    line "| routing at 200 calls a second, each ended at once | p50 ms | p99 ms | p99.9 ms | without verdict | errors |"
    line "| --- | --- | --- | --- | --- | --- |"
    say 'routing, idle otherwise'
    calls 2 >/dev/null
    a=$(calls "$seconds")
    routed 'nothing else' "$a"
    local idle=$a
    say 'routing beside lists and exports'
    ask logs --connections 4 --seconds "$((seconds + 2))" --warmup 0 >/dev/null &
    local lists=$!
    touch "$dir/exporting"
    while [ -e "$dir/exporting" ]; do ask export >/dev/null || break; done &
    local exports=$!
    a=$(calls "$seconds")
    rm "$dir/exporting"
    wait "$lists" "$exports" || warn 'lists or exports failed meanwhile'
    routed 'beside 4 connections with lists and one with exports' "$a"
    say "routing while a seller with $victims calls is deleted"
    local begun=$EPOCHREALTIME
    calls "$seconds" >"$dir/calls" &
    local calling=$!
    sleep 1
    b=$(ask admin DELETE "/api/admin/users/$victim")
    wait "$calling"
    a=$(cat "$dir/calls")
    wait_for 300 'no record names the deleted seller' nobody_names "$victim" || true
    routed "while a seller with $victims calls is deleted" "$a"
    goal 'deleting that seller: p99.9 of routing at most 200 ms' "$(value p999_ms "$a")" 200
    line ""
    line "The deletion was answered after $(value ms "$b") ms; no record named the seller any more $(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a - 1 }') s after its begin. Idle, p99 of routing was $(value p99_ms "$idle") ms."

    print_report "$out"
}

# print_report FILE: the report, its table of goals in the place of GOALS; into FILE too, if that is a name.
print_report() {
    local text goal_lines
    goal_lines=$(printf '%s\n' '| goal | measured |' '| --- | --- |' "${goals[@]}")
    # shellcheck disable=SC2154  # of bench.sh
    text=$(printf '%s\n' "${report[@]}")
    text=${text/GOALS/$goal_lines}
    printf '%s\n' "$text"
    [ -z "$1" ] || write_section "$1" "$text"
}

sql() { "$POSTGRES_BIN/psql" -X -q -At -v ON_ERROR_STOP=1 -d "$url" -c "$1"; }
nobody_names() { [ "$(sql "select count(*) from call_logs where user_id = $1")" = 0 ]; }
routed() { line "| $1 | $(value p50_ms "$2") | $(value p99_ms "$2") | $(value p999_ms "$2") | $(value none "$2") | $(value errors "$2") |"; }

# write_section FILE TEXT: puts TEXT in the place of the section that begins with the same heading, or at the end.
write_section() {
    local heading kept
    heading=$(head -n 1 <<<"$2")
    kept=
    if [ -f "$1" ]; then
        kept=$(awk -v heading="$heading" '$0 == heading { skip = 1; next } skip && /^# / { skip = 0 } !skip' "$1")
    fi
    printf '%s\n\n%s\n' "$kept" "$2" >"$1"
}
