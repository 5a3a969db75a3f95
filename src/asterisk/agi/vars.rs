//! Names of the channel variables that dialplans read, each written once.

/// `DIAL`, `REJECT`, `HEARD` or `PONG`. Always set last: the dialplan trusts nothing else.
pub const VERDICT: &str = "CAPCONDUIT_VERDICT";
/// PJSIP endpoint id to dial.
pub const ENDPOINT: &str = "CAPCONDUIT_ENDPOINT";
/// Ring timeout in whole seconds.
pub const TIMEOUT: &str = "CAPCONDUIT_TIMEOUT";
/// Our call id.
pub const CALL: &str = "CAPCONDUIT_CALL";
/// 1, 2, …
pub const ATTEMPT: &str = "CAPCONDUIT_ATTEMPT";
/// Id of the reservation held.
pub const RESERVATION: &str = "CAPCONDUIT_RESERVATION";
/// Caller id override, or empty.
pub const CALLERID: &str = "CAPCONDUIT_CALLERID";
/// File stem to record to; empty: do not record.
pub const RECORDING: &str = "CAPCONDUIT_RECORDING";
/// Sound file both sides hear before they are connected; empty: none.
pub const ANNOUNCEMENT: &str = "CAPCONDUIT_ANNOUNCEMENT";
/// Reason code of a refusal.
pub const REASON: &str = "CAPCONDUIT_REASON";
/// Q.850 cause to hang up with.
pub const CAUSE: &str = "CAPCONDUIT_CAUSE";
