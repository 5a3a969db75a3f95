//! Nobody reaches another seller's rows: every operation there is, and the database's own wall behind them.
//!
//! The matrix is made from the API's document. An operation with a path id, a query parameter or a body
//! that it cannot fill with another seller's values fails it, so that none is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestDb;
use crate::support::api::{Answer, ApiClient, ApiServer, settings};

/// In every text of a seller's rows; nobody else may ever be sent it.
const MARKS: [&str; 2] = ["isolated-alice", "isolated-bob"];
const NUMBERS: [&str; 2] = ["+1555010", "+1555020"];
const ALICE: i32 = 3;
const BOB: i32 = 4;

/// What an operation can be pointed at, of one seller.
type Things = BTreeMap<&'static str, i64>;

/// Rows in every table that has owners, with the seller's mark in every text.
#[expect(
    clippy::too_many_lines,
    reason = "a row of each table, one after the other"
)]
async fn fill(server: &ApiServer, user: i32, seller: usize) -> Things {
    let db = &server.db;
    let (mark, number) = (MARKS[seller], NUMBERS[seller]);
    db.run(&format!(
        r#"insert into clients (client_identifier, name, status)
               values ('shared', 'Shared', 'active') on conflict do nothing;
           insert into pjsip_endpoints (id, client_id, context) values ('shared', 1, 'x')
               on conflict do nothing;
           insert into pjsip_aors (id, client_id, contact) values ('shared', 1, 'sip:192.0.2.1')
               on conflict do nothing;
           update users set email = '{mark}@example.com', full_name = '{mark}', company_name = '{mark}'
               where id = {user};
           insert into dids (number, user_id, status, description)
               values ('{number}1', {user}, 'active', '{mark}'), ('{number}2', {user}, 'active', '{mark}');
           insert into campaigns (user_id, name, status, routing_strategy, dial_timeout_seconds, description)
               values ({user}, '{mark} 1', 'active', 'priority', 20, '{mark}'),
                      ({user}, '{mark} 2', 'active', 'weighted', 20, '{mark}');
           insert into campaign_dids select c.id, d.id from campaigns c join dids d
               on right(d.number, 1) = right(c.name, 1) and d.user_id = c.user_id
               where c.user_id = {user};
           insert into campaign_client_settings (campaign_id, client_id, status, max_concurrency,
                   forwarding_priority, weight)
               select id, 1, 'active', 7, 0, 1 from campaigns where user_id = {user};
           update campaign_rotations r set state = '{{"mark": "{mark}"}}' from campaigns c
               where c.id = r.campaign_id and c.user_id = {user};
           insert into calls (asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id,
                   campaign_id, did_id, incoming_did_number, caller_id_num, caller_id_name, started_at,
                   expires_at)
               select '{mark}.1', '{mark}.1', 'PJSIP/{mark}', 'n', {user}, c.id, d.did_id, '{number}1',
                      '{number}77', '{mark}', now(), now() + interval '1 hour'
               from campaigns c join campaign_dids d on d.campaign_id = c.id where c.name = '{mark} 1';
           insert into reservations (call_id, attempt, link_id, user_id, node_name, state, held_at,
                   confirmed_at)
               select call_id, 1, (select s.id from campaign_client_settings s
                                   where s.campaign_id = calls.campaign_id),
                      user_id, 'n', 'confirmed', now(), now() from calls where user_id = {user};
           update link_usage set confirmed = 1 where link_id in
               (select link_id from reservations where user_id = {user});
           insert into call_attempts (call_id, attempt, reservation_id, user_id, link_id, client_id,
                   endpoint_id, offered_at, ring_timeout_seconds)
               select call_id, attempt, reservation_id, user_id, link_id, 1, 'shared', now(), 20
               from reservations where user_id = {user};
           insert into decisions (call_id, attempt, user_id, campaign_id, node_name, decided_at, verdict,
                   link_id, question, ranking, remarks)
               select r.call_id, 1, {user}, c.campaign_id, 'n', now(), 'DIAL', r.link_id,
                      '{{"mark": "{mark}"}}', '{{"mark": "{mark}"}}', array['{mark}']
               from reservations r join calls c using (call_id) where r.user_id = {user};
           insert into call_logs (id, user_id, campaign_id, did_id, client_id, campaign_client_setting_id,
                   incoming_did_number, caller_id_num, caller_id_name, timestamp_start, timestamp_end,
                   duration_seconds, billsec_seconds, call_status, hangup_cause_text, asterisk_uniqueid,
                   asterisk_linkedid)
               select case when n = 1 then c.call_id else nextval('call_logs_id_seq') end, {user},
                      c.campaign_id, c.did_id, 1, r.link_id, c.incoming_did_number, c.caller_id_num,
                      '{mark}', now() - n * interval '1 minute', now(), 60, 50, 'ANSWERED', '{mark}',
                      '{mark}.' || n, '{mark}.' || n
               from calls c join reservations r using (call_id), generate_series(1, 3) n
               where c.user_id = {user};
           insert into client_grants (client_id, user_id, granted_by) values (1, {user}, '{mark}');
           insert into hangup_orders (user_id, call_id, server_name, expires_at)
               select user_id, call_id, '{mark}', now() from calls where user_id = {user};
           insert into api_keys (user_id, name, prefix, secret_hash, scopes)
               values ({user}, '{mark}', '{mark}', '\x00', array['{mark}']);
           insert into idempotency_keys (user_id, idempotency_key, request_hash, status, headers, body)
               values ({user}, 'same-key', '\x00', 201, '{{}}', convert_to('"{mark}"', 'UTF8'));
           insert into login_devices (user_id, token_hash) values ({user}, '\x0{user}');
           insert into account_limits (user_id, kind, most) values ({user}, 'dids', 1000{user});
           insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, before,
                   after, reason, request_id, address)
               values ({user}, '{mark}', 'session:1', {user}, 'update', 'did', '1',
                       '{{"mark": "{mark}"}}', '{{"mark": "{mark}"}}', '{mark}', '{mark}', '{mark}');
           insert into sessions (user_id, token_hash, remember_hash, idle_expires_at, expires_at,
                   remember_expires_at, address, user_agent)
               values ({user}, '\x0{user}', '\x0{user}', 'infinity', 'infinity', 'infinity', '{mark}',
                       '{mark}')"#
    ))
    .await;
    fill_access(server, user, mark).await;
    fill_recording(server, user, mark).await;
    let mut things = Things::from([
        ("user", i64::from(user)),
        ("client", 1),
        ("server", 1),
        ("erasure", 1),
    ]);
    for (name, sql) in [
        ("did", "min(id)::bigint from dids"),
        ("campaign", "min(id)::bigint from campaigns"),
        (
            "link",
            "min(s.id)::bigint from campaign_client_settings s join campaigns c on c.id = s.campaign_id",
        ),
        ("call", "min(call_id) from calls"),
        ("log", "min(call_id) from recordings"),
        ("recording", "min(recording_id) from recordings"),
        ("job", "min(job_id) from transcription_jobs"),
        ("decision", "min(decision_id) from decisions"),
        ("reservation", "min(reservation_id) from reservations"),
        ("session", "min(session_id) from sessions"),
        ("key", "min(key_id) from api_keys"),
        ("audit", "min(audit_id) from audit_log"),
    ] {
        let id = db
            .one(&format!("select {sql} where user_id = {user}"))
            .await;
        things.insert(name, id);
    }
    things
}

