//! The order of a campaign's links: tiers and shares of all of them, in one step.

use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::campaigns::{self, CampaignWithAll, INT4};
use super::links::{Link, PRIORITY, WEIGHT};
use crate::catalogue::store::links::LinkPlace;
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::etag::Tagged;
use crate::http::kit::form::{Field, Form, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Id;
use crate::http::kit::scope::{Owned, Side, note};

/// The operations on the order of links.
pub fn operations() -> Vec<Operation> {
    Side::BOTH
        .into_iter()
        .map(|side| {
            let operation = Operation::put(
                side.pick(
                    "/api/seller/campaigns/{id}/order",
                    "/api/admin/campaigns/{id}/order",
                ),
                side.pick("orderLinks", "orderAnyLinks"),
                order,
            )
            .tagged("campaigns", "Put the links of a campaign in order")
            .about(
                "All links of the campaign at once, so that no call sees half of it. A list that misses a link is \
                 refused: somebody added it meanwhile. Send If-Match with the campaign's ETag to be sure of the rest.",
            )
            .body(&ORDER)
            .example(
                r#"{"links": [{"linkId": 1, "forwardingPriority": 0, "weight": 70}, {"linkId": 2, "forwardingPriority": 0, "weight": 30}]}"#,
            )
            .problems(&[412])
            .access(side.access());
            match side {
                Side::Seller => operation.answers::<CampaignWithAll>(200, "The campaign."),
                Side::Staff => operation.answers::<Owned<CampaignWithAll>>(200, "The campaign."),
            }
        })
        .collect()
}

static ORDER: Form = Form {
    name: "LinkOrder",
    fields: &[Field::objects("links", &PLACE, 10_000).required()],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static PLACE: Form = Form {
    name: "LinkPlace",
    fields: &[
        Field::integer("linkId", 1, INT4).required(),
        PRIORITY.required(),
        WEIGHT.required(),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
struct Order {
    links: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    link_id: i32,
    forwarding_priority: i32,
    weight: i32,
}

/// What the list does wrong, if it does not name each link once.
fn fault(links: &[Link], places: &[Place]) -> Option<String> {
    let mut named: Vec<i32> = places.iter().map(|place| place.link_id).collect();
    named.sort_unstable();
    let some = |ids: Vec<i32>| {
        let some: Vec<_> = ids.iter().take(20).map(ToString::to_string).collect();
        some.join(", ")
    };
    let twice: Vec<i32> = named
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect();
    if !twice.is_empty() {
        return Some(format!("Named more than once: {}.", some(twice)));
    }
    let unknown: Vec<i32> = named
        .iter()
        .copied()
        .filter(|id| !links.iter().any(|link| link.id == *id))
        .collect();
    if !unknown.is_empty() {
        return Some(format!(
            "This campaign has no links with these ids: {}.",
            some(unknown)
        ));
    }
    let missing: Vec<i32> = links
        .iter()
        .map(|link| link.id)
        .filter(|id| named.binary_search(id).is_err())
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "Name all links of the campaign; missing: {}.",
            some(missing)
        )
    })
}

async fn order(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(Order { links: places }): Input<Order>,
) -> Result<Tagged<Owned<CampaignWithAll>>, Problem> {
    let request = api.store.request(caller.reach()).await?;
    let before = campaigns::lock(&request, id, &headers).await?;
    if let Some(fault) = fault(before.campaign.links(), &places) {
        return Err(Problem::field("links", fault));
    }
    let rows: Vec<LinkPlace> = places
        .iter()
        .map(|place| LinkPlace {
            link_id: place.link_id,
            forwarding_priority: place.forwarding_priority,
            weight: place.weight,
        })
        .collect();
    request.order_links(id, &rows).await?;
    let row = request.lock_campaign(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("campaign"))?;
    let after = campaigns::whole(&request, row).await?;
    let owner = after.owner;
    let (old, new) = (
        places_of(before.campaign.links()),
        places_of(after.campaign.links()),
    );
    if old != new {
        note(
            &request,
            &caller,
            owner,
            "order_links",
            ("campaign", id),
            Some(old),
            Some(new),
        )
        .await?;
    }
    request.commit().await?;
    let campaign = after.seen_by(&caller);
    Ok(Tagged(campaign.object.tag(), campaign))
}

/// The order, as the audit log keeps it.
fn places_of(links: &[Link]) -> serde_json::Value {
    let places: Vec<_> = links
        .iter()
        .map(|link| {
            json!({
                "linkId": link.id,
                "clientId": link.client.id,
                "forwardingPriority": link.forwarding_priority,
                "weight": link.weight,
            })
        })
        .collect();
    json!({ "links": places })
}
