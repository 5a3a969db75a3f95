# shellcheck shell=bash
# The cases. Each places calls and does harm; `books` then looks whether all was recorded rightly.

N=+15550000

# One call for each way a call can go.
case_outcomes() {
    local carriers=() line i=0
    call ${N}101 ANSWERED 1 none
    call ${N}103 ANSWERED 2 none
    call ${N}104 BUSY 2 no_eligible_clients_available
    call ${N}105 NOANSWER 1 no_eligible_clients_available
    call ${N}106 FAILED 1 no_eligible_clients_available
    call ${N}107 FAILED 1 no_eligible_clients_available
    call ${N}108 NOANSWER 1 no_eligible_clients_available
    call ${N}109 REJECTED_DID 0 did_not_found
    call ${N}110 REJECTED_DID 0 did_inactive
    # A redirect is not followed, it could lead anywhere. Asterisk calls that busy.
    call ${N}119 BUSY 1 no_eligible_clients_available
    call ${N}120 REJECTED_TOTAL 0 no_eligible_clients_available
    call ${N}121 REJECTED_DID 0 no_active_campaign_for_did
    place carrier.xml -d 500 -r 20
    carriers+=("$CARRIER")
    call ${N}102 ANSWERED 1 none
    place carrier-wait.xml
    carriers+=("$CARRIER")
    call ${N}111 ABANDONED 1 none
    place carrier-cancel.xml -d 700
    carriers+=("$CARRIER")
    # What callers may call themselves. The number is a SIP user name: %-escapes may hold anything.
    sed 's/From: "\[field1\]" </From: [field3] </' "$REPO_ROOT/tests/sipp/carrier.xml" >"$LAB/hostile.xml"
    while IFS= read -r line; do
        BATCH+=("${N}11$((3 + i));$line")
        expect_call "any$i" "${N}11$((3 + i))" ANSWERED 1 none
        i=$((i + 1))
    done < <(printf '%b' '%22%27%3B--;any;"O\\"Hara \x27) drop table calls --"\n' \
        '%24%7BEXTEN%7D;any;"${SHELL(touch /tmp/x)}${EXTEN}"\n' '%0d%0aagi_dnid%3a%20911%0a;any;"a\\\\b, c(d)[e]"\n' \
        '%ff%fe%00;any;"\xff\xfe\xc3\x28 caf\xe9"\n' '+4930%2c555%26;any;"$[1+1] <sip:x>"\n' 'anonymous;any;Anonymous\n')
    place "$LAB/hostile.xml" -d 300 -r 20
    carriers+=("$CARRIER")
    for CARRIER in "${carriers[@]}"; do heard "$CARRIER"; done
    eventually 5 'all is logged' all_logged
    note "$(sql "select string_agg(format('%s %s %s %s %s %s', right(incoming_did_number, 3), call_status, attempts, hangup_cause_code, refusal_reason, caller_id_num || ' ' || caller_id_name), E'\\n    ' order by id) from call_logs")"
}

# Two hundred calls over three campaigns, while others give up or are hung up on.
case_mix() {
    local i carriers=()
    for i in {1..12}; do call ${N}105 ABANDONED 1 none; done
    place carrier-cancel.xml -r 1 -d 600
    carriers+=("$CARRIER")
    for i in {1..12}; do call ${N}102 ANSWERED 1 none; done
    place carrier-wait.xml -r 1
    carriers+=("$CARRIER")
    for i in {1..25}; do mix_batch; done
    place carrier.xml -r 10 -d 1500
    heard "$CARRIER"
    for i in {1..25}; do mix_batch; done
    place carrier.xml -r 25 -d 1500
    carriers+=("$CARRIER")
    for CARRIER in "${carriers[@]}"; do heard "$CARRIER"; done
    expect 'round robin: not strictly in turn' sql_is 0 "
        select count(*) from (
            select chosen, lag(chosen) over (order by n) as last, eligible from (
                select n, chosen, array_agg(link_id order by link_id) filter (where verdict = 'eligible') as eligible
                from lab.first_offers where campaign = 'mix turns' group by n, chosen) one) turns
        where chosen is distinct from coalesce(
            (select min(e) from unnest(eligible) e where e > last), (select min(e) from unnest(eligible) e))"
    expect 'weighted: farther than 0.75 of a call from the ideal share' sql_is t "
        select max(abs(n * weight / 100.0 - given)) <= 0.75 and count(distinct n) = 100 and bool_and(verdict = 'eligible')
        from (select *, count(*) filter (where chosen = link_id) over (partition by link_id order by n) as given
              from lab.first_offers where campaign = 'mix weighted') each"
    note "weighted: off by $(sql "select max(abs(n * weight / 100.0 - given)) from (select *, count(*) filter (where chosen = link_id) over (partition by link_id order by n) as given from lab.first_offers where campaign = 'mix weighted') each") at most"
    expect 'the overflow was never used, or no cap was hit' sql_is t "
        select count(*) filter (where a.endpoint_id = 'm-p3') > 0
               and exists (select from call_logs where call_status = 'REJECTED_CC' or refusal_reason is not null)
        from call_attempts a"
    no_fallbacks
}

mix_batch() {
    call ${N}201
    call ${N}202 ANSWERED '' none
    call ${N}203 ANSWERED '' none
    call ${N}203 ANSWERED '' none
}

# No call was left to the fallback, although the daemon was there all the time.
no_fallbacks() {
    local count
    count=$(sql "select count(*) from call_logs where call_status = 'ANSWERED' and attempts = 0")
    [ "$count" = 0 ] || fault "$count calls went to the fallback although the daemon was there"
}

# Sixty calls at once for five slots, then as many one after the other for what a total cap leaves.
case_pressure() {
    local i
    for i in {1..60}; do call ${N}301; done
    place carrier.xml -r 60 -rp 50 -d 1500
    heard "$CARRIER"
    expect 'a rush for 5 slots does not fill just these' sql_is 5 "select count(*) from call_logs where call_status = 'ANSWERED'"
    expect 'a rush: not everybody else was refused' sql_is 55 "
        select count(*) from call_logs where call_status = 'REJECTED_CC' and refusal_reason = 'no_eligible_clients_available' and attempts = 0"
    for i in {1..60}; do call ${N}301; done
    place carrier.xml -r 20 -d 200
    heard "$CARRIER"
    eventually 5 'the total cap of 20 is used up' sql_is 20 "
        select current_total_calls from campaign_client_settings k join clients c on c.id = client_id where client_identifier = 'p-three'"
    no_fallbacks
}