/// What opens the seller's account, and what was noted of it.
async fn fill_access(server: &ApiServer, user: i32, mark: &str) {
    let sql = format!(
        r#"insert into api_key_networks (key_id, user_id, network)
               select key_id, {user}, '{mark}' from api_keys where user_id = {user};
           insert into totp_secrets (user_id, sealed) values ({user}, convert_to('{mark}', 'UTF8'));
           insert into recovery_codes (user_id, hash) values ({user}, convert_to('{mark}', 'UTF8'));
           insert into security_events (at, event, actor_id, actor, actor_role, via, user_id, object_type, object_id,
                   detail, request_id, address, user_agent)
               values (now(), 'recording_played', {user}, '{mark}', 'user', '{mark}', {user}, 'call', '1',
                       '{{"mark": "{mark}"}}', '{mark}', '{mark}', '{mark}')"#
    );
    server.db.run(&sql).await;
}

/// Of 8,000 samples a second; how much sound there is the file's length says.
const WAV_HEADER: &[u8] =
    b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0";

/// A recording of the seller's call under way, with its transcript.
async fn fill_recording(server: &ApiServer, user: i32, mark: &str) {
    let storage = server.storage.path();
    std::fs::create_dir(storage.join(mark)).expect("a directory");
    let sound = [WAV_HEADER, mark.as_bytes()].concat();
    for leg in ["caller", "agent", "mix"] {
        let file = storage.join(mark).join(format!("{leg}.wav"));
        std::fs::write(file, &sound).expect("a file");
    }
    let sql = format!(
        r#"insert into recordings (call_id, attempt, user_id, campaign_id, stem, state, language, mask_numbers,
                   started_at, expected_at, stored_at, location, duration_ms, hold_reason, remark)
               select call_id, 1, {user}, campaign_id, '20260101T000000Z-' || call_id || '-1', 'stored', 'en', false,
                      now(), now(), now(), '{storage}', 1000, '{mark}', '{mark}' from calls where user_id = {user};
           insert into recording_files (recording_id, leg, user_id, object_key, bytes, sha256)
               select recording_id, leg, {user}, '{mark}/' || leg || '.wav', {length}, '\x00'
               from recordings, unnest(array['caller', 'agent', 'mix']) leg where user_id = {user};
           insert into transcription_jobs (recording_id, call_id, user_id, language, state, not_before, node_name,
                   error_message, created_at, finished_at)
               select recording_id, call_id, {user}, 'en', 'done', now(), '{mark}', '{mark}', now(), now()
               from recordings where user_id = {user};
           insert into transcripts (recording_id, call_id, user_id, language, engine, engine_version, models,
                   audio_ms, words, created_at, search)
               select recording_id, call_id, {user}, 'en', '{mark}', '1', '{{"en": "{mark}"}}', 1000, 3, now(),
                      to_tsvector('english', '{mark} names prices')
               from recordings where user_id = {user};
           insert into transcript_segments (recording_id, segment, user_id, speaker, language, start_ms, end_ms,
                   text, confidence, words)
               select recording_id, 1, {user}, 'agent', 'en', 0, 900, '{mark} names prices', 1,
                      '[{{"word": "{mark}", "startMs": 0, "endMs": 900, "confidence": 1}}]'
               from recordings where user_id = {user}"#,
        length = sound.len(),
        storage = storage.display(),
    );
    server.db.run(&sql).await;
}

