use capconduit::domain::{Decision, DialStatus, HangupCause, Question, RefusalReason, decide};
use capconduit::routing::Verdict;
use capconduit::runtime::telemetry::{Form, subscriber};

use crate::support::World;
use crate::support::journal::Lines;
use crate::support::world::{Caller, VerdictExt, compare, link, live};

#[tokio::test]
async fn a_call_is_offered_settled_and_logged() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();

    let offer = caller.route(&engine).await.offer();
    assert_eq!((offer.attempt, offer.endpoint.as_str()), (1, "client1"));
    assert_eq!(offer.ring_timeout_seconds, 20);
    assert_eq!(world.usage().await, (1, 0));

    world
        .db
        .run(
            "update calls set started_at = started_at - interval '9 seconds';
              update call_attempts set offered_at = offered_at - interval '9 seconds'",
        )
        .await;
    caller.end(&engine, Some(DialStatus::Answer)).await;
    world.assert_quiet().await;
    let row = world
        .db
        .owner
        .query_one("select * from call_logs", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>("id"), offer.call_id.0);
    assert_eq!(row.get::<_, &str>("call_status"), "ANSWERED");
    assert_eq!(row.get::<_, i32>("billsec_seconds"), 7);
    assert_eq!(row.get::<_, i32>("client_id"), 1);
    assert_eq!(row.get::<_, i32>("campaign_client_setting_id"), 1);
    assert_eq!(row.get::<_, i32>("user_id"), 1);
    assert_eq!(row.get::<_, i32>("hangup_cause_code"), 16);
    assert_eq!(row.get::<_, &str>("incoming_did_number"), "+18005550100");
    assert_eq!(row.get::<_, &str>("caller_id_num"), "+15550001111");
    assert_eq!(
        row.get::<_, &str>("asterisk_uniqueid"),
        caller.uniqueid.as_str()
    );
    assert_eq!(
        world
            .db
            .one::<i32>("select current_total_calls from campaign_client_settings")
            .await,
        1
    );
}

#[tokio::test]
async fn every_refusal_has_its_reason_and_its_row() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    // What is changed, the reason expected, the disposition logged, and what undoes the change.
    let cases = [
        (
            "",
            "+19995550000",
            RefusalReason::DidNotFound,
            "REJECTED_DID",
            "",
        ),
        (
            "update dids set status = 'inactive'",
            "+18005550100",
            RefusalReason::DidInactive,
            "REJECTED_DID",
            "update dids set status = 'active'",
        ),
        (
            "update users set status = 'suspended'",
            "18005550100",
            RefusalReason::OwnerInactive,
            "REJECTED_DID",
            "update users set status = 'active'",
        ),
        (
            "update campaigns set status = 'paused'",
            "+18005550100",
            RefusalReason::NoActiveCampaignForDid,
            "REJECTED_DID",
            "update campaigns set status = 'active'",
        ),
        (
            "update clients set status = 'inactive'",
            "+18005550100",
            RefusalReason::NoActiveClientsInCampaign,
            "REJECTED_DID",
            "update clients set status = 'active'",
        ),
        (
            "update pjsip_aors set contact = ''",
            "+18005550100",
            RefusalReason::NoActiveClientsInCampaign,
            "REJECTED_DID",
            "update pjsip_aors set contact = 'sip:127.0.0.1:5999'",
        ),
        (
            "update campaign_client_settings set total_calls_allowed = 0",
            "+18005550100",
            RefusalReason::NoEligibleClientsAvailable,
            "REJECTED_TOTAL",
            "update campaign_client_settings set total_calls_allowed = null",
        ),
    ];
    for (change, did, reason, disposition, undo) in cases {
        world.db.run(change).await;
        let caller = Caller::new().dialling(did);
        let refusal = caller.route(&engine).await.refusal();
        assert_eq!(refusal.reason, reason);
        let logged = format!(
            "select call_status || ' ' || refusal_reason from call_logs where id = {}",
            refusal.call_id
        );
        let expected = format!("{disposition} {}", reason.as_str());
        assert_eq!(world.db.one::<String>(&logged).await, expected);
        // The end of the call completes the row and changes nothing else.
        caller.end(&engine, None).await;
        caller.end(&engine, None).await;
        assert_eq!(world.db.one::<String>(&logged).await, expected);
        world.db.run(undo).await;
    }
    world.assert_quiet().await;
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        7
    );
    assert!(matches!(
        Caller::new().route(&engine).await,
        Verdict::Dial(_)
    ));
}

