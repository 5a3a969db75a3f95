//! Many DIDs or links in one request, answered row by row: what is wrong with one does not spoil the others.
//!
//! All rows that can be made are made in one transaction. A request that is sent again makes nothing twice: the rows that
//! were made are then told as taken.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::campaigns::{INT4, refuse_campaign};
use super::dids::{self, MAX_PENDING, NewDid};
use super::links::{self, GIVEN_LINK, Link, NewLink};
use crate::accounts::api::quotas;
use crate::accounts::api::quotas::Room;
use crate::accounts::store::quotas::Kind;
use crate::catalogue::store::dids::DidRow;
use crate::catalogue::store::links::ClientStanding;
use crate::db::request::{Broken, Request};
use crate::domain::{DialledNumber, UserId};
use crate::http::api::Api;
use crate::http::kit::body::Input;
use crate::http::kit::code::Code;
use crate::http::kit::form::{Errors, Field, Form, Unknown};
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::Caller;
use crate::http::kit::problem::Problem;
use crate::http::kit::query::Id;
use crate::http::kit::scope::{Side, owner_of_new};
use crate::http::kit::shown;

/// Most rows in a request.
const MOST_ROWS: usize = 1_000;

/// The operations on many things at once.
pub fn operations() -> Vec<Operation> {
    Side::BOTH.into_iter().flat_map(on).collect()
}

