//! Every statement there is, by the role that runs it, for the tests that prepare each of them.

use crate::db::sql::Sql;
use crate::{
    accounts, calls, catalogue, db, history, http, privacy, recordings, routing, transcripts,
};

/// Those of the daemon itself, in the role `capconduit_app`.
pub const OF_DAEMON: &[&[Sql]] = &[
    routing::store::sql::ALL,
    recordings::store::sql::ALL,
    transcripts::store::sql::ALL,
    history::store::sql::ALL,
    db::health::sql::ALL,
    calls::store::hangups::worker_sql::ALL,
    privacy::store::worker_sql::ALL,
];

/// Those of requests to the API, in the role of who asks.
pub const OF_API: &[&[Sql]] = &[
    accounts::store::audit::sql::ALL,
    accounts::store::keys::sql::ALL,
    accounts::store::quotas::sql::ALL,
    accounts::store::second_factor::sql::ALL,
    accounts::store::security::sql::ALL,
    accounts::store::sessions::sql::ALL,
    accounts::store::throttle::sql::ALL,
    accounts::store::users::sql::ALL,
    calls::store::hangups::sql::ALL,
    calls::store::internal::sql::ALL,
    calls::store::live::sql::ALL,
    calls::store::logs::sql::ALL,
    calls::store::servers::sql::ALL,
    calls::store::statistics::sql::ALL,
    catalogue::store::campaigns::sql::ALL,
    catalogue::store::clients::sql::ALL,
    catalogue::store::dids::sql::ALL,
    catalogue::store::grants::sql::ALL,
    catalogue::store::links::sql::ALL,
    catalogue::store::usage::sql::ALL,
    db::request::sql::ALL,
    http::kit::store::sql::ALL,
    privacy::store::sql::ALL,
    recordings::store::shared_links::sql::ALL,
    recordings::store::views::sql::ALL,
    transcripts::store::views::sql::ALL,
];
