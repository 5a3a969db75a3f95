//! Every code that an error of the API can have: the one list of them.
//!
//! A code is for programs and is never given another meaning. The document lists them, and so does docs/api.md,
//! which a test compares. A new one is a line here.

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal, $statuses:expr;)*) => {
        /// Why a request was not carried out, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $meaning])+ $name,)*
        }

        impl Code {
            /// All of them, by status.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As clients see it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The statuses that it comes with: most have one.
            pub fn statuses(self) -> &'static [u16] {
                match self {
                    $(Self::$name => &$statuses,)*
                }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+).trim_ascii(),)*
                }
            }
        }
    };
}

codes! {
    /// A query parameter is not valid.
    BadParameter = "bad_parameter", [400];
    /// The operation has no query parameter of this name.
    UnknownParameter = "unknown_parameter", [400];
    /// Counted by these two, there are too many lines: ask for less time, or by one.
    TooManyGroups = "too_many_groups", [400, 422];
    /// The cursor is not one of this list in this order.
    BadCursor = "bad_cursor", [400];
    /// Fields of the body are not valid; `errors` says which and why.
    InvalidFields = "invalid_fields", [400];
    /// The body is missing, empty or null.
    EmptyBody = "empty_body", [400];
    /// The body is not JSON.
    MalformedJson = "malformed_json", [400];
    /// The body ended before its announced length.
    IncompleteBody = "incomplete_body", [400];
    /// The `Idempotency-Key` has not the form of one.
    BadIdempotencyKey = "bad_idempotency_key", [400];
    /// The ids of a client and its PJSIP objects are not the same.
    IdsDiffer = "ids_differ", [400];
    /// The client has an auth object of another name.
    OtherAuth = "other_auth", [400];
    /// The search holds no word that could be looked for.
    NothingToLookFor = "nothing_to_look_for", [400];
    /// No session and no API key was sent.
    NotLoggedIn = "not_logged_in", [401];
    /// The session has ended: log in again.
    SessionEnded = "session_ended", [401];
    /// Name or password is wrong.
    WrongLogin = "wrong_login", [401];
    /// The password is right, but the account may not log in.
    AccountNotActive = "account_not_active", [401];
    /// The header `Authorization` is not `Bearer` and one API key.
    BadAuthorization = "bad_authorization", [401];
    /// The password is right; a code or a recovery code is needed too.
    SecondFactorRequired = "second_factor_required", [401, 403];
    /// The API key is not known, has ended, or was revoked.
    WrongApiKey = "wrong_api_key", [401];
    /// The internal token is missing or wrong.
    WrongInternalToken = "wrong_internal_token", [401];
    /// The account's role may not do this.
    RoleNotAllowed = "role_not_allowed", [403];
    /// The API key has no scope for this.
    ScopeMissing = "scope_missing", [403];
    /// API keys may not do this: log in.
    SessionOnly = "session_only", [403];
    /// The session's password was given too long ago: `POST /api/auth/reauthenticate`, then ask again.
    FreshLoginRequired = "fresh_login_required", [403];
    /// `currentPassword` is needed to change the password of one's own account.
    CurrentPasswordRequired = "current_password_required", [403];
    /// The password was given by others: change it before anything else.
    PasswordChangeRequired = "password_change_required", [403];
    /// The account must have a second factor: set it up before anything else.
    SecondFactorSetupRequired = "second_factor_setup_required", [403];
    /// The code, or the recovery code, of the second factor is wrong.
    SecondFactorWrong = "second_factor_wrong", [401, 403];
    /// The account is no seller's: it is deleted, not erased.
    NotASeller = "not_a_seller", [403];
    /// Callers are not shown to this account, and this would search for them.
    CallersHidden = "callers_hidden", [403];
    /// A page of another site sent this request.
    ForeignOrigin = "foreign_origin", [403];
    /// The campaign is another seller's.
    NotYours = "not_yours", [403];
    /// Some of the DIDs are not yours.
    NotYourDids = "not_your_dids", [403];
    /// Only staff gives numbers to sellers here.
    GivenByStaff = "given_by_staff", [403];
    /// You cannot do this to your own account.
    OwnAccount = "own_account", [403];
    /// The last active administrator must stay one.
    LastAdmin = "last_admin", [403];
    /// The current password is wrong.
    WrongPassword = "wrong_password", [403];
    /// There is no such thing, or it is another's.
    NotFound = "not_found", [404];
    /// The call was not recorded.
    RecordingNotFound = "recording_not_found", [404];
    /// The recording is not stored yet.
    RecordingPending = "recording_pending", [404];
    /// The call should have been recorded, but no files came.
    RecordingMissing = "recording_missing", [404];
    /// The recording has been deleted.
    RecordingDeleted = "recording_deleted", [404, 409];
    /// The recording has no file of this side.
    LegNotFound = "leg_not_found", [404];
    /// This link to a recording was not made here, or not for this recording.
    LinkNotValid = "link_not_valid", [404];
    /// This link to a recording has ended, or was ended.
    LinkEnded = "link_ended", [404];
    /// The call has no transcript.
    TranscriptNotFound = "transcript_not_found", [404];
    /// The transcript is not ready yet.
    TranscriptPending = "transcript_pending", [404];
    /// The call could not be transcribed.
    TranscriptFailed = "transcript_failed", [404];
    /// The call is not transcribed.
    TranscriptionNotFound = "transcription_not_found", [404];
    /// The address has no such method.
    MethodNotAllowed = "method_not_allowed", [405];
    /// The body did not arrive in time.
    SlowBody = "slow_body", [408];
    /// It was changed since you read it.
    ChangedMeanwhile = "changed_meanwhile", [409, 412];
    /// Another account has this name.
    UsernameTaken = "username_taken", [409];
    /// Another account has this e-mail address.
    EmailTaken = "email_taken", [409];
    /// You have a campaign of this name.
    NameTaken = "name_taken", [409];
    /// The number is a DID already.
    NumberTaken = "number_taken", [409];
    /// A DID would be in two active campaigns.
    DidInUse = "did_in_use", [409];
    /// The DID waits for staff to confirm it.
    DidPending = "did_pending", [409];
    /// The DID does not wait to be confirmed.
    DidNotPending = "did_not_pending", [409];
    /// Too many of your DIDs wait to be confirmed.
    TooManyPending = "too_many_pending", [409];
    /// The campaign has a link to this client.
    AlreadyLinked = "already_linked", [409];
    /// Another client has this identifier.
    ClientIdentifierTaken = "client_identifier_taken", [409];
    /// There is an endpoint with this id.
    EndpointTaken = "endpoint_taken", [409];
    /// There is an address with this id.
    AorTaken = "aor_taken", [409];
    /// There is an auth object with this id.
    AuthTaken = "auth_taken", [409];
    /// An active link ties the client to an active campaign.
    ClientInUse = "client_in_use", [409];
    /// The account has a second factor already.
    SecondFactorExists = "second_factor_exists", [409];
    /// No second factor was begun, or it is too long ago.
    SecondFactorNotBegun = "second_factor_not_begun", [409];
    /// The account has no second factor.
    NoSecondFactor = "no_second_factor", [404, 409];
    /// Second factors are switched off here.
    SecondFactorOff = "second_factor_off", [409];
    /// Second factors need `accounts.sealing_key` in the configuration.
    SealingKeyMissing = "sealing_key_missing", [409];
    /// The account must be suspended first.
    NotSuspended = "not_suspended", [409];
    /// The account is being erased: delete it when that is done.
    ErasureUnderWay = "erasure_under_way", [409];
    /// The account was erased, or is being erased.
    ErasedAlready = "erased_already", [409];
    /// The client takes calls of sellers with a grant only.
    NotGranted = "not_granted", [409];
    /// An earlier row of the same request says the same.
    Repeated = "repeated", [409];
    /// No Asterisk has been seen to carry the call yet.
    NotSeenYet = "not_seen_yet", [409];
    /// No daemon watches the Asterisk that the call is on.
    NotWatchedHere = "not_watched_here", [409];
    /// Several Asterisks use the name of the one that the call is on: it is not known which has it.
    ServerContested = "server_contested", [409];
    /// The account has as much of this as it may have.
    QuotaExceeded = "quota_exceeded", [409];
    /// The account has as many API keys as it may have.
    TooManyKeys = "too_many_keys", [409];
    /// The call is in the log already.
    AlreadyRecorded = "already_recorded", [409];
    /// The call is under way: it will be in the log when it ends.
    CallUnderWay = "call_under_way", [409];
    /// The recording is held: it cannot be deleted.
    RecordingHeld = "recording_held", [409];
    /// The recording has no files.
    RecordingNotStored = "recording_not_stored", [409];
    /// The transcription is done.
    TranscriptionDone = "transcription_done", [409];
    /// The transcription is under way.
    TranscriptionUnderWay = "transcription_under_way", [409];
    /// A daemon sees this Asterisk: it is not dead.
    ServerObserved = "server_observed", [409];
    /// The first request with this `Idempotency-Key` is still at work.
    RequestAtWork = "request_at_work", [409];
    /// The body is larger than allowed.
    TooLarge = "too_large", [413];
    /// The body is not sent as JSON.
    NotJson = "not_json", [415];
    /// The range begins after the end.
    RangeNotSatisfiable = "range_not_satisfiable", [416];
    /// The `Idempotency-Key` came with another request before.
    IdempotencyKeyReused = "idempotency_key_reused", [422];
    /// The file of the recording is no WAV file of 16-bit samples.
    RecordingUnreadable = "recording_unreadable", [422];
    /// This server takes changes only with `If-Match`.
    IfMatchRequired = "if_match_required", [428];
    /// Too many requests; `Retry-After` says when to go on.
    TooManyRequests = "too_many_requests", [429];
    /// Too many failed logins; `Retry-After` says when to go on.
    TooManyFailedLogins = "too_many_failed_logins", [429];
    /// The account has too many long requests at work or waiting.
    TooManyAtOnce = "too_many_at_once", [429];
    /// The account does not see callers and looked for too many numbers; `Retry-After` says when to go on.
    TooManyCallers = "too_many_callers", [429];
    /// Too many wrong codes of the second factor; `Retry-After` says when to go on.
    TooManyWrongCodes = "too_many_wrong_codes", [429];
    /// Too many streams of events are open.
    TooManyStreams = "too_many_streams", [429, 503];
    /// Something went wrong in the daemon; its log says what.
    InternalError = "internal_error", [500];
    /// Asterisk did not do what it was told.
    AsteriskFailed = "asterisk_failed", [502];
    /// The daemon that watches the call's Asterisk did not take the order to end it, and will not.
    OrderNotTaken = "order_not_taken", [504];
    /// A daemon has taken the order to end the call, and has not said in time what came of it.
    OrderUnanswered = "order_unanswered", [504];
    /// The database does not answer, or others are at work on this.
    Unavailable = "unavailable", [503];
    /// The second factor cannot be opened with the keys that are configured.
    SecondFactorUnavailable = "second_factor_unavailable", [503];
    /// It took too long and was given up: ask for less.
    TooSlow = "too_slow", [503];
    /// The storage of recordings fails.
    RecordingUnavailable = "recording_unavailable", [503];
    /// Too many exports are under way.
    TooManyExports = "too_many_exports", [429, 503];
    /// Too many recordings are being sent.
    TooManyDownloads = "too_many_downloads", [429, 503];
    /// Too much is at work: try again in a moment.
    Overloaded = "overloaded", [503];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_code_is_there_twice_and_each_says_what_it_means() {
        let codes: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(!code.statuses().is_empty(), "{}", code.as_str());
            assert!(code.meaning().ends_with('.'), "{}", code.as_str());
        }
    }
}