#[tokio::test]
async fn the_log_can_be_searched_for_a_did_and_hides_the_caller() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let log = Lines::default();
    let writer = log.clone();
    let subscriber =
        subscriber(Form::Json, "info", move || writer.clone()).expect("a filter of ours");
    let guard = tracing::subscriber::set_default(subscriber);
    // Other tests that set and drop their own logs change, for a moment, what is logged at all.
    for _ in 0..50 {
        tracing::callsite::rebuild_interest_cache();
        let caller = Caller::new();
        caller.route(&engine).await.offer();
        caller.end(&engine, Some(DialStatus::NoAnswer)).await;
        let unknown = Caller::new().dialling("8005550100");
        unknown.route(&engine).await.refusal();
        let text = log.text();
        if text.contains("call offered") && text.contains("did_not_found") {
            break;
        }
    }
    drop(guard);
    let text = log.text();
    for wanted in [
        "\"did\":\"+18005550100\"",
        "\"caller\":\"**********11\"",
        "\"message\":\"call to 8005550100 refused: did_not_found\"",
    ] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    assert!(!text.contains("+15550001111"), "{text}");
}

#[tokio::test]
async fn a_refused_call_that_asks_again_keeps_its_one_row() {
    let mut only = link(1);
    only.max_concurrency = 1;
    let world = World::new("priority", &[only]).await;
    let engine = world.engine("a");
    let first = Caller::new();
    first.route(&engine).await.offer();
    let second = Caller::new();
    let refusal = second.route(&engine).await.refusal();
    assert_eq!(refusal.reason, RefusalReason::NoEligibleClientsAvailable);
    assert_eq!(refusal.cause, HangupCause::USER_BUSY);
    first.end(&engine, Some(DialStatus::NoAnswer)).await;

    let offer = second.route(&engine).await.offer();
    assert_eq!(offer.call_id, refusal.call_id);
    second.end(&engine, Some(DialStatus::Answer)).await;
    let status: String = world
        .db
        .one(&format!(
            "select call_status || coalesce(refusal_reason, '') from call_logs where id = {}",
            offer.call_id
        ))
        .await;
    assert_eq!(status, "ANSWERED");
    assert_eq!(
        world.db.one::<i64>("select count(*) from call_logs").await,
        2
    );
    world.assert_quiet().await;
}

