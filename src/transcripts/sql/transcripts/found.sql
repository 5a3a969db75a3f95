-- Calls, of a seller ($2) or of all, in whose transcripts these words ($1) are, at most $3; and whether there is
-- anything to look for in the words.
select numnode(transcript_query($1)) > 0 as something,
       array(select call_id from transcripts
             where search @@ transcript_query($1) and ($2::int is null or user_id = $2)
             limit $3) as calls
