# shellcheck shell=bash
# What scripts/demo prints on standard output: at most 100 columns, colours only on a terminal.

[ -z "${CAPCONDUIT_LIB_DEMO_SHOW-}" ] || return 0
CAPCONDUIT_LIB_DEMO_SHOW=1

SHOW_WIDTH=100
SHOW_BOLD='' SHOW_DIM='' SHOW_GREEN='' SHOW_YELLOW='' SHOW_RED='' SHOW_PLAIN=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    SHOW_BOLD=$'\e[1m' SHOW_DIM=$'\e[2m' SHOW_GREEN=$'\e[32m' SHOW_YELLOW=$'\e[33m' SHOW_RED=$'\e[31m'
    SHOW_PLAIN=$'\e[0m'
fi

heading() { printf '\n%s%s%s\n' "$SHOW_BOLD" "$*" "$SHOW_PLAIN"; }

# show_command SHOWN COMMAND...: run COMMAND as if SHOWN had been typed. Its exit status is ours.
show_command() {
    local shown=$1 status=0
    shift
    printf '\n    %s$ %s%s\n' "$SHOW_DIM" "$shown" "$SHOW_PLAIN"
    "$@" 2>&1 | sed 's/^/    /' || status=$?
    return "$status"
}

# --- the world --------------------------------------------------------------------------------------

show_world() {
    local kind a b c
    heading 'THE WORLD'
    cat <<'TEXT'
  Sellers (pay-per-call) own numbers, the DIDs. A campaign sends the calls of a DID to call centres,
  its targets, by a strategy. Each target has caps: calls at once, and calls answered in all.

TEXT
    printf '  %sCall centres%s\n' "$SHOW_BOLD" "$SHOW_PLAIN"
    demo_psql -At -F '|' -c "select client_identifier, notes from clients order by id" |
        while IFS='|' read -r a b; do printf '    %-10s %s\n' "$a" "$b"; done | paste - - | expand -t 48 | sed 's/ *$//'
    demo_psql -At -F '|' <<'SQL' |
select line[1], line[2], line[3], line[4]
from (
    select g.id as campaign, 0 as tier, 0 as link,
           array['campaign', d.number, g.name || ' (' || u.company_name || ')',
                 case g.routing_strategy
                     when 'priority' then 'priority: the first with room; rings ' || g.dial_timeout_seconds || ' s'
                     when 'round_robin' then 'round-robin: strict turns'
                     else 'weighted: shares of the calls' end] as line
    from campaigns g join users u on u.id = g.user_id
    join campaign_dids cd on cd.campaign_id = g.id join dids d on d.id = cd.did_id and d.status = 'active'
    union all
    select k.campaign_id, k.forwarding_priority, k.id,
           array['target',
                 case g.routing_strategy
                     when 'weighted' then k.weight || ' %'
                     when 'priority' then (rank() over (partition by g.id order by k.forwarding_priority)) || '.'
                     else '' end,
                 cl.client_identifier,
                 'at most ' || k.max_concurrency || ' at once'
                 || coalesce(', ' || k.total_calls_allowed || ' in all', '')]
    from campaign_client_settings k
    join campaigns g on g.id = k.campaign_id join clients cl on cl.id = k.client_id
    union all
    select 1000, 0, d.id, array['number', d.number, d.description, 'takes no calls']
    from dids d where d.status <> 'active') world
order by campaign, tier, link
SQL
        while IFS='|' read -r kind a b c; do
            case "$kind" in
                campaign) printf '\n  %s%-14s%s%-24s%s\n' "$SHOW_BOLD" "$a" "$SHOW_PLAIN" "$b" "$c" ;;
                target) printf '%14s  %-24s%s\n' "$a" "$b" "$c" ;;
                number) printf '\n  %s%-14s%s%-24s%s\n' "$SHOW_BOLD" "$a" "$SHOW_PLAIN" "$b" "$c" ;;
            esac
        done
    cat <<'TEXT'

  Below is one line for each call when it ends: when, who (masked), DID, campaign and strategy, then
  the targets in the order tried. `full` is a target passed over, with the cap that was reached.
TEXT
}

# chapter NUMBER TITLE LINE...
chapter() {
    heading "$1. $2"
    shift 2
    printf '   %s\n' "$@"
    echo
}

# --- calls ------------------------------------------------------------------------------------------

# A line for each call that has ended since last time.
show_ended_calls() {
    local at caller did campaign told
    demo_psql -At -F $'\t' <<'SQL' |
with news as (
    insert into demo.shown
    select call_id from calls where ended_at is not null and call_id not in (select call_id from demo.shown)
    returning call_id)
select to_char(s.ended_at, 'HH24:MI:SS'), '**' || right(s.caller_id_num, 2), s.did, s.campaign, s.told
from demo.story s join news using (call_id)
order by s.ended_at, s.call_id
SQL
        while IFS=$'\t' read -r at caller did campaign told; do
            show_call "$(printf '%s %s %-13s %-19s' "$at" "$caller" "$did" "$campaign")" "$told"
        done
}