#[tokio::test]
async fn failures_go_on_to_the_next_target_and_none_is_offered_twice() {
    let world = World::new("priority", &[link(1), link(2), link(3)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    assert_eq!(caller.route(&engine).await.offer().endpoint, "client1");
    let second = caller.route_after(&engine, DialStatus::Busy).await.offer();
    assert_eq!((second.attempt, second.endpoint.as_str()), (2, "client2"));
    assert_eq!(world.usage().await, (1, 0));
    let third = caller.route_after(&engine, DialStatus::Congestion).await;
    assert_eq!(third.offer().endpoint, "client3");
    let over = caller
        .route_after(&engine, DialStatus::NoAnswer)
        .await
        .refusal();
    assert_eq!(over.reason, RefusalReason::NoEligibleClientsAvailable);
    assert_eq!(over.cause, HangupCause::NO_ANSWER);
    caller.end(&engine, Some(DialStatus::NoAnswer)).await;
    world.assert_quiet().await;
    let log: String = world
        .db
        .one("select call_status || ' ' || attempts || ' ' || client_id from call_logs")
        .await;
    assert_eq!(log, "NOANSWER 3 3");
    let attempts: String = world
        .db
        .one("select string_agg(dial_status || ':' || outcome, ' ' order by attempt) from call_attempts")
        .await;
    assert_eq!(attempts, "BUSY:failed CONGESTION:failed NOANSWER:failed");
}

#[tokio::test]
async fn a_caller_who_left_is_offered_nobody_else() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    caller
        .route_after(&engine, DialStatus::Cancel)
        .await
        .refusal();
    caller.end(&engine, Some(DialStatus::Cancel)).await;
    world.assert_quiet().await;
    assert_eq!(
        world
            .db
            .one::<String>("select call_status from call_logs")
            .await,
        "ABANDONED"
    );
    assert_eq!(
        world
            .db
            .one::<i64>("select sum(current_total_calls) from campaign_client_settings")
            .await,
        0
    );
}

#[tokio::test]
async fn a_question_repeated_by_the_second_daemon_gets_the_same_offer() {
    let world = World::new("round_robin", &[link(1), link(2)]).await;
    let (a, b) = (world.engine("a"), world.engine("b"));
    let caller = Caller::new();
    let (first, second) = tokio::join!(caller.route(&a), caller.route(&b));
    assert_eq!(first, second);
    assert_eq!(world.usage().await, (1, 0));
    assert_eq!(caller.route(&b).await, first);
    caller.end(&b, Some(DialStatus::Answer)).await;
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_unique_id_that_comes_again_is_another_call() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let before = Caller::with_uniqueid("1795206437.0");
    let first = before.route(&engine).await.offer();
    // Asterisk restarted without a word: same unique id, another channel.
    let mut after = before.clone();
    after.channel = "PJSIP/trunk-00000099".to_owned();
    let second = after.route(&engine).await.offer();
    assert_ne!(first.call_id, second.call_id);
    // What became of the first, which may be on another server, is for its observer to say.
    assert_eq!(world.usage().await, (2, 0));
    assert_eq!(compare(&engine, &[live(after.seen(), false)]).await.lost, 1);
    assert_eq!(world.usage().await, (1, 0));
    after.end(&engine, Some(DialStatus::Answer)).await;
    // And once more after a proper end, with everything else the same.
    let third = after.route(&engine).await.offer();
    after.end(&engine, Some(DialStatus::Busy)).await;
    world.assert_quiet().await;
    let log: String = world
        .db
        .one("select string_agg(id || ':' || call_status, ' ' order by id) from call_logs")
        .await;
    assert_eq!(
        log,
        format!(
            "{}:FAILED {}:ANSWERED {}:BUSY",
            first.call_id, second.call_id, third.call_id
        )
    );
}

#[tokio::test]
async fn a_did_in_two_active_campaigns_goes_to_the_lower_one_and_says_so() {
    let world = World::new("priority", &[link(1)]).await;
    world
        .db
        .run(
            "insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds)
                  values (1, 'second', 'active', 'priority', 20);
              insert into campaign_dids values (2, 1)",
        )
        .await;
    let engine = world.engine("a");
    let offer = Caller::new().route(&engine).await.offer();
    let remark: String = world
        .db
        .one(&format!(
            "select remarks[1] from decisions where call_id = {}",
            offer.call_id
        ))
        .await;
    assert_eq!(
        remark,
        "the DID is in 2 active campaigns; the lowest id wins"
    );
}

#[tokio::test]
async fn another_owners_campaign_does_not_take_the_call() {
    let world = World::new("priority", &[link(1)]).await;
    world
        .db
        .run(
            "insert into users (username, email, password_hash, role, status)
                  values ('other', 'o@x', 'x', 'user', 'active');
              update campaigns set user_id = 2",
        )
        .await;
    let refusal = Caller::new().route(&world.engine("a")).await.refusal();
    assert_eq!(refusal.reason, RefusalReason::NoActiveCampaignForDid);
}

#[tokio::test]
async fn every_decision_can_be_recomputed_from_its_record() {
    let mut small = link(2);
    small.max_concurrency = 2;
    let world = World::new("weighted", &[link(1), small, link(3)]).await;
    let engine = world.engine("a");
    for _ in 0..20 {
        let caller = Caller::new();
        caller.route(&engine).await.offer();
        caller.route_after(&engine, DialStatus::Busy).await;
    }
    let rows = world
        .db
        .owner
        .query("select question, ranking, link_id from decisions", &[])
        .await
        .unwrap();
    assert_eq!(rows.len(), 40);
    for row in rows {
        let question: Question = serde_json::from_value(row.get("question")).unwrap();
        let decision: Decision = decide(&question);
        assert_eq!(
            serde_json::to_value(&decision.ranking).unwrap(),
            row.get::<_, serde_json::Value>("ranking")
        );
        assert_eq!(decision.chosen().map(|id| id.0), row.get("link_id"));
    }
}

#[tokio::test]
async fn dangerous_endpoint_ids_are_never_offered() {
    let world = World::new("priority", &[link(1), link(2)]).await;
    world
        .db
        .run("update pjsip_endpoints set id = E'client1&PJSIP/x\\n' where client_id = 1")
        .await;
    let engine = world.engine("a");
    assert_eq!(
        Caller::new().route(&engine).await.offer().endpoint,
        "client2"
    );
}

#[tokio::test]
async fn hostile_text_is_stored_as_text() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    let mut caller = Caller::new().dialling("'; drop table calls; --\0${EXTEN}");
    caller.number = "\"x\"\n'); delete from users; --".to_owned();
    caller.route(&engine).await.refusal();
    caller.end(&engine, None).await;
    let number: String = world.db.one("select caller_id_num from call_logs").await;
    assert_eq!(number, "\"x\"'); delete from users; --");
    assert_eq!(
        world
            .db
            .one::<String>("select incoming_did_number from call_logs")
            .await,
        "';droptablecalls;--${EXTEN}"
    );
    world.assert_quiet().await;
}

