//! Pure types and decisions of call routing.
//!
//! Nothing here is async, knows SQL, logs or reads a clock: what a call, a cap or a strategy *means*
//! is decided in this module and nowhere else, so that live routing, `route --explain` and later
//! simulation and replay give the same answer to the same question.

pub mod account;
pub mod caller;
pub mod candidate;
pub mod cause;
pub mod decision;
pub mod disposition;
pub mod fact;
pub mod hangup;
pub mod ids;
pub mod mask;
pub mod network;
pub mod number;
pub mod reason;
pub mod recording;
pub mod role;
pub mod rotation;
pub mod second_factor;
pub mod sip;
pub mod transcript;
pub mod weak_password;
mod weighted;

pub use caller::CallerId;
pub use candidate::{Candidate, Cap, CapKind, Check};
pub use cause::HangupCause;
pub use decision::{Decision, Question, RankedTarget, Strategy, decide};
pub use disposition::{DialStatus, Disposition};
pub use fact::{CallFact, DialledOn, LiveChannel, LiveView, SeenChannel, ServerIdentity};
pub use hangup::{HungUpBy, SeenHangup, hung_up_by};
pub use ids::{
    CallId, CampaignId, ClientId, DidId, JobId, LinkId, LinkedId, RecordingId, ReservationId,
    ServerName, SystemName, UniqueId, UserId,
};
pub use number::{Claims, DialledNumber};
pub use reason::RefusalReason;
pub use recording::{Language, Leg, RecordingLanguage, Speaker, Stem};
pub use role::Role;
pub use rotation::Rotation;
pub use second_factor::SecondFactor;
pub use transcript::{Segment, Word};
