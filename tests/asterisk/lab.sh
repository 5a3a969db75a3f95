# shellcheck shell=bash
# The laboratory of tests/asterisk: a private PostgreSQL, Asterisk, daemons, call centres and a carrier, what
# can be done to them, and what must hold afterwards. Needs common.sh, postgres.sh and asterisk.sh.
#
# Everything lives in $LAB. Daemons: `one` decides, `two` is the backup that the dialplan knows.

declare -A DAEMON_PID=() DAEMON_AGI=() DAEMON_OPS=() CENTRE_PORT=()
LAB_STARTED=()
LAB_FAULTS=()
CALLER=0
BATCH=()
CARRIERS=()
CARRIER_RUN=0

# --- set up -------------------------------------------------------------------------------------------

lab_start() {
    local variable name
    umask 022
    for variable in "${!PG@}" "${!CAPCONDUIT_@}"; do
        case "$variable" in PG* | CAPCONDUIT_CONFIG | CAPCONDUIT_*__*) unset "$variable" ;; esac
    done
    postgres_ensure
    asterisk_ensure
    vosk_ensure
    [ -z "$ASTERISK_TREE" ] || asterisk_need_mounts
    have curl || apt_install curl
    LAB=$(mktemp -d /tmp/capconduit-lab.XXXXXX)
    chmod 0711 "$LAB"
    cleanup_push lab_stop
    # What is committed without waiting for the disk stays long in memory, so that a crash does lose it.
    postgres_start "$LAB/pg" wal_writer_delay=10s
    postgres_psql -c 'create database capconduit'
    DATABASE_URL=$(postgres_url capconduit)
    for name in SIP_PORT ARI_PORT TLS_PORT; do free_port "$name"; done
    free_port RTP_PORT 600
    free_port CARRIER_MEDIA 8
    have openssl || apt_install openssl
    ASTERISK=$LAB/asterisk
    mkdir -p "$ASTERISK" "$LAB/bin"
    ln -s "$REPO_ROOT/tests/fixtures/vosk/eager-transcriber" "$(dirname "$BINARY")/capconduit-transcriber" "$LAB/bin/"
    printf 'lab-%s\n' "$RANDOM$RANDOM" >"$ASTERISK/ari-password"
    chmod 0640 "$ASTERISK/ari-password"
    for name in one two; do
        free_port "DAEMON_PORT"
        DAEMON_AGI[$name]=$DAEMON_PORT
        free_port "DAEMON_PORT"
        DAEMON_OPS[$name]=$DAEMON_PORT
        daemon_configure "$name"
    done
    "$BINARY" --config "$LAB/one.toml" migrate >"$LAB/migrate.log" 2>&1 || {
        cat "$LAB/migrate.log" >&2
        die 'capconduit migrate failed'
    }
    lab_start_centres
    lab_render "$ASTERISK"
    lab_add_voices
    ARI_PASSWORD=$(cat "$ASTERISK/ari-password")
    # As the user of the database, whose socket it needs.
    [ "$(id -u)" -ne 0 ] || chown -R "$(postgres_user):" "$ASTERISK"
    asterisk_start "$ASTERISK"
}

