//! Everything of this terminal, open: built whole or not at all, then serving, then closed in order.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rollcall_accounts::Accounts;
use rollcall_attendance::codes::CodeSet;
use rollcall_attendance::{Attendance, Log, SystemClock};
use rollcall_core::UtcInstant;
use rollcall_gallery::{FaceOptions, Gallery, GalleryOptions, GalleryServer, Key};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryServiceServer;
use rollcall_server::{Reflection, Running as RunningServer, Server, ServerConfig, Services, health};
use rollcall_store::{DataFolder, Db, Secret, Writes, replace_file};
use rollcall_terminals::{Identity, Revised, Settings, SettingsField, Terminals, hardware_id};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::device::ThisDevice;
use super::people::{Directory, OnlyDoor, SiteNotes};
use super::{Plan, ticks};
use crate::config::{self, Config};
use crate::{databases, folder};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Time for the log to write what waits.
const LOG_CLOSE: Duration = Duration::from_secs(10);

/// Built, and not yet serving.
pub(super) struct Site {
    parts: Parts,
    server: Server,
    token: PathBuf,
}

/// What outlives the server.
struct Parts {
    folder: DataFolder,
    databases: Vec<Db>,
    writes: Writes,
    log: Log,
    gallery: Gallery,
    attendance: Attendance,
}

/// Serving.
pub(super) struct Running {
    parts: Parts,
    server: RunningServer,
    ticks: JoinSet<()>,
    stop: CancellationToken,
    token: PathBuf,
}

impl Site {
    /// Locks, opens, checks and binds.
    pub(super) async fn build(plan: &Plan) -> anyhow::Result<Self> {
        let now = UtcInstant::now();
        let folder = DataFolder::open(&plan.data)?;
        let writes = Writes::new();
        let key = Secret::open_or_create(&folder.file(folder::GALLERY_KEY))?;
        let site_db = databases::site(&folder).await?;
        let gallery_db = databases::gallery(&folder).await?;
        let identity = Identity::open(&site_db, &hardware_id(), &first_settings(&plan.config)).await?;
        if identity.moved {
            tracing::warn!("the data were made on another machine: was the card moved or copied?");
        }
        let settings = identity.settings(&site_db).await?;
        let log_identity = rollcall_attendance::Identity {
            terminal_id: identity.terminal,
            hw_id: identity.hardware.clone(),
        };
        let clock = Arc::new(SystemClock::new(UtcInstant::from_micros(0)));
        let log = Log::open(&folder, log_identity, Arc::clone(&clock) as _).await?;
        let elsewhere = Arc::new(SiteNotes(site_db.clone()));
        let gallery =
            open_gallery(plan, &folder, &gallery_db, &writes, &key, &identity, &settings, elsewhere).await?;
        let people = Arc::new(Directory(gallery.clone()));
        let door = Arc::new(OnlyDoor { terminal: identity.terminal, log: log.clone() });
        let attendance =
            Attendance::open(log.clone(), site_db.clone(), writes.clone(), people, door, folder.file("tmp"))
                .await?;
        let device = ThisDevice { log: log.clone(), gallery: gallery.clone(), clock };
        let terminals =
            Terminals::new(identity, site_db.clone(), writes.clone(), device, folder.path().to_owned());
        terminals.catch_up().await?;
        obey_file(&plan.config, &terminals, &attendance).await?;
        gallery.set_zone(attendance.zone().await?, now).await?;
        let accounts = Accounts::new(site_db.clone(), writes.clone());
        let token = accounts.bootstrap(folder.path(), now).await?;
        let tls = rollcall_server::Identity::of_site(folder.path(), &plan.config.server.names.0, now)?;
        let services = Services::new()
            .add(rollcall_accounts::grpc::service(accounts.clone()))
            .add(gallery_service(&gallery))
            .add(rollcall_attendance::service(attendance.clone()))
            .add(rollcall_terminals::service(terminals, VERSION))
            .add(health::service("edge-agent", VERSION, probes(&log, &gallery)));
        let server = Server::build(server_config(plan), &tls, accounts, services).await?;
        let parts = Parts { folder, databases: vec![gallery_db, site_db], writes, log, gallery, attendance };
        Ok(Self { parts, server, token })
    }

    /// Serves from now on.
    pub(super) async fn spawn(self) -> anyhow::Result<Running> {
        let Self { parts, server, token } = self;
        let address = format!("{}\n", url(server.address(), Host::ThisMachine));
        replace_file(&parts.folder.file(folder::ADDRESS), address.as_bytes())?;
        let stop = CancellationToken::new();
        let ticks = ticks::start(&parts.gallery, &parts.attendance, &stop);
        let server = server.spawn().await;
        Ok(Running { parts, server, ticks, stop, token })
    }
}

impl Running {
    /// Where it is reached from other machines.
    pub(super) fn url(&self) -> String {
        url(self.server.address(), Host::OtherMachines)
    }

    /// The data folder.
    pub(super) fn folder(&self) -> &Path {
        self.parts.folder.path()
    }

    /// The file with the administrator's token.
    pub(super) fn token(&self) -> &Path {
        &self.token
    }

    /// Returns, with the reason, when it cannot go on.
    pub(super) async fn failed(&self) -> String {
        self.parts.log.failed().await
    }

