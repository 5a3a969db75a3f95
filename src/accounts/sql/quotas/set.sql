-- Sets what a user ($1) may have of a kind ($2) at most ($3).
insert into account_limits (user_id, kind, most) values ($1, $2, $3)
on conflict (user_id, kind) do update set most = excluded.most, set_at = now()
