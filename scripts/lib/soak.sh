# shellcheck shell=bash
# Sourced beside lab.sh and postgres.sh, which read what is set here and set what is read.
# The names of arrays are words (SC2004), and what is in single quotes is for Asterisk and sipp (SC2016).
# shellcheck disable=SC2004,SC2016,SC2034,SC2153,SC2154
# The laboratory of scripts/soak and `scripts/bench restart`: PostgreSQL with a standby, Asterisk, two daemons, proxies
# between them, call centres and carriers, and what can be done to each. Needs common.sh, postgres.sh, asterisk.sh and
# tests/asterisk/lab.sh, whose small functions it uses.
#
# Everything lives in $LAB; what the checker reads in $HISTORY.

SOAK=$REPO_ROOT/tests/soak
CENTRES=(answer slow bye byelong busy refuse congested redirect silent dead fallback)
declare -A CARRIER_OF=()
# What is committed without waiting for the disk stays long in memory, so that a crash does lose it.
SOAK_POSTGRES=(wal_writer_delay=10s)
PRIMARY=a
STANDBY=
PROXY_PID=
SAMPLER=

# --- set up -------------------------------------------------------------------------------------------

# soak_start [FAULT...]: the laboratory, with what these faults need. Sets LEFT_OUT to those that cannot be had here.
soak_start() {
    local variable name
    umask 022
    for variable in "${!PG@}" "${!CAPCONDUIT_@}"; do
        case "$variable" in PG* | CAPCONDUIT_CONFIG | CAPCONDUIT_*__*) unset "$variable" ;; esac
    done
    postgres_ensure
    asterisk_ensure
    [ -z "$ASTERISK_TREE" ] || asterisk_need_mounts
    have curl || apt_install curl
    LAB=$(mktemp -d /tmp/capconduit-soak.XXXXXX)
    chmod 0711 "$LAB"
    cleanup_push soak_stop
    HISTORY=$LAB/history
    mkdir -p "$HISTORY" "$LAB/way"
    chmod 0711 "$LAB/way"
    LEFT_OUT=()

    postgres_start "$LAB/pg-a" "${SOAK_POSTGRES[@]}"
    postgres_psql -c 'create database capconduit'
    DATABASE_URL=$(postgres_url capconduit)
    free_port SIP_PORT
    free_port ARI_PORT
    # Not free_port: so many free ones in a row are rare where others test, too. Asterisk passes over used ones.
    RTP_PORT=$((10000 + RANDOM % 4600 * 2))
    free_port CARRIER_MEDIA 8
    ASTERISK=$LAB/asterisk
    mkdir -p "$ASTERISK"
    printf 'soak-%s\n' "$RANDOM$RANDOM" >"$ASTERISK/ari-password"
    chmod 0640 "$ASTERISK/ari-password"
    proxy_start
    [[ " $* " != *' db-promote '* ]] || TWO_HOSTS=yes
    for name in one two; do
        free_port DAEMON_PORT
        DAEMON_AGI[$name]=$DAEMON_PORT
        free_port DAEMON_PORT
        DAEMON_OPS[$name]=$DAEMON_PORT
        soak_configure "$name" >"$LAB/$name.toml"
    done
    "$BINARY" --config "$LAB/one.toml" migrate >"$LAB/migrate.log" 2>&1 || {
        cat "$LAB/migrate.log" >&2
        die 'capconduit migrate failed'
    }
    soak_probe "$@"
    soak_start_centres
    soak_render "${SOAK_RENDER:-$REPO_ROOT/scripts/render-asterisk-config}"
    cat >>"$ASTERISK/pjsip.conf" <<CONF

[fallback]
type = endpoint
context = capconduit-none
disallow = all
allow = ulaw,alaw
direct_media = no
aors = fallback

[fallback]
type = aor
contact = sip:fallback@127.0.0.1:${CENTRE_PORT[fallback]}
CONF
    ARI_PASSWORD=$(cat "$ASTERISK/ari-password")
    if [ "$(id -u)" -eq 0 ]; then chown -R "$(postgres_user):" "$ASTERISK" "$LAB/way/asterisk"; fi
    asterisk_start "$ASTERISK"
    [ -z "$STANDBY" ] || db_standby
    for name in one two; do daemon_up "$name"; done
}

