//! The catalogue: clients with their PJSIP objects, DIDs, campaigns, links. What is written here counts at the next call.

pub mod api;
pub mod store;
