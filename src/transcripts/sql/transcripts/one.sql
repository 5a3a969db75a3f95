-- The transcript of a recording ($2), if it is of the seller $1 (null: of anybody).
select call_id, language, engine, engine_version, models, audio_ms, words, confidence, masked, created_at
from transcripts
where recording_id = $2 and ($1::int is null or user_id = $1)
