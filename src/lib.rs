//! capconduit: a call-routing daemon for Asterisk.
//!
//! PostgreSQL remembers, Asterisk switches, capconduit decides and records. **AGI decides**
//! (synchronous, must answer at once), **ARI observes** (asynchronous, may be late or lose events),
//! **the sweep repairs** (periodic, compares open calls with live channels). Settling the same fact
//! twice is harmless.
//!
//! A folder is something that the product can do: [`routing`] decides, [`catalogue`] holds what it decides by, [`calls`]
//! tells what became of calls, [`recordings`] and [`transcripts`] keep what was said, [`accounts`] says who may see it,
//! [`privacy`] erases it, [`history`] clears up. Each has its operations of the HTTP API in `api`, its statements in
//! `store` and `sql`. Below them: [`domain`] (pure), [`runtime`], [`db`], [`http`] with the kit that operations are made
//! of, [`asterisk`]. [`app`] and [`cli`] put everything together.

pub mod accounts;
pub mod app;
pub mod asterisk;
pub mod calls;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod db;
pub mod domain;
pub mod history;
pub mod http;
pub mod privacy;
pub mod recordings;
pub mod routing;
pub mod runtime;
pub mod transcripts;
pub mod vosk_models;
