-- The promises, checked: "ok | what" lines for scripts/demo. Variables: placed (calls wanted), sipp (calls
-- sipp made), spoken (calls with speech), drift (the metric), channels (Asterisk's now), errors (in the daemon's log).

with log as (select * from call_logs),
agreed as (
    select p.caller, p.sip_status, count(l.id) as rows,
           bool_and((p.sip_status = 200) = (l.call_status = 'ANSWERED')
                    and (p.sip_status = 487) = (l.call_status = 'ABANDONED')) as same
    from demo.placed p left join log l on l.caller_id_num = p.caller and l.incoming_did_number = p.did
    group by p.caller, p.sip_status),
refused as (
    select l.id, (select count(*) = count(cap_text) and count(*) > 0 from demo.passed_over p where p.call_id = l.id) as explained
    from log l where l.refusal_reason = 'no_eligible_clients_available' and l.attempts = 0)
select ok, what from (values
    (1, (select bool_and(greatest(peak, claimed) <= max_concurrency and open_now = 0) from demo.links),
     (select format('no cap on calls at once was passed: %s targets, %s of them reached theirs', count(*),
                    count(*) filter (where peak = max_concurrency)) from demo.links)),
    (2, (select bool_and(seen <= max_concurrency) from demo.links),
     (select format('Asterisk never had more calls to a target than its cap allows (%s looks)', count(*)) from demo.samples)),
    (3, (select bool_and(current_total_calls <= coalesce(total_calls_allowed, current_total_calls)
                         and current_total_calls = answered) from demo.links),
     (select format('no cap on calls in all was passed: %s of %s reached; each answer counted once',
                    count(*) filter (where current_total_calls = total_calls_allowed), count(*))
      from demo.links where total_calls_allowed is not null)),
    (4, :'sipp'::int = :'placed'::int and (select count(*) from demo.placed) = :'placed'::int
        and (select count(*) from log) = :'placed'::int + :'spoken'::int and (select bool_and(rows = 1) from agreed)
        and (select count(distinct asterisk_uniqueid) from log) = :'placed'::int + :'spoken'::int,
     format('every call is logged exactly once: the carrier placed %s and %s with speech, the log has %s', :'sipp', :'spoken',
            (select count(*) from log))),
    (5, (select coalesce(bool_and(same), false) from agreed),
     (select format('carrier and log agree on every outcome: %s answered, %s given up, %s refused or failed',
                    count(*) filter (where sip_status = 200), count(*) filter (where sip_status = 487),
                    count(*) filter (where sip_status not in (200, 487))) from agreed)),
    (6, not exists (select from reservations where ended_at is null) and not exists (select from calls where ended_at is null)
        and (select sum(held + confirmed) from link_usage) = 0 and :'channels'::int = 0,
     format('no slot is left over: %s reservations open, %s channels in Asterisk',
            (select count(*) from reservations where ended_at is null), :'channels')),
    (7, :'drift' = '0' and not exists (
            select from link_usage u
            where u.held + u.confirmed <> (select count(*) from reservations r where r.link_id = u.link_id and r.ended_at is null)),
     format('usage counters equal the open reservations: capconduit_usage_drift is %s', :'drift')),
    (8, (select bool_and(in_turn) from demo.turns),
     (select format('round-robin: %s of %s calls went to whose turn it was', count(*) filter (where in_turn), count(*))
      from demo.turns)),
    (9, (select bool_and(off_by < 1 or not eligible) or bool_or(not eligible) from demo.deviations),
     (select case when bool_or(not eligible) then 'weighted: not compared, a target reached its cap meanwhile'
                  else format('weighted: never more than %s of a call off a target''s share (promised: under 1)',
                              round(max(off_by), 2)) end
      from demo.deviations)),
    (10, (select bool_and(explained) from refused),
     (select format('refused for want of a target: %s calls, and the decisions tell each cap that was reached', count(*))
      from refused)),
    (11, (select count(*) = :'spoken'::int and bool_and(caller = 'hello yes sales budget price house no support thank you'
                                                        and agent = 'एक दो तीन चार पांच छह सात आठ नौ शून्य') from demo.conversations),
     (select format('recorded and transcribed, each side apart and in its language: %s calls', count(*)) from demo.conversations)),
    (12, (select count(distinct call_id) = :'spoken'::int from transcripts where search @@ transcript_query('budgets'))
         and not exists (select from transcripts where search @@ transcript_query('insurance')),
     'a word that was said finds the calls, another one finds none'),
    (13, :'errors'::int = 0, format('errors in the daemon''s log: %s', :'errors'))
) as checks (n, ok, what)
order by n;
