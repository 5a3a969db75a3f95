//! The catalogue in the database.

pub mod campaigns;
pub mod clients;
pub mod dids;
pub mod grants;
pub mod links;
pub mod usage;
