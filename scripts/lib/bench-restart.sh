# shellcheck shell=bash
# Sourced by scripts/bench beside soak.sh, lab.sh and bench.sh, which read what is set here and set what is read.
# shellcheck disable=SC2034,SC2153,SC2154
# scripts/bench restart: two daemons are restarted in turn under calls through a real Asterisk. Source it after
# common.sh, postgres.sh, asterisk.sh, bench.sh, bench-http.sh, tests/asterisk/lab.sh and soak.sh, outside of functions
# (they declare arrays).

bench_restart() {
    local out='' rate=100 seconds=60 old='' hold=500
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage 2
        case "$1" in
            --out) out=$2 ;;
            --rate) rate=$2 ;;
            --seconds) seconds=$2 ;;
            --old) old=$2 ;;
            *) usage 2 ;;
        esac
        shift 2
    done
    have python3 || apt_install python3
    cd "$REPO_ROOT" || return 1
    local new=${CAPCONDUIT_BINARY-} name replaced=no
    if [ -z "$new" ]; then
        say 'building (profile ci)'
        cargo build --quiet --profile ci --bin capconduit
        new=$REPO_ROOT/target/ci/capconduit
    fi
    new=$(realpath "$new")
    [ -z "$old" ] || bench_old_binary
    BINARY=${OLD_BINARY:-$new}

    say 'starting PostgreSQL, Asterisk and two daemons'
    SOAK_DIRECT=yes
    # Looks cost Asterisk time; caps are not the question here.
    SOAK_LOOK_SECONDS=1
    SOAK_POSTGRES=(fsync=on)
    soak_start
    for name in one two; do
        postgres_psql -d "$DATABASE_URL" -c 'analyze' >/dev/null
    done
    bench_calls "$rate" "$seconds" "$hold" >"$HISTORY/calls-hold.csv"
    sed -n 's/^\([^;]*\);\([^;]*\);any;\(.*\)$/\2,\1,hold,\3/p' "$HISTORY/calls-hold.csv" >"$HISTORY/placed.csv"
    soak_scenarios
    soak_sampler_start
    say "$rate calls/s for $seconds s"
    event begin run calls
    soak_carrier hold $((rate * seconds)) $((rate * 10))
    local until=$((SECONDS + seconds - 6)) migrate='' began
    sleep 4
    if [ -n "${OLD_BINARY-}" ]; then
        BINARY=$new
        began=$EPOCHREALTIME
        event begin bench migrate
        "$new" --config "$LAB/one.toml" migrate >>"$LAB/migrate.log" 2>&1 || die "migrate beside the older daemons failed: $(tail -n 3 "$LAB/migrate.log")"
        event end bench migrate
        migrate=$(awk -v us="$((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}))" 'BEGIN { printf "%.1f", us / 1e6 }')
        sleep 2
    fi
    while [ "$SECONDS" -lt "$until" ]; do
        if [ "$replaced" = yes ]; then
            # Both daemons are new: now the dialplan.
            say 'loading the new dialplan'
            event begin bench dialplan
            soak_render "$REPO_ROOT/scripts/render-asterisk-config"
            cli dialplan reload >>"$LAB/render.log" 2>&1
            event end bench dialplan
            replaced=
        fi
        for name in one two; do
            [ "$SECONDS" -lt "$until" ] || break
            say "restarting daemon $name"
            event begin bench restart "$name"
            daemon_term "$name"
            daemon_start "$name"
            # One that is not ready goes on: what its callers meet is what is measured.
            wait_for 20 "daemon $name is ready" daemon_ready "$name" || {
                warn "daemon $name: $(readiness "$name")"
                printf 'daemon %s was not ready within 20 s of its restart\n' "$name" >>"$HISTORY/complaints"
            }
            event end bench restart "$name"
            sleep 3
        done
        [ -z "${OLD_BINARY-}" ] || [ "$replaced" != no ] || replaced=yes
    done
    wait_for $((seconds + 60)) 'the carrier is done' carriers_done || true
    for pid in "${CARRIER_OF[@]}"; do signal_pid KILL "$pid"; done
    event end run calls
    wait_for 45 'Asterisk has no channel' no_channels || true
    wait_for 60 'no call and no reservation is open' nothing_open || true
    signal_pid KILL "$SAMPLER"
    SAMPLER=
    soak_collect
    local status=0 found
    python3 "$SOAK/check.py" "$HISTORY" >"$LAB/check.log" || {
        status=1
        cat "$LAB/check.log" >&2
    }
    found=$(python3 "$SOAK/waits.py" "$HISTORY")
    [ "$(value lost "$found")" = 0 ] && [ "$(value over "$found")" = 0 ] || status=1

    line '# Rolling restart'
    line ''
    line "\`scripts/bench restart${old:+ --old $(basename "$old")}\` measures this again: two daemons on one PostgreSQL (with fsync), restarted in turn with SIGTERM, without systemd's socket, under $rate calls/s of $hold ms through a real Asterisk; sipp is carrier and call centre. The wait is from the carrier's INVITE to the first ringing or final answer, which holds the question to the daemon, or to both."
    [ -z "$old" ] || line "The daemons began as an older binary ($(basename "$old")); the new one migrated the schema beside them in $migrate s and took their place, one after the other, so that both ran side by side; then the dialplan, until then the older one's, was replaced by this version's."
    line ''
    line "$(machine)"
    line ''
    line '| goal | measured |'
    line '| --- | --- |'
    line "| no call is lost, of $(value calls "$found") | $(value lost "$found") lost, $(value fallback "$found") answered by the fallback |"
    line "| no record is lost or doubled | $(value rows "$found") records, $(value faults "$found") faults found by the history checker |"
    line "| no question waits longer than 1.5 s | $(value over "$found") did; longest wait $(value max_ms "$found") ms |"
    line ''
    line '| waits | calls | p50 ms | p99 ms | longest ms |'
    line '| --- | --- | --- | --- | --- |'
    line "| all | $(value calls "$found") | $(value p50_ms "$found") | $(value p99_ms "$found") | $(value max_ms "$found") |"
    line "| near one of $(value restarts "$found") restarts (longest: $(value restart_max_s "$found") s until ready) | $(value near "$found") | | $(value near_p99_ms "$found") | $(value near_max_ms "$found") |"
    printf '%s\n' "${report[@]}"
    [ -z "$out" ] || write_section "$out" "$(printf '%s\n' "${report[@]}")"
    return "$status"
}

