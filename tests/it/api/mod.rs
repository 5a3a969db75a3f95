//! The HTTP API, over HTTP.

mod auth;
mod campaigns;
mod clients;
mod contract;
mod dids;
mod document;
mod events;
mod fair_shares;
mod insight;
mod internal;
mod isolation;
mod keys;
mod links;
mod logins;
mod logs;
mod operating;
mod quotas;
mod recordings;
mod recovery;
mod second_factor;
mod security_events;
mod servers;
mod shape;
mod shared_links;
mod users;
