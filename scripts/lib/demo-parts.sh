# shellcheck shell=bash
# The parts of scripts/demo: what is started, stopped and called. Needs common.sh, postgres.sh and
# asterisk.sh.
#
# All of a run lives in var/demo: `run` while it lasts (elsewhere when other users could not enter it, as
# under /root), `log` also afterwards. `processes` names what was started, so that a demo that was killed
# can be cleared away.

[ -z "${CAPCONDUIT_LIB_DEMO_PARTS-}" ] || return 0
CAPCONDUIT_LIB_DEMO_PARTS=1

DEMO_HOME=$REPO_ROOT/var/demo
DEMO_LOG=$DEMO_HOME/log
DEMO_CALL_CENTRES=(alpha beta gamma delta busyline noreply decline)

# --- a run and its traces ---------------------------------------------------------------------------

# Another run's process may have got the pid of ours: the start time tells.
demo_start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# demo_note NAME PID: a process of this run.
demo_note() { printf '%s %s %s\n' "$2" "$(demo_start_time "$2")" "$1" >>"$DEMO_HOME/processes"; }

# The pid of the demo that is up, nothing if none is.
demo_running() {
    local pid start name
    [ -s "$DEMO_HOME/processes" ] || return 0
    while read -r pid start name; do
        if [ "$name" = demo ] && [ "$pid" != "$$" ] && [ "$(demo_start_time "$pid")" = "$start" ]; then
            echo "$pid"
        fi
    done <"$DEMO_HOME/processes"
}

demo_begin() {
    local pid variable
    umask 022
    # Whatever the user has set for other purposes must not lead the parts astray.
    for variable in "${!PG@}" "${!CAPCONDUIT_@}"; do
        case "$variable" in PG* | CAPCONDUIT_CONFIG | CAPCONDUIT_*__*) unset "$variable" ;; esac
    done
    unset CAPCONDUIT_CONFIG
    pid=$(demo_running)
    [ -z "$pid" ] || die "a demo is up already (process $pid): end it with scripts/demo --stop"
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || warn 'neither root nor sudo: this works only if everything needed is installed already'
    fi
    mkdir -p "$DEMO_LOG"
    if [ ! -O "$DEMO_HOME" ] || [ ! -O "$DEMO_LOG" ]; then
        die "$DEMO_HOME belongs to another user: run as that user, or remove it"
    fi
    demo_clear_away
    rm -f "$DEMO_LOG"/*
    # Inherited by what is started, so that none of it is overlooked at the end.
    export CAPCONDUIT_DEMO=$$
    cleanup_push demo_end
    demo_note demo "$$"
}

demo_end() {
    say 'stopping and clearing away'
    demo_stop_parts
    demo_clear_away
}

# Stop what a run started, the latest first, and remove its files. Also after a run that was killed.
demo_clear_away() {
    local pid start name directory
    [ -e "$DEMO_HOME" ] || return 0
    if [ -s "$DEMO_HOME/processes" ]; then
        while read -r pid start name; do
            if [ "$pid" != "$$" ] && [ "$(demo_start_time "$pid")" = "$start" ]; then
                stop_pid "$pid" 10
            fi
        done < <(tac "$DEMO_HOME/processes")
    fi
    directory=$(readlink "$DEMO_HOME/run" || true)
    case "$directory" in
        /tmp/capconduit-demo.*) ;;
        *) directory=$DEMO_HOME/run ;;
    esac
    demo_stop_strays "$directory"
    demo_remove "$directory"
    demo_remove "$DEMO_HOME/run"
    rm -f "$DEMO_HOME/processes" "$DEMO_HOME/state" "$DEMO_HOME/capconduit.toml"
}

# demo_stop_strays DIRECTORY: a signal may have come between a start and the note of it. Ours are a server of
# that directory, and whatever has our mark in its environment.
demo_stop_strays() {
    local directory=$1 path pid words
    for path in /proc/[0-9]*; do
        pid=${path#/proc/}
        if [ "$pid" = "$$" ] || [ "$pid" = "$BASHPID" ]; then continue; fi
        words=$(tr '\0' ' ' 2>/dev/null <"$path/cmdline") || continue
        case "$words" in
            *"asterisk -C $directory/asterisk/asterisk.conf -f"* | */postgres" -D $directory/pg/data "*) ;;
            *) grep -qzxF "CAPCONDUIT_DEMO=${CAPCONDUIT_DEMO:-none}" "$path/environ" 2>/dev/null || continue ;;
        esac
        stop_pid "$pid" 5
    done
}

