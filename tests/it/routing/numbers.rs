//! One number, one DID, however carrier and seller spell it.

use capconduit::domain::RefusalReason;

use crate::support::World;
use crate::support::world::{Caller, VerdictExt, link};

#[tokio::test]
async fn every_spelling_reaches_the_did_however_it_is_stored() {
    let world = World::new("round_robin", &[link(1)]).await;
    let engine = world.engine("a");
    for stored in ["+18005550100", "18005550100", "+1 (800) 555-0100"] {
        world
            .db
            .run(&format!("update dids set number = '{stored}'"))
            .await;
        for dialled in ["+18005550100", "18005550100", "1-800-555-0100"] {
            let caller = Caller::new().dialling(dialled);
            assert_eq!(caller.route(&engine).await.offer().endpoint, "client1");
            // Asked again, it is the same call and not another one with its unique id.
            assert_eq!(caller.route(&engine).await.offer().attempt, 1, "{stored}");
            caller.end(&engine, None).await;
        }
        for other in ["0018005550100", "8005550100"] {
            let caller = Caller::new().dialling(other);
            let refusal = caller.route(&engine).await.refusal();
            assert_eq!(refusal.reason, RefusalReason::DidNotFound, "{other}");
            caller.end(&engine, None).await;
        }
    }
    // A call that never reached `route` is logged with its DID as well.
    let unrouted = Caller::new().dialling("1.800.555.0100");
    unrouted.end(&engine, None).await;
    let found: i32 = world
        .db
        .one("select did_id from call_logs order by id desc limit 1")
        .await;
    assert_eq!(found, 1);
    world.assert_quiet().await;
}

#[tokio::test]
async fn a_pending_did_takes_no_calls() {
    let world = World::new("priority", &[link(1)]).await;
    let engine = world.engine("a");
    world.db.run("update dids set status = 'pending'").await;
    let caller = Caller::new();
    let refusal = caller.route(&engine).await.refusal();
    assert_eq!(refusal.reason, RefusalReason::DidInactive);
    caller.end(&engine, None).await;
    world.db.run("update dids set status = 'active'").await;
    let caller = Caller::new();
    caller.route(&engine).await.offer();
    caller.end(&engine, None).await;
}