# Calls so short and so many that slots change hands while Asterisk still takes channels down.
case_turnover() {
    local i round
    LAB_LOOK_SECONDS=0.01
    sampler_stop
    sampler_start
    # A busy machine answers fewer of them.
    for round in 1 2 3; do
        for i in {1..400}; do call ${N}302; done
        place carrier.xml -r 50 -d 30
        heard "$CARRIER"
        eventually 5 'all is logged' all_logged
        if many_slots_changed_hands; then break; fi
    done
    LAB_LOOK_SECONDS=
    expect "few slots changed hands in $round rounds" many_slots_changed_hands
    note "$(sql "select string_agg(format('%s %s', call_status, n), ', ') from (select call_status, count(*) as n from call_logs group by 1) s")"
    no_fallbacks
}

many_slots_changed_hands() { sql_is t "select count(*) > 50 from call_logs where call_status = 'ANSWERED'"; }

usage_is() { # ENDPOINT HELD CONFIRMED
    sql_is "$2 $3" "
        select format('%s %s', held, confirmed) from link_usage u join campaign_client_settings k on k.id = u.link_id
        join clients c on c.id = k.client_id where client_identifier = '$1'"
}

# talked_as_billed CALLER_NUMBER LEAST MOST: seconds that the call was seen to talk, and that it can have.
talked_as_billed() { sql_is t "select billsec_seconds between $2 - 1 and $3 + 1 from call_logs where caller_id_num = '$1'"; }

# The daemon is killed while calls ring and talk; one ends meanwhile.
case_killed_daemon() {
    local long short since placed talking carriers least most
    placed=$EPOCHREALTIME
    call ${N}401 ANSWERED 1 none
    short=$CALLER_NUMBER
    call ${N}401 ANSWERED 1 none
    carriers=("$CALLER_NUMBER")
    call ${N}401 ANSWERED 1 none
    carriers+=("$CALLER_NUMBER")
    call ${N}401 ANSWERED 1 none
    long=$CALLER_NUMBER
    place carrier-wait.xml -r 50
    eventually 5 'four calls talk' legs k-talk 4
    eventually 3 'four slots are confirmed' usage_is k-talk 0 4
    talking=$EPOCHREALTIME
    call ${N}402 ANSWERED 1 none
    call ${N}402 ANSWERED 1 none
    place carrier.xml -d 2500 -r 50
    eventually 3 'two calls ring' ringing k-slow 2
    daemon_kill one
    hang_up "$short"
    eventually 5 'one call has ended' legs k-talk 3
    daemon_start one
    since=$EPOCHREALTIME
    eventually 20 'the daemon is ready' daemon_ready one
    expect 'a call was lost when the daemon started' legs k-talk 3
    eventually 10 'the slot of the call that ended meanwhile is free' usage_is k-talk 0 3
    most=$(elapsed "$placed")
    within 5000 "$since" 'killed daemon: slots right'
    expect 'a talking call was lost when the daemon started' legs k-talk 3
    expect 'billsec of a call that ended without the daemon' talked_as_billed "$short" 1 "$most"
    wait_for 10 'the calls last a while' older_than 6 "$talking"
    least=$(elapsed "$talking")
    hang_up "${carriers[@]}" "$long"
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    eventually 5 'all slots are free' nothing_open
    expect 'billsec of a call that outlived the daemon' talked_as_billed "$long" "$least" "$(elapsed "$placed")"
    expect 'billsec of a call answered without the daemon' sql_is t "
        select bool_and(billsec_seconds between 2 and 3) from call_logs where incoming_did_number = '${N}402'"
}

# Holds the row of a link locked, as an administrator's long transaction would.
hold_link() {
    PGAPPNAME=lab-holder psql_lab -c "begin; select k.id from campaign_client_settings k
        join clients c on c.id = k.client_id where client_identifier = '$1' for update of k; select pg_sleep(60)" \
        >/dev/null 2>&1 </dev/null &
    HOLDER=$!
    disown "$HOLDER"
    wait_for 60 'the row is locked' sql_is 1 "select count(*) from pg_stat_activity where application_name = 'lab-holder' and wait_event = 'PgSleep'"
}
let_go() {
    sql "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lab-holder'" >/dev/null
    HOLDER=
}
# claim_watch: from now on looks for a claim that waits for a lock, which it does for a fifth of a second at a time.
# claim_waits: it has seen one.
claim_watch() {
    PGAPPNAME=lab-watch psql_lab >"$LAB/claim.log" 2>&1 </dev/null -c "do \$\$ begin
        for look in 1..6000 loop
            perform pg_stat_clear_snapshot();
            if exists (select from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'capconduit%')
            then return; end if;
            perform pg_sleep(0.005);
        end loop;
        raise 'no claim waited'; end \$\$" &
    WATCH=$!
    wait_for 60 'somebody looks for claims' sql_is 1 "select count(*) from pg_stat_activity where application_name = 'lab-watch' and state = 'active'"
}
claim_waits() { wait "$WATCH"; }

# Nobody decides: the fallback answers. The daemon is back before the end. Then it dies in mid-claim.
case_no_daemon() {
    local since
    daemon_kill one
    call ${N}501 ANSWERED 0 none
    since=$EPOCHREALTIME
    place carrier-wait.xml
    eventually 5 'the fallback answers' legs fallback 1
    within 2000 "$since" 'no daemon: the fallback answers'
    daemon_up one
    hang_up "$CALLER_NUMBER"
    heard "$CARRIER"
    eventually 5 'the call of the fallback is logged' all_logged

    hold_link f-only
    claim_watch
    call ${N}501 ANSWERED '' none
    since=$EPOCHREALTIME
    place carrier-wait.xml
    expect 'no claim waited for a lock' claim_waits
    signal_pid KILL "${DAEMON_PID[one]}"
    let_go
    eventually 5 'the fallback answers when the daemon dies in mid-claim' legs fallback 1
    within 3500 "$since" 'killed in mid-claim: the fallback answers'
    note "after the kill: $(sql "select count(*) from reservations where state = 'held'") held"
    daemon_kill one
    daemon_up one
    eventually 5 'no slot is held for the call of the fallback' usage_is f-only 0 0
    expect 'the call went on' legs fallback 1
    hang_up "$CALLER_NUMBER"
    heard "$CARRIER"
    eventually 5 'it is over' nothing_open
    expect 'somebody was charged for a call of the fallback' sql_is 0 "
        select sum(current_total_calls) from campaign_client_settings"
}

decided_by() { sql_is t "select count(*) >= $2 from decisions where node_name = '$1'"; }
call_talks() { sql_is t "select count(*) = 1 from calls c join reservations r using (call_id) where caller_id_num = '$1' and c.ended_at is null and state = 'confirmed'"; }