# Files may belong to a run as root.
demo_remove() { rm -rf "$1" 2>/dev/null || as_root rm -rf --one-file-system "$1"; }

# scripts/demo --stop
demo_stop() {
    local pid
    pid=$(demo_running)
    if [ -n "$pid" ]; then
        say "ending the demo (process $pid)"
        signal_pid TERM "$pid"
        wait_for 60 'the demo ends' pid_gone "$pid" || true
    elif [ -s "$DEMO_HOME/processes" ]; then
        say 'clearing away what a demo left'
    else
        say 'no demo is up'
    fi
    [ ! -s "$DEMO_HOME/processes" ] || demo_clear_away
}

# What other commands need to know of the demo that is up.
demo_save_state() {
    local name
    # shellcheck disable=SC2034  # written by name
    local DEMO_PSQL=$POSTGRES_BIN/psql
    for name in DEMO_RUN DEMO_ASTERISK DEMO_SIP_PORT DEMO_PSQL DEMO_DATABASE_URL ASTERISK_TREE; do
        printf '%s=%q\n' "$name" "${!name}"
    done >"$DEMO_HOME/state"
}

demo_load_state() {
    if [ -z "$(demo_running)" ] || [ ! -s "$DEMO_HOME/state" ]; then
        die 'no demo is up: start one with scripts/demo --keep'
    fi
    # shellcheck disable=SC1091
    . "$DEMO_HOME/state"
}

# --- what is needed ---------------------------------------------------------------------------------

demo_obtain() {
    local user tree=/
    have cargo || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH=$HOME/.cargo/bin:$PATH
    have cargo || die 'cargo is not in the PATH: install a Rust toolchain from https://rustup.rs'
    have cc || apt_install gcc libc6-dev
    postgres_ensure
    vosk_ensure
    if [ "${CAPCONDUIT_ASTERISK:-auto}" = tree ] || ! asterisk_system_fits; then
        need_root 'Asterisk in a Debian tree'
        [ "$(id -u)" -eq 0 ] || sudo -v ||
            die 'sudo does not let you become root: run as root, or install Asterisk 20 or later, odbc-postgresql and sip-tester'
    fi
    asterisk_ensure
    if [ -n "$ASTERISK_TREE" ]; then
        asterisk_need_mounts
        tree=$ASTERISK_TREE
    fi
    say "PostgreSQL $("$POSTGRES_BIN/postgres" --version | sed 's/^[^0-9]*\([0-9.]*\).*/\1/'), $(demo_asterisk_version) in $tree"

    # A directory that the servers' user may enter, of plain characters, short enough for sockets.
    DEMO_RUN=$DEMO_HOME/run
    mkdir -p "$DEMO_RUN"
    chmod 0711 "$DEMO_RUN"
    postgres_as
    if [[ ! "$DEMO_RUN" =~ ^/[A-Za-z0-9_./-]{1,70}$ ]] ||
        ! ${POSTGRES_AS[@]+"${POSTGRES_AS[@]}"} test -x "$DEMO_RUN"; then
        rmdir "$DEMO_RUN"
        DEMO_RUN=$(mktemp -d /tmp/capconduit-demo.XXXXXX)
        ln -s "$DEMO_RUN" "$DEMO_HOME/run"
        chmod 0711 "$DEMO_RUN"
    fi
    user=$(postgres_user)
    # shellcheck disable=SC2034  # see demo_start_asterisk
    DEMO_USER=$user
}

demo_asterisk_version() {
    if [ -n "$ASTERISK_TREE" ]; then
        sed -n '/^Package: asterisk$/,/^$/s/^Version: [0-9]*:\{0,1\}\([0-9.]*\).*/Asterisk \1/p' \
            "$ASTERISK_TREE/var/lib/dpkg/status"
    else
        asterisk -V
    fi
}

