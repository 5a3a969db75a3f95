-- Calls of the seller who asks in whose transcripts these words ($1) are, at most $2; and whether there is anything to
-- look for in the words.
select numnode(transcript_query($1)) > 0 as something,
       array(select call_id from calls_with_words($1, $2) found (call_id)) as calls
