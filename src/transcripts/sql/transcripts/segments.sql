-- What was said in a recording ($2), if it is of the seller $1 (null: of anybody).
select speaker, language, start_ms, end_ms, text, confidence, words
from transcript_segments
where recording_id = $2 and ($1::int is null or user_id = $1)
order by segment
