//! Every statement the daemon runs, a file each: calls' in `sql/queries`, the API's in `sql/api`.

/// A statement with its name.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    /// Path under `sql`, without ending; also names the operation in errors.
    pub name: &'static str,
    /// The statement.
    pub text: &'static str,
}

/// Declares statements: the folder under `sql`, then a constant for each file in it.
macro_rules! statements {
    ($folder:literal; $($constant:ident = $name:literal),* $(,)?) => {
        $(
            #[doc = concat!("`sql/", $folder, "/", $name, ".sql`.")]
            pub const $constant: $crate::store::sql::Sql = $crate::store::sql::Sql {
                name: concat!($folder, "/", $name),
                text: include_str!(concat!("../../sql/", $folder, "/", $name, ".sql")),
            };
        )*

        /// All of them, for the test that prepares each against the migrated schema.
        pub const ALL: &[$crate::store::sql::Sql] = &[$($constant),*];
    };
}
pub(crate) use statements;

/// A statement that counts what a list finds, made of the list itself, so that both go by the same filters. It takes the
/// list's parameters, with null for the limit and for the place to go on from.
macro_rules! count_of {
    ($folder:literal, $name:literal) => {
        $crate::store::sql::Sql {
            name: concat!($folder, "/", $name, ", counted"),
            text: concat!(
                "select count(*) as total from (",
                include_str!(concat!("../../sql/", $folder, "/", $name, ".sql")),
                ") listed"
            ),
        }
    };
}
pub(crate) use count_of;

/// The API's statements, by resource.
pub const API: &[&[Sql]] = &[
    super::audit::sql::ALL,
    super::campaigns::sql::ALL,
    super::clients::sql::ALL,
    super::dids::sql::ALL,
    super::erasures::sql::ALL,
    super::grants::sql::ALL,
    super::hangups::sql::ALL,
    super::idempotency::sql::ALL,
    super::internal::sql::ALL,
    super::keys::sql::ALL,
    super::links::sql::ALL,
    super::live::sql::ALL,
    super::logs::sql::ALL,
    super::quotas::sql::ALL,
    super::recorded::sql::ALL,
    super::request::sql::ALL,
    super::security::sql::ALL,
    super::servers::sql::ALL,
    super::sessions::sql::ALL,
    super::shared::sql::ALL,
    super::statistics::sql::ALL,
    super::throttle::sql::ALL,
    super::totp::sql::ALL,
    super::transcribed::sql::ALL,
    super::usage::sql::ALL,
    super::users::sql::ALL,
];

statements! { "queries";
    ACTIVITY = "activity",
    ADD_MISSING_ROTATION = "add_missing_rotation",
    ADD_MISSING_USAGE = "add_missing_usage",
    ADOPT_CALLS = "adopt_calls",
    AMEND_ATTEMPT = "amend_attempt",
    AMEND_CALL = "amend_call",
    ANSWER_HANGUP = "answer_hangup",
    APPLY_RETENTION = "apply_retention",
    ARCHIVE_ATTEMPTS = "archive_attempts",
    ATTEMPTS_BY_ID = "attempts_by_id",
    ATTEMPTS_OF_CALL = "attempts_of_call",
    CALL_UNDER_WAY = "call_under_way",
    CLAIM = "claim",
    CLAIM_ERASURE = "claim_erasure",
    CLAIM_JOB = "claim_job",
    CLEAR_REFERENCES = "clear_references",
    CLOSED_CAMPAIGNS = "closed_campaigns",
    CLOSE_CALL = "close_call",
    CONFIRM = "confirm",
    CONTEST_SERVER = "contest_server",
    COUNT_JOBS = "count_jobs",
    COUNT_RECORDINGS = "count_recordings",
    DATABASE_CLOCK = "database_clock",
    DECLARE_DEAD = "declare_dead",
    DELETED_REFERENCES = "deleted_references",
    DELETE_RECORDING = "delete_recording",
    DOOMED_RECORDING = "doomed_recording",
    DROP_HISTORY_MONTH = "drop_history_month",
    DROP_JOB = "drop_job",
    EMPTY_RECORDING = "empty_recording",
    END_OVER_CALL = "end_over_call",
    END_OVER_CALLS = "end_over_calls",
    EXPIRE_RESERVATIONS = "expire_reservations",
    ERASE_LATE = "erase_late",
    ERASURE_END_PASS = "erasure_end_pass",
    ERASURE_STEP = "erasure_step",
    EXPECT_RECORDINGS = "expect_recordings",
    EXTEND_CALLS = "extend_calls",
    EXTEND_LEASE = "extend_lease",
    FAIL_ERASURE = "fail_erasure",
    FAIL_JOB = "fail_job",
    FINISH_JOB = "finish_job",
    FIND_OPEN_SLOT = "find_open_slot",
    FORGET_DELETED = "forget_deleted",
    FORGET_ENDED = "forget_ended",
    GIVE_BACK_JOB = "give_back_job",
    HISTORY_STRAYS = "history_strays",
    JOB_FILES = "job_files",
    IS_RELEASABLE = "is_releasable",
    KEEP_RECORDING = "keep_recording",
    KEYS_OF_RECORDING = "keys_of_recording",
    KEEP_SERVER = "keep_server",
    LEAVE_SERVER = "leave_server",
    LOCK_CALL = "lock_call",
    LOCK_CALL_BY_ID = "lock_call_by_id",
    LOCK_CAMPAIGN = "lock_campaign",
    LOCK_CLOSED_CALL = "lock_closed_call",
    LOCK_SEEN_CALL = "lock_seen_call",
    LOCK_USAGE = "lock_usage",
    LOG_UNROUTED_CALL = "log_unrouted_call",
    MAKE_HISTORY_MONTH = "make_history_month",
    MISS_RECORDINGS = "miss_recordings",
    NOTE_ATTEMPT_STATUS = "note_attempt_status",
    OBSERVE_SERVER = "observe_server",
    OBSERVERS = "observers",
    OLDEST_SNAPSHOT = "oldest_snapshot",
    OPEN_CALLS = "open_calls",
    ORPHANED_RESERVATIONS = "orphaned_reservations",
    OVERDUE_CALLS = "overdue_calls",
    RECORDINGS_OF_STEMS = "recordings_of_stems",
    RECOUNT_USAGE = "recount_usage",
    REFUSE = "refuse",
    RELEASE_RESERVATION = "release_reservation",
    RESCUE_JOBS = "rescue_jobs",
    ROUTING_VIEW = "routing_view",
    SETTLE_ATTEMPT = "settle_attempt",
    STRAY_HISTORY_MONTH = "stray_history_month",
    TAKE_HANGUPS = "take_hangups",
    TAKE_SWEEP = "take_sweep",
    UNWATCHED_RESERVATIONS = "unwatched_reservations",
    USAGE_DRIFT = "usage_drift",
    WAITING_LANGUAGES = "waiting_languages",
    WAITING_RESERVATIONS = "waiting_reservations",
}