// --- the document --------------------------------------------------------------------------------

/// An operation as the document has it.
struct Operation {
    id: String,
    method: Method,
    path: String,
    access: &'static str,
    keys_do: bool,
    streams: bool,
    query: Vec<String>,
    example: Option<Value>,
}

fn document() -> Vec<Operation> {
    let document = capconduit::http::api::document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let about = operation["description"].as_str().unwrap_or_default();
            let access = [
                ("For anybody.", "anybody"),
                ("For every account.", "account"),
                ("For sellers.", "seller"),
                ("For administrators and staff.", "staff"),
                ("For administrators.", "admin"),
                ("For programs with the internal token.", "internal"),
            ]
            .into_iter()
            .find(|(sentence, _)| about.contains(sentence))
            .unwrap_or_else(|| panic!("{method} {path} does not say who may use it"))
            .1;
            let security = operation["security"].to_string();
            let parameters = operation["parameters"].as_array();
            let body = &operation["requestBody"]["content"]["application/json"];
            operations.push(Operation {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                path: path.clone(),
                access,
                keys_do: security.contains("apiKey"),
                streams: operation["responses"]
                    .to_string()
                    .contains("text/event-stream"),
                query: parameters
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().expect("a name").to_owned())
                    .collect(),
                example: (!body.is_null()).then(|| body["example"].clone()),
            });
        }
    }
    operations
}

/// What an id in a path is of, by the segment before it.
fn thing_in_path(path: &str, position: usize) -> &'static str {
    let before = path.split('{').nth(position - 1).expect("an id");
    let segment = before
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    match (segment, path.contains("/campaigns/")) {
        ("dids", _) => "did",
        ("campaigns", _) => "campaign",
        ("clients", true) | ("links", _) => "link",
        ("clients", false) => "client",
        ("users" | "sellers" | "grants", _) => "user",
        ("calls", _) => "call",
        ("logs", _) => "log",
        ("decisions", _) => "decision",
        ("sessions", _) => "session",
        ("keys" | "api_keys" | "api-keys", _) => "key",
        ("audit", _) => "audit",
        ("recordings", _) => "recording",
        ("transcription-jobs", _) => "job",
        ("servers", _) => "server",
        ("erasures", _) => "erasure",
        ("reservations", _) => "reservation",
        _ => panic!("{path}: say in thing_in_path what this id is of"),
    }
}

/// The path with ids: of `own` at the positions in `at_own`, of `other` at the rest.
fn path_of(path: &str, other: &Things, own: &Things, at_own: &[usize]) -> String {
    let mut filled = String::new();
    for (position, part) in path.split('{').enumerate() {
        if position == 0 {
            filled.push_str(part);
            continue;
        }
        let things = if at_own.contains(&position) {
            own
        } else {
            other
        };
        let rest = part.split_once('}').expect("closes").1;
        filled.push_str(&things[thing_in_path(path, position)].to_string());
        filled.push_str(rest);
    }
    filled
}

/// A query that asks for another seller's things with every parameter there is.
fn query_of(operation: &Operation, other: &Things) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for name in &operation.query {
        let value = match name.as_str() {
            "campaign_id" => other["campaign"].to_string(),
            "did_id" | "object_id" => other["did"].to_string(),
            "client_id" => other["client"].to_string(),
            "link_id" => other["link"].to_string(),
            "user_id" | "seller_id" | "actor_id" => other["user"].to_string(),
            "call_id" => other["call"].to_string(),
            "did" | "number" => format!("{}1", NUMBERS[0]),
            "actor" => MARKS[0].to_owned(),
            // Of calls under way nothing is written down; those of the log are asked for by the other address.
            "transcript" if operation.query.iter().any(|name| name == "state") => continue,
            // What both sellers' calls were about.
            "transcript" => "price".to_owned(),
            // Filters that would only narrow what is found, and paging.
            _ if NARROWS.contains(&name.as_str()) => continue,
            _ => panic!("{}: say in query_of what `{name}` is", operation.id),
        };
        pairs.append_pair(name, &value);
    }
    let query = pairs.finish();
    if query.is_empty() {
        query
    } else {
        format!("?{query}")
    }
}

