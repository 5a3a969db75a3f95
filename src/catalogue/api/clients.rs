//! Clients: call centres with their PJSIP objects.
//!
//! Asterisk reads the objects from their tables at the next call, so what it could not use, or would take for something
//! else, is refused here. Passwords are taken and never shown.

#![allow(
    clippy::option_option,
    reason = "in a change, absent, null and a value are three things"
)]

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::registration::{self, REGISTER};
use crate::catalogue::store::clients::{
    AorRow, AuthRow, ClientChange, ClientRow, EndpointRow, NewClient,
};
use crate::db;
use crate::db::request::{Broken, Change, Request};
use crate::domain::ClientId;
use crate::domain::candidate::is_endpoint_id;
use crate::domain::sip;
use crate::http::api::Api;
use crate::http::kit::body::{Input, given};
use crate::http::kit::code::Code;
use crate::http::kit::etag::{Tag, Tagged, created_below};
use crate::http::kit::form::{Field, Form, Rule, Unknown};
use crate::http::kit::moment::Moment;
use crate::http::kit::operation::Operation;
use crate::http::kit::principal::{Access, Caller};
use crate::http::kit::problem::Problem;
use crate::http::kit::query::{Id, Listed, PAGING, Parameter, ParameterKind, Query, parameter};
use crate::http::kit::{shown, words};

/// The operations on clients.
pub fn operations() -> Vec<Operation> {
    const ALL: &str = "/api/admin/clients";
    const ONE: &str = "/api/admin/clients/{id}";
    let operations = vec![
        Operation::get(ALL, "listClients", list)
            .tagged("clients", "List clients")
            .query(&PAGING)
            .query(&FILTERS)
            .answers::<Listed<Client>>(200, "Clients, by name unless sorted otherwise.")
            .problems(&[400]),
        Operation::post(ALL, "createClient", create)
            .tagged("clients", "Add a client")
            .about(
                "The ids of endpoint and address must equal `clientIdentifier`. The endpoint's `aors` must be the \
                 client's own address. `transport`, `auth` and `outbound_auth` may name what stands in Asterisk's own \
                 files; whether they do is not checked.",
            )
            .body(&NEW_CLIENT)
            .example(
                r#"{"clientIdentifier": "client_epsilon", "name": "Epsilon", "pjsip": {
                    "endpoint": {"id": "client_epsilon", "aors": "client_epsilon", "context": "capconduit-none"},
                    "aor": {"id": "client_epsilon", "contact": "sip:epsilon@192.0.2.10:5060;transport=udp"}}}"#,
            )
            .answers::<Client>(201, "The new client.")
            .problems(&[409]),
        Operation::get(ONE, "getClient", read)
            .tagged("clients", "Read a client")
            .answers::<Client>(200, "The client."),
        Operation::put(ONE, "updateClient", update)
            .tagged("clients", "Change a client")
            .about(
                "What is absent stays as it is, at every depth; credentials go only with `\"auth\": null`. Ids cannot \
                 be changed. Asterisk uses the change at the next call.",
            )
            .body(&CLIENT_CHANGE)
            .example(r#"{"pjsip": {"aor": {"contact": "sip:epsilon@192.0.2.11"}}}"#)
            .answers::<Client>(200, "The changed client.")
            .problems(&[409, 412]),
        Operation::delete(ONE, "deleteClient", delete)
            .tagged("clients", "Delete a client")
            .about(
                "Deletes its PJSIP objects and links with it; its calls stay in the log. Refused while an active link \
                 ties it to an active campaign.",
            )
            .answers_nothing(204, "It is gone.")
            .problems(&[409, 412]),
    ];
    operations
        .into_iter()
        .map(|operation| operation.access(Access::Staff))
        .collect()
}

const STATUSES: &[&str] = &["active", "inactive"];

const ACCESSES: &[&str] = &["open", "granted"];

const SORTS: &[&str] = &[
    "name",
    "-name",
    "clientIdentifier",
    "-clientIdentifier",
    "createdAt",
    "-createdAt",
    "updatedAt",
    "-updatedAt",
];

const FILTERS: [Parameter; 4] = [
    parameter(
        "status",
        ParameterKind::Choice(STATUSES),
        "Only those of this status.",
    ),
    parameter(
        "access",
        ParameterKind::Choice(ACCESSES),
        "Only those that are open to all sellers, or to those with a grant.",
    ),
    parameter(
        "q",
        ParameterKind::Text,
        "Only those with this text in identifier, name or department, at most 100 characters.",
    ),
    parameter(
        "sort",
        ParameterKind::Choice(SORTS),
        "The order; with a minus the other way round. By name unless given.",
    ),
];