# The first daemon is down, hangs, comes back; both share the caps.
case_two_daemons() {
    local since long other i carrier round
    daemon_up two
    call ${N}601 ANSWERED 1 none
    place carrier-wait.xml
    eventually 3 'a call talks' legs t-three 1
    daemon_kill one
    hang_up "$CALLER_NUMBER"
    heard "$CARRIER"
    eventually 2 'the second daemon settles the end of a call of the first' nothing_open
    call ${N}601 ANSWERED 1 none
    place carrier.xml -d 300
    heard "$CARRIER"
    expect 'first daemon down: the second one did not decide' decided_by two 1

    daemon_up one
    signal_pid STOP "${DAEMON_PID[one]}"
    call ${N}602 ANSWERED 1 none
    long=$CALLER_NUMBER
    since=$EPOCHREALTIME
    place carrier-wait.xml
    carrier=$CARRIER
    eventually 6 'first daemon hangs: the second one decides' legs t-long 1
    within 4000 "$since" 'first daemon hangs: call talks'
    since=$EPOCHREALTIME
    # It is over before the first daemon goes on and reads of it.
    call ${N}601 ANSWERED 1 none
    place carrier.xml -d 300
    heard "$CARRIER"
    # For this long a repeated question gets the same answer; after that it means another call.
    wait_for 30 'the offer is older than 15 s' older_than 16 "$since"
    signal_pid CONT "${DAEMON_PID[one]}"
    since=$EPOCHREALTIME
    eventually 5 'the first daemon goes on' daemon_ready one
    # Three sweeps of each.
    wait_for 10 'some sweeps pass' older_than 3 "$since"
    expect 'a late question of a daemon that hung took away the slot of a live call' call_talks "$long"
    expect 'a live call was cut' legs t-long 1
    # The other link of that campaign is free; each has one slot.
    call ${N}602 ANSWERED 1 none
    other=$CALLER_NUMBER
    place carrier-wait.xml
    eventually 3 'a call talks to the other' legs t-other 1
    call ${N}602 '' 0 no_eligible_clients_available
    place carrier.xml
    heard "$CARRIER"
    hang_up "$long" "$other"
    heard "$carrier"

    # Both decide, in turns, for the same three slots. On a busy machine it takes the whole round to change the turn.
    for round in 1 2 3; do
        for i in {1..40}; do call ${N}601; done
        place carrier.xml -r 20 -d 900
        while pid_alive "$CARRIER"; do
            cli dialplan set global AGI_URL "$(agi_url two)" >/dev/null
            cli dialplan set global AGI_URL "$(agi_url one)" >/dev/null
        done
        heard "$CARRIER"
        if decided_by one 5 && decided_by two 5; then break; fi
    done
    note "both daemons: $round rounds"
    expect 'both daemons: one of them did not decide' decided_by one 5
    expect 'both daemons: the other did not decide' decided_by two 5
    note "decisions: $(sql 'select string_agg(node_name || $$ $$ || n, $$, $$) from (select node_name, count(*) n from decisions group by 1) x')"
    no_fallbacks
}

# The database goes away in the midst of calls and comes back.
case_database_away() {
    local since placed talking long short calls=() least
    placed=$EPOCHREALTIME
    call ${N}701 ANSWERED 1 none
    short=$CALLER_NUMBER
    call ${N}701 ANSWERED 1 none
    calls+=("$CALLER_NUMBER")
    call ${N}701 ANSWERED 1 none
    long=$CALLER_NUMBER
    place carrier-wait.xml -r 50
    eventually 5 'three calls talk' legs b-talk 3
    eventually 3 'three slots are confirmed' usage_is b-talk 0 3
    talking=$EPOCHREALTIME
    call ${N}702 ANSWERED 1 none
    place carrier.xml -d 5000
    eventually 3 'one call rings' ringing b-slow 1
    # The claims of the last moments may be lost with the database; for these calls they shall not be.
    sql 'select pg_switch_wal()' >/dev/null
    # This one's may.
    call ${N}703 ANSWERED '' none
    calls+=("$CALLER_NUMBER")
    place carrier-wait.xml
    eventually 3 'the last call rings' ringing b-fresh 1
    postgres_stop "$LAB/pg" immediate
    call ${N}701 ANSWERED 0 none
    since=$EPOCHREALTIME
    place carrier.xml -d 4000
    eventually 6 'database away: the fallback answers' legs fallback 1
    within 3500 "$since" 'database away: the fallback answers'
    eventually 5 'database away: readiness says so' daemon_unready one
    hang_up "$short"
    eventually 5 'a call has ended meanwhile' legs b-talk 2
    postgres_start "$LAB/pg"
    since=$EPOCHREALTIME
    eventually 15 'database back: the daemon is ready' daemon_ready one
    within 10000 "$since" 'database back: the daemon is ready'
    expect 'database away: a talking call was lost' legs b-talk 2
    note "the call whose claim was not safe yet: $(sql "select count(*) from calls where incoming_did_number = '${N}703'") rows"
    eventually 10 'database back: Asterisk reads its endpoints again' endpoint_is_known b-talk
    # Its link has one slot.
    call ${N}703 '' 0 no_eligible_clients_available
    place carrier.xml
    call ${N}701 ANSWERED 1 none
    calls+=("$CALLER_NUMBER")
    place carrier-wait.xml
    eventually 5 'database back: one more call talks' legs b-talk 3
    eventually 5 'database back: slots are right' usage_is b-talk 0 3
    wait_for 10 'the calls last a while' older_than 9 "$talking"
    least=$(elapsed "$talking")
    hang_up "$long" "${calls[@]}"
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    eventually 10 'database back: all is settled' nothing_open
    expect 'billsec of a call that outlived the database' talked_as_billed "$long" "$least" "$(elapsed "$placed")"
}

endpoint_is_known() { cli pjsip show endpoint "$1" | grep -q "^ *Endpoint: *$1 "; }

# The database stops answering without closing anything, as a stalled disk would make it.
case_database_frozen() {
    local since calls
    call ${N}701 ANSWERED 1 none
    calls=("$CALLER_NUMBER")
    place carrier-wait.xml
    eventually 5 'a call talks' usage_is b-talk 0 1
    postgres_signal STOP
    # An offer that came too late counts as an attempt, but is nobody's answered call.
    call ${N}701 ANSWERED '' none
    since=$EPOCHREALTIME
    place carrier.xml -d 1000
    call ${N}701 ANSWERED '' none
    calls+=("$CALLER_NUMBER")
    place carrier-wait.xml
    eventually 6 'database frozen: the fallback answers' legs fallback 2
    within 3500 "$since" 'database frozen: the fallback answers'
    wait_for 10 'five seconds pass' older_than 5 "$since"
    eventually 5 'the short call is over' legs fallback 1
    postgres_signal CONT
    expect 'database frozen: a talking call was lost' legs b-talk 1
    eventually 15 'database thawed: the daemon is ready' daemon_ready one
    eventually 10 'database thawed: no slot is held for calls of the fallback' usage_is b-talk 0 1
    hang_up "${calls[@]}"
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    eventually 10 'it is over' nothing_open
}
postgres_signal() {
    local pid
    for pid in "$POSTGRES_PID" $(cat "/proc/$POSTGRES_PID/task/$POSTGRES_PID/children"); do signal_pid "$1" "$pid"; done
}