const NARROWS: &[&str] = &[
    "access",
    "action",
    "address",
    "assigned",
    "at",
    "attempt",
    "call_status",
    "caller",
    "callerId",
    "cursor",
    "download",
    "details",
    "end_date",
    "event",
    "fill",
    "format",
    "from",
    "group_by",
    "held",
    "language",
    "leg",
    "limit",
    "max_duration",
    "min_duration",
    "object_type",
    "page",
    "per_page",
    "points",
    "q",
    "refusal_reason",
    "role",
    "routing_strategy",
    "search",
    "sort",
    "start_date",
    "state",
    "status",
    "to",
    "total",
    "tz",
];

/// The operation's example, every id in it another seller's.
fn body_of(operation: &Operation, other: &Things) -> Option<Value> {
    let mut body = operation.example.clone()?;
    let Some(object) = body.as_object_mut() else {
        panic!(
            "{}: give the operation an example of its body",
            operation.id
        )
    };
    for (name, value) in object {
        let thing = match name.as_str() {
            "didIds" => {
                *value = json!([other["did"]]);
                continue;
            }
            "didId" => "did",
            "campaignId" => "campaign",
            "clientId" => "client",
            "userId" => "user",
            "linkId" | "campaignClientSettingId" => "link",
            "callId" => "call",
            _ if name.ends_with("Id") && value.is_number() => {
                panic!("{}: say in body_of what `{name}` is of", operation.id)
            }
            _ => continue,
        };
        *value = json!(other[thing]);
    }
    Some(body)
}

// --- asking --------------------------------------------------------------------------------------

async fn ask(
    client: &ApiClient,
    operation: &Operation,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    if !operation.streams {
        return client.send(operation.method.clone(), path, body).await;
    }
    // A stream has no end: what comes at once is looked at.
    let mut request = client.http.get(format!("{}{path}", client.base));
    for (name, value) in &client.headers {
        request = request.header(name, value);
    }
    let mut response = request.send().await.expect("an answer");
    let mut text = String::new();
    while let Ok(Ok(Some(chunk))) =
        tokio::time::timeout(Duration::from_millis(300), response.chunk()).await
    {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: Value::Null,
        text,
    }
}

/// Nothing of the other seller in the answer, but what the question itself said.
#[track_caller]
fn assert_silent(operation: &Operation, path: &str, body: Option<&Value>, answer: &Answer) {
    let asked = format!("{path} {}", body.map(Value::to_string).unwrap_or_default());
    let told = format!("{:?} {}", answer.headers, answer.text).to_lowercase();
    for mark in [MARKS[0], NUMBERS[0], "alice"] {
        let echoed = asked.contains(mark) || asked.contains(&mark.replace('+', "%2B"));
        assert!(
            echoed || !told.contains(mark),
            "{} {path} tells {mark}: {} {}",
            operation.id,
            answer.status,
            answer.text
        );
    }
    assert!(
        answer.status < 500,
        "{} {path}: {} {}",
        operation.id,
        answer.status,
        answer.text
    );
}

/// Every row of a seller in every table that has owners, as one number a table.
async fn rows_of(db: &TestDb, user: i32) -> BTreeMap<String, (i64, String)> {
    let mut rows = BTreeMap::new();
    for (table, condition) in tenant_tables(db).await {
        let condition = condition.replace("$1", &user.to_string());
        let row = db
            .owner
            .query_one(
                &format!(
                    "select count(*), coalesce(md5(string_agg(t::text, '|' order by t::text)), '')
                     from {table} t where {condition}"
                ),
                &[],
            )
            .await
            .expect("counts");
        rows.insert(table, (row.get(0), row.get(1)));
    }
    rows
}

/// Tables with owners, each with the condition that finds the rows of owner $1.
async fn tenant_tables(db: &TestDb) -> Vec<(String, String)> {
    let of_campaigns = "(select id from campaigns where user_id = $1)";
    let of_links =
        format!("(select id from campaign_client_settings where campaign_id in {of_campaigns})");
    let rows = db
        .owner
        .query(
            "select c.relname::text,
                    array_agg(a.attname::text) filter
                        (where a.attname in ('user_id', 'campaign_id', 'link_id', 'did_id', 'call_id'))
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
             where c.relkind in ('r', 'p') and not c.relispartition
               and c.relnamespace = 'public'::regnamespace
             group by c.relname order by c.relname",
            &[],
        )
        .await
        .expect("lists tables");
    let mut tables = Vec::new();
    for row in rows {
        let table: String = row.get(0);
        let columns: Option<Vec<String>> = row.get(1);
        let columns = columns.unwrap_or_default();
        let has = |name: &str| columns.iter().any(|column| column == name);
        let condition = match table.as_str() {
            "users" => "id = $1".to_owned(),
            _ if has("user_id") => "user_id = $1".to_owned(),
            _ if has("campaign_id") => format!("campaign_id in {of_campaigns}"),
            _ if has("link_id") => format!("link_id in {of_links}"),
            _ if has("did_id") => "did_id in (select id from dids where user_id = $1)".to_owned(),
            _ if has("call_id") => {
                "call_id in (select id from call_logs where user_id = $1)".to_owned()
            }
            _ => continue,
        };
        tables.push((table, condition));
    }
    tables
}

