//! Every statement the daemon runs, one file each in `sql/queries`.

/// A statement with its name.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// File name in `sql/queries`, without ending; also names the operation in errors.
    pub name: &'static str,
    /// The statement.
    pub text: &'static str,
}

macro_rules! statements {
    ($($constant:ident = $name:literal),* $(,)?) => {
        $(
            pub(super) const $constant: Sql = Sql {
                name: $name,
                text: include_str!(concat!("../../sql/queries/", $name, ".sql")),
            };
        )*

        /// All statements, for the test that prepares each against the migrated schema.
        pub const ALL: &[Sql] = &[$($constant),*];
    };
}

statements! {
    ACTIVITY = "activity",
    ADD_MISSING_ROTATION = "add_missing_rotation",
    ADD_MISSING_USAGE = "add_missing_usage",
    ADOPT_CALLS = "adopt_calls",
    ATTEMPTS_OF_CALL = "attempts_of_call",
    CALL_UNDER_WAY = "call_under_way",
    CLAIM = "claim",
    CLOSE_CALL = "close_call",
    CONFIRM = "confirm",
    END_OVER_CALL = "end_over_call",
    END_OVER_CALLS = "end_over_calls",
    ENSURE_PARTITIONS = "ensure_partitions",
    FORGET_ENDED = "forget_ended",
    LOCK_CALL = "lock_call",
    LOCK_CALL_BY_ID = "lock_call_by_id",
    LOCK_CAMPAIGN = "lock_campaign",
    LOCK_USAGE = "lock_usage",
    LOG_UNROUTED_CALL = "log_unrouted_call",
    NOTE_ATTEMPT_STATUS = "note_attempt_status",
    OPEN_CALLS = "open_calls",
    ORPHANED_RESERVATIONS = "orphaned_reservations",
    OVERDUE_CALLS = "overdue_calls",
    RECOUNT_USAGE = "recount_usage",
    REFUSE = "refuse",
    ROUTING_VIEW = "routing_view",
    SETTLE_ATTEMPT = "settle_attempt",
    USAGE_DRIFT = "usage_drift",
}
