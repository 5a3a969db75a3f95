-- What scripts/bench erase puts beside the calls of http.sql: for each call a decision with its question, for every tenth a
-- line in the audit log and an event of security. And one caller, +4917612345678, with 5,000 of the calls of all sellers.
\set ON_ERROR_STOP on
set client_min_messages = warning;
set synchronous_commit = off;
update call_logs set caller_id_num = '+4917612345678', caller_id_name = 'Bench Caller'
where id % (:logs / 5000) = 0;
-- None ended this minute: the job would wait for it.
update call_logs set timestamp_end = now() - interval '5 minutes'
where timestamp_end > now() - interval '5 minutes' and timestamp_start < now() - interval '5 minutes';
delete from call_logs where timestamp_end > now() - interval '5 minutes';
insert into decisions (call_id, attempt, user_id, campaign_id, node_name, decided_at, verdict, link_id, question, ranking)
select id, 1, user_id, campaign_id, 'bench', timestamp_start, 'DIAL', campaign_client_setting_id,
       jsonb_build_object('did', incoming_did_number, 'caller', caller_id_num, 'campaign', campaign_id, 'strategy', 'priority',
                          'links', jsonb_build_array(campaign_client_setting_id, campaign_client_setting_id + 1)),
       jsonb_build_array(jsonb_build_object('link', campaign_client_setting_id, 'place', 1, 'eligible', true),
                         jsonb_build_object('link', campaign_client_setting_id + 1, 'place', 2, 'eligible', true))
from call_logs;
insert into audit_log (actor_id, actor, via, user_id, action, object_type, object_id, before, after, address)
select user_id, 'bench-seller' || user_id, 'session:1', user_id, 'update', 'campaign', campaign_id::text,
       jsonb_build_object('name', 'Campaign ' || campaign_id, 'status', 'active'),
       jsonb_build_object('name', 'Campaign ' || campaign_id, 'status', 'paused'), '192.0.2.1'
from call_logs where id % 10 = 0;
insert into security_events (at, event, actor_id, actor, user_id, address, user_agent)
select timestamp_start, 'login', user_id, 'bench-seller' || user_id, user_id, '192.0.2.1', 'bench'
from call_logs where id % 10 = 0;
vacuum (analyze) call_logs, decisions, audit_log, security_events;