async fn server() -> (ApiServer, Things, Things) {
    let server = ApiServer::start_with(capconduit::http::api::Settings {
        login_attempts: 100_000,
        ..settings()
    })
    .await;
    let alices = fill(&server, ALICE, 0).await;
    let bobs = fill(&server, BOB, 1).await;
    (server, alices, bobs)
}

/// A client with an API key of an account, made through the API.
async fn with_key(server: &ApiServer, session: &ApiClient) -> ApiClient {
    let operations = document();
    let create = operations
        .iter()
        .find(|o| o.id == "createKey")
        .expect("an operation that makes API keys");
    let mut body = create.example.clone().expect("an example");
    body["scopes"] = json!(["read", "write"]);
    let made = session.post(&create.path, body).await.expect(201);
    let bearer = format!("Bearer {}", made["key"].as_str().expect("the key"));
    server.anonymous().with_header("authorization", &bearer)
}

#[tokio::test]
async fn no_operation_shows_or_changes_another_sellers_rows() {
    let (server, alices, bobs) = server().await;
    let alice = server.login("alice").await;
    let mut bob = server.login("bob").await;
    let bobs_key = with_key(&server, &bob).await;
    let before = rows_of(&server.db, ALICE).await;
    for (table, (count, _)) in &before {
        assert!(*count > 0, "fill() puts nothing into {table}");
    }
    let anonymous = server.anonymous();
    let mut tried = 0;
    for operation in document() {
        let ids = operation.path.matches('{').count();
        let query = query_of(&operation, &alices);
        let body = body_of(&operation, &alices);
        let hers = format!("{}{query}", path_of(&operation.path, &alices, &bobs, &[]));

        if operation.access != "anybody" {
            let answer = ask(&anonymous, &operation, &hers, body.as_ref()).await;
            assert_eq!(answer.status, 401, "{} without login", operation.id);
            assert_silent(&operation, &hers, body.as_ref(), &answer);
        }
        // Hers alone; and each of several ids hers, the others his.
        let mut paths = vec![hers];
        if !query.is_empty() {
            // What he would be shown unfiltered.
            paths.push(path_of(&operation.path, &alices, &bobs, &[]));
        }
        for position in 1..=ids {
            let mut own: Vec<usize> = (1..=ids).filter(|p| *p != position).collect();
            if !own.is_empty() {
                paths.push(path_of(&operation.path, &alices, &bobs, &own));
                own = vec![position];
                paths.push(path_of(&operation.path, &alices, &bobs, &own));
            }
        }
        for path in paths {
            for (client, by_key) in [(&bob, false), (&bobs_key, true)] {
                let answer = ask(client, &operation, &path, body.as_ref()).await;
                let what = format!("{} {path}, key: {by_key}: {}", operation.id, answer.text);
                assert_silent(&operation, &path, body.as_ref(), &answer);
                match operation.access {
                    "staff" | "admin" => assert_eq!(answer.status, 403, "{what}"),
                    "internal" => assert_eq!(answer.status, 401, "{what}"),
                    _ if by_key && !operation.keys_do && operation.access != "anybody" => {
                        assert!(matches!(answer.status, 401 | 403), "{what}");
                    }
                    _ if ids > 0 => assert!(matches!(answer.status, 403 | 404), "{what}"),
                    _ => {}
                }
                tried += 1;
            }
        }
        // His own thing, tied to hers.
        let ties = body.as_ref().is_some_and(|b| {
            let ties = ["didIds", "didId", "campaignId"];
            ties.iter().any(|name| b.get(name).is_some())
        });
        if operation.access == "seller" && ids > 0 && ties {
            let path = path_of(&operation.path, &bobs, &bobs, &[]);
            let answer = ask(&bob, &operation, &path, body.as_ref()).await;
            assert!(
                matches!(answer.status, 400 | 403 | 404 | 409),
                "{} {path}: {}",
                operation.id,
                answer.text
            );
            assert_silent(&operation, &path, body.as_ref(), &answer);
        }
        // Some operations end his sessions.
        if bob.get("/api/auth/status").await.status != 200 {
            bob = server.login("bob").await;
        }
    }
    assert!(tried > 0);
    assert_eq!(rows_of(&server.db, ALICE).await, before);

    // The same addresses are right when she asks, or the above would have shown nothing.
    for operation in document() {
        if operation.method == Method::GET && operation.access == "seller" && !operation.streams {
            let path = format!(
                "{}{}",
                path_of(&operation.path, &alices, &bobs, &[]),
                query_of(&operation, &alices)
            );
            let answer = alice.get(&path).await;
            assert_eq!(
                answer.status, 200,
                "{} {path}: {}",
                operation.id, answer.text
            );
        }
    }
}