# soak_render PROGRAM: writes Asterisk's configuration, by the program of this version or of an older one.
soak_render() {
    local quiet=()
    # Versions before it had the word print nothing.
    if grep -q -- --quiet "$1"; then quiet=(--quiet); fi
    SIP_BIND=127.0.0.1:$SIP_PORT ARI_BIND=127.0.0.1:$ARI_PORT AGI_URL=$(agi_url one) AGI_URL_BACKUP=$(agi_url two) \
        PGHOST=$LAB/way/asterisk PGPORT=5432 PGDATABASE=capconduit PGSSLMODE=disable TRUNK_MATCH=127.0.0.1 \
        FALLBACK_DIAL=PJSIP/fallback RTP_START=$RTP_PORT RTP_END=$((RTP_PORT + 799)) SYSTEM_NAME=soak \
        "$1" "${quiet[@]}" "$ASTERISK"
    # Which calls came as far as the dialplan: whoever gives up before is known to nobody.
    sed -i '/hangup_handler_push)=/a\ same => n,Log(NOTICE,soak: in the dialplan: ${CALLERID(num)})' "$ASTERISK/extensions.conf"
}

# soak_probe FAULT...: can these be done here? Sets LEFT_OUT ("fault: why").
soak_probe() {
    local fault
    for fault; do
        case "$fault" in
            clock)
                faketime_find || {
                    LEFT_OUT+=('clock: libfaketime cannot be had (package faketime)')
                }
                ;;
            db-promote)
                # The first of the two hosts is the standby's, which does not run yet.
                sed "s#%2Fway%2Fone-a,\([^?]*\)%2Fway%2Fone-b#%2Fway%2Fone-b,\1%2Fway%2Fone-a#" "$LAB/one.toml" >"$LAB/probe.toml"
                chmod 0600 "$LAB/probe.toml"
                if "$BINARY" --config "$LAB/probe.toml" migrate >"$LAB/probe.log" 2>&1; then
                    STANDBY=b
                else
                    LEFT_OUT+=('db-promote: this daemon does not take a database.url of two hosts')
                    TWO_HOSTS=
                    for name in one two; do soak_configure "$name" >"$LAB/$name.toml"; done
                fi
                ;;
        esac
    done
}

