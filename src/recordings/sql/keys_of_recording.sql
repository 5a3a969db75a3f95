-- The keys of a recording's ($1) files.
select object_key from recording_files where recording_id = $1