/// Whether an answer is a list of something.
fn lists_something(answer: &Value) -> bool {
    let lists = [answer, &answer["items"], &answer["rows"]];
    lists
        .into_iter()
        .any(|list| list.as_array().is_some_and(|l| !l.is_empty()))
}

#[tokio::test]
async fn no_search_and_no_cursor_leads_to_another_sellers_rows() {
    let (server, alices, bobs) = server().await;
    let (alice, bob) = (server.login("alice").await, server.login("bob").await);
    let (mut searches, mut cursors) = (0, 0);
    for operation in document() {
        let lists = operation.method == Method::GET && !operation.streams;
        if !lists || !matches!(operation.access, "seller" | "account") {
            continue;
        }
        let path = path_of(&operation.path, &alices, &bobs, &[]);
        if operation.query.iter().any(|name| name == "q") {
            // In every text of her rows, in none of his.
            let path = format!("{path}?q={}", MARKS[0]);
            let answer = ask(&bob, &operation, &path, None).await;
            assert_eq!(answer.status, 200, "{}: {}", operation.id, answer.text);
            let is_table = answer
                .header("content-type")
                .is_some_and(|t| t.starts_with("text/"));
            let found = if is_table {
                answer.text.lines().count() > 1
            } else {
                lists_something(&answer.body)
            };
            assert!(!found, "{} {path}: {}", operation.id, answer.text);
            searches += 1;
        }
        if operation.query.iter().any(|name| name == "cursor") {
            let first = alice.get(&format!("{path}?per_page=1")).await.expect(200);
            let Some(cursor) = first["nextCursor"].as_str() else {
                continue;
            };
            let path = format!("{path}?per_page=1&cursor={cursor}");
            let answer = ask(&bob, &operation, &path, None).await;
            assert_eq!(answer.status, 200, "{}: {}", operation.id, answer.text);
            assert_silent(&operation, &path, None, &answer);
            cursors += 1;
        }
    }
    assert!(
        searches > 8 && cursors > 3,
        "{searches} searches, {cursors} cursors"
    );
}

#[tokio::test]
async fn sellers_operations_are_for_sellers_and_the_platforms_are_not() {
    let (server, alices, bobs) = server().await;
    let clients = [
        ("admin", server.login("admin").await),
        ("staff", server.login("staff").await),
    ];
    for operation in document() {
        let path = path_of(&operation.path, &alices, &bobs, &[]);
        let body = body_of(&operation, &alices);
        for (role, client) in &clients {
            let refused = match operation.access {
                "seller" => 403,
                "admin" if *role == "staff" => 403,
                "internal" => 401,
                _ => continue,
            };
            let answer = ask(client, &operation, &path, body.as_ref()).await;
            assert_eq!(
                answer.status, refused,
                "{} as {role}: {}",
                operation.id, answer.text
            );
            assert_silent(&operation, &path, body.as_ref(), &answer);
        }
    }
    let internal = server.internal();
    for operation in document() {
        if matches!(operation.access, "seller" | "staff" | "admin" | "account") {
            let path = path_of(&operation.path, &alices, &bobs, &[]);
            let body = body_of(&operation, &alices);
            let answer = ask(&internal, &operation, &path, body.as_ref()).await;
            assert_eq!(
                answer.status, 401,
                "{} with the internal token",
                operation.id
            );
        }
    }
}

#[tokio::test]
async fn an_answer_kept_for_repetition_is_repeated_to_its_own_account_only() {
    let (server, _, _) = server().await;
    let bob = server.login("bob").await;
    let careful = bob.with_header("idempotency-key", "only-hers");
    server
        .db
        .run("update idempotency_keys set idempotency_key = 'only-hers' where user_id = 3")
        .await;
    let new = json!({"number": "+18005550142"});
    let made = careful.post("/api/seller/dids", new.clone()).await;
    assert_eq!(made.expect(201)["number"], "+18005550142");
    let again = careful.post("/api/seller/dids", new).await;
    assert_eq!(again.expect(201)["number"], "+18005550142", "his own is");
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let operations = document();
    let names: BTreeSet<&str> = operations.iter().map(|o| o.id.as_str()).collect();
    assert_eq!(names.len(), operations.len());
}

// --- the database's own wall ----------------------------------------------------------------------

/// Sets the tenant's role, as a request does, with every privilege there is: policies alone decide.
async fn as_bob(db: &TestDb, table: &str) {
    db.run(&format!(
        "begin; grant select, insert, update, delete on {table} to capconduit_api;
         set local role capconduit_api; set local capconduit.user_id = '{BOB}'"
    ))
    .await;
}

