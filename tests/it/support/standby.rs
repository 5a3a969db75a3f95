//! A PostgreSQL primary and its streaming standby, for one test.

use std::path::PathBuf;
use std::process::Child;

use capconduit::db::{connect_as_owner, migrate};
use rustix::process::{Pid, Signal, kill_process};

use super::TestDb;
use super::postgres::{configure, directory, initialise, launch, run_program, settings};

const SETTINGS: &str = "max_connections = 100\nfsync = off\nshared_buffers = '32MB'";

/// One server of the pair.
pub struct Node {
    directory: PathBuf,
    // The end of their standard input is the server's end.
    shells: Vec<Child>,
}

impl Node {
    /// A new cluster.
    pub fn primary() -> Self {
        let directory = directory();
        initialise(&directory);
        configure(&directory, SETTINGS);
        let shell = launch(&directory);
        Self {
            directory,
            shells: vec![shell],
        }
    }

    /// A copy of this one that follows it.
    pub fn standby(&self) -> Self {
        let directory = directory();
        let host = format!("--host={}", self.directory.display());
        let arguments = [
            "--pgdata=data",
            "--username=postgres",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
            &host,
        ];
        run_program(&directory, "pg_basebackup", &arguments);
        configure(&directory, SETTINGS);
        let shell = launch(&directory);
        Self {
            directory,
            shells: vec![shell],
        }
    }

    /// Where its socket is.
    pub fn host(&self) -> String {
        self.directory.display().to_string()
    }

    /// Its migrated database.
    pub async fn database(&self) -> TestDb {
        let url = format!("host={} user=postgres dbname=postgres", self.host());
        let mut owner = connect_as_owner(&settings(&url)).await.expect("connects");
        migrate::migrate(&mut owner).await.expect("migrates");
        TestDb { url, owner }
    }

    /// A session on a server that may be a standby.
    pub async fn look(&self) -> tokio_postgres::Client {
        let url = format!("host={} user=postgres dbname=postgres", self.host());
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .expect("connects");
        tokio::spawn(connection);
        client
    }

    /// As a power cut: nothing is written or said any more.
    pub fn crash(&self) {
        run_program(
            &self.directory,
            "pg_ctl",
            &["stop", "--mode=immediate", "--pgdata=data"],
        );
    }

    /// Starts it again after a crash.
    pub fn restart(&mut self) {
        self.shells.push(launch(&self.directory));
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        run_program(
            &self.directory,
            "pg_ctl",
            &["promote", "--wait", "--pgdata=data"],
        );
    }
}

/// Sends a signal to one process of a server.
pub fn signal(pid: i32, signal: &str) {
    let pid = Pid::from_raw(pid).expect("a process");
    let signal = match signal {
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        "TERM" => Signal::TERM,
        other => panic!("{other} is no signal of these tests"),
    };
    // As PostgreSQL's user or root: the tests run as one of them.
    kill_process(pid, signal).expect("is sent");
}
