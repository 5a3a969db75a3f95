//! The HTTP API, over HTTP.

mod auth;
mod bulk;
mod campaigns;
mod clients;
mod contract;
mod dids;
mod document;
mod events;
mod grants;
mod hanging_up;
mod insight;
mod internal;
mod isolation;
mod keys;
mod links;
mod logs;
mod mistakes;
mod operating;
mod recordings;
mod servers;
mod staff;
mod statistics;
mod users;