# Sets DEMO_BINARY.
demo_build() {
    local log=$DEMO_LOG/build.log build=(cargo build --profile ci --bins) pid target
    cd "$REPO_ROOT" || exit
    say 'building capconduit (profile ci; the first time some minutes)'
    if [ -t 2 ]; then
        "${build[@]}" >&2 || die 'the build failed'
    else
        "${build[@]}" >"$log" 2>&1 </dev/null &
        pid=$!
        demo_note cargo "$pid"
        local next=$((SECONDS + 20))
        while pid_alive "$pid"; do
            sleep 0.2
            if [ "$SECONDS" -ge "$next" ]; then
                printf '    %s crates so far;%s\n' "$(grep -c '^ *Compiling' "$log")" "$(tail -n 1 "$log" | tr -s ' ')" >&2
                next=$((SECONDS + 20))
            fi
        done
        if ! wait "$pid"; then
            tail -n 30 "$log" >&2
            die 'the build failed'
        fi
    fi
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    DEMO_BINARY=$target/ci/capconduit
    [ -x "$DEMO_BINARY" ] || die "the build left no $DEMO_BINARY"
}

# --- parts ------------------------------------------------------------------------------------------

demo_stop_parts() {
    local pid
    [ -z "${DEMO_SAMPLER-}" ] || stop_pid "$DEMO_SAMPLER"
    for pid in ${DEMO_CARRIERS[@]+"${DEMO_CARRIERS[@]}"}; do stop_pid "$pid" 2; done
    if [ -n "${DEMO_ASTERISK-}" ] && [ -e "$DEMO_ASTERISK/asterisk.conf" ]; then asterisk_stop "$DEMO_ASTERISK"; fi
    for pid in ${DEMO_CENTRES[@]+"${DEMO_CENTRES[@]}"}; do signal_pid KILL "$pid"; done
    [ -z "${DEMO_DAEMON-}" ] || stop_pid "$DEMO_DAEMON"
    if [ -n "${DEMO_RUN-}" ]; then
        postgres_stop "$DEMO_RUN/pg"
        cp "$DEMO_RUN/pg/postgres.log" "$DEMO_RUN/asterisk/var/log/messages.log" "$DEMO_LOG/" 2>/dev/null || true
    fi
}

demo_start_postgres() {
    say 'starting PostgreSQL'
    postgres_start "$DEMO_RUN/pg"
    demo_note postgres "$POSTGRES_PID"
    postgres_psql -c 'create database capconduit'
    DEMO_DATABASE_URL=$(postgres_url capconduit)
    local name
    for name in DEMO_SIP_PORT DEMO_ARI_PORT DEMO_AGI_PORT DEMO_OPS_PORT DEMO_HTTP_PORT DEMO_CARRIER_PORT \
        DEMO_CARRIER_PORT_2; do
        free_port "$name"
    done
    free_port DEMO_RTP_PORT 400
    free_port DEMO_CARRIER_MEDIA 8
    # All of the daemon's configuration. The password of ARI is in a file that render-asterisk-config makes.
    cat >"$DEMO_HOME/capconduit.toml" <<TOML
[node]
name = "demo"

[database]
url = "$DEMO_DATABASE_URL"

[agi]
listen = "127.0.0.1:$DEMO_AGI_PORT"

[http]
listen = "127.0.0.1:$DEMO_HTTP_PORT"

[ops]
listen = "127.0.0.1:$DEMO_OPS_PORT"

[[asterisk]]
name = "pbx1"
url = "http://127.0.0.1:$DEMO_ARI_PORT"
username = "capconduit"
password_file = "$DEMO_RUN/asterisk/ari-password"

[recording]
directory = "$DEMO_RUN/asterisk/var/recordings"

[transcription.models]
en = "$REPO_ROOT/tests/fixtures/vosk/vosk-model-tiny-en-digits-8k"
hi = "$REPO_ROOT/tests/fixtures/vosk/vosk-model-tiny-hi-digits-8k"

[shutdown]
drain_seconds = 3

[log]
format = "human"
TOML
    # The file names another one for the password, which is not there yet.
    mkdir -p "$DEMO_RUN/asterisk"
    [ -s "$DEMO_RUN/asterisk/ari-password" ] || head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$DEMO_RUN/asterisk/ari-password"
    chmod 0640 "$DEMO_RUN/asterisk/ari-password"
    show_command 'capconduit migrate' demo_cli migrate || die 'capconduit migrate failed'
}

# demo_cli WORD...: capconduit with the demo's configuration.
demo_cli() { "$DEMO_BINARY" --config "$DEMO_HOME/capconduit.toml" "$@"; }