# The caller gives up while the daemon is asked.
case_hangup_while_asking() {
    local i
    for i in 1 2 3; do
        hold_link f-only
        claim_watch
        call ${N}501 ABANDONED '' none
        # Long enough for a busy machine to have asked, and before the daemon gives up.
        place carrier-cancel.xml -d 400
        expect 'no claim waited for a lock' claim_waits
        wait_for 30 'the caller has gone' no_channels
        let_go
        heard "$CARRIER"
        eventually 10 'no slot is held for a caller who has gone' nothing_open
    done
    # Once more without a lock, at every moment of a decision; to a target that rings long, so that no answer
    # crosses a CANCEL.
    for i in {1..40}; do call ${N}402 '' '' none maybe; done
    place carrier-abort.xml -r 20
    heard "$CARRIER"
    eventually 10 'no slot is held for callers who have gone' nothing_open
}

# Both daemons accept and say nothing, as a stopped one does, or a socket unit without its service. Whoever hangs
# up, every channel goes; and no record is lost when the daemons go on.
case_silent_daemons() {
    local since name number carriers=()
    daemon_up two
    call ${N}401 ANSWERED 1 none
    call ${N}401 ANSWERED 1 none
    place carrier.xml -r 50 -d 3000
    carriers+=("$CARRIER")
    # This caller gives up while it rings. The sweep may be the first to settle that, and then says FAILED.
    BATCH+=("${N}402;+14155559000;any")
    expect_call any-ringing ${N}402 '' 1 none
    place carrier-cancel.xml -d 2500
    carriers+=("$CARRIER")
    eventually 5 'two calls talk' usage_is k-talk 0 2
    eventually 3 'one call rings' ringing k-slow 1
    # This one's agent hangs up, after 700 ms.
    call ${N}102 ANSWERED 1 none
    place carrier-wait.xml
    carriers+=("$CARRIER")
    eventually 5 'another call talks' legs o-bye 1
    for name in one two; do signal_pid STOP "${DAEMON_PID[$name]}"; done
    for CARRIER in "${carriers[@]}"; do heard "$CARRIER" 10; done
    since=$EPOCHREALTIME
    eventually 10 'daemons silent: no channel is left' no_channels
    within 5000 "$since" 'daemons silent: the last channel is gone'

    # Nobody answers the question either.
    call ${N}501 ANSWERED 0 none
    since=$EPOCHREALTIME
    place carrier.xml -d 500
    eventually 10 'daemons silent: the fallback answers' legs fallback 1
    within 7500 "$since" 'daemons silent: the fallback answers'
    heard "$CARRIER"
    since=$EPOCHREALTIME
    eventually 10 'daemons silent: no channel is left of a call of the fallback' no_channels
    within 5000 "$since" 'daemons silent: the channel of a call of the fallback is gone'

    # The first daemon gives nothing: the second one hears of the end, of a call that it never decided.
    call ${N}501 ANSWERED 0 none
    number=$CALLER_NUMBER
    place carrier.xml -d 3000
    eventually 10 'daemons silent: the fallback answers again' legs fallback 1
    signal_pid CONT "${DAEMON_PID[two]}"
    eventually 5 'the second daemon goes on' daemon_ready two
    heard "$CARRIER"
    eventually 5 'the second daemon logs a call that ended while the first was silent' sql_is 1 "
        select count(*) from call_logs where caller_id_num = '$number' and timestamp_end is not null"
    signal_pid CONT "${DAEMON_PID[one]}"
    eventually 5 'the first daemon goes on' daemon_ready one
    # What waited in its socket is read, and changes nothing; `books` looks for a second row.
    eventually 5 'it is over' nothing_open
    eventually 5 'all is logged' all_logged
}

# A daemon that dies while it hears of an end: the connection closes as after a report that was kept. The other daemon
# is told. Nobody watches Asterisk, so that only a report can end the call.
case_deaf_daemon() {
    local nobody deaf=$LAB/deaf deaf_pid
    free_port nobody
    daemon_kill one
    daemon_configure one "$nobody"
    daemon_start one
    eventually 10 'the daemon answers' ari_is_missing
    rm -f "$deaf"
    python3 "$REPO_ROOT/tests/asterisk/deaf.py" "$deaf" "${DAEMON_AGI[one]}" >"$deaf.log" 2>&1 </dev/null &
    deaf_pid=$!
    disown "$deaf_pid"
    eventually 10 'the deaf one listens' [ -s "$deaf" ]
    cli dialplan set global AGI_URL "agi://127.0.0.1:$(cat "$deaf")" >/dev/null
    cli dialplan set global AGI_URL_BACKUP "$(agi_url one)" >/dev/null
    # The agent hangs up, and the caller: told from the live channel, and by the hangup handler.
    call ${N}102 ANSWERED 1 none
    place carrier-wait.xml
    call ${N}401 ANSWERED 1 none
    place carrier.xml -d 1000
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    eventually 5 'both calls are logged as reported' all_logged
    expect 'what was talked is known' sql_is t "select bool_and(billsec_seconds between 0 and 2 and hangup_cause_code = 16) from call_logs"
    no_fallbacks
    cli dialplan set global AGI_URL "$(agi_url one)" >/dev/null
    cli dialplan set global AGI_URL_BACKUP "$(agi_url two)" >/dev/null
    signal_pid KILL "$deaf_pid"
    daemon_kill one
    daemon_configure one
    daemon_up one
}

# The caller was answered before, by an IVR that talks for two seconds. Without ARI only the dialplan tells how long
# was talked.
case_answered_before() {
    local nobody
    free_port nobody
    daemon_kill one
    daemon_configure one "$nobody"
    daemon_start one
    eventually 10 'the daemon answers' ari_is_missing
    # -d: how long the caller stays from the answer of the IVR.
    through_ivr ${N}402 ANSWERED 1
    place carrier.xml -d 7000
    through_ivr ${N}105 NOANSWER 1
    place carrier-wait.xml
    through_ivr ${N}103 ANSWERED 2
    place carrier.xml -d 4500
    through_ivr ${N}102 ANSWERED 1
    place carrier-wait.xml
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    eventually 5 'all is logged' all_logged
    note "$(sql "select string_agg(format('%s %s: %s s, talked %s s', right(incoming_did_number, 3), call_status, duration_seconds, billsec_seconds), ', ') from call_logs")"
    # 2 s IVR, 3 s ringing, 2 s talking; a busy machine rings longer.
    expect 'billsec with ringing after the IVR' billed ${N}402 1 2
    expect 'billsec of a call nobody answered' billed ${N}105 0 0
    expect 'billsec of a second target' billed ${N}103 1 2
    expect 'billsec of a call that the agent ended' billed ${N}102 0 1
    daemon_kill one
    daemon_configure one
    daemon_up one
}
through_ivr() { # DID STATUS ATTEMPTS
    CALLER=$((CALLER + 1))
    CALLER_NUMBER=+1415$((5550000 + CALLER))
    BATCH+=("i$1;$CALLER_NUMBER;any")
    # The carrier hears 200 of the IVR, whatever becomes of the call.
    printf '%s,%s,%s,%s,%s,%s\n' "any-$CALLER_NUMBER" "$1" "$2" "$3" '' surely >>"$LAB/placed.csv"
}
billed() { sql_is t "select bool_and(billsec_seconds between $2 and $3) and count(*) = 1 from call_logs where incoming_did_number = '$1'"; }