fn on(side: Side) -> Vec<Operation> {
    let operations = [
        Operation::post(
            side.pick("/api/seller/dids/bulk", "/api/admin/dids/bulk"),
            side.pick("createDids", "giveDids"),
            create_dids,
        )
        .tagged(
            "dids",
            side.pick("Add many DIDs", "Give a seller many DIDs"),
        )
        .about(
            "Up to 1,000. Each row is judged alone, as if it came by itself; those that can be made are made together.",
        )
        .body(side.pick(&NEW_DIDS, &GIVEN_DIDS))
        .example(side.pick(
            r#"{"dids": [{"number": "+18005550101", "description": "Landing page A"}, {"number": "+18005550102"}]}"#,
            r#"{"userId": 3, "dids": [{"number": "+18005550101"}, {"number": "+18005550102"}]}"#,
        ))
        .answers::<BulkAnswer>(200, "What became of each row, in their order.")
        .problems(&[409]),
        Operation::post(
            side.pick(
                "/api/seller/campaigns/{id}/clients/bulk",
                "/api/admin/campaigns/{id}/clients/bulk",
            ),
            side.pick("createLinks", "giveLinks"),
            create_links,
        )
        .tagged("campaigns", "Link many clients to a campaign")
        .about(
            "Up to 1,000. Each row is judged alone, as if it came by itself; those that can be made are made together.",
        )
        .body(&NEW_LINKS)
        .example(
            r#"{"links": [{"clientId": 1, "maxConcurrency": 10, "forwardingPriority": 0, "weight": 100}]}"#,
        )
        .answers::<BulkAnswer>(200, "What became of each row, in their order.")
        .problems(&[409]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(side.access()))
        .collect()
}

const DIDS: Field = Field::rows("dids", &dids::NEW_DID, MOST_ROWS).required();

static NEW_DIDS: Form = Form {
    name: "NewDids",
    fields: &[DIDS],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static GIVEN_DIDS: Form = Form {
    name: "GivenDids",
    fields: &[
        Field::integer("userId", 1, INT4)
            .required()
            .about("The seller."),
        DIDS,
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static NEW_LINKS: Form = Form {
    name: "NewLinks",
    fields: &[Field::rows("links", &GIVEN_LINK, MOST_ROWS).required()],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewDids {
    user_id: Option<i32>,
    dids: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct NewLinks {
    links: Vec<Value>,
}

/// What became of many rows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BulkAnswer {
    /// Rows that were made.
    created: usize,
    /// Rows that were not.
    failed: usize,
    /// All, in their order.
    rows: Vec<BulkRow>,
}

/// What became of one row: its id, or what is wrong with it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BulkRow {
    /// Its place in the request, from 0.
    row: usize,
    /// As the operation for one would have answered: 201, 400, 404, 409.
    status: u16,
    /// The id of what was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Messages by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Errors>,
}

/// What is known of a row so far.
enum Fate {
    /// What was made has this id.
    Made(i32),
    Malformed(Errors),
    Refused(StatusCode, Code, String),
}

impl Fate {
    fn of(problem: &Problem) -> Self {
        Self::Refused(
            problem.status(),
            problem.code(),
            problem.message().to_owned(),
        )
    }
}

/// Refuses the rows that the account's limit leaves no room for.
fn keep_within<T>(
    room: Room,
    wanted: &mut Vec<T>,
    fates: &mut [Option<Fate>],
    place: impl Fn(&T) -> usize,
) {
    if let Room::For(room, refused) = room {
        for row in wanted.drain(room.min(wanted.len())..) {
            fates[place(&row)] = Some(Fate::of(&refused));
        }
    }
}

fn answer(fates: Vec<Option<Fate>>) -> Json<BulkAnswer> {
    let rows: Vec<BulkRow> = fates
        .into_iter()
        .enumerate()
        .map(|(row, fate)| {
            let empty = BulkRow {
                row,
                status: 500,
                id: None,
                code: None,
                message: None,
                errors: None,
            };
            match fate {
                Some(Fate::Made(id)) => BulkRow {
                    status: 201,
                    id: Some(id),
                    ..empty
                },
                Some(Fate::Malformed(errors)) => BulkRow {
                    status: 400,
                    code: Some("invalid_fields"),
                    errors: Some(errors),
                    ..empty
                },
                Some(Fate::Refused(status, code, message)) => BulkRow {
                    status: status.as_u16(),
                    code: Some(code.as_str()),
                    message: Some(message),
                    ..empty
                },
                None => empty,
            }
        })
        .collect();
    let created = rows.iter().filter(|row| row.id.is_some()).count();
    Json(BulkAnswer {
        created,
        failed: rows.len() - created,
        rows,
    })
}

/// What is known of each row, and the rows to go on with, each with its place.
type Sorted<T> = (Vec<Option<Fate>>, Vec<(usize, T)>);

/// The rows that the form accepts, with their places; the fate of the others.
fn read<T: serde::de::DeserializeOwned>(
    form: &Form,
    rows: Vec<Value>,
) -> Result<Sorted<T>, Problem> {
    let mut fates = Vec::with_capacity(rows.len());
    let mut good = Vec::with_capacity(rows.len());
    for (place, row) in rows.into_iter().enumerate() {
        match form.read_one(row) {
            Ok(row) => {
                let row = serde_json::from_value(Value::Object(row)).map_err(|error| {
                    tracing::error!(%error, form = form.name, "a checked row does not fit its type");
                    Problem::internal()
                })?;
                good.push((place, row));
                fates.push(None);
            }
            Err(errors) => fates.push(Some(Fate::Malformed(errors))),
        }
    }
    Ok((fates, good))
}

/// So many of `wanted` there is room for.
fn most_of(room: &Room, wanted: usize) -> usize {
    match room {
        Room::Unlimited => wanted,
        Room::For(room, _) => wanted.min(*room),
    }
}

/// As the store takes them.
fn as_new<'a>(wanted: &[(usize, &'a NewDid, &'a str)]) -> Vec<(&'a str, Option<&'a str>, &'a str)> {
    let new = wanted.iter();
    new.map(|(_, did, status)| (did.number.as_str(), did.description.as_deref(), *status))
        .collect()
}

/// The clients of these rows that there are, and whether they take calls of a seller.
async fn standings_of(
    request: &Request,
    owner: UserId,
    rows: &[(usize, NewLink)],
) -> Result<HashMap<i32, ClientStanding>, Problem> {
    let clients: Vec<i32> = rows.iter().map(|(_, link)| link.client_id).collect();
    let standings = request.client_standings(owner, &clients).await?;
    let by_client = standings.into_iter().map(|one| (one.client_id, one));
    Ok(by_client.collect())
}

async fn create_dids(
    State(api): State<Api>,
    caller: Caller,
    Input(new): Input<NewDids>,
) -> Result<Json<BulkAnswer>, Problem> {
    let (mut fates, rows) = read::<NewDid>(&dids::NEW_DID, new.dids)?;
    let mut wanted = Vec::with_capacity(rows.len());
    let mut seen = HashSet::new();
    for (place, did) in &rows {
        let key = DialledNumber::from_untrusted(&did.number).key();
        if !seen.insert(key) {
            let problem = Problem::conflict(
                Code::Repeated,
                format!("{} stands in an earlier row too.", did.number),
            );
            fates[*place] = Some(Fate::of(&problem));
            continue;
        }
        let status = dids::status_of_new(&api, &caller, &did.status)?;
        wanted.push((*place, did, status));
    }
    let request = api.store.request(caller.reach()).await?;
    let owner = owner_of_new(&request, &caller, new.user_id).await?;
    let room = quotas::room(&api, &request, owner, Kind::Dids).await?;
    let pending = if wanted.iter().any(|(.., status)| *status == "pending") {
        MAX_PENDING - request.pending_dids(owner).await?
    } else {
        0
    };
    request.remember().await?;
    let mut made = request.create_dids(owner, &as_new(&wanted)).await?;
    // What is a DID already takes no room, and only the database can tell: a seller does not see those of others.
    let made_now: HashSet<&str> = made.iter().map(|row| row.number.as_str()).collect();
    let within = most_of(&room, made.len());
    let is_pending = |row: &&DidRow| row.status == "pending";
    let pending = usize::try_from(pending).unwrap_or(0);
    if made.len() > within || made.iter().filter(is_pending).count() > pending {
        let (free, taken): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(_, did, _)| made_now.contains(did.number.as_str()));
        for (place, did, _) in taken {
            fates[place] = Some(Fate::of(&dids::number_taken(&did.number)));
        }
        wanted = free;
        request.undo().await?;
        let mut left = pending;
        wanted.retain(|(place, _, status)| {
            if *status != "pending" {
                return true;
            }
            if left == 0 {
                fates[*place] = Some(Fate::of(&dids::too_many_pending()));
                return false;
            }
            left -= 1;
            true
        });
        keep_within(room, &mut wanted, &mut fates, |(place, ..)| *place);
        made = request.create_dids(owner, &as_new(&wanted)).await?;
    }
    let ids: HashMap<String, i32> = made
        .iter()
        .map(|row| (row.number.clone(), row.id))
        .collect();
    let noted: Vec<_> = made
        .into_iter()
        .map(|row| (row.id.to_string(), shown(&dids::seen(&caller, row))))
        .collect();
    request
        .audit_made(&caller.actor(), owner, "did", &noted)
        .await?;
    request.commit().await?;
    for (place, did, _) in wanted {
        fates[place] = Some(match ids.get(&did.number) {
            Some(id) => Fate::Made(*id),
            None => Fate::of(&dids::number_taken(&did.number)),
        });
    }
    Ok(answer(fates))
}

async fn create_links(
    State(api): State<Api>,
    caller: Caller,
    Id(campaign_id): Id,
    Input(new): Input<NewLinks>,
) -> Result<Json<BulkAnswer>, Problem> {
    let (mut fates, rows) = read::<NewLink>(&GIVEN_LINK, new.links)?;
    let request = api.store.request(caller.reach()).await?;
    let Some(campaign) = request.lock_campaign(campaign_id).await? else {
        return Err(refuse_campaign(&request, campaign_id).await?);
    };
    let owner = campaign.owner;
    // The campaign is locked: nobody links to it meanwhile.
    let linked = request.links(campaign_id).await?;
    let linked: HashSet<i32> = linked.iter().map(|link| link.client_id).collect();
    let room = quotas::room(&api, &request, owner, Kind::Links).await?;
    let standings = standings_of(&request, owner, &rows).await?;
    let mut seen = HashSet::new();
    let mut wanted = Vec::with_capacity(rows.len());
    for (place, link) in &rows {
        let standing = standings.get(&link.client_id).copied();
        let problem = if !seen.insert(link.client_id) {
            Some(Problem::conflict(
                Code::Repeated,
                format!("Client {} stands in an earlier row too.", link.client_id),
            ))
        } else if let Some(problem) = links::refusal(&caller, standing) {
            Some(problem)
        } else if linked.contains(&link.client_id) {
            Some(links::linked_already())
        } else {
            None
        };
        match problem {
            Some(problem) => fates[*place] = Some(Fate::of(&problem)),
            None => wanted.push((*place, link)),
        }
    }
    keep_within(room, &mut wanted, &mut fates, |(place, _)| *place);
    let made = loop {
        request.remember().await?;
        let new: Vec<_> = wanted.iter().map(|(_, link)| link.row()).collect();
        let error = match request.create_links(campaign_id, &new).await {
            Ok(made) => break made,
            Err(error) => error,
        };
        if !matches!(error.broken(), Some(Broken::Reference(_))) {
            return Err(error.into());
        }
        // A client was deleted since it was looked for.
        request.undo().await?;
        let standings = standings_of(&request, owner, &rows).await?;
        let before = wanted.len();
        wanted.retain(|(place, link)| {
            let standing = standings.get(&link.client_id).copied();
            let problem = links::refusal(&caller, standing);
            if let Some(problem) = &problem {
                fates[*place] = Some(Fate::of(problem));
            }
            problem.is_none()
        });
        // Each time round there are fewer.
        if wanted.len() == before {
            return Err(error.into());
        }
    };
    let ids: HashMap<i32, i32> = made.iter().map(|row| (row.client_id, row.id)).collect();
    let noted: Vec<_> = made
        .into_iter()
        .map(|row| (row.id.to_string(), shown(&Link::of(row))))
        .collect();
    request
        .audit_made(&caller.actor(), owner, "link", &noted)
        .await?;
    request.commit().await?;
    for (place, link) in wanted {
        fates[place] = Some(match ids.get(&link.client_id) {
            Some(id) => Fate::Made(*id),
            None => Fate::of(&links::linked_already()),
        });
    }
    Ok(answer(fates))
}