# lab_render OUT_DIR: the configuration of an Asterisk with the ports of the lab.
lab_render() {
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -days 2 -keyout "$1/tls.key" -out "$1/tls.crt" 2>/dev/null
    SIP_BIND=127.0.0.1:$SIP_PORT ARI_BIND=127.0.0.1:$ARI_PORT AGI_URL=$(agi_url one) AGI_URL_BACKUP=$(agi_url two) \
        PGHOST=$POSTGRES_SOCKET_DIR PGPORT=5432 PGDATABASE=capconduit PGSSLMODE=disable TRUNK_MATCH=127.0.0.1 \
        TLS_BIND=127.0.0.1:$TLS_PORT TLS_CERT_FILE=$1/tls.crt TLS_KEY_FILE=$1/tls.key \
        FALLBACK_DIAL=PJSIP/fallback REGISTRATION=yes RTP_START=$RTP_PORT RTP_END=$((RTP_PORT + 599)) SYSTEM_NAME=lab \
        "$REPO_ROOT/scripts/render-asterisk-config" --quiet "$1"
    # Endpoint and aor: the aor that a `PJSIP/trunk/sip:...` names is looked up in the database.
    cat >>"$1/pjsip.conf" <<CONF

[fallback]
type = endpoint
transport = transport-udp
context = capconduit-none
disallow = all
allow = ulaw,alaw
direct_media = no
aors = fallback

[fallback]
type = aor
contact = sip:fallback@127.0.0.1:${CENTRE_PORT[fallback]}

; Found without the database, see "Call centres that register" in asterisk-config/README.md.
[fallback\;@fixed]
type = contact
uri = sip:fallback@127.0.0.1:${CENTRE_PORT[fallback]}
expiration_time = 4102444800
CONF
    cat >>"$1/extensions.conf" <<'CONF'

; An IVR: i<number> talks for two seconds and goes on to the number.
[capconduit-inbound](+)
exten => _i.,1,Answer()
 same => n,Wait(2)
 same => n,Goto(capconduit-inbound,${EXTEN:1},1)
; An IVR that goes on with who was refused: r<number> comes back, and stays for a second.
exten => _r.,1,Answer()
 same => n,Set(CC_RETURN=yes)
 same => n,Gosub(capconduit-call,s,1(${EXTEN:1}))
 same => n,Log(NOTICE,lab: ${CALLERID(num)} is back: ${CC_OUTCOME} ${CC_CAUSE} ${CAPCONDUIT_REASON})
 same => n,Wait(1)
 same => n,Hangup()
CONF
}

# People who talk: Asterisk calls itself, once as the carrier's caller and once as the call centre. Both say
# something known, and keep what they hear in $VOICES/heard-*.
lab_add_voices() {
    VOICES=$ASTERISK/voices
    mkdir -p "$VOICES" "$ASTERISK/var/announcements"
    cp "$REPO_ROOT"/tests/fixtures/vosk/{en_digits,en_words}.wav "$VOICES/"
    # A tone of 1 kHz for two seconds, and the same at 16 kHz.
    wav_tone 8000 >"$ASTERISK/var/announcements/tone.wav"
    wav_tone 16000 >"$ASTERISK/var/announcements/wide.wav"
    printf 'load = app_playback.so\n' >>"$ASTERISK/modules.conf"
    cat >>"$ASTERISK/pjsip.conf" <<CONF

[lab-loop]
type = endpoint
transport = transport-udp
context = capconduit-none
disallow = all
allow = alaw
direct_media = no
aors = lab-loop

[lab-loop]
type = aor
contact = sip:127.0.0.1:$SIP_PORT
CONF
    cat >>"$ASTERISK/extensions.conf" <<CONF

[capconduit-inbound](+)
exten => _v.,1,NoOp()
 same => n,Answer()
 same => n,MixMonitor($VOICES/heard-agent-\${EXTEN}-mix.wav,r($VOICES/heard-agent-\${EXTEN}.wav))
 same => n,GotoIf(\$["\${EXTEN}" = "vsilent"]?wait)
 same => n,Wait(7)
 same => n,Playback($VOICES/en_words)
 same => n(wait),Wait(60)

[lab-caller]
exten => says,1,MixMonitor($VOICES/heard-caller-\${CALLERID(num):-10}-mix.wav,r($VOICES/heard-caller-\${CALLERID(num):-10}.wav))
 same => n,Wait(1)
 same => n,Playback($VOICES/en_digits)
 same => n,Wait(8)
 same => n,Hangup()
exten => leaves,1,Wait(1)
 same => n,Hangup()
exten => talks,1,Playback($VOICES/en_digits&$VOICES/en_digits&$VOICES/en_digits&$VOICES/en_digits&$VOICES/en_digits)
 same => n,Hangup()
CONF
}

# wav_tone RATE: two seconds of 1 kHz.
wav_tone() {
    awk -v rate="$1" 'BEGIN {
        printf "RIFF"; long(rate * 4 + 36); printf "WAVEfmt "; long(16); word(1); word(1); long(rate); long(rate * 2)
        word(2); word(16); printf "data"; long(rate * 4)
        for (i = 0; i < rate * 2; i++) word(int(8000 * sin(i * 2 * 3.14159265 * 1000 / rate)))
    }
    function byte(b) { if (b == 0) printf "%c", 0; else printf "%c", b }
    function word(w) { if (w < 0) w += 65536; byte(w % 256); byte(int(w / 256)) }
    function long(l) { word(l % 65536); word(int(l / 65536)) }'
}

