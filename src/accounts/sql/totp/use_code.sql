-- Uses a recovery code ($2: its SHA-256) of an account ($1), once; attempts at the second factor count anew from there.
with used as (
    update recovery_codes set used_at = now() where user_id = $1 and hash = $2 and used_at is null returning user_id
), cleared as (
    update totp_secrets t set failures = 0, last_failed_at = null, locked_until = null
    from used where t.user_id = used.user_id
)
select user_id from used
