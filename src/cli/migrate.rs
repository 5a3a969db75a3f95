//! `capconduit migrate`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::timeout;

use crate::accounts::password::hash;
use crate::app;
use crate::config::Config;
use crate::db::migrate;

/// Rows of `docs`' small world. Loaded in one transaction.
const SAMPLE_DATA: &str = include_str!("../../sql/sample/sample-data.sql");

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also load a small world to look around in. Only into an empty database. Nobody can log in before `capconduit user
    /// password` has given an account one.
    #[arg(long)]
    sample_data: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let (client, applied) = migrate::run(&app::owner_settings(config)).await?;
    for migration in &applied {
        println!("applied {} {}", migration.version, migration.name);
    }
    println!("schema is at version {}", migrate::CURRENT);
    if arguments.sample_data {
        let limit = Duration::from_secs(60);
        let users = timeout(limit, client.query_one("select count(*) from users", &[])).await;
        let users: i64 = users
            .context("the database does not answer")?
            .context("cannot look for users")?
            .get(0);
        ensure!(
            users == 0,
            "sample data goes into an empty database only; this one has {users} users"
        );
        // Of a password that nobody sees: a login takes as long as any other. A PHC string has no quote; the
        // placeholder is psql's, so that psql can load the file too.
        let hash = hash(&super::user::one_time_password()?)?;
        let sql = SAMPLE_DATA.replace(":'hash'", &format!("'{hash}'"));
        timeout(limit, client.batch_execute(&sql))
            .await
            .context("the database does not answer")?
            .context("cannot load the sample data")?;
        println!("loaded the sample data, with these accounts:");
        let accounts = "select username, role, status from users order by id";
        let accounts = timeout(limit, client.query(accounts, &[])).await;
        for account in accounts
            .context("the database does not answer")?
            .context("cannot read the accounts")?
        {
            let [name, role, status]: [String; 3] =
                [account.get(0), account.get(1), account.get(2)];
            println!("  {name} ({role}, {status})");
        }
        println!(
            "None has a password yet: `capconduit user password NAME` makes one and prints it.\n\
             Warning: platform_admin may do everything. Sample data is for looking around, not for a machine that \
             others reach."
        );
    }
    Ok(ExitCode::SUCCESS)
}
