-- Of each of these calls ($2), if it is of the seller $1 (null: of anybody), the first segments, at most $4, with
-- words of those looked for ($3), each between \x02 and \x03. So that no text is taken for markup or an entity and
-- left out, `<` comes as \x04 and `&` as \x05.
select t.call_id, m.speaker, m.start_ms, m.marked
from transcripts t
join recordings r on r.recording_id = t.recording_id
cross join lateral (
    select s.speaker, s.start_ms, h.marked
    from transcript_segments s
    cross join lateral (
        select ts_headline(transcript_dictionary(s.language),
                           translate(s.text, E'<&\x01\x02\x03\x04\x05', E'\x04\x05'), transcript_query($3),
                           E'StartSel="\x02",StopSel="\x03",HighlightAll=true') as marked
        offset 0
    ) h
    where s.recording_id = t.recording_id and ($1::int is null or s.user_id = $1) and position(E'\x02' in h.marked) > 0
    order by s.segment
    limit $4
) m
where t.call_id = any ($2::bigint[]) and ($1::int is null or t.user_id = $1)
  and not coalesce(r.delete_after <= now() and r.hold_reason is null, false)
order by t.call_id, m.start_ms