# A dialplan that goes on with callers who reach nobody, as to voicemail.
case_return() {
    local refused bye
    comes_back ${N}121 REJECTED_DID 0
    refused=$CALLER_NUMBER
    place carrier-wait.xml
    comes_back ${N}102 ANSWERED 1
    bye=$CALLER_NUMBER
    place carrier-wait.xml
    for CARRIER in "${CARRIERS[@]}"; do heard "$CARRIER"; done
    expect 'a refused caller is not given back with the reason' is_back "$refused" 'REFUSED 20 no_active_campaign_for_did'
    expect 'a caller whose agent hung up is not given back' is_back "$bye" 'ANSWERED 16 '
    eventually 5 'all is logged' all_logged
    note "$(sql "select string_agg(format('%s %s: %s s, talked %s s', right(incoming_did_number, 3), call_status, duration_seconds, billsec_seconds), ', ') from call_logs")"
    expect 'what the caller did afterwards is billed' billed ${N}102 0 1

    # Nobody decides: the fallback rings out, and the caller is given back all the same. The daemon that is there again
    # is told at the end what became of the call then, not later.
    cli dialplan set global FALLBACK_DIAL "PJSIP/nobody" >/dev/null
    daemon_kill one
    comes_back ${N}101 '' ''
    place carrier-wait.xml
    heard "$CARRIER"
    cli dialplan set global FALLBACK_DIAL PJSIP/fallback >/dev/null
    expect 'a caller for whom no daemon answers is not given back' is_back "$CALLER_NUMBER" 'UNAVAILABLE 34 '
    daemon_up one
}
comes_back() { # DID STATUS ATTEMPTS
    CALLER=$((CALLER + 1))
    CALLER_NUMBER=+1415$((5550000 + CALLER))
    BATCH+=("r$1;$CALLER_NUMBER;any")
    local surely=surely
    [ -n "$2" ] || surely=maybe
    printf '%s,%s,%s,%s,%s,%s\n' "any-$CALLER_NUMBER" "$1" "$2" "$3" '' "$surely" >>"$LAB/placed.csv"
}
is_back() { grep -qF "lab: $1 is back: $2" "$ASTERISK/var/log/messages.log"; }

# Carriers that write numbers as one dials them at home.
case_numbers() {
    local written
    # A number as it came: nobody's.
    BATCH+=("5550000101;+14155550001;any")
    expect_call +14155550001 5550000101 REJECTED_DID 0 did_not_found
    place carrier.xml -d 300
    heard "$CARRIER"
    for written in INTERNATIONAL_PREFIX=00 COUNTRY_CODE=1 NATIONAL_PREFIX=0 NATIONAL_DIGITS=10; do
        cli dialplan set global "CC_${written%=*}" "${written#*=}" >/dev/null
    done
    for written in 5550000101 05550000101 0015550000101 15550000101 +15550000101; do
        CALLER=$((CALLER + 1))
        BATCH+=("$written;+1415$((5550000 + CALLER));any")
        expect_call "+1415$((5550000 + CALLER))" ${N}101 ANSWERED 1 none
    done
    # Short numbers stay as they are.
    call 110 REJECTED_DID 0 did_not_found
    place carrier.xml -d 300
    heard "$CARRIER"
    for written in INTERNATIONAL_PREFIX COUNTRY_CODE NATIONAL_PREFIX NATIONAL_DIGITS; do
        cli dialplan set global "CC_$written" '' >/dev/null
    done
}

# Our parts in a PBX that has its own: phones known by their user names, a context that dials out over a trunk, and
# call centres whose rows name that context.
case_merged() {
    local lab=$ASTERISK since
    asterisk_stop "$ASTERISK"
    merged_render "$LAB/merged"
    ASTERISK=$LAB/merged
    asterisk_start "$ASTERISK"
    eventually 40 'the daemon is in sync with the other Asterisk' daemon_ready one

    # What the trunk is there for.
    merged_dials 101
    eventually 5 'a phone of the PBX does not reach the trunk' trunk_calls 1

    # A stranger who says that it is a call centre.
    merged_dials g-open
    expect 'a stranger was not refused' [ "$MERGED_GOT" = 401 ]
    merged_dials g-refer
    expect 'another stranger was not refused' [ "$MERGED_GOT" = 401 ]
    call ${N}981 ANSWERED 1 none
    place carrier.xml -d 500
    heard "$CARRIER"

    # A call centre that would send its caller out over the trunk.
    call ${N}982 ANSWERED 1 none
    place carrier.xml -d 2000
    heard "$CARRIER"
    eventually 5 'a call centre tries to transfer, and may not' grep -q 'refer declined' "$LAB/refer.calls"
    expect 'a stranger or a call centre reached the trunk' trunk_calls 1

    # Such rows stay as they are.
    expect 'a row lost its context' sql_is 2 "select count(*) from pjsip_endpoints where context = 'from-internal'"
    eventually 5 'all is logged' all_logged
    asterisk_stop "$ASTERISK"
    ASTERISK=$lab
    asterisk_start "$ASTERISK"
    eventually 40 'the daemon is in sync again' daemon_ready one
}
trunk_calls() { [ "$(grep -o 'PJSIP/provider-[0-9a-f]*' "$LAB/samples" | sort -u | wc -l)" -eq "$1" ]; }
# merged_dials USER: somebody not at the carrier's address, whose From names USER, dials 9004455. Sets MERGED_GOT.
merged_dials() {
    local log
    BATCH+=("9004455;$1;any")
    place carrier.xml -i 127.0.0.3 -d 500
    heard "$CARRIER"
    read -r log _ <<<"${CARRIER_LOG[$CARRIER]}"
    MERGED_GOT=$(sed -n 's/.* got=\([0-9]*\).*/\1/p' "$log.calls")
}
merged_render() {
    mkdir -p "$1"
    cp "$ASTERISK/ari-password" "$1/"
    lab_render "$1"
    sed -i 's/^endpoint_identifier_order = .*/endpoint_identifier_order = ip,username,anonymous/' "$1/pjsip.conf"
    printf 'load = %s.so\n' res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous res_pjsip_refer \
        res_pjsip_registrar >>"$1/modules.conf"
    cat >>"$1/pjsip.conf" <<CONF

[101]
type = endpoint
context = from-internal
disallow = all
allow = alaw
direct_media = no

[provider]
type = endpoint
context = from-provider
disallow = all
allow = alaw
direct_media = no
aors = provider

[provider]
type = aor
contact = sip:127.0.0.1:${CENTRE_PORT[trunk]}
CONF
    cat >>"$1/extensions.conf" <<'CONF'

[from-internal]
exten => _9X.,1,Dial(PJSIP/${EXTEN:1}@provider,20)
CONF
    [ "$(id -u)" -ne 0 ] || chown -R "$(postgres_user):" "$1"
}

