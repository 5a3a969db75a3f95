//! Accounts: who may use the API, how they log in, what they may have, and what they did.
//!
//! `guard` stands before every operation of the API: it finds out who asks and refuses whoever may not. Invariant: access
//! that was taken back is gone with the next request.

pub mod api;
pub mod callers;
pub mod guard;
pub mod password;
pub mod sealing;
pub mod security;
pub mod store;
pub mod totp;