# wav_levels FILE FROM TO: loudness (root mean square) and the share of 1 kHz in it, in percent, between two times in
# milliseconds.
wav_levels() {
    od -An -v -td2 -w2 -j$((44 + $2 * 16)) -N$((($3 - $2) * 16)) "$1" | awk '{
        sum += $1 * $1; n++
        a = n * 0.78539816339; re += $1 * cos(a); im += $1 * sin(a)
    } END {
        if (!n) { print 0, 0; exit }
        printf "%d %d\n", sqrt(sum / n), sum ? 100 * 2 * (re * re + im * im) / n / sum : 0
    }'
}
# sounds FILE FROM TO, quiet FILE FROM TO, tone FILE FROM TO
sounds() { read -r level share <<<"$(wav_levels "$@")"; printf '%s: level %s, %s %% tone\n' "$*" "$level" "$share" >>"$LAB/levels.log"; [ "$level" -gt 300 ] && [ "$share" -lt 50 ]; }
quiet() { read -r level share <<<"$(wav_levels "$@")"; printf '%s: level %s, %s %% tone\n' "$*" "$level" "$share" >>"$LAB/levels.log"; [ "$level" -lt 60 ]; }
tone() { read -r level share <<<"$(wav_levels "$@")"; printf '%s: level %s, %s %% tone\n' "$*" "$level" "$share" >>"$LAB/levels.log"; [ "$level" -gt 1000 ] && [ "$share" -gt 80 ]; }

# speak DID EXTENSION [STATUS [ATTEMPTS]]: a caller who talks as context lab-caller says.
speak() {
    CALLER=$((CALLER + 1))
    CALLER_NUMBER=+1415$((5550000 + CALLER))
    expect_call "$CALLER_NUMBER" "$1" "${3-ANSWERED}" "${4-1}" none
    curl -s --max-time 5 -u "capconduit:$ARI_PASSWORD" -X POST -G "http://127.0.0.1:$ARI_PORT/ari/channels" \
        --data-urlencode "endpoint=PJSIP/$1@lab-loop" --data-urlencode "callerId=$CALLER_NUMBER" \
        --data-urlencode context=lab-caller --data-urlencode "extension=$2" --data-urlencode priority=1 -o /dev/null -f ||
        fault "a call to $1 could not be placed"
}

agi_url() { printf 'agi://127.0.0.1:%s\n' "${DAEMON_AGI[$1]}"; }

lab_start_centres() {
    local name centre_port centre_media scenario variables=()
    for name in answer bye busy silent refuse congested redirect dead slow refer trunk fallback; do
        free_port centre_port
        free_port centre_media 8
        CENTRE_PORT[$name]=$centre_port
        variables+=(-v "$name=$centre_port")
        case "$name" in
            answer | trunk | fallback) scenario=(uas-answer.xml -set ring 50) ;;
            # For one call: its log is written when sipp ends.
            refer) scenario=(uas-refer.xml -set ring 50 -m 1 -trace_logs -log_file "$LAB/refer.calls") ;;
            slow) scenario=(uas-answer.xml -set ring 3000) ;;
            bye) scenario=(uas-answer-bye.xml -set ring 50 -d 700) ;;
            *) scenario=("uas-$name.xml") ;;
        esac
        sipp_start "$LAB/centre-$name.log" -sf "$REPO_ROOT/tests/sipp/${scenario[0]}" "${scenario[@]:1}" -aa \
            -i 127.0.0.1 -p "$centre_port" -mi 127.0.0.1 -mp "$centre_media"
        LAB_STARTED+=("$SIPP_PID")
    done
    variables+=(-v "voice=$SIP_PORT")
    psql_lab "${variables[@]}" -f "$REPO_ROOT/tests/asterisk/world.sql"
}

