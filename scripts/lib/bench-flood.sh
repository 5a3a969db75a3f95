# shellcheck shell=bash
# scripts/bench flood; see there. Defines functions only; wants what bench-http.sh wants, and that.

# raw_calls SECONDS: as many sessions with the plainest FastAGI server there is. What becomes of them beside a flood is what
# this machine can do at best: the load generators and the database need its cores too.
raw_calls() { "$route" open --addr "127.0.0.1:$raw_port" "${dids[@]}" --rate "${rate:-200}" --seconds "$1"; }

# routing_row WHAT LINE RAW
routing_row() {
    line "| $1 | $(value p50_ms "$2") / $(value p99_ms "$2") | $(value p50_ms "$3") / $(value p99_ms "$3") | $(value none "$2") | $(value errors "$2") |"
}

bench_flood() {
    local out='' logs=1000000 seconds=8 rounds=3 rate=25
    while [ $# -gt 0 ]; do
        case "$1" in
            --out) out=$2 ;;
            --logs) logs=$2 ;;
            --seconds) seconds=$2 ;;
            --rounds) rounds=$2 ;;
            --rate) rate=$2 ;;
            *) usage 2 ;;
        esac
        shift 2
    done
    # shellcheck disable=SC2034  # http_start and what it calls set and read them
    local http route target goals=() dir url token=token-of-the-benchmark daemon biggest victim victims filled dids
    # shellcheck disable=SC2034
    local agi_port='' http_port='' ops_port='' raw_port='' raw a limit=$((256 << 20))
    http_start "$logs" prlimit "--data=$limit"
    free_port raw_port
    "$route" raw-server --addr "127.0.0.1:$raw_port" >"$dir/raw.log" 2>&1 &
    raw=$!
    cleanup_push stop_pid "$raw"
    wait_for 10 'the raw server listens' port_open 127.0.0.1 "$raw_port" || die 'the raw server did not start'
    # One password for all, which is known.
    local password
    password=$("$target/capconduit" user password bench-login --config "$dir/capconduit.toml" | sed -n 's/^one-time password.*: //p')
    [ -n "$password" ] || die 'no password was printed'
    sql "update users set password_hash = (select password_hash from users where username = 'bench-login')
         where username like 'bench-seller%'"

    line "# Flood benchmark"
    line ""
    line "\`scripts/bench flood\` measures this again: $logs calls of 1,000 sellers, $biggest of the one who floods. The daemon may have 256 MiB of data in all (\`prlimit --data\`, which also counts what is not resident)."
    line ""
    line "GOALS"
    line ""
    line "$(machine) PostgreSQL with fsync. The raw server is the plainest FastAGI server there is, asked as often at the same time as the daemon: what it takes is the machine's."
    line ""
    line "| $rate calls a second, each ended at once | p50 / p99 ms | raw server p50 / p99 ms | without verdict | errors |"
    line "| --- | --- | --- | --- | --- |"
    local round idle beside raw_idle raw_beside lists=() worst=0 storm
    : >"$dir/slower"
    : >"$dir/raw-slower"
    calls 2 >/dev/null
    raw_calls 1 >/dev/null
    for ((round = 1; round <= rounds; round++)); do
        say "round $round of $rounds"
        raw_calls "$seconds" >"$dir/raw-idle" &
        idle=$(calls "$seconds")
        wait "$!"
        raw_idle=$(cat "$dir/raw-idle")
        routing_row "round $round, idle otherwise" "$idle" "$raw_idle"
        ask flood --seconds "$((seconds * 2 + 6))" >"$dir/flood" &
        local flooding=$!
        sleep 2
        raw_calls "$seconds" >"$dir/raw-beside" &
        local raw_calling=$!
        beside=$(calls "$seconds")
        wait "$raw_calling"
        raw_beside=$(cat "$dir/raw-beside")
        routing_row "round $round, beside the flood" "$beside" "$raw_beside"
        lists+=("$(checked "$(ask list --connections 2 --seconds "$((seconds - 2))")")")
        # Others log in meanwhile.
        storm=$(ask storm --logins 4 --password "$password" --seconds 20)
        [ "$(value logged_in "$storm")" = 4 ] || warn "log-ins beside the flood: $storm"
        wait "$flooding"
        ratio "$(value p99_ms "$beside")" "$(value p99_ms "$idle")" >>"$dir/slower"
        ratio "$(value p99_ms "$raw_beside")" "$(value p99_ms "$raw_idle")" >>"$dir/raw-slower"
        kill -0 "$daemon" || die 'the daemon ended'
    done
    line ""
    line "| another seller's list of DIDs beside the flood, 2 connections | per second | p50 ms | p99 ms | worst ms | errors |"
    line "| --- | --- | --- | --- | --- | --- |"
    for ((round = 1; round <= rounds; round++)); do
        a=${lists[$((round - 1))]}
        row "round $round" "$a"
        worst=$(printf '%s\n' "$worst" "$(value p99_ms "$a")" | sort -g | tail -1)
    done
    goal "another seller's list beside the flood: p99 at most 100 ms, in every round" "$worst" 100
    goal "routing beside the flood: p99 at most 2 times the idle one (median of the rounds; the raw server: $(median <"$dir/raw-slower"))" \
        "$(median <"$dir/slower")" 2
    goal 'log-ins beside the flood: 4 of 4' "$(value logged_in "$storm")" 4 least
    line ""
    line "One flood is 64 connections with statistics and 70 exports that are read at 16 KB/s. The last one was answered: $(cat "$dir/flood")."
    line ""

    say '500 log-ins at once'
    calls "$seconds" >"$dir/calls" &
    local calling=$!
    storm=$(ask storm --password "$password")
    wait "$calling"
    beside=$(cat "$dir/calls")
    kill -0 "$daemon" || die 'the daemon ended'
    local most
    most=$(mib "$(value rss_peak_kib "$storm")")
    line "500 accounts log in at the same moment: $(value logged_in "$storm") did, the last after $(value seconds "$storm") s; $(value later "$storm") answers said to try again (503 or 429), $(value errors "$storm") were none. The daemon's resident memory went from $(mib "$(value rss_before_kib "$storm")") to $most MiB. Routing in its first $seconds s: p99 $(value p99_ms "$beside") ms, $(value none "$beside") without verdict."
    goal '500 log-ins at once: resident memory at most 100 MiB' "$most" 100
    goal '500 log-ins at once: all log in' "$(value logged_in "$storm")" 500 least
    print_report "$out"
}