const ACCESS: Field = Field::choice("access", ACCESSES).about(
    "`open`: every seller may send calls to it. `granted`: those with a grant; links of others take no calls.",
);

const IDENTIFIER: Rule = Rule::Check {
    expected: "letters, digits, underscores, dots and hyphens: Asterisk dials it as PJSIP/<clientIdentifier>",
    pattern: "^[A-Za-z0-9_.-]+$",
    check: is_endpoint_id,
};

const NAME: Rule = Rule::Check {
    expected: "a name: letters, digits and _ . - + : @ /, beginning with a letter or digit",
    pattern: "^[A-Za-z0-9_.-][A-Za-z0-9_.+:@/-]*$",
    check: sip::is_name,
};

const NAMES: Rule = Rule::Check {
    expected: "names parted by commas",
    pattern: "^ *[A-Za-z0-9_.-][A-Za-z0-9_.+:@/-]* *(, *[A-Za-z0-9_.-][A-Za-z0-9_.+:@/-]* *)*$",
    check: sip::is_name_list,
};

const NO_NAME_OR_NAMES: Rule = Rule::Check {
    expected: "names parted by commas, or empty",
    pattern: "^( *[A-Za-z0-9_.-][A-Za-z0-9_.+:@/-]* *(, *[A-Za-z0-9_.-][A-Za-z0-9_.+:@/-]* *)*)?$",
    check: |text| text.is_empty() || sip::is_name_list(text),
};

const CODECS: Rule = Rule::Check {
    expected: "codecs parted by commas, as in ulaw,alaw",
    pattern: "^[A-Za-z0-9_.,!&|: -]*$",
    check: sip::is_codec_list,
};

const USER: Rule = Rule::Check {
    expected: "the user of a SIP address, without @",
    pattern: r"^[A-Za-z0-9_.!~*'()&=+$;/#%-]*$",
    check: |text| text.is_empty() || sip::is_user(text),
};

const HOST: Rule = Rule::Check {
    expected: "a host name or IP address, with or without port",
    pattern: r"^[A-Za-z0-9_.:\[\]-]*$",
    check: |text| text.is_empty() || sip::is_host_and_port(text),
};

const PLAIN: Rule = Rule::Check {
    expected: "one line without control characters and without blanks at its ends; Asterisk would decode a ^ with \
               two hexadecimal digits behind it",
    pattern: r"^([^\s\u0000-\u001F\u007F]([^\u0000-\u001F\u007F]*[^\s\u0000-\u001F\u007F])?)?$",
    check: sip::is_plain,
};

const CONTACT: Rule = Rule::Check {
    expected: "one SIP address, such as sip:agent@192.0.2.10:5060;transport=udp",
    pattern: r"^[Ss][Ii][Pp][Ss]?:([^\s@,<>?]+@)?[A-Za-z0-9_.:\[\]-]+(;[^\s@,<>?;]+)*$",
    check: sip::is_contact,
};

/// What Asterisk takes at most; an address with more is not loaded.
const MAX_QUALIFY_SECONDS: i64 = 86_400;

const DEPARTMENT: Field = Field::line("department", 0, 100).nullable();
const NOTES: Field = Field::text("notes", 0, 20_000, Rule::Lines).nullable();
const AORS: Field = Field::text("aors", 1, 200, NAMES)
    .about("Names of addresses; the client's own must be one of them.");
const CONTEXT: Field = Field::text("context", 1, 80, NAME).about(
    "Where calls that come from the endpoint enter the dialplan. `capconduit-none` leads nowhere; others are for the \
     operator to list (`pjsip.contexts` of the configuration), since who gets into a context can dial what it dials.",
);
/// The context of call centres, which are dialled to and do not call in: it is empty.
const NO_CONTEXT: &str = "capconduit-none";
const TRANSPORT: Field = Field::text("transport", 0, 40, NO_NAME_OR_NAMES).nullable();
const AUTH: Field = Field::text("auth", 0, 40, NO_NAME_OR_NAMES)
    .nullable()
    .about("Credentials that the client must show.");
const OUTBOUND_AUTH: Field = Field::text("outbound_auth", 0, 40, NO_NAME_OR_NAMES)
    .nullable()
    .about("Credentials that are shown to the client.");
