//! The statements of recordings.

use crate::db::sql::statements;

statements! { "recordings/sql";
    APPLY_RETENTION = "apply_retention",
    COUNT_RECORDINGS = "count_recordings",
    DELETE_RECORDING = "delete_recording",
    DOOMED_RECORDING = "doomed_recording",
    EMPTY_RECORDING = "empty_recording",
    KEEP_RECORDING = "keep_recording",
    KEYS_OF_RECORDING = "keys_of_recording",
    MISS_RECORDINGS = "miss_recordings",
    RECORDINGS_OF_STEMS = "recordings_of_stems",
}