# A call centre that registers, and strangers who would like to.
case_registering() {
    local phone_port verdict like_another
    like_another="with c as (insert into clients (client_identifier, name, status, registers) values ('q_phone', 'Q', 'active', true)
            returning id),
        e as (insert into pjsip_endpoints (id, client_id, aors, context) select 'q_phone', id, 'q_phone', 'capconduit-none' from c)
        insert into pjsip_aors (id, client_id, contact) select 'q_phone', id, '' from c returning id"
    sql "update clients set registers = true where client_identifier = 'q-phone';
         update pjsip_aors set contact = '' where id = 'q-phone';
         insert into pjsip_auths (id, client_id, auth_type, username, password)
         select 'q-phone', id, 'userpass', 'q-phone', 'a-long-password' from clients where client_identifier = 'q-phone'" >/dev/null
    free_port phone_port
    verdict="select r->>'verdict' from decisions d, jsonb_array_elements(d.ranking) r join campaign_client_settings s on s.id = (r->>'link_id')::int
        join clients c on c.id = s.client_id where c.client_identifier = 'q-phone' order by d.decision_id desc limit 1"

    # Nobody is there: the next one at once, not after a ring timeout.
    call ${N}971 ANSWERED 1 none
    place carrier.xml -d 500
    heard "$CARRIER"
    expect 'an unregistered call centre has no verdict of its own' sql_is not_registered "$verdict"

    registers q-phone q-phone 'a-wrong-password' 60
    expect 'a stranger registers with a-wrong-password' [ "$REGISTER_GOT" = 401 ]
    registers q-fixed q-fixed '' 60
    expect 'somebody registers for a call centre that does not' [ "$REGISTER_GOT" != 200 ]
    expect 'a contact of a stranger is kept' sql_is 0 'select count(*) from pjsip_contacts'

    # Who it is the password says, and not the name in To.
    registers q-fixed q-phone 'a-long-password' 60
    expect 'a call centre registers as another' sql_is 0 "select count(*) from pjsip_contacts where id not like 'q-phone^3B%' or endpoint <> 'q-phone'"

    registers q-phone q-phone 'a-long-password' 300
    expect "a call centre cannot register: $REGISTER_GOT" [ "$REGISTER_GOT" = 200 ]
    note "$(sql 'select * from pjsip_contacts')"
    expect 'the contact is not what the address translator shows' \
        sql_is "lab q-phone sip:q-phone@127.0.0.4:$phone_port" "select concat_ws(' ', reg_server, endpoint, split_part(uri, '^3B', 1)) from pjsip_contacts"
    sipp_start "$LAB/centre-phone.log" -sf "$REPO_ROOT/tests/sipp/uas-answer.xml" -aa -i 127.0.0.4 -p "$phone_port" -mi 127.0.0.1 -mp "$CARRIER_MEDIA"
    SIPP_REGISTERED=$SIPP_PID
    LAB_STARTED+=("$SIPP_PID")
    call ${N}971 ANSWERED 1 none
    place carrier.xml -d 500
    heard "$CARRIER"
    expect 'a registered call centre is not dialled' sql_is eligible "$verdict"
    eventually 5 'both calls are logged' sql_is 'q-fixed q-phone' \
        "select string_agg(c.client_identifier, ' ' order by l.id) from call_logs l join clients c on c.id = l.client_id"

    # Asterisk looks for contacts with LIKE: as q_phone it would find those of q-phone. So that name does not register.
    expect 'a call centre may register with a name that Asterisk takes for another' [ -z "$(sql "$like_another" 2>/dev/null)" ]
    sql 'alter table clients disable trigger clients_registered_name' >/dev/null
    expect 'the refusal is not what kept the name away' [ -n "$(sql "$like_another")" ]
    sql 'alter table clients enable trigger clients_registered_name' >/dev/null
    cli pjsip show aor q_phone >"$LAB/mixed-up.log"
    note "$(cat "$LAB/mixed-up.log")"
    expect 'Asterisk mixes up no names any more: they need not be refused' grep -q 'Contact:.*q-phone@127.0.0.4' "$LAB/mixed-up.log"
    sql "delete from clients where client_identifier = 'q_phone'" >/dev/null

    # Its name in From opens nothing, as before.
    merged_dials q-phone
    expect 'a stranger with the name of a call centre is not refused' [ "$MERGED_GOT" = 401 ]

    signal_pid KILL "$SIPP_REGISTERED"
    wait_for 5 'the call centre is gone' pid_gone "$SIPP_REGISTERED"
    registers q-phone q-phone 'a-long-password' 0
    expect 'a registration cannot be given back' sql_is 0 'select count(*) from pjsip_contacts'

    # What is rendered for encrypted calls.
    sql "update pjsip_endpoints set media_encryption = 'sdes', transport = 'transport-tls' where id = 'q-phone'" >/dev/null
    cli pjsip show endpoint q-phone >"$LAB/endpoint.log"
    expect 'sound of a call centre is not encrypted' grep -qE '^ media_encryption +: sdes' "$LAB/endpoint.log"
    expect 'Asterisk does not speak TLS' speaks_tls
}
# registers AOR USER PASSWORD SECONDS: from an address that is not the carrier's. Sets REGISTER_GOT.
registers() {
    local log=$LAB/register-$RANDOM
    printf 'SEQUENTIAL\n%s;[authentication username=%s password=%s]\n' "$1" "$2" "$3" >"$log.in"
    sipp_start "$log.log" "127.0.0.1:$SIP_PORT" -sf "$REPO_ROOT/tests/sipp/register.xml" -inf "$log.in" -m 1 -i 127.0.0.4 -p "$phone_port" \
        -set expires "$4" -trace_logs -log_file "$log.calls" -trace_err -error_file "$log.errors" -timeout 30
    wait_for 40 'the registration is answered' pid_gone "$SIPP_PID" || signal_pid KILL "$SIPP_PID"
    REGISTER_GOT=$(sed -n 's/.* got=\([0-9]*\).*/\1/p' "$log.calls" 2>/dev/null)
}
speaks_tls() { openssl s_client -connect "127.0.0.1:$TLS_PORT" -CAfile "$ASTERISK/tls.crt" -verify_return_error </dev/null; }

