//! Login, sessions and what they protect.

use serde_json::json;

use crate::support::api::{ApiServer, PASSWORD};

#[tokio::test]
async fn a_login_opens_a_session_until_logout() {
    let server = ApiServer::start().await;
    let anonymous = server.anonymous();
    anonymous.get("/api/auth/status").await.expect(401);
    let answer = anonymous
        .post(
            "/api/auth/login",
            json!({"username": "alice", "password": PASSWORD}),
        )
        .await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    for cookie in cookies {
        let cookie = cookie.to_str().expect("text");
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
            "{cookie}"
        );
    }
    assert_eq!(answer.body["user"]["username"], "alice");
    assert!(answer.body["user"].get("passwordHash").is_none());

    let alice = server.login("alice").await;
    let status = alice.get("/api/auth/status").await.expect(200);
    assert_eq!(status["logged_in"], true);
    alice
        .post("/api/auth/logout", json!(null))
        .await
        .expect(200);
    alice.get("/api/auth/status").await.expect(401);
}
