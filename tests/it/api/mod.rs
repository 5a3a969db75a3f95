//! The HTTP API, over HTTP.

mod auth;
mod callers;
mod campaigns;
mod clients;
mod contract;
mod dids;
mod document;
mod erasures;
mod events;
mod insight;
mod internal;
mod isolation;
mod keys;
mod links;
mod logs;
mod operating;
mod recordings;
mod servers;
mod users;
