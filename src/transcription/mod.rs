//! Transcripts of recordings: jobs, and the processes that do them.
