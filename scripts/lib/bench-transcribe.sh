# shellcheck shell=bash
# scripts/bench transcribe; see there. Defines functions only; wants common.sh, postgres.sh, bench.sh, bench-http.sh
# (for its table of goals and its section writer) and vosk.sh.

# vosk_python: prints a Python that has the package vosk.
vosk_python() {
    local venv
    venv=$(cache_dir)/vosk-python
    if ! "$venv/bin/python" -c 'import vosk' 2>/dev/null; then
        python3 -m venv --clear "$venv" >&2 || die 'python3 cannot make a venv: install python3-venv'
        timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "vosk==$VOSK_VERSION" >&2 ||
            die "pip could not install vosk $VOSK_VERSION"
    fi
    printf '%s\n' "$venv/bin/python"
}

measure() { python3 benches/transcribe/bench.py "$1" "$dir" "${@:2}"; }

bench_transcribe() {
    local out='' rounds=3 seconds=10
    while [ $# -gt 0 ]; do
        case "$1" in
            --out) out=$2 ;;
            --rounds) rounds=$2 ;;
            --seconds) seconds=$2 ;;
            *) usage 2 ;;
        esac
        shift 2
    done
    cd "$REPO_ROOT" || exit
    postgres_ensure
    say 'building (profile ci)'
    cargo build --quiet --profile ci --bin capconduit --bin capconduit-transcriber
    local route target goals=()
    route=$(build_generator route)
    target=$(dirname "$(dirname "$route")")
    vosk_ensure "$target/../lib/capconduit"
    local python dir
    python=$(vosk_python)
    dir=$(mktemp -d "${TMPDIR:-/tmp}/capconduit-bench.XXXXXX")
    chmod 0711 "$dir"
    cleanup_push rm -rf "$dir"

    local model=$REPO_ROOT/tests/fixtures/vosk/vosk-model-tiny-en-digits-8k
    # As nice as the other: both are measured here, and the machine may have other work.
    local ours=("$target/capconduit-transcriber" --model "en=$model" --nice 0)
    local theirs=("$python" benches/transcribe/bench.py peer "$model")
    say 'making 100 minutes and an hour of speech'
    python3 benches/transcribe/bench.py make "$dir" tests/fixtures/vosk

    line "# Transcription benchmark"
    line ""
    line "\`scripts/bench transcribe\` measures this again: \`capconduit-transcriber\` against a plain program around Vosk's own Python package (libvosk $VOSK_VERSION, words on), with the tiny English model of the tests, on 100 minutes of speech in files of a minute. Figures are seconds of audio; larger models are slower by one to three orders of magnitude, for both alike."
    line ""
    line "GOALS"
    line ""
    line "$(machine)"
    line ""
    line "| round | processes | ours per CPU s | Vosk's | ratio | ours per second | Vosk's | words ours / Vosk's |"
    line "| --- | --- | --- | --- | --- | --- | --- | --- |"
    local a b round workers
    measure throughput 1 "${ours[@]}" >/dev/null
    for ((round = 1; round <= rounds; round++)); do
        for workers in 1 2; do
            say "round $round of $rounds, $workers processes"
            # Whoever goes first has the colder machine: take turns.
            if ((round % 2)); then
                a=$(measure throughput "$workers" "${ours[@]}")
                b=$(measure throughput "$workers" "${theirs[@]}")
            else
                b=$(measure throughput "$workers" "${theirs[@]}")
                a=$(measure throughput "$workers" "${ours[@]}")
            fi
            ratio "$(value per_cpu "$a")" "$(value per_cpu "$b")" >>"$dir/ratios$workers"
            value per_wall "$a" >>"$dir/walls$workers"
            line "| $round | $workers | $(value per_cpu "$a") | $(value per_cpu "$b") | $(tail -n 1 "$dir/ratios$workers") | $(value per_wall "$a") | $(value per_wall "$b") | $(value words "$a") / $(value words "$b") |"
        done
    done
    line ""
    goal "audio per CPU second, 1 process: at least that of Vosk's Python package" "$(median <"$dir/ratios1")" 1 least
    goal "the same with 2 processes" "$(median <"$dir/ratios2")" 1 least
    goal "2 processes transcribe more than 1.5 times as much as 1 (on $(nproc) cores)" \
        "$(ratio "$(median <"$dir/walls2")" "$(median <"$dir/walls1")")" 1.5 least

    line "| memory of a transcriber (resident) | MiB |"
    line "| --- | --- |"
    say '200 files'
    a=$(measure growth "${ours[@]}")
    line "| after its first file, a minute | $(mib "$(value first_kib "$a")") |"
    line "| after 200 files | $(mib "$(value last_kib "$a")") |"
    goal 'memory over 200 files: grows by at most 64 MiB' "$(mib "$(value growth_kib "$a")")" 64
    say 'an hour in one file'
    a=$(measure hour "${ours[@]}")
    line "| most during an hour in one file | $(mib "$(value hour_kib "$a")") |"
    goal 'an hour in one file: at most 16 MiB more than a minute' \
        "$(awk -v a="$(value minute_kib "$a")" -v b="$(value hour_kib "$a")" 'BEGIN { printf "%.1f", (b - a) / 1024 }')" 16
    line ""
    line "The hour took $(value wall "$a") s, $(value words "$a") words."
    line ""
    bench_routing_beside

    local text goal_lines
    goal_lines=$(printf '%s\n' '| goal | measured |' '| --- | --- |' "${goals[@]}")
    # shellcheck disable=SC2154  # of bench.sh
    text=$(printf '%s\n' "${report[@]}")
    text=${text/GOALS/$goal_lines}
    printf '%s\n' "$text"
    [ -z "$out" ] || write_section "$out" "$text"
}

