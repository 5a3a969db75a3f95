//! Ties: which DIDs a campaign has. The whole set at once, or one by one.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::campaigns::{self, CampaignDid, CampaignWithAll, INT4, check_dids_free};
use crate::catalogue::store::campaigns::CampaignRow;
use crate::db::request::Request;
use crate::domain::UserId;
use crate::http::api::Api;
use crate::http::kit::Message;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged};
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Ids};
use crate::http::kit::scope::{Side, note};

/// The operations on ties.
pub fn operations() -> Vec<Operation> {
    Side::BOTH.into_iter().flat_map(on).collect()
}

fn on(side: Side) -> Vec<Operation> {
    let all = side.pick(
        "/api/seller/campaigns/{id}/dids",
        "/api/admin/campaigns/{id}/dids",
    );
    let operations = [
        Operation::put(all, side.pick("setCampaignDids", "setAnyCampaignDids"), set)
            .tagged("campaigns", "Set the DIDs of a campaign")
            .about(
                "Replaces them all; repeats count once. A DID may be tied to several campaigns of which one is \
                 active: a second active one is refused with 409.",
            )
            .body(side.pick(&CAMPAIGN_DIDS, &ANY_CAMPAIGN_DIDS))
            .example(r#"{"didIds": [1, 2]}"#)
            .answers::<Message>(200, "They are set.")
            .problems(&[409, 412]),
        Operation::post(all, side.pick("tieDid", "tieAnyDid"), tie)
            .tagged("campaigns", "Tie a DID to a campaign")
            .about(
                "The other DIDs of the campaign stay. Doing it twice changes nothing more. Refused with 409 while \
                 another active campaign has the DID and this one is active.",
            )
            .body(&TIE)
            .example(r#"{"didId": 1}"#)
            .answers::<CampaignDid>(200, "It is tied.")
            .problems(&[409, 412]),
        Operation::delete(
            side.pick(
                "/api/seller/campaigns/{id}/dids/{did}",
                "/api/admin/campaigns/{id}/dids/{did}",
            ),
            side.pick("untieDid", "untieAnyDid"),
            untie,
        )
        .tagged("campaigns", "Untie a DID from a campaign")
        .about("The DID stays; the other DIDs of the campaign too.")
        .answers_nothing(204, "It is not tied any more.")
        .problems(&[412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

const SET_FIELDS: &[Field] = &[Field::ids("didIds", 10_000).required()];

static CAMPAIGN_DIDS: Form = Form {
    name: "CampaignDids",
    fields: SET_FIELDS,
    unknown: Unknown::Drop,
    at_least_one: false,
};

static ANY_CAMPAIGN_DIDS: Form = Form {
    name: "AnyCampaignDids",
    fields: SET_FIELDS,
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static TIE: Form = Form {
    name: "Tie",
    fields: &[Field::integer("didId", 1, INT4).required()],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CampaignDids {
    did_ids: Vec<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tie {
    did_id: i32,
}

/// Locks a campaign whose DIDs are changed. To a seller another's is as one that is not there.
async fn lock(
    request: &Request,
    id: i32,
    headers: &HeaderMap,
) -> Result<(CampaignRow, CampaignWithAll), Problem> {
    let row = request.lock_campaign(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("campaign"))?;
    let campaign = campaigns::whole(request, row.clone()).await?.campaign;
    campaign.tag().check(headers)?;
    Ok((row, campaign))
}

/// The version of a campaign after a change of its ties.
async fn tag_after(request: &Request, row: CampaignRow) -> Result<Tag, Problem> {
    Ok(campaigns::whole(request, row).await?.campaign.tag())
}

/// Locks DIDs, which must all be the owner's.
async fn lock_dids(request: &Request, owner: UserId, ids: &[i32]) -> Result<(), Problem> {
    let locked = request.lock_dids(owner, ids).await?;
    let foreign: Vec<_> = ids
        .iter()
        .filter(|id| locked.binary_search(id).is_err())
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let some: Vec<_> = foreign.iter().take(20).map(ToString::to_string).collect();
    Err(Problem::forbidden(
        Code::NotYourDids,
        format!(
            "The seller of this campaign has no DIDs with these ids: {}.",
            some.join(", ")
        ),
    ))
}

async fn set(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(CampaignDids { mut did_ids }): Input<CampaignDids>,
) -> Result<Tagged<Message>, Problem> {
    did_ids.sort_unstable();
    did_ids.dedup();
    let request = api.store.request(caller.reach()).await?;
    let (row, campaign) = lock(&request, id, &headers).await?;
    let owner = row.owner;
    let before = campaign.did_ids();
    lock_dids(&request, owner, &did_ids).await?;
    if row.status == "active" {
        let new: Vec<i32> = did_ids
            .iter()
            .copied()
            .filter(|id| before.binary_search(id).is_err())
            .collect();
        check_dids_free(&request, owner, id, &new).await?;
    }
    request.tie_dids(id, &did_ids).await?;
    note_ties(&request, &caller, owner, id, &before, &did_ids).await?;
    let tag = tag_after(&request, row).await?;
    request.commit().await?;
    let message = Message::new(format!(
        "The campaign has {} DID{} now.",
        did_ids.len(),
        if did_ids.len() == 1 { "" } else { "s" }
    ));
    Ok(Tagged(tag, message))
}

async fn note_ties(
    request: &Request,
    caller: &Caller,
    owner: UserId,
    campaign_id: i32,
    before: &[i32],
    after: &[i32],
) -> Result<(), Problem> {
    let (before, after) = (json!({ "didIds": before }), json!({ "didIds": after }));
    let campaign = ("campaign", campaign_id);
    note(
        request,
        caller,
        owner,
        "set_dids",
        campaign,
        Some(before),
        Some(after),
    )
    .await
}

async fn tie(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(Tie { did_id }): Input<Tie>,
) -> Result<Tagged<CampaignDid>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let (row, campaign) = lock(&request, id, &headers).await?;
    let owner = row.owner;
    lock_dids(&request, owner, &[did_id]).await?;
    if row.status == "active" {
        check_dids_free(&request, owner, id, &[did_id]).await?;
    }
    if request.tie_did(id, did_id).await? {
        let before = campaign.did_ids();
        let mut after = before.clone();
        after.push(did_id);
        after.sort_unstable();
        note_ties(&request, &caller, owner, id, &before, &after).await?;
    }
    let campaign = campaigns::whole(&request, row).await?.campaign;
    request.commit().await?;
    let tag = campaign.tag();
    let did = campaign.into_did(did_id);
    let did = did.ok_or_else(|| Problem::not_found("DID"))?;
    Ok(Tagged(tag, did))
}

async fn untie(
    State(api): State<Api>,
    caller: Caller,
    ids: Ids<2>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id_of = |id| i32::try_from(id).map_err(|_| Problem::not_found("tie"));
    let Ids([campaign_id, did_id]) = ids;
    let (id, did_id) = (id_of(campaign_id)?, id_of(did_id)?);
    let request = api.store.request(caller.reach()).await?;
    let (row, campaign) = lock(&request, id, &headers).await?;
    if !request.untie_did(id, did_id).await? {
        return Err(Problem::not_found("DID in this campaign"));
    }
    let before = campaign.did_ids();
    let after: Vec<i32> = before.iter().copied().filter(|id| *id != did_id).collect();
    note_ties(&request, &caller, row.owner, id, &before, &after).await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
