//! The statements that keep history by month.

use crate::db::sql::statements;

statements! { "history/sql";
    ARCHIVE_ATTEMPTS = "archive_attempts",
    CLEAR_REFERENCES = "clear_references",
    DELETED_REFERENCES = "deleted_references",
    DROP_HISTORY_MONTH = "drop_history_month",
    FORGET_DELETED = "forget_deleted",
    FORGET_ENDED = "forget_ended",
    HISTORY_STRAYS = "history_strays",
    MAKE_HISTORY_MONTH = "make_history_month",
    STRAY_HISTORY_MONTH = "stray_history_month",
}