# demo_psql ARGS...: psql in the demo's database.
demo_psql() { "$POSTGRES_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$DEMO_DATABASE_URL" "$@"; }

demo_start_call_centres() {
    local name centre_port centre_media scenario variables=()
    say 'starting the call centres (sipp)'
    DEMO_CENTRES=()
    for name in "${DEMO_CALL_CENTRES[@]}"; do
        free_port centre_port
        free_port centre_media 8
        variables+=(-v "${name}_port=$centre_port")
        case "$name" in
            alpha) scenario=(uas-answer.xml -set ring 200) ;;
            beta) scenario=(uas-answer.xml -set ring 500) ;;
            gamma) scenario=(uas-answer.xml -set ring 300) ;;
            delta) scenario=(uas-answer.xml -set ring 800) ;;
            busyline) scenario=(uas-busy.xml) ;;
            noreply) scenario=(uas-silent.xml) ;;
            decline) scenario=(uas-refuse.xml) ;;
        esac
        sipp_start "$DEMO_LOG/centre-$name.log" -sf "tests/sipp/${scenario[0]}" "${scenario[@]:1}" -aa \
            -i 127.0.0.1 -p "$centre_port" -mi 127.0.0.1 -mp "$centre_media"
        DEMO_CENTRES+=("$SIPP_PID")
        demo_note "$name" "$SIPP_PID"
    done
    variables+=(-v "voice_port=$DEMO_SIP_PORT")
    demo_psql "${variables[@]}" -f sql/demo/world.sql -f sql/demo/views.sql >"$DEMO_LOG/world.log"
    sleep 0.3
    for name in "${DEMO_CENTRES[@]}"; do
        pid_alive "$name" || die "a call centre did not start, see $DEMO_LOG/centre-*.log"
    done
}

demo_start_asterisk() {
    say 'starting Asterisk'
    DEMO_ASTERISK=$DEMO_RUN/asterisk
    SIP_BIND=127.0.0.1:$DEMO_SIP_PORT ARI_BIND=127.0.0.1:$DEMO_ARI_PORT AGI_URL=agi://127.0.0.1:$DEMO_AGI_PORT \
        PGHOST=$POSTGRES_SOCKET_DIR PGPORT=5432 PGDATABASE=capconduit PGSSLMODE=disable \
        TRUNK_MATCH=127.0.0.1 RTP_START=$DEMO_RTP_PORT RTP_END=$((DEMO_RTP_PORT + 399)) \
        scripts/render-asterisk-config --quiet "$DEMO_ASTERISK"
    demo_add_voices
    # Not as root: as the user of the database, whose socket it needs.
    [ "$(id -u)" -ne 0 ] || chown -R "$DEMO_USER:" "$DEMO_ASTERISK"
    asterisk_start "$DEMO_ASTERISK"
    demo_note asterisk "$(asterisk_pid "$DEMO_ASTERISK")"
    DEMO_ARI_AUTHORIZATION=$(printf 'capconduit:%s' "$(cat "$DEMO_ASTERISK/ari-password")" | base64 -w 0)
}

# People who talk: Asterisk calls itself, as a caller of the carrier's and as the call centre `echo`.
demo_add_voices() {
    local voices=$DEMO_ASTERISK/voices
    mkdir -p "$voices"
    cp tests/fixtures/vosk/en_words.wav tests/fixtures/vosk/hi_digits.wav "$voices/"
    printf 'load = app_playback.so\n' >>"$DEMO_ASTERISK/modules.conf"
    cat >>"$DEMO_ASTERISK/pjsip.conf" <<CONF

[demo-carrier]
type = endpoint
context = capconduit-none
disallow = all
allow = alaw
direct_media = no
aors = demo-carrier

[demo-carrier]
type = aor
contact = sip:127.0.0.1:$DEMO_SIP_PORT
CONF
    cat >>"$DEMO_ASTERISK/extensions.conf" <<CONF

[capconduit-inbound](+)
exten => echo,1,Answer()
 same => n,Wait(7)
 same => n,Playback($voices/hi_digits)
 same => n,Wait(60)

[demo-caller]
exten => s,1,Wait(1)
 same => n,Playback($voices/en_words)
 same => n,Wait(7)
 same => n,Hangup()
CONF
}