const DISALLOW: Field = Field::text("disallow", 0, 200, CODECS);
const ALLOW: Field = Field::text("allow", 0, 200, CODECS);
const DIRECT_MEDIA: Field = Field::choice("direct_media", &["yes", "no", "nonat", "update"]);
const MEDIA_ENCRYPTION: Field = Field::choice("media_encryption", &["no", "sdes"]).about(
    "`sdes`: sound is encrypted (SRTP), with keys in the SIP messages: over `transport-tls` then, or whoever reads along \
     has the keys.",
);
const FROM_USER: Field = Field::text("from_user", 0, 80, USER).nullable();
const FROM_DOMAIN: Field = Field::text("from_domain", 0, 80, HOST).nullable();
const CALLERID: Field = Field::text("callerid", 0, 80, PLAIN).nullable();
const CONTACT_FIELD: Field = Field::text("contact", 1, 255, CONTACT)
    .about("Where the client is. Required of a new one, unless it registers.");
const MAX_CONTACTS: Field = Field::integer("max_contacts", 1, i32::MAX as i64);
const QUALIFY_FREQUENCY: Field = Field::integer("qualify_frequency", 0, MAX_QUALIFY_SECONDS);
const AUTH_TYPE: Field = Field::choice("auth_type", &["userpass", "md5", "google_oauth"]).about(
    "`md5`: the password may be the 32 hexadecimal digits of MD5(username:realm:password), and `realm` then says which \
     realm. `google_oauth` is refused: it needs a token that is not kept here.",
);
const AUTH_ID: Field = Field::text("id", 1, 40, NAME).required();
const USERNAME: Field = Field::text("username", 0, 80, PLAIN).nullable();
const REALM: Field = Field::text("realm", 0, 80, PLAIN).nullable();
const PASSWORD: Field = Field::text("password", 0, 128, PLAIN)
    .nullable()
    .about("Is never shown.");