    /// Ends everything in order: calls, writes, the log, the databases. Returns how many calls were cut.
    pub(super) async fn drain(mut self, patience: Duration) -> usize {
        // A program that is not there any more is not looked for.
        let _ = std::fs::remove_file(self.parts.folder.file(folder::ADDRESS));
        self.stop.cancel();
        let left = self.server.drain(patience).await;
        self.parts.attendance.stop().await;
        while self.ticks.join_next().await.is_some() {}
        self.parts.writes.close(LOG_CLOSE).await;
        self.parts.log.close(LOG_CLOSE).await;
        for db in &self.parts.databases {
            db.close().await;
        }
        left
    }
}

async fn open_gallery(
    plan: &Plan,
    folder: &DataFolder,
    db: &Db,
    writes: &Writes,
    key: &Secret,
    identity: &Identity,
    settings: &Revised,
    elsewhere: Arc<SiteNotes>,
) -> anyhow::Result<Gallery> {
    let options = GalleryOptions {
        db: db.clone(),
        writes: writes.clone(),
        key: Key::new(*key.bytes()),
        zone: rollcall_core::SiteZone::utc(),
        erasures: folder.file(folder::ERASURES),
        terminal: Some(identity.terminal),
    };
    let gallery = Gallery::open_with(options, Some(elsewhere), UtcInstant::now()).await?;
    let faces = FaceOptions {
        models: plan.models.clone(),
        fpir_target: settings.settings.fpir_target,
        keep_pictures: settings.settings.keep_pictures,
        threads: rollcall_core::limits::INFERENCE_THREADS,
    };
    gallery.load_faces(faces).await.with_context(|| format!("the networks in {}", plan.models.display()))?;
    Ok(gallery)
}

/// The server has looked at the size of a message before.
fn gallery_service(gallery: &Gallery) -> GalleryServiceServer<GalleryServer> {
    let service = GalleryServiceServer::new(GalleryServer::new(gallery.clone()));
    service.max_decoding_message_size(usize::MAX)
}

fn server_config(plan: &Plan) -> ServerConfig {
    let server = &plan.config.server;
    ServerConfig {
        metrics_listen: server.metrics_address,
        reflection: if server.reflection { Reflection::On } else { Reflection::Off },
        ..ServerConfig::at(plan.address)
    }
}

/// How the parts are, for HealthService.
fn probes(log: &Log, _gallery: &Gallery) -> Vec<health::Probe> {
    let log = log.clone();
    vec![Box::new(move || {
        let health = log.health();
        let (state, explanation) = match health.is_disk_full {
            true => {
                (health::State::Degraded, format!("the disk is full, {} events wait for room", health.kept))
            }
            false => (health::State::Well, String::new()),
        };
        health::Part { part: "log", state, explanation }
    })]
}

/// What a new terminal is told.
fn first_settings(config: &Config) -> Settings {
    let terminal = &config.terminal;
    Settings {
        display_name: terminal.name.clone().map_or_else(host_name, |name| name.0),
        direction: direction(terminal.direction.unwrap_or_default()),
        groups: Vec::new(),
        fpir_target: terminal.fpir_target.map_or(rollcall_core::limits::FPIR_TARGET_DEFAULT, |rate| rate.0),
        keep_pictures: terminal.keep_pictures.unwrap_or(false),
    }
}

fn direction(direction: config::Direction) -> v1::Direction {
    match direction {
        config::Direction::In => v1::Direction::In,
        config::Direction::Out => v1::Direction::Out,
    }
}

fn code_set(set: config::CodeSet) -> CodeSet {
    match set {
        config::CodeSet::Plain => CodeSet::Plain,
        config::CodeSet::Dfe => CodeSet::Dfe,
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    config::Name::try_from(name.trim().to_owned()).map_or_else(|_| "Terminal".to_owned(), |name| name.0)
}

/// Obeys what the configuration file says anew.
async fn obey_file(
    config: &Config,
    terminals: &Terminals<ThisDevice>,
    attendance: &Attendance,
) -> anyhow::Result<()> {
    let said = config.changeable();
    let news = terminals.news(&said).await?;
    if news.is_empty() {
        return Ok(());
    }
    let is_news = |key: &str| news.iter().any(|one| one == key);
    let fields = [
        ("terminal.name", SettingsField::DisplayName),
        ("terminal.direction", SettingsField::Direction),
        ("terminal.fpir_target", SettingsField::FpirTarget),
        ("terminal.keep_pictures", SettingsField::KeepPictures),
    ];
    let mask = fields.into_iter().filter(|(key, _)| is_news(key)).map(|(_, field)| field).collect();
    let terminal = terminals.identity().terminal;
    terminals.update(terminal, first_settings(config), mask, String::new(), String::new()).await?;
    let zone = config.site.time_zone.clone().filter(|_| is_news("site.time_zone")).map(|zone| zone.0);
    let codes = config.site.code_set.filter(|_| is_news("site.code_set"));
    if zone.is_some() || codes.is_some() {
        attendance.configure(zone, codes.map(code_set)).await?;
    }
    terminals.remember(said).await?;
    tracing::info!(keys = news.join(","), "the configuration file's settings were taken over");
    Ok(())
}

/// From where a server is reached.
enum Host {
    ThisMachine,
    OtherMachines,
}

fn url(address: SocketAddr, host: Host) -> String {
    let port = address.port();
    match (host, address.ip()) {
        (_, ip) if !ip.is_unspecified() => format!("https://{address}"),
        (Host::OtherMachines, _) => format!("https://{}:{port}", host_name().to_lowercase()),
        (Host::ThisMachine, ip) if ip.is_ipv6() => format!("https://[{}]:{port}", Ipv6Addr::LOCALHOST),
        (Host::ThisMachine, _) => format!("https://{}:{port}", Ipv4Addr::LOCALHOST),
    }
}