# What `capconduit check` finds in a running Asterisk.
case_check() {
    expect "all is well, and check says: $(check_says FAIL)" check_is 0
    expect 'check does not look for a call centre' says_that 'ok .*: finds the call centre'
    expect 'check does not compare the longest call' says_that 'ok .*: no call lasts longer'
    expect 'check does not compare the AGI port' says_that 'ok .*: its dialplan asks a daemon on port'
    expect 'check does not compare clocks' says_that 'ok .*: its clock agrees'
    # Bound to no address, sound would make Asterisk look up its host's name.
    cli pjsip show endpoint a-busy >"$LAB/endpoint.log"
    expect 'a call centre has no transport' grep -qE '^ transport +: transport-udp' "$LAB/endpoint.log"
    cli dialplan set global MAX_CALL_SECONDS 99999 >/dev/null
    cli dialplan set global AGI_URL agi://127.0.0.1:9 >/dev/null
    cli dialplan set global AGI_URL_BACKUP agi://127.0.0.1:9 >/dev/null
    sql 'revoke select on ps_aors from capconduit_asterisk' >/dev/null
    sql "insert into server_observers values ('pbx1', 'other', 'aa:bb', 'elsewhere', now(), now() + interval '1 minute')" >/dev/null
    expect 'check finds nothing' check_is 1
    expect 'check does not see a longer call' says_that 'FAIL .*MAX_CALL_SECONDS = 99999'
    expect 'check does not see that the dialplan asks somebody else' says_that 'FAIL .*its dialplan asks agi://127.0.0.1:9'
    expect 'check does not see that another daemon means another machine' says_that 'FAIL .*daemon other watches another Asterisk'
    expect 'check does not see that call centres are not found' says_that 'FAIL .*does not find the address'
    sql 'grant select on ps_aors to capconduit_asterisk' >/dev/null
    sql "delete from server_observers where node_name = 'other'" >/dev/null
    cli dialplan set global MAX_CALL_SECONDS 14400 >/dev/null
    cli dialplan set global AGI_URL "$(agi_url one)" >/dev/null
    cli dialplan set global AGI_URL_BACKUP "$(agi_url two)" >/dev/null
    expect "all is well again, and check says: $(check_says FAIL)" check_is 0
}
check_is() {
    local status=0
    "$BINARY" --config "$LAB/one.toml" check >"$LAB/check.log" 2>&1 || status=$?
    [ "$status" -eq "$1" ]
}
says_that() { grep -qE "^$1" "$LAB/check.log"; }
check_says() { "$BINARY" --config "$LAB/one.toml" check 2>&1 | grep -A1 "^$1" || true; }

# The daemon does not see Asterisk: wrong password, wrong port.
case_ari_away() {
    local dead_port ports=("$ARI_PORT" 0) passwords=(wrong "$ARI_PASSWORD") i
    free_port dead_port
    ports[1]=$dead_port
    for i in 0 1; do
        daemon_kill one
        daemon_configure one "${ports[i]}" "${passwords[i]}"
        daemon_start one
        eventually 10 'ARI away: readiness says so' ari_is_missing
        note "$(readiness one)"
        call ${N}801 ANSWERED 2 none
        call ${N}801 ANSWERED 2 none
        call ${N}801 '' 1 no_eligible_clients_available
        # Far enough apart that none overtakes another on a busy machine.
        place carrier.xml -r 3 -d 2000
        heard "$CARRIER"
        eventually 2 'ARI away: slots are free after the end' nothing_open
    done
    expect 'ARI away: billsec' sql_is t "select bool_and(billsec_seconds between 1 and 3) from call_logs where call_status = 'ANSWERED'"
    no_fallbacks
    daemon_kill one
    daemon_configure one
    daemon_up one
}
ari_is_missing() { readiness one | grep -q '"ready": *false' && readiness one | grep -qE '"[a-z]*:?\.?pbx1":\{"state":"not ready"|asterisk[^}]*not ready'; }

# ask_route UNIQUEID CHANNEL DID CALLER: what daemon `one` answers to a question like Asterisk's.
ask_route() {
    local connection line
    exec {connection}<>"/dev/tcp/127.0.0.1/${DAEMON_AGI[one]}" || return 1
    printf '%s\n' "agi_network: yes" "agi_network_script: route" "agi_request: $(agi_url one)/route" "agi_channel: $2" \
        "agi_language: en" "agi_type: PJSIP" "agi_uniqueid: $1" "agi_version: 22" "agi_callerid: $4" \
        "agi_calleridname: unknown" "agi_dnid: $3" "agi_rdnis: unknown" "agi_context: capconduit-call" \
        "agi_extension: s" "agi_priority: 30" "agi_enhanced: 0.0" "agi_accountcode: " "agi_threadid: 1" \
        "agi_arg_1: $3" "" >&"$connection"
    while IFS= read -r -t 3 line <&"$connection"; do
        printf '%s\n' "$line"
        printf '200 result=1\n' >&"$connection" 2>/dev/null || break
    done
    exec {connection}>&-
}

# Asterisk dies with its calls.
case_killed_asterisk() {
    local since uniqueid answer
    call ${N}901 ANSWERED 1 none
    call ${N}901 ANSWERED 1 none
    place carrier.xml -r 50 -d 60000
    call ${N}902 '' 1
    place carrier.xml -d 60000
    eventually 5 'two calls talk' legs c-talk 2
    eventually 3 'one call rings' ringing c-slow 1
    eventually 3 'two slots are confirmed' usage_is c-talk 0 2
    uniqueid=$(sql "select asterisk_uniqueid from calls where incoming_did_number = '${N}901' limit 1")
    signal_pid KILL "$(asterisk_pid "$ASTERISK")"
    for CARRIER in "${CARRIERS[@]}"; do signal_pid KILL "$CARRIER"; done
    CARRIERS=()
    eventually 10 'Asterisk gone: readiness says so' ari_is_missing
    expect 'Asterisk gone, nothing known of its calls: a slot was freed' usage_is c-talk 0 2
    # A restarted Asterisk may give its unique ids again. The calls of before hold their slots until Asterisk tells: the
    # cap is not passed, and the new call is one of its own.
    expect_call +14155559999 ${N}901 '' 0
    answer=$(ask_route "$uniqueid" PJSIP/capconduit-trunk-0000ffff ${N}901 +14155559999)
    case "$answer" in
        *CAPCONDUIT_VERDICT=REJECT*) ;;
        *) fault "a repeated unique id was not taken for a new call beyond the cap: $answer" ;;
    esac
    expect 'a repeated unique id: the old call is not left alone' sql_is '0 2' "
        select count(*) filter (where ended_at is not null) || ' ' || count(*) from calls where asterisk_uniqueid = '$uniqueid'"
    asterisk_start "$ASTERISK"
    eventually 40 'Asterisk back: the daemon is in sync' daemon_ready one
    since=$EPOCHREALTIME
    eventually 36 'Asterisk back: slots are free' nothing_open
    within 35000 "$since" 'Asterisk back: slots are free'
    call ${N}901 ANSWERED 1 none
    call ${N}901 ANSWERED 1 none
    call ${N}902 ANSWERED 1 none
    place carrier.xml -r 50 -d 500
    heard "$CARRIER"
    no_fallbacks

    # The whole machine, but for the database.
    eventually 5 'the calls are over' nothing_open
    call ${N}901 ANSWERED 1 none
    place carrier.xml -d 60000
    eventually 3 'a slot is confirmed' usage_is c-talk 0 1
    signal_pid KILL "$(asterisk_pid "$ASTERISK")"
    daemon_kill one
    signal_pid KILL "$CARRIER"
    asterisk_start "$ASTERISK"
    daemon_up one
    since=$EPOCHREALTIME
    eventually 36 'all restarted: slots are free' nothing_open
    within 35000 "$since" 'all restarted: slots are free'
}