# Routing while transcribers are idle, and while they work: as many as leave a core to everything else, which is what
# docs/transcription.md advises, then one more.
bench_routing_beside() {
    local url agi_port='' http_port='' ops_port='' name daemon most=$(($(nproc) > 1 ? $(nproc) - 1 : 1))
    cleanup_push postgres_stop "$dir/pg"
    for name in agi_port http_port ops_port; do
        free_port "$name"
    done
    say 'starting PostgreSQL and the daemon'
    postgres_start "$dir/pg" fsync=on
    postgres_psql -c 'create database bench'
    url=$(postgres_url bench)
    mkdir -p "$dir/monitor" "$dir/stored"
    ln "$dir/hour.wav" "$dir/stored/hour.wav"
    bench_configure "$most"
    "$target/capconduit" migrate --config "$dir/capconduit.toml" >"$dir/migrate.log"
    "$POSTGRES_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$url" -f sql/bench/catalogue.sql
    sql 'analyze users, clients, pjsip_endpoints, pjsip_aors, dids, campaigns, campaign_dids, campaign_client_settings'
    local dids=() n idle busy
    for n in $(seq -w 0 19); do
        dids+=(--did "+180055501$n")
    done
    line "| routing at 200 calls a second, each ended at once; median of three | p50 ms | p99 ms | p99.9 ms | without verdict | errors |"
    line "| --- | --- | --- | --- | --- | --- |"
    bench_daemon
    say 'routing, nothing to transcribe'
    calls 3 >/dev/null
    idle=$(usual_calls)
    routed 'nothing to transcribe' "$idle"
    bench_queue_hours
    bench_beside "$most"
    goal "p99 of routing beside $most busy transcriber(s) on $(nproc) cores: at most 2 times that without" \
        "$(ratio "$(value p99_ms "$busy")" "$(value p99_ms "$idle")")" 2
    stop_pid "$daemon"
    bench_configure "$((most + 1))"
    bench_daemon
    calls 3 >/dev/null
    bench_beside "$((most + 1))"
    stop_pid "$daemon"
}

# bench_configure WORKERS: the daemon's file.
bench_configure() {
    cat >"$dir/capconduit.toml" <<TOML
[node]
name = "bench"
[database]
url = "$url"
[agi]
listen = "127.0.0.1:$agi_port"
[http]
listen = "127.0.0.1:$http_port"
[ops]
listen = "127.0.0.1:$ops_port"
[recording]
directory = "$dir/monitor"
storage = "$dir/stored"
[transcription]
workers = $1
[transcription.models]
en = "$model"
TOML
    chmod 0600 "$dir/capconduit.toml"
}

# Starts the daemon; sets daemon.
bench_daemon() {
    "$target/capconduit" serve --config "$dir/capconduit.toml" >>"$dir/daemon.log" 2>&1 &
    daemon=$!
    cleanup_push stop_pid "$daemon"
    wait_for 20 'the daemon listens' port_open 127.0.0.1 "$agi_port" || {
        tail -n 20 "$dir/daemon.log" >&2
        die 'the daemon did not start'
    }
}

# More hours than are transcribed meanwhile.
bench_queue_hours() {
    sql "with made as (
             insert into recordings (call_id, attempt, stem, state, language, mask_numbers, started_at, expected_at,
                                     stored_at, location, duration_ms)
             select 1000000 + n, 1, '20261121T081500Z-' || 1000000 + n || '-1', 'stored', 'en', false, now(), now(),
                    now(), '$dir/stored', 3600000
             from generate_series(1, 400) as n
             returning recording_id, call_id),
         files as (
             insert into recording_files (recording_id, leg, object_key, bytes, sha256, sample_rate, duration_ms)
             select recording_id, leg, 'hour.wav', $(stat -c %s "$dir/hour.wav"),
                    '\\x$(sha256sum <"$dir/hour.wav" | cut -d' ' -f1)', 8000, 3600000
             from made, unnest(array['caller', 'agent']) as leg)
         insert into transcription_jobs (recording_id, call_id, language, state, not_before, created_at)
         select recording_id, call_id, 'en', 'queued', now(), now() from made"
}

# usual_calls: of three measurements that with the median p99.
usual_calls() {
    local n one
    for n in 1 2 3; do
        one=$(calls "$seconds")
        printf '%s\t%s\n' "$(value p99_ms "$one")" "$one"
    done | sort -g | sed -n 2p | cut -f2
}

# bench_beside WORKERS: routing while so many work; sets busy.
bench_beside() {
    wait_for 60 "$1 transcribers work" transcribing "$1" || {
        tail -n 20 "$dir/daemon.log" >&2
        die 'the transcribers do not work'
    }
    say "routing beside $1 busy transcribers"
    busy=$(usual_calls)
    [ "$(sql "select count(*) from transcription_jobs where state = 'queued'")" -gt 0 ] ||
        warn 'the transcribers had nothing more to do'
    routed "beside $1 busy transcribers on $(nproc) cores" "$busy"
}

# transcribing N: so many jobs are under way and have been heard for a while.
transcribing() { [ "$(sql "select count(*) from transcription_jobs where state = 'running' and progress_ms > 0")" -ge "$1" ]; }