# The injection file: every call to the number with room for all.
bench_calls() {
    echo SEQUENTIAL
    awk -v n=$(($1 * $2)) -v hold="$3" 'BEGIN { for (i = 1; i <= n; i++) printf "+15550001031;+1415%d;any;%d\n", 5000000 + i, hold }'
}

# --old: a binary in the target directory of a checkout, or a commit of this repository, built aside and removed at the
# end. Sets OLD_BINARY, and SOAK_RENDER: Asterisk begins with the older version's dialplan.
bench_old_binary() {
    local scratch
    if [ -x "$old" ] && [ -f "$old" ]; then
        OLD_BINARY=$(realpath "$old")
        SOAK_RENDER=$(dirname "$OLD_BINARY")/../../scripts/render-asterisk-config
        [ -x "$SOAK_RENDER" ] || die "--old: $old is in no checkout, whose dialplan belongs to it; name a commit"
        return
    fi
    git -C "$REPO_ROOT" rev-parse --verify --quiet "$old^{commit}" >/dev/null || die "--old: neither a program nor a commit: $old"
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/capconduit-old.XXXXXX")
    cleanup_push rm -rf "$scratch"
    say "building $old (profile ci) in $scratch"
    git -C "$REPO_ROOT" archive "$old" | tar -x -C "$scratch"
    (cd "$scratch" && CARGO_TARGET_DIR=$scratch/target cargo build --quiet --profile ci --bin capconduit)
    OLD_BINARY=$scratch/target/ci/capconduit
    SOAK_RENDER=$scratch/scripts/render-asterisk-config
}