# show_call PREFIX STORY: steps are wrapped at their arrows, a long step at its words.
show_call() {
    local prefix=$1 rest=$2 step room column=0 indent
    indent=$((${#prefix} + 1))
    room=$((SHOW_WIDTH - indent))
    printf '%s ' "$prefix"
    local arrow=
    while [ -n "$rest" ]; do
        step=$arrow${rest%% -> *}
        if [[ "$rest" == *' -> '* ]]; then rest=${rest#* -> }; else rest=; fi
        arrow='-> '
        if [ "$column" -gt 0 ] && [ $((column + 1 + ${#step})) -gt "$room" ]; then
            printf '\n%*s' "$indent" ''
            column=0
        elif [ "$column" -gt 0 ]; then
            printf ' '
            column=$((column + 1))
        fi
        show_step "$step" "$room" "$indent" "$column"
        column=$((column + ${#step}))
    done
    printf '\n'
}

# show_step TEXT ROOM INDENT COLUMN: in its colour; breaks a text that is wider than the room.
show_step() {
    local text=$1 room=$2 indent=$3 column=$4 colour=$SHOW_YELLOW word first=1
    case "$text" in
        *'REFUSED: '* | *'nobody left'*) colour=$SHOW_RED ;;
        *ANSWERED*) colour=$SHOW_GREEN ;;
        *' full ('*) colour=$SHOW_DIM ;;
    esac
    printf '%s' "$colour"
    if [ ${#text} -le "$room" ]; then
        printf '%s' "$text"
    else
        # Best at a bracket.
        if [[ "$text" == *' ('* ]]; then
            printf '%s\n%*s' "${text%% (*}" "$((indent + 2))" ''
            text="(${text#* (}"
            column=2
        fi
        for word in $text; do
            if [ -z "$first" ] && [ $((column + 1 + ${#word})) -gt "$room" ]; then
                printf '\n%*s' "$((indent + 2))" ''
                column=2
                first=1
            fi
            [ -n "$first" ] || { printf ' ' && column=$((column + 1)); }
            printf '%s' "$word"
            column=$((column + ${#word}))
            first=
        done
    fi
    printf '%s' "$SHOW_PLAIN"
}

# What was said in the recorded calls, from the transcripts.
show_transcripts() {
    local call caller at speaker language text last=
    wait_for 300 'the recordings are transcribed' demo_transcribed || true
    demo_psql -At -F '|' <<'SQL' |
select l.id, '**' || right(l.caller_id_num, 2) || ' to ' || l.incoming_did_number,
       to_char(make_interval(secs => s.start_ms / 1000.0), 'MI:SS'), s.speaker, s.language, s.text
from transcripts t join transcript_segments s using (recording_id) join call_logs l on l.id = t.call_id
order by l.id, s.segment
SQL
        while IFS='|' read -r call caller at speaker language text; do
            [ "$call" = "$last" ] || printf '  %sCall %s, %s%s\n' "$SHOW_BOLD" "$call" "$caller" "$SHOW_PLAIN"
            last=$call
            printf '    %s  %-6s (%s)  %s\n' "$at" "$speaker" "$language" "$text"
        done
}

# --- summary ----------------------------------------------------------------------------------------

show_summary() {
    local last='' campaign strategy target offered answered cap peak seen total used note
    heading 'SUMMARY'
    printf '  %-10s %7s %8s   %-20s   %-11s\n' '' '' '' '---- at once -----' '-- in all --'
    printf '  %-10s %7s %8s   %5s %5s %8s   %6s %5s\n' '' offered answered cap most Asterisk used cap
    demo_psql -At -F '|' <<'SQL' |
select l.campaign, replace(l.routing_strategy, '_', '-'), l.target, l.offered, l.answered, l.max_concurrency,
       l.peak, l.seen, coalesce(l.total_calls_allowed::text, '-'), l.current_total_calls,
       case l.routing_strategy
           when 'weighted' then
               format('%s %%: first for %s of %s',
                      round(100.0 * l.weight / sum(l.weight) over (partition by l.campaign)), l.offered_first,
                      sum(l.offered_first) over (partition by l.campaign))
           when 'round_robin' then
               format('%s of %s turns', l.offered_first, sum(l.offered_first) over (partition by l.campaign))
           else '' end
from demo.links l order by l.campaign_id, l.tier, l.link_id
SQL
        while IFS='|' read -r campaign strategy target offered answered cap peak seen total used note; do
            [ "$campaign" = "$last" ] || printf '  %s%s%s, %s\n' "$SHOW_BOLD" "$campaign" "$SHOW_PLAIN" "$strategy"
            last=$campaign
            printf '    %-8s %7s %8s   %5s %5s %8s   %6s %5s   %s\n' "$target" "$offered" "$answered" "$cap" \
                "$peak" "$seen" "$used" "$total" "$note"
        done | sed 's/ *$//'
    cat <<'TEXT'

  most: the highest simultaneous use, computed from the reservations. Asterisk: the most channels it
  had to this target for this campaign, asked over ARI four times a second.
TEXT
    demo_psql -At <<'SQL' | fold -s -w 96 | sed 's/^/  /; s/ *$//'
select format('%s calls in the log: %s.', sum(n), string_agg(n || ' ' || call_status, ', ' order by n desc, call_status))
from (select call_status, count(*) as n from call_logs group by call_status) s
SQL
}

# show_checks: ok or FAIL for each promise; 1 if any failed.
show_checks() {
    local ok what failed=0 sipp drift channels errors
    sipp=$(demo_sipp_total 'TotalCallCreated')
    # The gauge is renewed by the sweep.
    drift=$(http_get "$DEMO_OPS_PORT" /metrics | sed -n 's/^capconduit_usage_drift \([0-9.-]*\).*/\1/p')
    channels=$(http_get "$DEMO_ARI_PORT" /ari/channels "$DEMO_ARI_AUTHORIZATION" | grep -o '"id":"[0-9.]*"' | wc -l || true)
    errors=$(grep -c '^[^ ]* *ERROR ' "$DEMO_LOG/daemon.log" || true)
    heading 'CHECKS'
    while IFS='|' read -r ok what; do
        if [ "$ok" = t ]; then
            printf '  %sok%s    %s\n' "$SHOW_GREEN" "$SHOW_PLAIN" "$what"
        else
            printf '  %sFAIL  %s%s\n' "$SHOW_RED" "$what" "$SHOW_PLAIN"
            failed=1
        fi
    done < <(demo_psql -At -F '|' -v placed="$DEMO_PLACED" -v sipp="$sipp" -v drift="${drift:-none}" \
        -v spoken="$DEMO_SPOKEN" -v channels="$channels" -v errors="$errors" -f sql/demo/checks.sql || echo 'f|the checks could not be made')
    return "$failed"
}

# show_logs STATUS: where the logs are, and what stands in them if a check failed.
show_logs() {
    echo
    if [ "$1" -ne 0 ]; then
        printf '  Warnings and errors of the daemon:\n'
        grep -E '^[^ ]* *(WARN|ERROR) ' "$DEMO_LOG/daemon.log" | tail -n 20 | cut -c1-300 | sed 's/^/    /' || echo '    none'
    fi
    printf '  Logs: %s/ (daemon.log, carrier-*, centre-*' "${DEMO_LOG#"$REPO_ROOT/"}"
    printf ', messages.log of Asterisk, postgres.log)\n'
}

show_next_steps() {
    local config=${DEMO_HOME#"$REPO_ROOT/"}/capconduit.toml binary=${DEMO_BINARY#"$REPO_ROOT/"} curl='curl -s'
    # A proxy would be asked for our own address.
    [ -z "${http_proxy-}${HTTP_PROXY-}${all_proxy-}${ALL_PROXY-}" ] || curl+=" --noproxy '*'"
    heading 'EVERYTHING IS STILL UP'
    cat <<TEXT
  Try in another terminal, in $REPO_ROOT:

  place a call                scripts/demo --call +18005550101
  twelve at ten a second      scripts/demo --call +12125550102 12
  explain a decision          $binary --config $config \\
                                  route --did +18005550101 --explain
  watch metrics               $curl http://127.0.0.1:$DEMO_OPS_PORT/metrics | grep ^capconduit_
  make an account             $binary --config $config \\
                                  user create me --email me@example.com --role admin
  the API and its document    http://127.0.0.1:$DEMO_HTTP_PORT/docs
  is it ready?                $curl http://127.0.0.1:$DEMO_OPS_PORT/readyz
  look at Asterisk            scripts/demo --asterisk core show channels
  look at the database        scripts/demo --psql -c 'select * from demo.links'
  raise Alpha's cap to 5      scripts/demo --psql -c \\
                                  'update campaign_client_settings set max_concurrency = 5 where id = 1'
  follow the daemon           tail -f ${DEMO_LOG#"$REPO_ROOT/"}/daemon.log

  Calls that end are told here. End it all with Ctrl-C, or scripts/demo --stop.

TEXT
}
