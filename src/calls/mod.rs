//! What became of calls: the log, calls under way, events, statistics, exports, decisions. Reads only; the engine writes.

pub mod api;
pub mod store;