demo_start_daemon() {
    show_command 'capconduit check' demo_cli check || die 'capconduit check found something wrong'
    say 'starting the daemon (capconduit serve)'
    setsid "$DEMO_BINARY" --config "$DEMO_HOME/capconduit.toml" serve >"$DEMO_LOG/daemon.log" 2>&1 </dev/null &
    DEMO_DAEMON=$!
    disown "$DEMO_DAEMON"
    demo_note daemon "$DEMO_DAEMON"
    wait_for 60 'the daemon is ready' demo_daemon_ready || {
        tail -n 20 "$DEMO_LOG/daemon.log" >&2
        die 'the daemon did not become ready'
    }
    demo_save_state
}

demo_daemon_ready() { http_get "$DEMO_OPS_PORT" /readyz | grep -q '"ready": *true'; }

# http_get PORT PATH [AUTHORIZATION [METHOD]]: the body of the answer.
http_get() {
    local connection
    exec {connection}<>"/dev/tcp/127.0.0.1/$1" || return 1
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n' "${4:-GET}" "$2" \
        "${3:+Authorization: Basic $3$'\r\n'}" >&"$connection"
    sed '1,/^\r$/d' <&"$connection"
    exec {connection}>&-
}

# Asks Asterisk four times a second which channels it has.
demo_start_sampler() {
    : >"$DEMO_RUN/samples"
    demo_sample &
    DEMO_SAMPLER=$!
    disown "$DEMO_SAMPLER"
    demo_note sampler "$DEMO_SAMPLER"
}

demo_sample() {
    local body
    while :; do
        body=$(http_get "$DEMO_ARI_PORT" /ari/channels "$DEMO_ARI_AUTHORIZATION" 2>/dev/null || true)
        case "$body" in '[{'*'}]') printf '%s\n' "$body" >>"$DEMO_RUN/samples" ;; esac
        sleep 0.2
    done
}

demo_stop_sampler() {
    stop_pid "$DEMO_SAMPLER"
    DEMO_SAMPLER=
    # Quotes and separators that no JSON text contains: each line is one value.
    demo_psql -c "\\copy demo.samples (channels) from '$DEMO_RUN/samples' with (format csv, quote E'\\x01', delimiter E'\\x02')"
}

# --- calls ------------------------------------------------------------------------------------------

DEMO_PLACED=0
DEMO_SPOKEN=0
DEMO_CARRIERS=()
DEMO_BATCH=()
DEMO_RUNS=0

# calls_add NUMBER: one more call in the next batch, from a caller of its own.
calls_add() {
    DEMO_PLACED=$((DEMO_PLACED + 1))
    DEMO_BATCH+=("$1;+1415555$(printf '%04d' "$DEMO_PLACED");any")
}

# calls_begin SCENARIO ARGS...: place the batch; sets SIPP_PID.
calls_begin() {
    local file=$1 port=$DEMO_CARRIER_PORT log media=$DEMO_CARRIER_MEDIA
    shift
    if [ "$file" = carrier-cancel.xml ]; then
        port=$DEMO_CARRIER_PORT_2
        media=$((DEMO_CARRIER_MEDIA + 4))
    fi
    DEMO_RUNS=$((DEMO_RUNS + 1))
    log=$DEMO_LOG/carrier-$DEMO_RUNS
    printf '%s\n' SEQUENTIAL "${DEMO_BATCH[@]}" >"$DEMO_RUN/calls-$DEMO_RUNS.csv"
    sipp_start "$log.log" "127.0.0.1:$DEMO_SIP_PORT" -sf "tests/sipp/$file" \
        -inf "$DEMO_RUN/calls-$DEMO_RUNS.csv" -m "${#DEMO_BATCH[@]}" -i 127.0.0.1 -p "$port" -mi 127.0.0.1 \
        -mp "$media" -trace_logs -log_file "$log.calls" -trace_err -error_file "$log.errors" \
        -trace_stat -stf "$log.csv" -timeout 60 -timeout_error "$@"
    demo_note carrier "$SIPP_PID"
    DEMO_CARRIERS+=("$SIPP_PID")
    DEMO_BATCH=()
}

# calls_place ARGS...: the same with carrier.xml, and tell each call's story until all are over.
calls_place() {
    calls_begin carrier.xml "$@"
    until demo_carriers_done; do
        show_ended_calls
        sleep 0.25
    done
    wait_for 60 'all calls are logged as ended' demo_all_ended || true
    show_ended_calls
}

