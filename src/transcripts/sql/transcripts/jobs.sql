-- Jobs in the order $6, after the one at which the page before ended ($1 its id; $7 its time or $8 its number, by which
-- it is ordered; null: from the beginning): of one state ($2), in a language ($3), of a seller ($4), a call ($5), with a
-- text ($9) in the name of seller or daemon or in the error, each if it is given; $10 of them. It is planned for the values
-- at hand, so that each order finds its index. What has not ended comes after all.
select j.job_id, j.recording_id, j.call_id, j.user_id, j.language, j.state, j.priority, j.attempts, j.max_attempts,
       j.not_before, j.node_name, j.lease_expires_at, j.progress_ms, j.error_code, j.error_message, j.created_at,
       j.started_at, j.finished_at
from transcription_jobs j
where ($2::text is null or j.state = $2)
  and ($3::text is null or j.language = $3)
  and ($4::int is null or j.user_id = $4)
  and ($5::bigint is null or j.call_id = $5)
  and ($9::text is null
       or position(lower($9) in lower(j.node_name)) > 0
       or position(lower($9) in lower(j.error_code)) > 0
       or position(lower($9) in lower(j.error_message)) > 0
       or j.user_id in (select id from users where position(lower($9) in lower(username)) > 0))
  and ($1::bigint is null
       or $6::text = '-id' and j.job_id < $1
       or $6 = 'id' and j.job_id > $1
       or $6 = '-finishedAt'
          and (coalesce(j.finished_at, timestamptz '9999-12-30 00:00:00+00'), j.job_id) < ($7::timestamptz, $1)
       or $6 = 'finishedAt'
          and (coalesce(j.finished_at, timestamptz '9999-12-30 00:00:00+00'), j.job_id) > ($7, $1)
       or $6 = '-priority' and (j.priority, j.job_id) < ($8::bigint, $1)
       or $6 = 'priority' and (j.priority, j.job_id) > ($8, $1))
order by case when $6 = '-finishedAt' then coalesce(j.finished_at, timestamptz '9999-12-30 00:00:00+00') end desc,
         case when $6 = 'finishedAt' then coalesce(j.finished_at, timestamptz '9999-12-30 00:00:00+00') end,
         case when $6 = '-priority' then j.priority end desc,
         case when $6 = 'priority' then j.priority end,
         case when $6 like '-%' then j.job_id end desc,
         case when $6 not like '-%' then j.job_id end
limit $10