#[tokio::test]
async fn whatever_a_statement_forgets_a_tenant_meets_its_own_rows_only() {
    let (server, _, _) = server().await;
    let db = &server.db;
    for (table, condition) in tenant_tables(db).await {
        let columns: Vec<String> = db
            .owner
            .query(
                "select quote_ident(attname) from pg_attribute where attrelid = $1::text::regclass
                 and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''",
                &[&table],
            )
            .await
            .expect("lists columns")
            .iter()
            .map(|row| row.get(0))
            .collect();
        let (list, first) = (columns.join(", "), &columns[0]);
        let hers = condition.replace("$1", &ALICE.to_string());
        let his = condition.replace("$1", &BOB.to_string());
        let own: i64 = db
            .one(&format!("select count(*) from {table} where {his}"))
            .await;
        assert!(own > 0, "{table}");
        db.run(&format!(
            "create temp table hers as select {list} from {table} where {hers}"
        ))
        .await;
        db.run("grant select on hers to public").await;

        as_bob(db, table.as_str()).await;
        let seen: i64 = db.one(&format!("select count(*) from {table}")).await;
        assert_eq!(seen, own, "select from {table}");
        let inserted = db
            .owner
            .execute(
                &format!("insert into {table} ({list}) select {list} from hers"),
                &[],
            )
            .await;
        let error = inserted.expect_err(&table);
        let error = error.as_db_error().expect("an answer of the server");
        assert_eq!(error.code().code(), "42501", "insert into {table}: {error}");
        db.run("rollback").await;

        for change in [
            format!("update {table} set {first} = {first}"),
            format!("delete from {table}"),
        ] {
            as_bob(db, table.as_str()).await;
            // Rows that others refer to cannot be deleted, his own neither; hers are never reached.
            match db.owner.execute(&change, &[]).await {
                Ok(changed) => assert!(changed <= own as u64, "{change}: {changed} of {own}"),
                Err(error) => panic!("{change}: {error:?}"),
            }
            db.run("reset role").await;
            let left: i64 = db
                .one(&format!("select count(*) from {table} where {hers}"))
                .await;
            let there: i64 = db.one("select count(*) from hers").await;
            assert_eq!(left, there, "{change}");
            db.run("rollback").await;
        }
        db.run("drop table hers").await;

        // Without a tenant there is nothing, also on a connection that had one before.
        db.run(&format!(
            "begin; grant select on {table} to capconduit_api; set local role capconduit_api"
        ))
        .await;
        let seen: i64 = db.one(&format!("select count(*) from {table}")).await;
        assert_eq!(seen, 0, "{table} without a tenant");
        db.run("rollback").await;
    }
}

#[tokio::test]
async fn what_belongs_to_campaigns_links_dids_or_calls_has_a_tenant_policy_too() {
    let db = TestDb::new().await;
    for (table, _) in tenant_tables(&db).await {
        let secured: bool = db
            .one(&format!(
                "select relrowsecurity and exists (select from pg_policy p
                     where p.polrelid = c.oid and p.polname = 'tenant')
                 from pg_class c where oid = '{table}'::regclass"
            ))
            .await;
        assert!(secured, "{table}");
    }
}

#[tokio::test]
async fn sellers_requests_reach_tables_through_their_policies_only() {
    let db = TestDb::new().await;
    // A partition has no policies of its own, but for the one that statements of calls name, and a view would look with
    // its owner's eyes.
    let around: Vec<String> = strings(
        &db,
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and (c.relispartition or c.relkind in ('v', 'm'))
           and c.relkind in ('r', 'v', 'm')
           and not (c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid
                                                 and p.polname = 'tenant'))
           and (has_any_column_privilege('capconduit_api', c.oid, 'select, insert, update')
                or has_table_privilege('capconduit_api', c.oid, 'delete, truncate'))",
    )
    .await;
    assert!(around.is_empty(), "{around:?}");
    // Secrets and other tenants' business.
    for (table, column) in [
        ("users", "password_hash"),
        ("clients", "notes"),
        ("pjsip_auths", "password"),
        ("pjsip_endpoints", "id"),
        ("pjsip_aors", "contact"),
        ("login_failures", "subject"),
        ("deleted_references", "id"),
    ] {
        let readable: bool = db
            .one(&format!(
                "select has_column_privilege('capconduit_api', '{table}', '{column}', 'select')"
            ))
            .await;
        assert!(!readable, "{table}.{column}");
    }
}

/// Functions that run with their owner's rights, each looked at.
const KNOWN_MIGHTY: &[&str] = &[
    "add_campaign_rotation",
    "add_link_usage",
    "archive_call_attempts",
    "calls_with_words",
    "campaign_exists",
    "claim_erasure",
    "clear_call_log_references",
    "drop_history_month",
    "ensure_call_log_partitions",
    "erase_late",
    "erasure_end_pass",
    "erasure_step",
    "history_strays",
    "history_strays_of_all",
    "link_exists",
    "lock_account",
    "lock_calls_of_campaign",
    "make_history_month",
    "note_deleted_references",
    "oldest_snapshot",
    "stray_history_month",
];

