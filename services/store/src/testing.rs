//! Databases for tests: every store test of every crate runs on both engines.
//!
//! PostgreSQL comes from Debian's package, one server for each test process: a cluster in a temporary folder that
//! listens on a Unix socket there and syncs nothing. A shell watches over it: it waits for the end of a pipe that only
//! the test process holds, so that the server stops and its folder goes however the process ends. Databases sort by an
//! ICU collation, so that a column which lacks its own `"C"` collation is seen to sort differently.
//!
//! Use it from a dev-dependency with the feature `testing`. A machine without PostgreSQL fails these tests.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::{Db, Migration, SqliteOptions};

/// Runs a test on each engine: `name::sqlite` and `name::postgres`. Each has a fresh database with the migrations.
///
/// ```
/// # const MIGRATIONS: &[rollcall_store::Migration] = &[];
/// rollcall_store::both_engines! {
///     migrations = &[MIGRATIONS];
///
///     async fn a_read_sees_one_moment(db: Db) {
///         db.read().await.expect("a transaction");
///     }
/// }
/// ```
#[macro_export]
macro_rules! both_engines {
    (
        migrations = $migrations:expr;
        $($(#[$attribute:meta])* async fn $name:ident($db:ident: Db) $body:block)+
    ) => {$(
        $(#[$attribute])*
        async fn $name($db: $crate::Db) $body

        mod $name {
            #[allow(unused_imports, reason = "the list of migrations may need none")]
            use super::*;

            #[test]
            fn sqlite() {
                $crate::testing::on_sqlite($migrations, super::$name);
            }

            #[test]
            fn postgres() {
                $crate::testing::on_postgres($migrations, super::$name);
            }
        }
    )+};
}

/// Runs a test on a fresh SQLite file, set as for personal data.
pub fn on_sqlite<F: Future<Output = ()>>(migrations: &[&[Migration]], test: impl FnOnce(Db) -> F) {
    runtime().block_on(async {
        let (db, _folder) = sqlite(migrations).await;
        test(db.clone()).await;
        db.close().await;
    });
}

/// Runs a test on a fresh PostgreSQL database.
pub fn on_postgres<F: Future<Output = ()>>(migrations: &[&[Migration]], test: impl FnOnce(Db) -> F) {
    runtime().block_on(async {
        let db = postgres(migrations).await;
        test(db.clone()).await;
        db.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("an async runtime")
}

/// A fresh SQLite file, and the folder that goes with the second value.
pub async fn sqlite(migrations: &[&[Migration]]) -> (Db, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = SqliteOptions { secure_delete: true };
    let db = Db::open_sqlite(&folder.path().join("test.db"), options, migrations).await;
    (db.expect("a new SQLite file"), folder)
}

/// A fresh PostgreSQL database.
pub async fn postgres(migrations: &[&[Migration]]) -> Db {
    let url = postgres_url().await;
    Db::connect_postgres(&url, migrations).await.expect("a new PostgreSQL database")
}

/// The URL of a fresh, empty PostgreSQL database, with which the server is started when it is the first.
pub async fn postgres_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start)).await;
    let server = server.expect("a PostgreSQL server (is there none? install postgresql)");
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("a connection");
    let create = AssertSqlSafe(format!("create database {name}"));
    sqlx::query(create).execute(&mut connection).await.expect("a new database");
    connection.close().await.expect("a closed connection");
    server.url(&name)
}

/// The server of this process.
struct Server {
    folder: PathBuf,
    /// Its standard input is the pipe whose end stops the server: held until the process ends.
    _watch: Child,
}

/// Arguments: the folder, PostgreSQL's programs, and, for root, the command that makes another user of us.
const WATCH: &str = r#"
folder=$1 programs=$2
shift 2
options="-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=300 -c shared_buffers=32MB"
options="$options -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
trap '' INT TERM HUP
cd /
quit() { cat "$folder"/*.log >&2; rm -rf "$folder"; exit 1; }
"$@" "$programs/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C \
    --locale-provider=icu --icu-locale=en --pgdata="$folder/data" >"$folder/initdb.log" 2>&1 </dev/null || quit
"$@" "$programs/pg_ctl" start --wait --silent --pgdata="$folder/data" --log="$folder/server.log" \
    --options="$options" </dev/null >&2 || quit
echo ready
cat >/dev/null
"$@" "$programs/pg_ctl" stop --mode=immediate --silent --pgdata="$folder/data" </dev/null >/dev/null 2>&1
rm -rf "$folder"
"#;

impl Server {
    fn start() -> Self {
        let programs = programs().expect("PostgreSQL: install postgresql");
        let folder =
            tempfile::Builder::new().prefix("rollcall-postgres-").tempdir().expect("a folder").keep();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).arg(&folder).arg(programs);
        // PostgreSQL refuses to run as root.
        if rustix::process::geteuid().is_root() {
            let chown = Command::new("chown").arg("postgres").arg(&folder).status().expect("chown");
            assert!(chown.success(), "there is no user postgres: install postgresql");
            watch.args(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        // A group of its own: an interrupt at the keyboard ends the tests, and then the end of the pipe the server.
        watch.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut watch = watch.spawn().expect("sh");
        let mut line = String::new();
        let stdout = watch.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        assert_eq!(line, "ready\n", "PostgreSQL did not start; its words are above");
        Self { folder, _watch: watch }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.display())
    }
}

/// The folder of Debian's newest PostgreSQL.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
}