# On every way out.
lab_stop() {
    local pid name
    sampler_stop
    for pid in "${CARRIERS[@]}"; do signal_pid KILL "$pid"; done
    [ -z "${HOLDER-}" ] || signal_pid KILL "$HOLDER"
    if [ -n "${ASTERISK-}" ] && [ -e "$ASTERISK/asterisk.conf" ]; then asterisk_stop "$ASTERISK"; fi
    for name in "${!DAEMON_PID[@]}"; do daemon_kill "$name"; done
    for pid in "${LAB_STARTED[@]}"; do signal_pid KILL "$pid"; done
    if [ -n "${POSTGRES_PID-}" ] && pid_alive "$POSTGRES_PID"; then postgres_signal CONT; fi
    postgres_stop "$LAB/pg" immediate
    if [ -n "${LAB_KEEP-}" ]; then
        mkdir -p "$LAB_KEEP"
        cp "$LAB"/*.log "$LAB"/samples "$LAB"/carrier-* "$LAB/pg/postgres.log" "$LAB_KEEP/" 2>/dev/null
        cp "$ASTERISK/var/log/messages.log" "$LAB_KEEP/asterisk.log" 2>/dev/null
    fi
    rm -rf --one-file-system "$LAB"
}

# --- parts --------------------------------------------------------------------------------------------

psql_lab() { "$POSTGRES_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$DATABASE_URL" "$@"; }
# sql STATEMENT: its values.
sql() { psql_lab -Atc "$1"; }
# sql_is VALUE STATEMENT
sql_is() { [ "$(sql "$2" 2>/dev/null)" = "$1" ]; }

# daemon_configure NAME [ARI PORT] [ARI PASSWORD]: its configuration file, with the lab's values by default.
daemon_configure() {
    local http_port
    free_port http_port
    cat >"$LAB/$1.toml" <<TOML
[node]
name = "$1"
[database]
url = "$DATABASE_URL"
[agi]
listen = "127.0.0.1:${DAEMON_AGI[$1]}"
[http]
listen = "127.0.0.1:$http_port"
[ops]
listen = "127.0.0.1:${DAEMON_OPS[$1]}"
[routing]
sweep_interval_seconds = 1
[[asterisk]]
name = "pbx1"
url = "http://127.0.0.1:${2:-$ARI_PORT}"
username = "capconduit"
password = "${3:-$(cat "$ASTERISK/ari-password")}"
[recording]
directory = "$ASTERISK/var/recordings"
storage = "$LAB/stored"
[transcription]
worker = "$LAB/bin/eager-transcriber"
[transcription.models]
en = "$REPO_ROOT/tests/fixtures/vosk/vosk-model-tiny-en-digits-8k"
[shutdown]
drain_seconds = 2
[log]
format = "human"
level = "${LAB_LOG_LEVEL:-info}"
TOML
}

# daemon_start NAME: without waiting. daemon_up NAME: and wait until it is ready.
daemon_start() {
    "$BINARY" --config "$LAB/$1.toml" serve >>"$LAB/daemon-$1.log" 2>&1 </dev/null &
    DAEMON_PID[$1]=$!
    disown "${DAEMON_PID[$1]}"
}
daemon_up() {
    pid_alive "${DAEMON_PID[$1]-}" || daemon_start "$1"
    wait_for 60 "daemon $1 is ready" daemon_ready "$1" || die "daemon $1 does not become ready: $(readiness "$1")"
}
daemon_kill() {
    local pid=${DAEMON_PID[$1]-}
    [ -n "$pid" ] || return 0
    signal_pid KILL "$pid"
    wait_for 5 "daemon $1 is gone" pid_gone "$pid"
    unset "DAEMON_PID[$1]"
}
readiness() { curl -s --max-time 10 "http://127.0.0.1:${DAEMON_OPS[$1]}/readyz"; }
daemon_ready() { readiness "$1" | grep -q '"ready": *true'; }
daemon_unready() { readiness "$1" | grep -q '"ready": *false'; }
metric() { curl -s --max-time 10 "http://127.0.0.1:${DAEMON_OPS[$1]}/metrics" | sed -n "s/^$2 //p"; }

ari() { curl -s --max-time 10 -u "capconduit:$ARI_PASSWORD" "http://127.0.0.1:$ARI_PORT/ari/$1"; }
no_channels() { [ "$(ari channels)" = '[]' ]; }
cli() { asterisk_cli "$ASTERISK" "$@"; }
# legs ENDPOINT COUNT: has Asterisk that many answered channels to it?
legs() { [ "$(ari channels | grep -o "\"name\":\"PJSIP/$1-[0-9a-f]*\",\"state\":\"Up\"" | wc -l)" -eq "$2" ]; }
ringing() { [ "$(ari channels | grep -o "\"name\":\"PJSIP/$1-[0-9a-f]*\",\"state\":\"Ring" | wc -l)" -eq "$2" ]; }
# hang_up CALLER_NUMBER...: ends these calls. With carrier-wait.xml a call lasts until then, however long a busy
# machine takes over what is done meanwhile.
hang_up() {
    local number id
    for number; do
        id=$(ari channels | tr '{' '\n' | awk -v number="\"number\":\"$number\"" '
            /"name":"PJSIP\/capconduit-trunk-/ { split($0, part, "\""); id = part[4]; getline; if (index($0, number)) print id }')
        [ -n "$id" ] || fault "the call of $number is not there to be hung up"
        curl -s --max-time 10 -u "capconduit:$ARI_PASSWORD" -X DELETE "http://127.0.0.1:$ARI_PORT/ari/channels/$id" -o /dev/null
    done
}
# Asks Asterisk several times a second which channels it has.
sampler_start() {
    : >"$LAB/samples"
    (
        trap - EXIT
        while :; do
            body=$(ari channels) || true
            case "$body" in '[{'*'}]') printf '%s\n' "$body" >>"$LAB/samples" ;; esac
            sleep "${LAB_LOOK_SECONDS:-0.05}"
        done
    ) &
    SAMPLER=$!
    disown "$SAMPLER"
}
sampler_stop() {
    [ -z "${SAMPLER-}" ] || signal_pid KILL "$SAMPLER"
    SAMPLER=
}

# --- calls --------------------------------------------------------------------------------------------

# call DID [STATUS [ATTEMPTS [REASON [maybe]]]]: one more call in the next batch, and what shall be logged of it
# (nothing: anything; REASON `none`: no refusal; `maybe`: it may not reach the daemon). Sets CALLER_NUMBER.
call() {
    CALLER=$((CALLER + 1))
    CALLER_NUMBER=+1415$((5550000 + CALLER))
    BATCH+=("$1;$CALLER_NUMBER;any")
    expect_call "$CALLER_NUMBER" "$@"
}

# expect_call CALLER DID ...: the same for a call placed otherwise. Written later: the database may be away.
expect_call() {
    local reason=${5-}
    [ "$reason" != none ] || reason='""'
    printf '%s,%s,%s,%s,%s,%s\n' "$1" "$2" "${3-}" "${4-}" "$reason" "${6:-surely}" >>"$LAB/placed.csv"
}

# place SCENARIO ARGS...: place the batch in the background; sets CARRIER.
place() {
    local carrier_port log scenario=$1
    shift
    CARRIER_RUN=$((CARRIER_RUN + 1))
    log=$LAB/carrier-$CARRIER_RUN
    free_port carrier_port
    printf '%s\n' SEQUENTIAL "${BATCH[@]}" >"$log.in"
    case "$scenario" in /*) ;; *) scenario=$REPO_ROOT/tests/sipp/$scenario ;; esac
    sipp_start "$log.log" "127.0.0.1:$SIP_PORT" -sf "$scenario" -inf "$log.in" -m "${#BATCH[@]}" -i 127.0.0.1 \
        -p "$carrier_port" -mi 127.0.0.1 -mp "$CARRIER_MEDIA" -trace_logs -log_file "$log.calls" -trace_err \
        -error_file "$log.errors" -timeout 180 -timeout_error "$@"
    CARRIER=$SIPP_PID
    CARRIERS+=("$CARRIER")
    CARRIER_LOG[$CARRIER]="$log ${#BATCH[@]}"
    BATCH=()
}
declare -A CARRIER_LOG=()

# heard PID: the carrier of that process is done; did every call run as its scenario says?
heard() {
    local log count got
    wait_for "${2:-180}" 'the carrier is done' pid_gone "$1" || signal_pid KILL "$1"
    read -r log count <<<"${CARRIER_LOG[$1]}"
    got=$(grep -c 'got=' "$log.calls" 2>/dev/null || true)
    [ "${got:-0}" -eq "$count" ] || fault "the carrier placed $count calls, ${got:-0} came to a proper end: $(head -n 3 "$log.errors" 2>/dev/null | tr '\n' ' ' | cut -c1-300)"
}

# --- verdicts -----------------------------------------------------------------------------------------

fault() { LAB_FAULTS+=("$*"); }
# expect WHAT COMMAND...: COMMAND must succeed. eventually SECONDS WHAT COMMAND...: within about that time. SECONDS is
# for a machine that has nothing else to do, and a busy one gets LAB_PATIENCE times as long; what is promised, on any
# machine, is looked at with `within`.
expect() {
    local what=$1
    shift
    "$@" >/dev/null 2>&1 || fault "$what"
}
eventually() {
    local seconds=$(($1 * ${LAB_PATIENCE:-6}))
    shift
    wait_for "$seconds" "$@" 2>/dev/null || fault "$1: not within $seconds s"
}
# within MILLISECONDS SINCE WHAT: SINCE is an earlier value of EPOCHREALTIME.
within() {
    local took=$(((${EPOCHREALTIME/[.,]/} - ${2/[.,]/}) / 1000))
    note "$3 after $took ms"
    [ "$took" -le "$1" ] || fault "$3 after $took ms, allowed are $1 ms"
}
# elapsed SINCE: whole seconds since an earlier value of EPOCHREALTIME. older_than SECONDS SINCE
elapsed() { printf '%s\n' $(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 1000000)); }
older_than() { [ $((${EPOCHREALTIME/[.,]/} - ${2/[.,]/})) -ge $(($1 * 1000000)) ]; }
note() { [ -z "${LAB_VERBOSE-}" ] || printf '    %s\n' "$*" >&2; }

nothing_open() {
    sql_is 0 'select (select count(*) from reservations where ended_at is null) + (select count(*) from calls where ended_at is null)'
}
all_logged() {
    sql_is t "select count(*) >= $(grep -c ',surely$' "$LAB/placed.csv") from call_logs where timestamp_end is not null"
}

# books [SECONDS]: wait until all is over, then look for faults in the books.
books() {
    local seconds=${1:-15} pid faults
    for pid in "${CARRIERS[@]}"; do wait_for 180 'the carrier is done' pid_gone "$pid" || signal_pid KILL "$pid"; done
    eventually "$seconds" 'Asterisk has no channel' no_channels
    eventually "$seconds" 'no call and no reservation is open' nothing_open
    eventually "$seconds" 'every call is logged' all_logged
    sampler_stop
    cat "$LAB"/carrier-*.calls 2>/dev/null |
        sed -n 's/.* caller=\([^ ]*\) .*got=\([0-9]*\).*/\1,\2/p' | grep '^+1415' >"$LAB/heard.csv" || true
    psql_lab -c "\copy lab.placed from '$LAB/placed.csv' with (format csv)" \
        -c "\copy lab.heard from '$LAB/heard.csv' with (format csv)" \
        -c "\copy lab.samples (channels) from '$LAB/samples' with (format csv, quote E'\x01', delimiter E'\x02')" ||
        fault 'the books could not be read'
    note "$(sql 'select format($$%s calls, %s looks at Asterisk$$, (select count(*) from lab.placed), (select count(*) from lab.samples))')"
    faults=$(sql 'select fault from lab.faults')
    [ -z "$faults" ] || while IFS= read -r pid; do fault "$pid"; done <<<"$faults"
    if [ -n "${DAEMON_PID[one]-}" ]; then
        eventually 5 'capconduit_usage_drift is 0' usage_drift_is_zero
    fi
}
usage_drift_is_zero() { [ "$(metric one capconduit_usage_drift)" = 0 ]; }

# Everything up and the books empty, whatever a case left.
lab_reset() {
    local pid
    sampler_stop
    for pid in "${CARRIERS[@]}"; do signal_pid KILL "$pid"; done
    CARRIERS=()
    BATCH=()
    LAB_FAULTS=()
    rm -f "$LAB"/carrier-*.calls
    : >"$LAB/placed.csv"
    : >"$LAB/samples"
    if pid_alive "$POSTGRES_PID"; then postgres_signal CONT; fi
    pid_alive "$POSTGRES_PID" || postgres_start "$LAB/pg"
    [ -n "$(asterisk_pid "$ASTERISK")" ] || asterisk_start "$ASTERISK"
    daemon_kill two
    daemon_up one
    if ! wait_for 2 'Asterisk has no channel' no_channels 2>/dev/null; then
        cli channel request hangup all >/dev/null
        wait_for 60 'Asterisk has no channel' no_channels
    fi
    wait_for 5 'nothing is open' nothing_open || true
    sql 'call lab.reset()'
    sampler_start
}
