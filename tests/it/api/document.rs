//! The API's document.

use crate::support::api::ApiServer;

/// The committed copy, for people and programs that have no daemon at hand.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

#[test]
fn the_committed_document_is_that_of_the_code() {
    let mut now = serde_json::to_string_pretty(&capconduit::http::api::document()).expect("JSON");
    now.push('\n');
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    if committed != now {
        // Written where it can be compared; UPDATE_DOCUMENT=1 takes it over.
        if std::env::var_os("UPDATE_DOCUMENT").is_some() {
            std::fs::write(COMMITTED, now).expect("writes");
            return;
        }
        panic!("docs/openapi.json is not what the code says: run the tests with UPDATE_DOCUMENT=1");
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let server = ApiServer::start().await;
    let answer = server.anonymous().get("/api/openapi.json").await;
    assert_eq!(answer.expect(200), capconduit::http::api::document());
}