static NEW_CLIENT: Form = Form {
    name: "NewClient",
    fields: &[
        Field::text("clientIdentifier", 1, 40, IDENTIFIER).required(),
        Field::line("name", 1, 100).required(),
        DEPARTMENT,
        Field::choice("status", STATUSES).default("\"active\""),
        ACCESS.default("\"open\""),
        NOTES,
        REGISTER.default("false"),
        Field::object("pjsip", &NEW_PJSIP).required(),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static NEW_PJSIP: Form = Form {
    name: "NewPjsip",
    fields: &[
        Field::object("endpoint", &NEW_ENDPOINT).required(),
        Field::object("aor", &NEW_AOR).required(),
        Field::object("auth", &NEW_AUTH).nullable(),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static NEW_ENDPOINT: Form = Form {
    name: "NewEndpoint",
    fields: &[
        Field::line("id", 1, 40).required(),
        AORS.required(),
        CONTEXT.default("\"capconduit-none\""),
        TRANSPORT,
        AUTH,
        OUTBOUND_AUTH,
        DISALLOW.default("\"all\""),
        ALLOW.default("\"ulaw,alaw,gsm\""),
        DIRECT_MEDIA.default("\"no\""),
        MEDIA_ENCRYPTION.default("\"no\""),
        FROM_USER,
        FROM_DOMAIN,
        CALLERID,
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static NEW_AOR: Form = Form {
    name: "NewAor",
    fields: &[
        Field::line("id", 1, 40).required(),
        CONTACT_FIELD,
        MAX_CONTACTS.default("1"),
        QUALIFY_FREQUENCY.default("60"),
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static NEW_AUTH: Form = Form {
    name: "NewAuth",
    fields: &[
        AUTH_ID,
        AUTH_TYPE.default("\"userpass\""),
        USERNAME,
        REALM,
        PASSWORD,
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static CLIENT_CHANGE: Form = Form {
    name: "ClientChange",
    fields: &[
        Field::line("name", 1, 100),
        DEPARTMENT,
        Field::choice("status", STATUSES),
        ACCESS,
        NOTES,
        REGISTER,
        Field::object("pjsip", &PJSIP_CHANGE),
    ],
    unknown: Unknown::Drop,
    at_least_one: true,
};

static PJSIP_CHANGE: Form = Form {
    name: "PjsipChange",
    fields: &[
        Field::object("endpoint", &ENDPOINT_CHANGE),
        Field::object("aor", &AOR_CHANGE),
        Field::object("auth", &AUTH_CHANGE)
            .nullable()
            .about("Null removes the credentials; absent leaves them."),
    ],
    unknown: Unknown::Refuse,
    at_least_one: false,
};

static ENDPOINT_CHANGE: Form = Form {
    name: "EndpointChange",
    fields: &[
        AORS,
        CONTEXT,
        TRANSPORT,
        AUTH,
        OUTBOUND_AUTH,
        DISALLOW,
        ALLOW,
        DIRECT_MEDIA,
        MEDIA_ENCRYPTION,
        FROM_USER,
        FROM_DOMAIN,
        CALLERID,
    ],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static AOR_CHANGE: Form = Form {
    name: "AorChange",
    fields: &[CONTACT_FIELD, MAX_CONTACTS, QUALIFY_FREQUENCY],
    unknown: Unknown::Drop,
    at_least_one: false,
};

static AUTH_CHANGE: Form = Form {
    name: "AuthChange",
    fields: &[AUTH_ID, AUTH_TYPE, USERNAME, REALM, PASSWORD],
    unknown: Unknown::Drop,
    at_least_one: false,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenClient {
    client_identifier: String,
    name: String,
    department: Option<String>,
    status: String,
    access: String,
    notes: Option<String>,
    register: bool,
    pjsip: GivenPjsip,
}

#[derive(Deserialize)]
struct ChangedClient {
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    department: Option<Option<String>>,
    status: Option<String>,
    access: Option<String>,
    #[serde(default, deserialize_with = "given")]
    notes: Option<Option<String>>,
    register: Option<bool>,
    #[serde(default)]
    pjsip: GivenPjsip,
}

/// Of a new client or a change of one: the forms tell them apart.
#[derive(Default, Deserialize)]
struct GivenPjsip {
    endpoint: Option<GivenEndpoint>,
    aor: Option<GivenAor>,
    #[serde(default, deserialize_with = "given")]
    auth: Option<Option<GivenAuth>>,
}

impl GivenPjsip {
    /// The password that is to be set.
    fn password(&self) -> Option<&str> {
        self.auth.as_ref()?.as_ref()?.password.as_ref()?.as_deref()
    }
}

#[derive(Deserialize)]
struct GivenEndpoint {
    /// Of a new client only.
    id: Option<String>,
    aors: Option<String>,
    context: Option<String>,
    #[serde(default, deserialize_with = "given")]
    transport: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    auth: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    outbound_auth: Option<Option<String>>,
    disallow: Option<String>,
    allow: Option<String>,
    direct_media: Option<String>,
    media_encryption: Option<String>,
    #[serde(default, deserialize_with = "given")]
    from_user: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    from_domain: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    callerid: Option<Option<String>>,
}

#[derive(Deserialize)]
struct GivenAor {
    /// Of a new client only.
    id: Option<String>,
    contact: Option<String>,
    max_contacts: Option<i32>,
    qualify_frequency: Option<i32>,
}

#[derive(Deserialize)]
struct GivenAuth {
    id: String,
    auth_type: Option<String>,
    #[serde(default, deserialize_with = "given")]
    username: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    realm: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    password: Option<Option<String>>,
}

/// A call centre.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    id: i32,
    #[serde(rename = "clientIdentifier")]
    identifier: String,
    name: String,
    department: Option<String>,
    #[schemars(with = "words::ActiveStatus")]
    status: String,
    /// `open` to all sellers, or to those with a grant (`granted`).
    access: String,
    notes: Option<String>,
    /// It registers with Asterisk, rather than being at a fixed address.
    register: bool,
    /// Whether it has registered, of a client that registers.
    registered: Option<bool>,
    /// Who made it, if that account is still there.
    created_by: Option<i32>,
    created_at: Moment,
    updated_at: Moment,
    pjsip_endpoint: Option<PjsipEndpoint>,
    pjsip_aor: Option<PjsipAor>,
    pjsip_auth: Option<PjsipAuth>,
}

/// How Asterisk talks to a client.
#[derive(Debug, Serialize, JsonSchema)]
struct PjsipEndpoint {
    id: String,
    transport: Option<String>,
    aors: Option<String>,
    auth: Option<String>,
    context: String,
    disallow: Option<String>,
    allow: Option<String>,
    direct_media: Option<String>,
    media_encryption: Option<String>,
    outbound_auth: Option<String>,
    from_user: Option<String>,
    from_domain: Option<String>,
    callerid: Option<String>,
}

/// Where a client is reached.
#[derive(Debug, Serialize, JsonSchema)]
struct PjsipAor {
    id: String,
    contact: String,
    max_contacts: Option<i32>,
    qualify_frequency: Option<i32>,
}

/// Credentials. The password is not shown.
#[derive(Debug, Serialize, JsonSchema)]
struct PjsipAuth {
    id: String,
    auth_type: Option<String>,
    username: Option<String>,
    realm: Option<String>,
}

impl Client {
    fn of(row: ClientRow) -> Self {
        Self {
            id: row.id.0,
            identifier: row.client_identifier,
            name: row.name,
            department: row.department,
            status: row.status,
            access: row.access,
            notes: row.notes,
            register: row.registers,
            registered: row.registered,
            created_by: row.created_by,
            created_at: Moment(row.created_at),
            updated_at: Moment(row.updated_at),
            pjsip_endpoint: row.endpoint.map(|e| PjsipEndpoint {
                id: e.id,
                transport: e.transport,
                aors: e.aors,
                auth: e.auth,
                context: e.context,
                disallow: e.disallow,
                allow: e.allow,
                direct_media: e.direct_media,
                media_encryption: e.media_encryption,
                outbound_auth: e.outbound_auth,
                from_user: e.from_user,
                from_domain: e.from_domain,
                callerid: e.callerid,
            }),
            pjsip_aor: row.aor.map(|a| PjsipAor {
                id: a.id,
                contact: a.contact,
                max_contacts: a.max_contacts,
                qualify_frequency: a.qualify_frequency,
            }),
            pjsip_auth: row.auth.map(|a| PjsipAuth {
                id: a.id,
                auth_type: a.auth_type,
                username: a.username,
                realm: a.realm,
            }),
        }
    }
}

fn tag(row: &ClientRow) -> Tag {
    let mut parts = vec![i64::from(row.id.0), row.updated_at.as_microsecond()];
    let config = row.config_updated_at;
    parts.extend(config.map(|at| at.map_or(0, jiff::Timestamp::as_microsecond)));
    Tag::of(&parts)
}

async fn list(State(api): State<Api>, query: Query) -> Result<Json<Listed<Client>>, Problem> {
    let page = query.page(20)?;
    let filter = (
        query.choice("status", STATUSES)?,
        query.choice("access", ACCESSES)?,
        query.checked("q", 100)?,
    );
    let sort = query.choice("sort", SORTS)?.unwrap_or("name");
    let (clients, total) = api.store.clients(filter, sort, page.bounds()).await?;
    Ok(Json(
        page.of(clients.into_iter().map(Client::of).collect(), total),
    ))
}

async fn create(
    State(api): State<Api>,
    caller: Caller,
    Input(mut new): Input<GivenClient>,
) -> Result<Response, Problem> {
    if new.register
        && let Some(Some(auth)) = &mut new.pjsip.auth
    {
        auth.username
            .get_or_insert(Some(new.client_identifier.clone()));
    }
    let password = new.pjsip.password().map(str::to_owned);
    let identifier = new.client_identifier.as_str();
    let endpoint_id = new.pjsip.endpoint.as_ref().and_then(|e| e.id.as_deref());
    let aor_id = new.pjsip.aor.as_ref().and_then(|a| a.id.as_deref());
    if endpoint_id != Some(identifier) || aor_id != Some(identifier) {
        return Err(Problem::bad_request(
            Code::IdsDiffer,
            format!(
                "pjsip.endpoint.id and pjsip.aor.id must both be {identifier}, as clientIdentifier is."
            ),
        ));
    }
    let contexts = &api.settings.contexts;
    let written = Pjsip::of(
        identifier,
        (None, None, None),
        new.pjsip,
        contexts,
        new.register,
    )?;
    let request = api.store.request(caller.reach()).await?;
    let id = request
        .create_client(&NewClient {
            client_identifier: identifier,
            name: &new.name,
            department: new.department.as_deref(),
            status: &new.status,
            notes: new.notes.as_deref(),
            registers: new.register,
            created_by: caller.user_id,
            access: &new.access,
        })
        .await
        .map_err(refused)?;
    written.write(&request, id).await?;
    let row = request.client(id).await?.ok_or_else(Problem::internal)?;
    registration::check(&row, Some(new.register), password.as_deref())?;
    let (tag, client) = (tag(&row), Client::of(row));
    note(&request, &caller, "create", None, shown(&client)).await?;
    request.commit().await?;
    Ok(created_below(client.id, Tagged(tag, client)))
}

async fn read(State(api): State<Api>, Id(id): Id) -> Result<Tagged<Client>, Problem> {
    let row = api.store.client(ClientId(id)).await?;
    let row = row.ok_or_else(|| Problem::not_found("client"))?;
    Ok(Tagged(tag(&row), Client::of(row)))
}

async fn update(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Input(change): Input<ChangedClient>,
) -> Result<Tagged<Client>, Problem> {
    let id = ClientId(id);
    let request = api.store.request(caller.reach()).await?;
    let row = request.lock_client(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("client"))?;
    tag(&row).check(&headers)?;
    let password = change.pjsip.password().map(str::to_owned);
    let present = (row.endpoint.as_ref(), row.aor.as_ref(), row.auth.as_ref());
    let written = Pjsip::of(
        &row.client_identifier,
        present,
        change.pjsip,
        &api.settings.contexts,
        change.register.unwrap_or(row.registers),
    )?;
    let secret_changed = matches!(&written.auth, Credentials::Are(_, Some(_)));
    let before = Client::of(row);
    request
        .update_client(
            id,
            &ClientChange {
                name: change.name.as_deref(),
                department: change.department.as_ref().map(Option::as_deref),
                status: change.status.as_deref(),
                notes: change.notes.as_ref().map(Option::as_deref),
                access: change.access.as_deref(),
                registers: change.register,
            },
        )
        .await
        .map_err(refused)?;
    written.write(&request, id).await?;
    let row = request.client(id).await?.ok_or_else(Problem::internal)?;
    registration::check(&row, change.register, password.as_deref())?;
    let (tag, client) = (tag(&row), Client::of(row));
    let after = with_secret(&client, secret_changed);
    note(&request, &caller, "update", Some(&before), after).await?;
    request.commit().await?;
    Ok(Tagged(tag, client))
}

async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = ClientId(id);
    let request = api.store.request(caller.reach()).await?;
    let row = request.lock_client_to_delete(id).await?;
    let row = row.ok_or_else(|| Problem::not_found("client"))?;
    tag(&row).check(&headers)?;
    // Once without the locks that calls would wait for: most refusals need none.
    refuse_linked(&request, id).await?;
    request.lock_links_of(id).await?;
    refuse_linked(&request, id).await?;
    let client = Client::of(row);
    note(&request, &caller, "delete", Some(&client), None).await?;
    request.delete_client(id).await?;
    request.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn refuse_linked(request: &Request, id: ClientId) -> Result<(), Problem> {
    match request.active_link(id).await? {
        None => Ok(()),
        Some((link, campaign)) => Err(Problem::conflict(
            Code::ClientInUse,
            format!(
                "Link {} ties this client to the active campaign {}. Set one of them inactive first.",
                link.0, campaign.0
            ),
        )),
    }
}

/// What is to be written of a client's PJSIP objects; what is `None` stays.
struct Pjsip {
    endpoint: Option<EndpointRow>,
    aor: Option<AorRow>,
    auth: Credentials,
}

enum Credentials {
    Stay,
    Go,
    Are(AuthRow, Option<Option<String>>),
}

impl Pjsip {
    /// What is given, upon what is there.
    fn of(
        identifier: &str,
        (endpoint, aor, auth): (Option<&EndpointRow>, Option<&AorRow>, Option<&AuthRow>),
        given: GivenPjsip,
        contexts: &[String],
        registers: bool,
    ) -> Result<Self, Problem> {
        let mut new_endpoint = match given.endpoint {
            Some(given) => Some(given.upon(identifier, endpoint, contexts)?),
            None => endpoint.cloned(),
        };
        let mut new_aor = match given.aor {
            Some(given) => Some(given.upon(identifier, aor, registers)?),
            None => aor.cloned(),
        };
        // Else a daemon of a version before registrations would go on dialling a place where nobody is.
        if registers && let Some(aor) = &mut new_aor {
            aor.contact.clear();
        }
        let credentials = match (given.auth, auth) {
            (None, _) | (Some(None), None) => Credentials::Stay,
            (Some(None), Some(present)) => {
                if let Some(endpoint) = &mut new_endpoint {
                    for named in [&mut endpoint.auth, &mut endpoint.outbound_auth] {
                        if named.as_deref() == Some(&present.id) {
                            *named = None;
                        }
                    }
                }
                Credentials::Go
            }
            (Some(Some(given)), present) => {
                let (row, password) = given.upon(present)?;
                if present == Some(&row) && password.is_none() {
                    Credentials::Stay
                } else {
                    Credentials::Are(row, password)
                }
            }
        };
        Ok(Self {
            endpoint: new_endpoint.filter(|new| Some(new) != endpoint),
            aor: new_aor.filter(|new| Some(new) != aor),
            auth: credentials,
        })
    }

    async fn write(&self, request: &Request, id: ClientId) -> Result<(), Problem> {
        if let Some(endpoint) = &self.endpoint {
            let written = request.write_endpoint(id, endpoint).await;
            written.map_err(refused)?;
        }
        if let Some(aor) = &self.aor {
            request.write_aor(id, aor).await.map_err(refused)?;
        }
        match &self.auth {
            Credentials::Stay => {}
            Credentials::Go => request.remove_auth(id).await?,
            Credentials::Are(auth, password) => {
                let password = password.as_ref().map(Option::as_deref);
                let written = request.write_auth(id, auth, password).await;
                written.map_err(refused)?;
            }
        }
        Ok(())
    }
}

/// Whether the one address named is the client's own: calls to another client's would pass by that client's caps.
fn is_own_aor(aors: &str, identifier: &str) -> bool {
    let mut names = sip::names(aors);
    names.next() == Some(identifier) && names.all(|name| name == identifier)
}

impl GivenEndpoint {
    fn upon(
        self,
        identifier: &str,
        present: Option<&EndpointRow>,
        contexts: &[String],
    ) -> Result<EndpointRow, Problem> {
        if let Some(aors) = &self.aors
            && !is_own_aor(aors, identifier)
            // What stands there already may stay.
            && present.is_none_or(|row| row.aors.as_deref() != Some(aors))
        {
            let must = format!("Must be the client's own address, {identifier}, and no other.");
            return Err(pjsip_field("endpoint", "aors", &must));
        }
        // A context that stands there already may stay, though it be listed no more.
        let is_known = |context: &String| {
            context == NO_CONTEXT
                || contexts.contains(context)
                || present.is_some_and(|row| row.context == *context)
        };
        if let Some(context) = &self.context
            && !is_known(context)
        {
            let others = contexts.iter().filter(|other| *other != NO_CONTEXT);
            let listed: Vec<_> = std::iter::once(NO_CONTEXT)
                .chain(others.map(String::as_str))
                .collect();
            let must = format!(
                "Must be one of: {}. The configuration lists them in pjsip.contexts.",
                listed.join(", ")
            );
            return Err(pjsip_field("endpoint", "context", &must));
        }
        let mut row = match present {
            Some(present) => present.clone(),
            None => EndpointRow {
                id: identifier.to_owned(),
                transport: None,
                aors: Some(identifier.to_owned()),
                auth: None,
                context: NO_CONTEXT.to_owned(),
                disallow: Some("all".to_owned()),
                allow: Some("ulaw,alaw,gsm".to_owned()),
                direct_media: Some("no".to_owned()),
                media_encryption: Some("no".to_owned()),
                outbound_auth: None,
                from_user: None,
                from_domain: None,
                callerid: None,
            },
        };
        set(&mut row.context, self.context);
        for (place, given) in [
            (&mut row.aors, self.aors),
            (&mut row.disallow, self.disallow),
            (&mut row.allow, self.allow),
            (&mut row.direct_media, self.direct_media),
            (&mut row.media_encryption, self.media_encryption),
        ] {
            set(place, given.map(Some));
        }
        for (place, given) in [
            (&mut row.transport, self.transport),
            (&mut row.auth, self.auth),
            (&mut row.outbound_auth, self.outbound_auth),
            (&mut row.from_user, self.from_user),
            (&mut row.from_domain, self.from_domain),
            (&mut row.callerid, self.callerid),
        ] {
            set(place, given);
        }
        Ok(row)
    }
}

impl GivenAor {
    fn upon(
        self,
        identifier: &str,
        present: Option<&AorRow>,
        registers: bool,
    ) -> Result<AorRow, Problem> {
        if registers
            && let Some(contact) = &self.contact
            && present.is_none_or(|present| present.contact != *contact)
        {
            return Err(pjsip_field(
                "aor",
                "contact",
                "Leave it out: this client registers, and is where it registered from.",
            ));
        }
        let mut row = match present {
            Some(present) => present.clone(),
            None => AorRow {
                id: identifier.to_owned(),
                contact: match &self.contact {
                    Some(contact) => contact.clone(),
                    None if registers => String::new(),
                    None if self.id.is_some() => {
                        return Err(pjsip_field("aor", "contact", "Is required."));
                    }
                    None => return Err(pjsip_field("aor", "contact", MISSING)),
                },
                max_contacts: Some(1),
                qualify_frequency: Some(60),
            },
        };
        set(&mut row.contact, self.contact);
        set(&mut row.max_contacts, self.max_contacts.map(Some));
        set(&mut row.qualify_frequency, self.qualify_frequency.map(Some));
        Ok(row)
    }
}

impl GivenAuth {
    fn upon(self, present: Option<&AuthRow>) -> Result<(AuthRow, Option<Option<String>>), Problem> {
        let mut row = match present {
            Some(present) if present.id != self.id => {
                return Err(Problem::bad_request(
                    Code::OtherAuth,
                    format!(
                        "The credentials of this client are {}, not {}. To replace them, remove them first with \
                         \"auth\": null.",
                        present.id, self.id
                    ),
                ));
            }
            Some(present) => present.clone(),
            None => AuthRow {
                id: self.id,
                auth_type: Some("userpass".to_owned()),
                username: None,
                realm: None,
            },
        };
        if self.auth_type.as_deref() == Some(NO_TOKEN) && row.auth_type != self.auth_type {
            return Err(pjsip_field(
                "auth",
                "auth_type",
                "google_oauth needs a token that is not kept here, so Asterisk could not use it. Use userpass or md5.",
            ));
        }
        set(&mut row.auth_type, self.auth_type.map(Some));
        set(&mut row.username, self.username);
        set(&mut row.realm, self.realm);
        Ok((row, self.password))
    }
}

/// The kind of credentials that cannot work. Rows that have it stay as they are.
const NO_TOKEN: &str = "google_oauth";

const MISSING: &str = "Is missing: this client has none yet.";

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

/// 400 about a field of a PJSIP object.
fn pjsip_field(object: &str, field: &str, message: &str) -> Problem {
    let mut errors = Map::<String, Value>::new();
    errors.insert("pjsip".into(), json!({ object: { field: [message] } }));
    Problem::fields(errors)
}

/// Why a row could not be written.
fn refused(error: db::Error) -> Problem {
    let taken = |code, what| {
        Problem::conflict(
            code,
            format!("Another client has this {what}. Choose another."),
        )
    };
    match error.broken() {
        Some(Broken::Unique("clients_client_identifier_key")) => {
            taken(Code::ClientIdentifierTaken, "clientIdentifier")
        }
        Some(Broken::Unique("clients_registered_name")) => registration::mixed_up(),
        Some(Broken::Unique("pjsip_endpoints_pkey")) => taken(Code::EndpointTaken, "endpoint id"),
        Some(Broken::Unique("pjsip_aors_pkey")) => taken(Code::AorTaken, "address id"),
        Some(Broken::Unique("pjsip_auths_pkey")) => taken(Code::AuthTaken, "auth id"),
        // A value from before the check, in a field that the change does not name.
        Some(Broken::Check("pjsip_endpoints_direct_media_check")) => pjsip_field(
            "endpoint",
            "direct_media",
            "Has a value that is none of yes, no, nonat, update. Set it too.",
        ),
        Some(Broken::Check("pjsip_auths_auth_type_check")) => pjsip_field(
            "auth",
            "auth_type",
            "Has a value that is none of userpass, md5, google_oauth. Set it too.",
        ),
        Some(Broken::Reference("clients_created_by_fkey")) => {
            Problem::unauthorized(Code::SessionEnded, "Your account was deleted meanwhile.")
        }
        _ => error.into(),
    }
}

/// A client as the audit log keeps it: that its password was changed, and never what it is.
fn with_secret(client: &Client, changed: bool) -> Option<Value> {
    let mut client = shown(client)?;
    if changed && let Some(auth) = client["pjsipAuth"].as_object_mut() {
        auth.insert("password".into(), "changed".into());
    }
    Some(client)
}

async fn note(
    request: &Request,
    caller: &Caller,
    action: &'static str,
    before: Option<&Client>,
    after: Option<Value>,
) -> Result<(), Problem> {
    let id = match (before, &after) {
        (Some(before), _) => Some(before.id.to_string()),
        (None, after) => after.as_ref().map(|after| after["id"].to_string()),
    };
    request
        .audit(&Change {
            actor: &caller.actor(),
            tenant: None,
            action,
            object_type: "client",
            object_id: id.unwrap_or_default(),
            before: before.and_then(shown),
            after,
            reason: None,
        })
        .await?;
    Ok(())
}
