//! `capconduit user`: accounts, made by whoever can reach the database.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Subcommand, ValueEnum};

use crate::accounts::password;
use crate::accounts::store::users::{self, NewUser};
use crate::config::Config;
use crate::domain::account::{is_email, is_of_erased, is_username};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an active account and print its one-time password.
    Create {
        /// Name to log in with, 3 to 80 characters.
        username: String,
        /// E-mail address.
        #[arg(long)]
        email: String,
        /// What the account may do.
        #[arg(long, value_enum, default_value_t = Role::User)]
        role: Role,
    },
    /// List accounts: id, name, role, status, e-mail address and when it was made, parted by tabs.
    List {
        /// Only accounts with this role.
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// Only accounts of this status: active, inactive, `pending_approval` or suspended.
        #[arg(long)]
        status: Option<String>,
    },
    /// Give an account a new one-time password, print it, end its sessions and revoke its API keys.
    Password {
        /// Name of the account.
        username: String,
    },
    /// Remove an account's second factor, for somebody who lost both app and recovery codes.
    ResetSecondFactor {
        /// Name of the account.
        username: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Role {
    /// Everything.
    Admin,
    /// Everything but managing users.
    Staff,
    /// A call seller.
    User,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Staff => "staff",
            Self::User => "user",
        }
    }
}

pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create {
            username,
            email,
            role,
        } => create(username, email, *role, config).await,
        Command::List { role, status } => list(*role, status.as_deref(), config).await,
        Command::Password { username } => new_password(username, config).await,
        Command::ResetSecondFactor { username } => reset_second_factor(username, config).await,
    }
}

async fn create(
    username: &str,
    email: &str,
    role: Role,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    check(username, email)?;
    let secret = one_time_password()?;
    let hash = password::hash(&secret)?;
    let mut client = super::owner(config).await?;
    let role = role.as_str();
    let user = NewUser {
        username,
        email,
        password_hash: &hash,
        role,
        status: "active",
        full_name: None,
        company_name: None,
        must_change_password: true,
    };
    let id = users::create(&mut client, &user).await?;
    println!("made user {id} {username} ({role})");
    println!("one-time password, which the first log-in must change, shown only here: {secret}");
    Ok(ExitCode::SUCCESS)
}

async fn list(
    role: Option<Role>,
    status: Option<&str>,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    let client = super::owner(config).await?;
    let rows = client
        .query(
            "select id, username, role, status, email,
                    to_char(created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as created_at
             from users
             where ($1::text is null or role = $1) and ($2::text is null or status = $2)
             order by username",
            &[&role.map(Role::as_str), &status],
        )
        .await?;
    let mut text = String::from("id\tname\trole\tstatus\te-mail\tmade\n");
    for row in &rows {
        let id: i32 = row.get("id");
        text.push_str(&id.to_string());
        for column in ["username", "role", "status", "email", "created_at"] {
            let value: String = row.get(column);
            text.push('\t');
            // Nothing that a terminal would obey.
            text.extend(value.chars().filter(|c| !c.is_control()));
        }
        text.push('\n');
    }
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

async fn new_password(username: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let secret = one_time_password()?;
    let hash = password::hash(&secret)?;
    let client = super::owner(config).await?;
    client.batch_execute("begin").await?;
    let changed = client
        .query_opt(
            "update users set password_hash = $2, must_change_password = true, links_epoch = links_epoch + 1,
                    updated_at = now()
             where username = $1 returning id, status",
            &[&username, &hash],
        )
        .await?;
    let changed = changed.with_context(|| format!("there is no user {username:?}"))?;
    let (id, status): (i32, String) = (changed.get("id"), changed.get("status"));
    // A statement later: the sessions of logins that came first are seen.
    let ended = client
        .execute("delete from sessions where user_id = $1", &[&id])
        .await?;
    let revoked = client
        .execute(
            "update api_keys set revoked_at = now() where user_id = $1 and revoked_at is null",
            &[&id],
        )
        .await?;
    client
        .execute(
            "insert into audit_log (actor, via, user_id, action, object_type, object_id)
             select 'command line', 'cli', case when role = 'user' then id end, 'change_password', 'user', id::text
             from users where id = $1",
            &[&id],
        )
        .await?;
    // As the daemon names it where it counts failed logins.
    client
        .execute(
            "delete from login_failures f using (select encode(sha256(convert_to($1, 'UTF8')), 'hex') as name) u
             where f.subject = 'account:' || u.name or starts_with(f.subject, 'pair:' || u.name || '@')",
            &[&username],
        )
        .await?;
    client.batch_execute("commit").await?;
    println!(
        "user {id} {username} has a new password; {ended} sessions have ended, {revoked} API keys are revoked"
    );
    println!("one-time password, which the first log-in must change, shown only here: {secret}");
    if status != "active" {
        println!("the account is {status}: it cannot log in before that is changed");
    }
    Ok(ExitCode::SUCCESS)
}

async fn reset_second_factor(username: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let client = super::owner(config).await?;
    client.batch_execute("begin").await?;
    let found = client
        .query_opt("select id from users where username = $1", &[&username])
        .await?;
    let found = found.with_context(|| format!("there is no user {username:?}"))?;
    let id: i32 = found.get("id");
    client
        .execute("delete from recovery_codes where user_id = $1", &[&id])
        .await?;
    let removed = client
        .execute("delete from totp_secrets where user_id = $1", &[&id])
        .await?;
    ensure!(removed > 0, "user {id} {username} has no second factor");
    client
        .execute(
            "insert into audit_log (actor, via, user_id, action, object_type, object_id)
             select 'command line', 'cli', case when role = 'user' then id end, 'reset', 'second_factor', id::text
             from users where id = $1",
            &[&id],
        )
        .await?;
    client.batch_execute("commit").await?;
    println!("user {id} {username} logs in with the password alone");
    Ok(ExitCode::SUCCESS)
}

fn check(username: &str, email: &str) -> anyhow::Result<()> {
    ensure!(
        (3..=80).contains(&username.chars().count()) && is_username(username),
        "the username must have 3 to 80 letters (A to Z), digits, dots, underscores and hyphens, and begin with a \
         letter or digit, not with `erased-`"
    );
    ensure!(is_email(email), "{email:?} is not an e-mail address");
    ensure!(
        !is_of_erased(email),
        "addresses at erased.invalid are those of erased accounts"
    );
    Ok(())
}

/// 24 letters and digits: 120 bits.
pub(super) fn one_time_password() -> anyhow::Result<String> {
    password::random_letters(24).context("the kernel gives no randomness")
}