faketime_find() {
    FAKETIME_LIBRARY=
    local file
    for file in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib*/faketime/libfaketime.so.1 /usr/lib*/libfaketime.so.1; do
        if [ -e "$file" ]; then
            FAKETIME_LIBRARY=$file
            return 0
        fi
    done
    # It is no more than one fault: whoever may not install packages does without.
    (trap - EXIT && apt_install faketime) >"$LAB/faketime.log" 2>&1 || return 1
    for file in /usr/lib/*/faketime/libfaketime.so.1; do
        [ ! -e "$file" ] || FAKETIME_LIBRARY=$file
    done
    [ -n "$FAKETIME_LIBRARY" ]
}

# soak_configure NAME: a daemon's configuration.
soak_configure() {
    local http_port ari_port=${ARI_WAY[$1]} hosts=$LAB/way/$1-a
    [ -z "${TWO_HOSTS-}" ] || hosts+=,$LAB/way/$1-b
    free_port http_port
    [ -n "${SOAK_DIRECT-}" ] && {
        ari_port=$ARI_PORT
        hosts=$POSTGRES_SOCKET_DIR
    }
    cat <<TOML
[node]
name = "$1"
[database]
url = "postgresql://postgres@${hosts//\//%2F}/capconduit${TWO_HOSTS:+?target_session_attrs=read-write}"
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
url = "http://127.0.0.1:$ari_port"
username = "capconduit"
password = "$(cat "$ASTERISK/ari-password")"
[shutdown]
drain_seconds = 2
[log]
format = "human"
level = "${SOAK_LOG_LEVEL:-info}"
TOML
}

# A way for each connection that a fault may touch: ARI and both database servers for each daemon. Asterisk's
# database moves with the primary, as an address would.
declare -A ARI_WAY=()
proxy_start() {
    local name side ways=() way_port
    PYTHON=$(command -v python3) || die 'needs python3'
    mkdir -p "$LAB/way/asterisk"
    ways+=("db-asterisk=unix:$LAB/way/asterisk/.s.PGSQL.5432=unix:$LAB/pg-a/s/.s.PGSQL.5432")
    for name in one two; do
        for side in a b; do
            mkdir -p "$LAB/way/$name-$side"
            ways+=("db-$name-$side=unix:$LAB/way/$name-$side/.s.PGSQL.5432=unix:$LAB/pg-$side/s/.s.PGSQL.5432")
        done
        free_port way_port
        ARI_WAY[$name]=$way_port
        ways+=("ari-$name=tcp:127.0.0.1:$way_port=tcp:127.0.0.1:$ARI_PORT")
    done
    "$PYTHON" "$SOAK/proxy.py" "$LAB/way/control" "${ways[@]}" >"$LAB/proxy.log" 2>&1 </dev/null &
    PROXY_PID=$!
    disown "$PROXY_PID"
    wait_for 10 'the proxy listens' grep -q ready "$LAB/proxy.log" || die "the proxy did not start: $(cat "$LAB/proxy.log")"
}
proxy_send() { "$PYTHON" "$SOAK/proxy.py" --send "$LAB/way/control" "$@" || warn "proxy: $* failed"; }

soak_start_centres() {
    local name centre_port centre_media scenario variables=() told
    told='<ereg regexp=".*" search_in="hdr" header="From:" assign_to="whose"/><log message="[call_id] [$whose]"/>'
    mkdir -p "$LAB/scenarios"
    for name in "${CENTRES[@]}"; do
        free_port centre_port
        free_port centre_media 8
        CENTRE_PORT[$name]=$centre_port
        [ "$name" = fallback ] || variables+=(-v "$name=$centre_port")
        case "$name" in
            answer) scenario=(uas-answer.xml -set ring 50) ;;
            slow) scenario=(uas-answer.xml -set ring 700) ;;
            bye) scenario=(uas-answer-bye.xml -set ring 50 -d 700) ;;
            byelong) scenario=(uas-answer-bye.xml -set ring 300 -d 3000) ;;
            fallback) scenario=(uas-answer-bye.xml -set ring 50 -d 5000) ;;
            *) scenario=("uas-$name.xml") ;;
        esac
        # Who calls, for the checker: the log of messages does not say.
        sed -e "s#<recv request=\"INVITE\"/>#<recv request=\"INVITE\"><action>$told</action></recv>#" \
            -e "/<recv request=\"INVITE\">\$/{n;s#<action>#<action>$told#}" \
            "$REPO_ROOT/tests/sipp/${scenario[0]}" >"$LAB/scenarios/centre-$name.xml"
        sipp_start "$LAB/centre-$name.log" -sf "$LAB/scenarios/centre-$name.xml" "${scenario[@]:1}" -aa -l 9000 \
            -i 127.0.0.1 -p "$centre_port" -mi 127.0.0.1 -mp "$centre_media" "${SIPP_PATIENCE[@]}" \
            -trace_shortmsg -shortmessage_file "$HISTORY/centre-$name.short" -trace_logs -log_file "$HISTORY/centre-$name.calls"
        LAB_STARTED+=("$SIPP_PID")
    done
    psql_lab "${variables[@]}" -f "$SOAK/world.sql"
}
# sipp ends itself when a busy machine lets it wait, unless told not to.
SIPP_PATIENCE=(-watchdog_minor_maxtriggers 1000000 -watchdog_major_maxtriggers 1000000)

# On every way out.
soak_stop() {
    local pid name
    for pid in "${CARRIER_OF[@]}" ${SAMPLER:+"$SAMPLER"}; do signal_pid KILL "$pid"; done
    if [ -n "${ASTERISK-}" ] && [ -e "$ASTERISK/asterisk.conf" ]; then asterisk_stop "$ASTERISK"; fi
    for name in "${!DAEMON_PID[@]}"; do daemon_kill "$name"; done
    for pid in "${LAB_STARTED[@]}"; do signal_pid KILL "$pid"; done
    for name in a b; do postgres_stop "$LAB/pg-$name" immediate; done
    [ -z "$PROXY_PID" ] || signal_pid KILL "$PROXY_PID"
    if [ -n "${SOAK_KEEP-}" ]; then
        mkdir -p "$SOAK_KEEP"
        cp -r "$HISTORY" "$LAB"/*.log "$SOAK_KEEP/" 2>/dev/null
        for name in a b; do cp "$LAB/pg-$name/postgres.log" "$SOAK_KEEP/postgres-$name.log" 2>/dev/null; done
        cp "$ASTERISK/var/log/messages.log" "$SOAK_KEEP/asterisk.log" 2>/dev/null
        say "logs and history are in $SOAK_KEEP"
    fi
    rm -rf --one-file-system "$LAB"
}

# --- faults -------------------------------------------------------------------------------------------
# One function for each action of plan.py's schedule.

daemon_start() { # NAME [SECONDS BY WHICH ITS CLOCK IS WRONG]
    local moved=()
    if [ -n "${2-}" ]; then
        moved=(env "LD_PRELOAD=$FAKETIME_LIBRARY" "FAKETIME=$(printf '%+ds' "$2")" DONT_FAKE_MONOTONIC=1
            FAKETIME_DONT_FAKE_MONOTONIC=1)
    fi
    ${moved[@]+"${moved[@]}"} "${DAEMON_BINARY[$1]:-$BINARY}" --config "$LAB/$1.toml" serve >>"$LAB/daemon-$1.log" 2>&1 </dev/null &
    DAEMON_PID[$1]=$!
    disown "${DAEMON_PID[$1]}"
}
declare -A DAEMON_BINARY=()
daemon_freeze() { signal_pid STOP "${DAEMON_PID[$1]}"; }
daemon_thaw() { signal_pid CONT "${DAEMON_PID[$1]}"; }
daemon_term() {
    local pid=${DAEMON_PID[$1]-}
    [ -n "$pid" ] || return 0
    signal_pid TERM "$pid"
    wait_for 20 "daemon $1 ends after SIGTERM" pid_gone "$pid" || {
        printf '%s\n' "daemon $1 did not end within 20 s of SIGTERM" >>"$HISTORY/complaints"
        signal_pid KILL "$pid"
        wait_for 5 "daemon $1 is gone" pid_gone "$pid"
    }
    unset "DAEMON_PID[$1]"
}

primary_pid() { cat "$LAB/pg-$PRIMARY/postgres.pid"; }
db_stop() { postgres_stop "$LAB/pg-$PRIMARY" "$1"; }
db_start() { postgres_start "$LAB/pg-$PRIMARY" "${SOAK_POSTGRES[@]}"; }
# The server's processes end themselves when they see that their parent has gone; some look only now and then.
db_kill() {
    local pid children child
    pid=$(primary_pid)
    # Stopped first: a child born now would keep the memory that a new server wants.
    signal_pid STOP "$pid"
    children=$(cat "/proc/$pid/task/$pid/children")
    signal_pid KILL "$pid"
    for child in $children; do
        wait_for 3 'PostgreSQL is gone' pid_gone "$child" 2>/dev/null || signal_pid KILL "$child"
    done
    wait_for 5 'PostgreSQL is gone' pid_gone "$pid"
    # Nobody is left; but a new server believes in the dead one until its parent has taken note.
    rm -f "$LAB/pg-$PRIMARY/postgres.pid" "$LAB/pg-$PRIMARY/data/postmaster.pid" "$LAB/pg-$PRIMARY/s"/.s.PGSQL.*
}
db_promote() {
    local old=$PRIMARY
    postgres_stop "$LAB/pg-$old" immediate
    PRIMARY=$STANDBY
    STANDBY=$old
    POSTGRES_PID=$(primary_pid)
    POSTGRES_SOCKET_DIR=$LAB/pg-$PRIMARY/s
    export POSTGRES_URL="postgresql://postgres@${POSTGRES_SOCKET_DIR//\//%2F}/postgres"
    DATABASE_URL=$(postgres_url capconduit)
    postgres_psql -Atc 'select pg_promote(true, 30)' >/dev/null
    proxy_send target db-asterisk "unix:$LAB/pg-$PRIMARY/s/.s.PGSQL.5432"
    # Asterisk's old connections end with the old primary; nothing is left to move.
}
# A new standby from the primary, and from then on no commit without it.
db_standby() {
    local side=$STANDBY dir primary_pid=$POSTGRES_PID primary_socket=$POSTGRES_SOCKET_DIR
    dir=$LAB/pg-$side
    rm -rf --one-file-system "$dir/data"
    mkdir -p "$dir"
    [ "$(id -u)" -ne 0 ] || chown "$(postgres_user)" "$dir"
    postgres_as
    postgres_psql -c 'alter system reset synchronous_standby_names' -c 'select pg_reload_conf()' >/dev/null
    ${POSTGRES_AS[@]+"${POSTGRES_AS[@]}"} "$POSTGRES_BIN/pg_basebackup" -h "$primary_socket" -U postgres -D "$dir/data" -c fast \
        -X stream --no-sync --write-recovery-conf >"$dir.basebackup.log" 2>&1 || die "pg_basebackup failed: $(cat "$dir.basebackup.log")"
    postgres_start "$dir" "${SOAK_POSTGRES[@]}" wal_retrieve_retry_interval=200ms
    POSTGRES_PID=$primary_pid
    POSTGRES_SOCKET_DIR=$primary_socket
    export POSTGRES_URL="postgresql://postgres@${POSTGRES_SOCKET_DIR//\//%2F}/postgres"
    wait_for 20 'the standby follows' standby_follows || die 'the standby does not follow'
    postgres_psql -c "alter system set synchronous_standby_names = '*'" -c 'select pg_reload_conf()' >/dev/null
}
standby_follows() { [ "$(postgres_psql -Atc "select count(*) from pg_stat_replication where state = 'streaming'")" = 1 ]; }

asterisk_kill() {
    local pid
    rm -f "$LAB/asterisk-is-meant-to-run"
    pid=$(asterisk_pid "$ASTERISK")
    [ -n "$pid" ] || return 0
    signal_pid KILL "$pid"
    wait_for 5 'Asterisk is gone' pid_gone "$pid"
}
# The function of asterisk.sh has the same name for the whole command; this is the fault's other half.
asterisk_again() {
    [ -n "$(asterisk_pid "$ASTERISK")" ] || (trap - EXIT && asterisk_start "$ASTERISK") || return 1
    : >"$LAB/asterisk-is-meant-to-run"
}

# Asterisk has crashes of its own. As its unit would, this starts it again; the history tells it as a kill.
soak_watch_asterisk() {
    : >"$LAB/asterisk-is-meant-to-run"
    while sleep 0.2; do
        [ -z "$(asterisk_pid "$ASTERISK")" ] || continue
        # A planned kill takes the mark away first.
        [ -e "$LAB/asterisk-is-meant-to-run" ] || continue
        warn 'Asterisk has ended by itself: started again'
        act asterisk-crash asterisk_kill
        act asterisk-crash asterisk_start
    done
}

# way freeze|freeze-old|cut|open NAME
way() {
    case "$2" in
        db-one | db-two)
            proxy_send "$1" "$2-a"
            proxy_send "$1" "$2-b"
            ;;
        *) proxy_send "$1" "$2" ;;
    esac
}

event() { printf '%s %s\n' "${EPOCHREALTIME/,/.}" "$*" >>"$HISTORY/events"; }

# act FAULT ACTION ARGUMENT...: and note when it began and was done.
act() {
    local fault=$1 action=$2
    shift 2
    event begin "$fault" "$action" "$@"
    case "$action" in
        asterisk_start) asterisk_again "$@" || die 'Asterisk did not start again' ;;
        *) "$action" "$@" || warn "$action $*: failed" ;;
    esac
    event end "$fault" "$action" "$@"
}

# --- calls --------------------------------------------------------------------------------------------

# The carriers' scenarios: as those of tests/sipp, but each call has its own length (field 3), and the other side may
# hang up first.
soak_scenarios() {
    sed -e 's#<recv response="100" optional="true"/>#<recv request="BYE" optional="global" next="byed"/>\n  &#' \
        -e 's#^  <pause/>#  <nop><action><assignstr assign_to="digits" value="[field3]"/><todouble assign_to="hold_ms" variable="digits"/></action></nop>\n  <pause variable="hold_ms"/>#' \
        -e 's#^  <label id="refused"/>#  <label id="byed"/>\n  <send next="check">\n    <![CDATA[\n      SIP/2.0 200 OK\n      [last_Via:]\n      [last_From:]\n      [last_To:]\n      [last_Call-ID:]\n      [last_CSeq:]\n      Content-Length: 0\n\n    ]]>\n  </send>\n\n&#' \
        "$REPO_ROOT/tests/sipp/carrier.xml" >"$LAB/scenarios/carrier-hold.xml"
    sed -e 's#^  <pause/>#  <nop><action><assignstr assign_to="digits" value="[field3]"/><todouble assign_to="hold_ms" variable="digits"/></action></nop>\n  <pause variable="hold_ms"/>#' \
        "$REPO_ROOT/tests/sipp/carrier-cancel.xml" >"$LAB/scenarios/carrier-cancel.xml"
    cp "$REPO_ROOT/tests/sipp/carrier-wait.xml" "$LAB/scenarios/carrier-wait.xml"
}

# soak_carrier NAME CALLS TENTHS: place the calls of $HISTORY/calls-NAME.csv, TENTHS of them in ten seconds.
soak_carrier() {
    local carrier_port log=$HISTORY/carrier-$1
    free_port carrier_port
    sipp_start "$LAB/carrier-$1.log" "127.0.0.1:$SIP_PORT" -sf "$LAB/scenarios/carrier-$1.xml" -inf "$HISTORY/calls-$1.csv" -m "$2" \
        -r "$3" -rp 10000 -l 9000 -i 127.0.0.1 -p "$carrier_port" -mi 127.0.0.1 -mp "$CARRIER_MEDIA" -cid_str "$1-%u@%s" \
        -recv_timeout 30000 -max_invite_retrans 4 -max_non_invite_retrans 5 "${SIPP_PATIENCE[@]}" \
        -trace_shortmsg -shortmessage_file "$log.short" -trace_logs -log_file "$log.calls" -trace_err -error_file "$log.errors"
    CARRIER_OF[$1]=$SIPP_PID
}
carriers_done() {
    local pid
    for pid in "${CARRIER_OF[@]}"; do
        pid_gone "$pid" || return 1
    done
}

soak_sampler_start() {
    "$PYTHON" "$SOAK/sampler.py" "127.0.0.1:$ARI_PORT" "${SOAK_LOOK_SECONDS:-0.05}" >"$HISTORY/samples" 2>"$LAB/sampler.log" \
        < <(printf '%s\n' "$ARI_PASSWORD") &
    SAMPLER=$!
    disown "$SAMPLER"
}

# --- the end ------------------------------------------------------------------------------------------

# What the checker reads from the database and from Asterisk.
soak_collect() {
    local name view
    for view in links rows attempts left_over; do
        psql_lab -c "\copy (select * from soak.$view) to '$HISTORY/$view.csv' with (format csv, header)"
    done
    ari channels >"$HISTORY/channels.json" || true
    sed -n 's/.*soak: in the dialplan: \([^ ]*\).*/\1/p' "$ASTERISK/var/log/messages.log" >"$HISTORY/dialplan" || true
    for name in one two; do
        printf '%s %s\n' "$name" "$(metric "$name" capconduit_usage_drift)"
    done >"$HISTORY/drift"
}
