//! `capconduit user`: accounts, made by whoever can reach the database.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Subcommand, ValueEnum};

use crate::config::Config;
use crate::domain::account::is_email;
use crate::password;
use crate::store::users::{self, NewUser};

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
    /// Give an account a new one-time password, print it, and end its sessions.
    Password {
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

pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create {
            username,
            email,
            role,
        } => create(username, email, *role, config).await,
        Command::Password { username } => new_password(username, config).await,
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
    let role = match role {
        Role::Admin => "admin",
        Role::Staff => "staff",
        Role::User => "user",
    };
    let user = NewUser {
        username,
        email,
        password_hash: &hash,
        role,
        status: "active",
        full_name: None,
        company_name: None,
    };
    let id = users::create(&mut client, &user).await?;
    println!("made user {id} {username} ({role})");
    println!("one-time password, shown only here: {secret}");
    Ok(ExitCode::SUCCESS)
}

async fn new_password(username: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let secret = one_time_password()?;
    let hash = password::hash(&secret)?;
    let client = super::owner(config).await?;
    client.batch_execute("begin").await?;
    let changed = client
        .query_opt(
            "update users set password_hash = $2, updated_at = now() where username = $1
             returning id, status",
            &[&username, &hash],
        )
        .await?;
    let changed = changed.with_context(|| format!("there is no user {username:?}"))?;
    let (id, status): (i32, String) = (changed.get("id"), changed.get("status"));
    // A statement later: the sessions of logins that came first are seen.
    let ended = client
        .execute("delete from sessions where user_id = $1", &[&id])
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
            "delete from login_failures
             where subject = 'account:' || encode(sha256(convert_to($1, 'UTF8')), 'hex')",
            &[&username],
        )
        .await?;
    client.batch_execute("commit").await?;
    println!("user {id} {username} has a new password; {ended} sessions have ended");
    println!("one-time password, shown only here: {secret}");
    if status != "active" {
        println!("the account is {status}: it cannot log in before that is changed");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(username: &str, email: &str) -> anyhow::Result<()> {
    let printable = |text: &str| text.chars().all(|c| !c.is_control() && !c.is_whitespace());
    ensure!(
        (3..=80).contains(&username.chars().count()) && printable(username),
        "the username must have 3 to 80 printable characters without blanks"
    );
    ensure!(is_email(email), "{email:?} is not an e-mail address");
    Ok(())
}

/// 24 letters and digits: 120 bits.
pub(super) fn one_time_password() -> anyhow::Result<String> {
    password::random_letters(24).context("the kernel gives no randomness")
}
