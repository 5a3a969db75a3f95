-- What is known of the attempts that were told to record under these stems ($1, with the call $2 and the attempt $3
-- in each): answered, over with its call, and what became of the recording so far. No row for a stem of nobody's.
select w.stem, a.answered_at is not null as answered, r.state,
       not exists (select from calls c where c.call_id = a.call_id and c.ended_at is null) as over
from unnest($1::text[], $2::bigint[], $3::int[]) w (stem, call_id, attempt)
join call_attempts a on a.call_id = w.call_id and a.attempt = w.attempt and a.recording_stem = w.stem
left join recordings r on r.call_id = a.call_id and r.attempt = a.attempt