# calls_speak NUMBER: a caller who says something; his call lasts about thirteen seconds.
calls_speak() {
    DEMO_SPOKEN=$((DEMO_SPOKEN + 1))
    http_get "$DEMO_ARI_PORT" "/ari/channels?endpoint=PJSIP/%2B${1#+}@demo-carrier&callerId=%2B1415556000$DEMO_SPOKEN&context=demo-caller&extension=s&priority=1" \
        "$DEMO_ARI_AUTHORIZATION" POST | grep -q '"id"' || die "a call to $1 could not be placed"
}

# Wait until what was said is transcribed.
demo_transcribed() { [ "$(demo_psql -Atc 'select count(*) from transcripts')" -ge "$DEMO_SPOKEN" ]; }

demo_carriers_done() {
    local pid
    for pid in "${DEMO_CARRIERS[@]}"; do pid_gone "$pid" || return 1; done
    DEMO_CARRIERS=()
}

demo_all_ended() { [ "$(demo_psql -Atc 'select count(*) from calls where ended_at is not null')" -ge "$((DEMO_PLACED + DEMO_SPOKEN))" ]; }

# Wait until the books should be closed, and fetch the carrier's record.
demo_settle() {
    wait_for 60 'all slots are free' demo_nothing_open || true
    wait_for 60 'Asterisk has no channel left' demo_no_channels || true
    cat "$DEMO_LOG"/carrier-*.calls |
        sed -n 's/.*did=\([^ ]*\) caller=\([^ ]*\) .*got=\([0-9]*\).*/\1,\2,\3/p' >"$DEMO_RUN/placed.csv"
    demo_psql -c "\\copy demo.placed from '$DEMO_RUN/placed.csv' with (format csv)"
}

demo_nothing_open() { [ "$(demo_psql -Atc 'select count(*) from reservations where ended_at is null')" = 0 ]; }
demo_no_channels() { [ "$(http_get "$DEMO_ARI_PORT" /ari/channels "$DEMO_ARI_AUTHORIZATION")" = '[]' ]; }

# demo_sipp_total COLUMN: the sum of a counter over all of the carrier's runs, from sipp's statistics.
demo_sipp_total() {
    local file
    for file in "$DEMO_LOG"/carrier-*.csv; do
        awk -F';' -v wanted="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == wanted) column = i }
            END { print $column }' "$file"
    done | awk '{ sum += $1 } END { print sum + 0 }'
}

# demo_call NUMBER COUNT: scripts/demo --call
demo_call() {
    local number=$1 count=$2 call_port call_media file i
    [[ "$number" =~ ^\+?[0-9]{3,15}$ ]] || die "not a telephone number: $number"
    [[ "$count" =~ ^[1-9][0-9]{0,2}$ ]] || die "not a number of calls from 1 to 999: $count"
    demo_load_state
    cd "$REPO_ROOT" || exit
    free_port call_port
    free_port call_media 8
    file=$(mktemp "$DEMO_RUN/call.XXXXXX")
    cleanup_push rm -f "$file" "$file.log"
    {
        echo SEQUENTIAL
        for ((i = 0; i < count; i++)); do printf '%s;+1415666%04d;any\n' "$number" $((RANDOM % 10000)); done
    } >"$file"
    say "$count call(s) to $number, 5 s each; the demo's terminal tells what becomes of them"
    sipp_run "127.0.0.1:$DEMO_SIP_PORT" -sf tests/sipp/carrier.xml -inf "$file" -m "$count" -r 10 -d 5000 \
        -i 127.0.0.1 -p "$call_port" -mi 127.0.0.1 -mp "$call_media" -trace_logs -log_file "$file.log" \
        -timeout 300 -timeout_error >/dev/null 2>&1 || warn 'not every call came to an end'
    sed -n 's/.*caller=\([^ ]*\) .*got=\([0-9]*\).*/    caller \1: SIP \2/p' "$file.log" >&2
}

# demo_keep STATUS: until somebody ends it, tell of further calls. That is the usual end: STATUS stands.
demo_keep() {
    # shellcheck disable=SC2064  # the status of now
    trap "trap '' HUP INT TERM; exit $1" HUP INT TERM
    while pid_alive "$DEMO_DAEMON"; do
        show_ended_calls
        sleep 0.5
    done
    die "the daemon has ended, see $DEMO_LOG/daemon.log"
}
