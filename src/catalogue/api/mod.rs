//! Operations on the catalogue.

pub mod bulk;
pub mod campaigns;
pub mod clients;
pub mod dids;
pub mod grants;
pub mod links;
pub mod order;
pub mod registration;
pub mod staff_dids;
pub mod ties;
pub mod usage;