#[tokio::test]
async fn functions_with_their_owners_rights_are_few_and_look_in_a_fixed_schema() {
    let db = TestDb::new().await;
    let mighty = strings(
        &db,
        "select proname::text from pg_proc where prosecdef
         and pronamespace = 'public'::regnamespace order by 1",
    )
    .await;
    let unknown: Vec<_> = mighty
        .iter()
        .filter(|name| !KNOWN_MIGHTY.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "look at what callers can make {unknown:?} do, then add them"
    );
    let loose = strings(
        &db,
        "select proname::text from pg_proc where prosecdef and pronamespace = 'public'::regnamespace
         and not exists (select from unnest(proconfig) s where s = 'search_path=public, pg_temp')",
    )
    .await;
    assert!(loose.is_empty(), "{loose:?}");
    // Triggers cannot be called; the others are for the daemon's own role, but those that tell a seller no more
    // than whether an id is taken, and those that lock what is its own.
    let callable = strings(
        &db,
        "select proname::text from pg_proc where prosecdef and pronamespace = 'public'::regnamespace
         and prorettype <> 'trigger'::regtype and has_function_privilege('capconduit_api', oid, 'execute')",
    )
    .await;
    let allowed = [
        "calls_with_words",
        "campaign_exists",
        "link_exists",
        "lock_account",
        "lock_calls_of_campaign",
    ];
    assert!(
        callable.iter().all(|name| allowed.contains(&name.as_str())),
        "{callable:?}"
    );
}

#[tokio::test]
async fn no_role_of_a_request_may_become_another() {
    let db = TestDb::new().await;
    let paths = strings(
        &db,
        "select m.rolname || ' in ' || r.rolname from pg_auth_members a
         join pg_roles m on m.oid = a.member join pg_roles r on r.oid = a.roleid
         where m.rolname like 'capconduit%'",
    )
    .await;
    assert!(paths.is_empty(), "{paths:?}");
}

async fn strings(db: &TestDb, sql: &str) -> Vec<String> {
    let rows = db.owner.query(sql, &[]).await;
    rows.expect("answers")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[tokio::test]
async fn own_sessions_and_keys_are_reached_through_policies_too() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let keys = "/api/auth/keys";
    let body = json!({"name": "a", "scopes": ["read"]});
    let made = alice.post(keys, body.clone()).await.expect(201);
    let sessions = "/api/auth/sessions";
    let session = alice.get(sessions).await.expect(200)[0]["id"].clone();
    // What a policy hides is not there, whatever the statements say.
    server
        .db
        .run(
            "create policy shut on sessions as restrictive to capconduit_api using (false);
             create policy shut on api_keys as restrictive to capconduit_api using (false)",
        )
        .await;
    for path in [sessions, keys] {
        assert_eq!(alice.get(path).await.expect(200), json!([]), "{path}");
    }
    alice
        .delete(&format!("{sessions}/{session}"))
        .await
        .expect(404);
    alice
        .delete(&format!("{keys}/{}", made["id"]))
        .await
        .expect(404);
    assert_ne!(alice.post(keys, body.clone()).await.status, 201);
    server
        .db
        .run("drop policy shut on sessions; drop policy shut on api_keys")
        .await;
    alice
        .delete(&format!("{keys}/{}", made["id"]))
        .await
        .expect(204);
    alice.post(keys, body).await.expect(201);
    server.login("alice").await;
    let ended = alice.delete(sessions).await.expect(200);
    assert_eq!(ended["message"], "1 other sessions have ended.");
    // Those of administrators are theirs, as they were.
    let admin = server.login("admin").await;
    let listed = admin.get(sessions).await.expect(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_stream_of_events_tells_of_no_call_that_its_seller_does_not_find() {
    let server = ApiServer::start().await;
    let alice = server.login("alice").await;
    let ring = async |id: i32| {
        let sql = format!(
            "insert into calls (call_id, asterisk_uniqueid, asterisk_linkedid, channel, node_name, user_id,
                                incoming_did_number, started_at, expires_at)
             values ({id}, '{id}.1', '{id}.1', 'PJSIP/x-{id}', 'n', {ALICE}, '+18005550100', now(),
                     now() + interval '1 hour')"
        );
        server.db.run(&sql).await;
    };
    server
        .db
        .run("create policy shut on calls as restrictive to capconduit_api using (call_id % 2 = 1)")
        .await;
    ring(1000).await;
    ring(1001).await;
    let mut stream = alice.http.get(format!("{}/api/events", alice.base));
    for (name, value) in &alice.headers {
        stream = stream.header(name, value);
    }
    let mut stream = stream.send().await.expect("a stream");
    let mut told = String::new();
    let mut others_came = false;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !told.contains("\"callId\":1003") {
        let chunk = tokio::time::timeout_at(deadline.into(), stream.chunk()).await;
        let chunk = chunk.expect("in time").expect("reads").expect("goes on");
        told.push_str(&String::from_utf8_lossy(&chunk));
        if told.contains("\"callId\":1001") && !others_came {
            others_came = true;
            // The last one is told after the one before.
            ring(1002).await;
            ring(1003).await;
        }
    }
    assert!(
        !told.contains(":1000,") && !told.contains(":1002,"),
        "{told}"
    );
}
