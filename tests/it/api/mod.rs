//! The HTTP API, over HTTP.

mod auth;
mod campaigns;
mod clients;
mod contract;
mod dids;
mod document;
mod events;
mod hanging_up;
mod insight;
mod internal;
mod isolation;
mod keys;
mod links;
mod logs;
mod operating;
mod recordings;
mod servers;
mod staff;
mod users;
