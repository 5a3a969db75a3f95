//! A PostgreSQL server of the test process's own, on a Unix socket only, and a database for each test.
//!
//! The server is a child of a small shell that waits for the end of its standard input: however the test
//! process ends, the pipe closes, the server is stopped and its directory removed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use capconduit::db::{Settings, Store, connect_as_owner, migrate};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

use super::PATIENCE;

static SERVER: OnceLock<Server> = OnceLock::new();
static TEMPLATE: OnceCell<()> = OnceCell::const_new();
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

struct Server {
    directory: PathBuf,
    // The end of its standard input is the server's end.
    _shell: std::process::Child,
}

/// A migrated database of one test.
pub struct TestDb {
    /// URL of a superuser, with whom the daemon begins.
    pub url: String,
    /// That superuser, for arranging and looking.
    pub owner: Client,
}

impl TestDb {
    /// A fresh, migrated database.
    pub async fn new() -> Self {
        TEMPLATE
            .get_or_init(|| async {
                let url = create("template", None).await;
                let mut client = connect(&url).await;
                let reached = client.query_one("show data_directory", &[]).await;
                let reached: String = reached.expect("answers").get(0);
                let ours = SERVER.get().expect("started").directory.join("data");
                assert_eq!(Path::new(&reached), ours, "another server answered");
                migrate::migrate(&mut client).await.expect("migrates");
            })
            .await;
        Self::clone_of(Some("template")).await
    }

    /// A database without any table.
    pub async fn empty() -> Self {
        Self::clone_of(None).await
    }

    async fn clone_of(template: Option<&str>) -> Self {
        let name = format!("t{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        let url = create(&name, template).await;
        let owner = connect(&url).await;
        Self { url, owner }
    }

    /// As the daemon would be told.
    pub fn settings(&self) -> Settings {
        settings(&self.url)
    }

    /// A handle as a daemon's.
    pub fn store(&self) -> Store {
        Store::new(&self.settings()).expect("builds pools")
    }

    /// The only value of a query's only row.
    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        let row = self.owner.query_one(sql, &[]).await;
        row.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        // Migrations of several databases at once change the same roles, which PostgreSQL does not queue.
        for _ in 0..50 {
            match self.owner.batch_execute(sql).await {
                Err(error) if format!("{error:?}").contains("tuple concurrently updated") => {
                    self.owner
                        .batch_execute("rollback")
                        .await
                        .expect("rolls back");
                }
                ran => return ran.unwrap_or_else(|e| panic!("{sql}: {e:?}")),
            }
        }
        panic!("{sql}: others change the same roles without end");
    }
}

pub fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned().into(),
        ca_file: None,
        route_connections: 8,
        background_connections: 2,
        api_connections: 8,
        heavy_connections: 4,
        export_connections: 2,
        prepared: &capconduit::routing::store::sql::HOT,
    }
}

async fn connect(url: &str) -> Client {
    connect_as_owner(&settings(url)).await.expect("connects")
}

async fn create(name: &str, template: Option<&str>) -> String {
    let server = SERVER.get_or_init(start);
    let admin = connect(&server.url("postgres")).await;
    let template = template.map_or(String::new(), |t| format!(" template {t}"));
    // A template cannot be copied while somebody is connected; the migrating session may linger.
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let created = admin
            .batch_execute(&format!("create database {name}{template}"))
            .await;
        match created {
            Ok(()) => return server.url(name),
            Err(error) if error.code().is_some_and(|c| c.code() == "55006") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("cannot create database {name}: {error:?}"),
        }
    }
    panic!("database template stayed in use");
}

impl Server {
    fn url(&self, database: &str) -> String {
        let socket = self.directory.display();
        format!("host={socket} user=postgres dbname={database}")
    }
}

/// The directory with `initdb` and `postgres`: from the environment, the path, or Debian's place.
pub fn binaries() -> PathBuf {
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(std::env::var_os("CAPCONDUIT_PG_BIN").map(PathBuf::from));
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path));
    }
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<_> = versions.flatten().map(|v| v.path().join("bin")).collect();
        versions.sort();
        places.extend(versions.into_iter().rev());
    }
    places
        .into_iter()
        .find(|place| {
            let needed = ["initdb", "postgres", "pg_ctl", "pg_basebackup"];
            needed.iter().all(|program| place.join(program).exists())
        })
        .expect("PostgreSQL's server programs (package postgresql)")
}

fn running_as_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("runs id");
    id.stdout == b"0\n"
}

/// PostgreSQL refuses to run as root.
pub fn unprivileged(program: &Path) -> Command {
    if running_as_root() {
        let mut command = Command::new("setpriv");
        let known = Command::new("id").args(["-u", "postgres"]).output();
        let user = if known.is_ok_and(|o| o.status.success()) {
            "postgres"
        } else {
            "nobody"
        };
        command
            .args([&format!("--reuid={user}"), "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn start() -> Server {
    let directory = directory();
    initialise(&directory);
    let settings =
        "max_connections = 400\nfsync = off\nfull_page_writes = off\nshared_buffers = '64MB'";
    configure(&directory, settings);
    let shell = launch(&directory);
    Server {
        directory,
        _shell: shell,
    }
}

/// A directory for a server, which the server's user may enter.
pub fn directory() -> PathBuf {
    let directory = tempfile::Builder::new()
        .prefix("capconduit-pg-")
        .tempdir()
        .expect("makes a directory")
        .keep();
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&directory, everyone).expect("opens the directory");
    directory
}

/// Runs a program of PostgreSQL's to its end.
pub fn run_program(directory: &Path, program: &str, arguments: &[&str]) {
    let ran = unprivileged(&binaries().join(program))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|e| panic!("runs {program}: {e}"));
    assert!(
        ran.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Makes a cluster in `data` of this directory.
pub fn initialise(directory: &Path) {
    let arguments =
        "--pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    run_program(directory, "initdb", &arguments);
}

/// Adds settings; a Unix socket in this directory is the only way to the server.
pub fn configure(directory: &Path, settings: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(directory.join("data/postgresql.conf"))
        .expect("opens postgresql.conf");
    writeln!(
        file,
        "\nlisten_addresses = ''\nunix_socket_directories = '{}'\n{settings}",
        directory.display()
    )
    .expect("writes postgresql.conf");
}

/// Starts the server and waits until it is ready. It ends, and its directory goes, with the end of the shell's standard
/// input.
pub fn launch(directory: &Path) -> std::process::Child {
    let data = directory.join("data");
    let mut server = unprivileged(&binaries().join("postgres"));
    server.arg("-D").arg(&data);
    let shell = Command::new("sh")
        .arg("-c")
        .arg("log=$1; dir=$2; shift 2; \"$@\" >\"$log\" 2>&1 & pid=$!; read -r _; kill -INT $pid; wait $pid; rm -rf \"$dir\"")
        .arg("sh")
        .arg(directory.join("log"))
        .arg(directory)
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts the server");
    let deadline = Instant::now() + PATIENCE;
    let pid_file = data.join("postmaster.pid");
    // The last line of the file says `ready` once it is; of a standby, once it can be read.
    while !std::fs::read_to_string(&pid_file).is_ok_and(|text| text.contains("ready")) {
        let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "PostgreSQL did not start: {log}");
        std::thread::sleep(Duration::from_millis(20));
    }
    shell
}