#[tokio::test]
async fn rows_lost_beside_the_catalogue_are_made_again() {
    let world = World::new("round_robin", &[link(1)]).await;
    world
        .db
        .run("delete from link_usage; delete from campaign_rotations")
        .await;
    Caller::new().route(&world.engine("a")).await.offer();
    world.assert_sound().await;
}

#[tokio::test]
async fn a_rotation_that_cannot_be_read_starts_anew() {
    let world = World::new("weighted", &[link(1), link(2)]).await;
    world
        .db
        .run(r#"update campaign_rotations set state = '{"weighted": "nonsense"}'"#)
        .await;
    let engine = world.engine("a");
    Caller::new().route(&engine).await.offer();
    let remark: String = world.db.one("select remarks[1] from decisions").await;
    assert!(remark.contains("starts anew"), "{remark}");
}

#[tokio::test]
async fn explaining_decides_the_same_and_changes_nothing() {
    let world = World::new("round_robin", &[link(1), link(2)]).await;
    let engine = world.engine("a");
    for expected in ["client1", "client2", "client1"] {
        let explained = engine.explain(&Caller::new().arrival().did).await.unwrap();
        let (_, decision) = explained.decided.expect("comes to a decision");
        let chosen = decision.chosen().unwrap();
        let endpoint = explained
            .links
            .iter()
            .find(|l| l.candidate.link_id == chosen)
            .and_then(|l| l.endpoint.clone());
        assert_eq!(endpoint.as_deref(), Some(expected));
        assert_eq!(
            Caller::new().route(&engine).await.offer().endpoint,
            expected
        );
    }
}