# recording_of CALLER: what became of the recording of a call.
recording_of() {
    sql "select concat_ws(' ', r.state, j.state, case when r.repaired then 'repaired' end, count(f.leg))
         from call_logs l join recordings r on r.call_id = l.id join transcription_jobs j using (recording_id)
         left join recording_files f using (recording_id)
         where l.caller_id_num = '$1' group by r.recording_id, j.job_id"
}
recording_is() { [ "$(recording_of "$1")" = "$2" ]; }
# leg CALLER LEG: the stored file.
leg() {
    printf '%s/%s\n' "$LAB/stored" "$(sql "select object_key from recording_files join recordings r using (recording_id)
        join call_logs l on l.id = r.call_id where l.caller_id_num = '$1' and leg = '$2'")"
}
# said CALLER SPEAKER: the words of one side.
said() {
    sql "select string_agg(s.text, ' ' order by s.segment) from call_logs l join transcripts t on t.call_id = l.id
         join transcript_segments s using (recording_id) where l.caller_id_num = '$1' and s.speaker = '$2'"
}
# says CALLER SPEAKER WORDS
says() { [ "$(said "$1" "$2")" = "$3" ]; }
DIGITS='zero one two three four five six seven eight nine'
WORDS='hello yes sales budget price house no support thank you'
spool_is_empty() { [ -z "$(find "$ASTERISK/var/recordings" -type f)" ]; }

# Both sides talk, each in its time; the recording holds them apart. An announcement is heard by both and not
# recorded; one that cannot be played means no recording. Crashes lose no recording.
case_recording() {
    local plain told wide file
    # The caller speaks at 1 s, the agent at 7 s; the first target is busy.
    speak ${N}951 says ANSWERED 2
    plain=$CALLER_NUMBER
    speak ${N}952 says
    told=$CALLER_NUMBER
    speak ${N}953 says
    wide=$CALLER_NUMBER
    call ${N}954 BUSY 1 no_eligible_clients_available
    place carrier.xml
    eventually 5 'three calls talk' sql_is 3 "select count(*) from reservations where state = 'confirmed'"
    heard "$CARRIER"
    eventually 30 'the calls are over' nothing_open
    eventually 20 'the recording is stored and transcribed' recording_is "$plain" 'stored done 3'
    eventually 20 'the announced recording is stored and transcribed' recording_is "$told" 'stored done 3'
    file=$(leg "$plain" caller)
    expect 'the caller is not heard on his leg' sounds "$file" 1500 5500
    expect 'the agent is heard on the leg of the caller' quiet "$file" 7500 12500
    file=$(leg "$plain" agent)
    expect 'the caller is heard on the leg of the agent' quiet "$file" 1500 5500
    expect 'the agent is not heard on his leg' sounds "$file" 7500 12500
    file=$(leg "$plain" mix)
    expect 'the caller is not heard in the mix' sounds "$file" 1500 5500
    expect 'the agent is not heard in the mix' sounds "$file" 7500 12500

    expect "the caller said: $(said "$plain" caller)" says "$plain" caller "$DIGITS"
    expect "the agent said: $(said "$plain" agent)" says "$plain" agent "$WORDS"
    expect "after the announcement the agent said: $(said "$told" agent)" says "$told" agent "$WORDS"
    expect 'what was said does not find the calls' sql_is 2 \
        "select count(*) from transcripts where search @@ transcript_query('budgets')"

    expect 'the caller does not hear the announcement' tone "$VOICES/heard-caller-${told#+1}.wav" 300 1700
    expect 'the agent does not hear the announcement' tone "$VOICES/heard-agent-vtold.wav" 300 1700
    expect 'the announcement is recorded' sounds "$(leg "$told" agent)" 5500 10500
    file=$(leg "$told" caller)
    expect 'the caller is not heard after the announcement' sounds "$file" 0 3000
    expect 'the announcement is on the leg of the agent' quiet "$(leg "$told" agent)" 0 3000

    expect 'without an announcement that can be played something was recorded' recording_is "$wide" 'expected waiting 0'
    expect 'a call without its announcement did not talk' sounds "$VOICES/heard-agent-vwide.wav" 1500 5500
    eventually 20 'nothing is left of a call nobody answered' spool_is_empty

    # Somebody leaves while the announcement plays.
    speak ${N}952 leaves
    told=$CALLER_NUMBER
    eventually 10 'the call of a caller who left is over' sql_is 1 "select count(*) from call_logs where caller_id_num = '$told' and timestamp_end is not null"
    eventually 20 'a recording without sound is told as such' recording_is "$told" 'missing cancelled 0'

    # The daemon dies, and the call ends without it.
    speak ${N}951 says ANSWERED 2
    plain=$CALLER_NUMBER
    eventually 5 'a call talks' sql_is 1 "select count(*) from reservations where state = 'confirmed'"
    daemon_kill one
    eventually 30 'the call is over' no_channels
    daemon_up one
    eventually 20 'the recording of a call that ended without the daemon is stored' recording_is "$plain" 'stored done 3'

    # Asterisk dies.
    speak ${N}955 talks ANSWERED 1
    plain=$CALLER_NUMBER
    eventually 5 'a call talks' sql_is 1 "select count(*) from reservations where state = 'confirmed'"
    eventually 15 'sound is on disk' sound_is_on_disk
    signal_pid KILL "$(asterisk_pid "$ASTERISK")"
    asterisk_start "$ASTERISK"
    eventually 20 'the recording that a crash cut off is stored' recording_is "$plain" 'stored done repaired 3'
    file=$(leg "$plain" caller)
    expect 'a repaired recording holds no speech' sounds "$file" 300 2000
    expect 'a repaired header tells the wrong length' [ "$(od -An -tu4 -j40 -N4 "$file" | tr -d ' ')" -eq $(($(stat -c %s "$file") - 44)) ]
    eventually 5 'the directory is empty' spool_is_empty
}
sound_is_on_disk() { [ -n "$(find "$ASTERISK/var/recordings" -name '*-mix.wav' -size +90k)" ]; }
