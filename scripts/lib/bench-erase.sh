# shellcheck shell=bash
# scripts/bench erase; see there. Defines functions only; wants common.sh, postgres.sh, bench.sh and bench-http.sh.

# erased WHAT SECONDS REPORT: a line of the table.
erased() {
    line "| $1 | $2 | $(jq -r .passes <<<"$3") | $(jq -r '.rows | to_entries | map("\(.value) \(.key)") | join(", ")' <<<"$3") |"
}

# timed WORDS...: runs `capconduit erase` and sets `took` and `told`.
timed() {
    local begun=$EPOCHREALTIME
    told=$("$target/capconduit" erase "$@" --wait 600 --config "$dir/capconduit.toml") || die "the erasure failed: $told"
    took=$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    [ "$(jq -r .state <<<"$told")" = "done" ] || die "the erasure is not done: $told"
}

bench_erase() {
    local out='' logs=1000000
    while [ $# -gt 0 ]; do
        case "$1" in
            --out) out=$2 ;;
            --logs) logs=$2 ;;
            *) usage 2 ;;
        esac
        shift 2
    done
    cd "$REPO_ROOT" || exit
    have jq || apt_install jq
    say 'building (profile ci)'
    cargo build --quiet --profile ci --bin capconduit
    local target dir url goals=() took told seller calls
    target=${CARGO_TARGET_DIR:-target}/ci
    dir=$(mktemp -d "${TMPDIR:-/tmp}/capconduit-bench.XXXXXX")
    chmod 0711 "$dir"
    cleanup_push rm -rf "$dir"
    cleanup_push postgres_stop "$dir/pg"
    say "filling a database with $logs calls"
    postgres_start "$dir/pg" fsync=off full_page_writes=off max_wal_size=8GB checkpoint_timeout=1h
    postgres_psql -c 'create database bench'
    url=$(postgres_url bench)
    printf '[node]\nname = "bench"\n[database]\nurl = "%s"\n' "$url" >"$dir/capconduit.toml"
    chmod 0600 "$dir/capconduit.toml"
    "$target/capconduit" migrate --config "$dir/capconduit.toml" >"$dir/migrate.log"
    local file
    for file in http erase; do
        "$POSTGRES_BIN/psql" -X -q -v "logs=$logs" -d "$url" -f "sql/bench/$file.sql" >"$dir/fill.log"
    done
    read -r seller calls < <(sql "select user_id || ' ' || count(*) from call_logs group by user_id order by count(*) desc limit 1")
    sql "update users set status = 'suspended' where id = $seller"
    sql checkpoint
    postgres_stop "$dir/pg"
    # Measured as it would be run: nothing acknowledged that is not on the disk.
    postgres_start "$dir/pg" fsync=on shared_buffers=1GB

    line "# Erasure benchmark"
    line ""
    line "\`scripts/bench erase\` measures this again: $logs calls of 1,000 sellers, a decision for each, and for every tenth a line in the audit log and an event of security. One caller has 5,000 of the calls, the largest seller $calls. \`capconduit erase\` alone, without a daemon beside it: from the request to the report that nothing is left, with the pauses of the job."
    line ""
    line "GOALS"
    line ""
    line "$(machine) PostgreSQL with fsync and 1 GB of shared buffers."
    line ""
    line "| erased | seconds | passes | rows changed |"
    line "| --- | --- | --- | --- |"
    say 'erasing a caller'
    timed caller +4917612345678 --reason bench
    erased 'a caller' "$took" "$told"
    goal "a caller on $logs calls: at most 60 s" "$took" 60
    [ "$(sql "select count(*) from call_logs where caller_id_num = '+4917612345678'")" = 0 ] || die 'the caller is still there'
    say 'erasing a caller who never called'
    timed caller +4917687654321 --reason bench
    erased 'a caller who never called' "$took" "$told"
    say 'erasing a seller'
    timed seller "bench-seller$seller" --reason bench
    erased "a seller with $calls calls" "$took" "$told"
    goal "a seller with $calls of $logs calls: at most 60 s" "$took" 60

    local text goal_lines
    goal_lines=$(printf '%s\n' '| goal | seconds |' '| --- | --- |' "${goals[@]}")
    # shellcheck disable=SC2154  # of bench.sh
    text=$(printf '%s\n' "${report[@]}")
    text=${text/GOALS/$goal_lines}
    printf '%s\n' "$text"
    [ -z "$out" ] || write_section "$out" "$text"
}
