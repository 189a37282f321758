//! Everything of this process, open: built whole or not at all, then serving, then closed in order.
//!
//! Several processes over one database start one after the other ([`Turn`]): each finds what the one before has made.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rollcall_accounts::Accounts;
use rollcall_attendance::{Attendance, Log, SystemClock};
use rollcall_core::{UtcInstant, limits};
use rollcall_gallery::{FaceOptions, Gallery, GalleryOptions, GalleryServer, Key};
use rollcall_program::machine::{Host, host_name, program_made, url};
use rollcall_program::people::{Directory, SiteNotes};
use rollcall_program::run::Ready;
use rollcall_program::shell::models_folder;
use rollcall_program::{folder, health as part_health, key, systemd, ticks};
use rollcall_proto::v1::gallery_service_server::GalleryServiceServer;
use rollcall_server::{Running as RunningServer, Server, Services, health};
use rollcall_store::{DataFolder, Turn, Writes, replace_file};
use rollcall_terminals::nearby::Announcement;
use rollcall_terminals::{adoption_service, configured, fleet_service};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::terminals::Terminals;
use super::{Plan, stepped_back};
use crate::backups::Keeper;
use crate::config::{Config, Service};
use crate::databases::Databases;
use crate::place::Store;
use crate::restored;
use crate::store::{self, Head};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Time for the log to write what waits.
const LOG_CLOSE: Duration = Duration::from_secs(10);

/// Built, and not yet serving.
pub(super) struct Site {
    parts: Parts,
    server: Server,
    terminals: Terminals,
    backups: Option<Keeper>,
    token: PathBuf,
    /// What its certificate is for beside this machine's names.
    names: Vec<String>,
    serves_terminals: bool,
}

/// What outlives the server.
pub(super) struct Parts {
    pub(super) folder: DataFolder,
    pub(super) databases: Databases,
    pub(super) writes: Writes,
    pub(super) clock: Arc<SystemClock>,
    pub(super) log: Log,
    pub(super) gallery: Gallery,
    pub(super) attendance: Attendance,
}

/// Serving.
pub(super) struct Running {
    parts: Parts,
    server: RunningServer,
    ticks: JoinSet<()>,
    stop: CancellationToken,
    token: PathBuf,
    /// Terminals find it by this, as long as it lasts.
    _announcement: Option<Announcement>,
}

/// Tells the network where the hub is. Nobody needs that who knows its address.
fn announced(site: &str, address: SocketAddr) -> Option<Announcement> {
    if address.ip().is_loopback() {
        return None;
    }
    let host = host_name().map_or_else(String::new, |host| host.0);
    let announced = Announcement::begin(site, &host, address.port());
    announced.inspect_err(|error| tracing::warn!(%error, "the hub is not announced")).ok()
}

impl Site {
    /// Locks, opens, checks and binds.
    pub(super) async fn build(plan: &Plan) -> anyhow::Result<Self> {
        let now = UtcInstant::now();
        let folder = DataFolder::open(&plan.data)?;
        let writes = Writes::new();
        restored::finish(folder.path(), &plan.store).await?;
        // Before the files are made where there are none.
        let sealed = key::Sealed::in_folder(&folder);
        let databases = Databases::open(&plan.store, &folder).await?;
        let _turn = Turn::wait(databases.site(), "start of a hub").await?;
        let head = store::head(databases.site()).await?;
        let key = open_key(plan, &folder, sealed, &databases, &head).await?;
        let clock = Arc::new(SystemClock::new(program_made()));
        let log = databases.open_log(&folder, head.hub, &clock).await?;
        stepped_back::renew_ledger(&folder, databases.gallery(), &key).await?;
        let options = GalleryOptions {
            db: databases.gallery().clone(),
            writes: writes.clone(),
            key,
            zone: rollcall_attendance::zone(databases.site()).await?,
            erasures: folder.file(folder::ERASURES),
            terminal: None,
        };
        let notes = SiteNotes(databases.site().clone());
        let gallery = Gallery::open_with(options, Some(Arc::new(notes)), now).await?;
        stepped_back::go_on(&folder, databases.site(), &head, &gallery).await?;
        let attendance = Attendance::open(
            log.clone(),
            databases.site().clone(),
            writes.clone(),
            Arc::new(Directory(gallery.clone())),
            Arc::new(log.clone()),
            folder.file("tmp"),
        )
        .await?;
        let accounts = Accounts::new(databases.site().clone(), writes.clone());
        let token = accounts.bootstrap(folder.path(), now).await?;
        let parts = Parts { folder, databases, writes, clock, log, gallery, attendance };
        obey_file(&plan.config, &parts).await?;
        let (site, log) = (parts.databases.site(), &parts.log);
        let backups = Keeper::new(&plan.config.backup, &plan.store, site, log, &parts.clock);
        let terminals = Terminals::open(&plan.config, &parts).await?;
        let server = build_server(plan, &parts, &terminals, accounts, backups.as_ref()).await?;
        terminals.reached_at(server.address(), &plan.config);
        let names = plan.config.server.names.0.clone();
        let serves_terminals = plan.config.hub.services.contains(&Service::Terminals);
        Ok(Self { parts, server, terminals, backups, token, names, serves_terminals })
    }

    /// Serves from now on.
    pub(super) async fn spawn(self) -> anyhow::Result<Running> {
        let Self { parts, server, terminals, backups, token, names, serves_terminals } = self;
        let address = format!("{}\n", url(server.address(), Host::ThisMachine));
        replace_file(&parts.folder.file(folder::ADDRESS), address.as_bytes())?;
        let stop = CancellationToken::new();
        let mut ticks = ticks::start(&parts.gallery, &parts.attendance, &parts.clock, &stop);
        systemd::keep_alive(&mut ticks, stop.clone(), || true);
        if let Some(backups) = backups {
            ticks.spawn(backups.run(parts.folder.path().to_owned(), stop.clone()));
        }
        let announcement = match serves_terminals {
            true => announced(terminals.site_name(), server.address()),
            false => None,
        };
        let server = server.spawn().await;
        let (stopped, renewal) = (stop.clone(), server.renewal());
        ticks.spawn(async move {
            tokio::select! {
                () = terminals.follow(names, renewal) => {}
                () = stopped.cancelled() => {}
            }
        });
        Ok(Running { parts, server, ticks, stop, token, _announcement: announcement })
    }
}

impl rollcall_program::run::Running for Running {
    fn ready(&self) -> Ready<'_> {
        Ready {
            url: url(self.server.address(), Host::OtherMachines),
            folder: self.parts.folder.path(),
            token: &self.token,
            more: Vec::new(),
        }
    }

    async fn failed(&self) -> String {
        self.parts.log.failed().await
    }

    /// Calls, writes, the log, the databases.
    async fn drain(mut self, patience: Duration) -> usize {
        // A program that is not there any more is not looked for.
        let _ = std::fs::remove_file(self.parts.folder.file(folder::ADDRESS));
        self.stop.cancel();
        let left = self.server.drain(patience).await;
        self.parts.attendance.stop().await;
        while self.ticks.join_next().await.is_some() {}
        self.parts.writes.close(LOG_CLOSE).await;
        self.parts.log.close(LOG_CLOSE).await;
        self.parts.databases.close().await;
        left
    }
}

/// The services that this process is for. A new one is added here.
async fn build_server(
    plan: &Plan,
    parts: &Parts,
    terminals: &Terminals,
    accounts: Accounts,
    backups: Option<&Keeper>,
) -> anyhow::Result<Server> {
    let identity = terminals.identity(&plan.config.server.names.0)?;
    let mut services = Services::new().add(health::service("hub", VERSION, probes(parts, backups)));
    for service in Service::ALL {
        if !plan.config.hub.services.contains(&service) {
            continue;
        }
        services = match service {
            Service::Accounts => services.add(rollcall_accounts::grpc::service(accounts.clone())),
            Service::Attendance => services.add(rollcall_attendance::service(parts.attendance.clone())),
            Service::Gallery => {
                load_faces(plan, &parts.gallery).await?;
                services.add(gallery_service(&parts.gallery))
            }
            Service::Terminals => services
                .add(fleet_service(terminals.fleet.clone(), Some(Arc::new(terminals.adoptions.clone()))))
                .add(adoption_service(terminals.adoptions.clone()))
                .add(rollcall_sync::service(terminals.sync.clone())),
        };
    }
    let config = plan.config.server.at(plan.address);
    Ok(Server::build(config, &identity, accounts, services).await?)
}

/// The server has looked at the size of a message before.
fn gallery_service(gallery: &Gallery) -> GalleryServiceServer<GalleryServer> {
    let service = GalleryServiceServer::new(GalleryServer::new(gallery.clone()));
    service.max_decoding_message_size(usize::MAX)
}

async fn load_faces(plan: &Plan, gallery: &Gallery) -> anyhow::Result<()> {
    let models = models_folder(plan.models.clone())?;
    let faces = FaceOptions {
        models: models.clone(),
        fpir_target: plan.config.enrolment.fpir_target.0,
        keep_pictures: plan.config.enrolment.keep_pictures,
        threads: limits::INFERENCE_THREADS,
    };
    let loaded = gallery.load_faces(faces).await;
    loaded.map(|_| ()).with_context(|| format!("the networks in {}", models.display()))
}

/// The key that people are sealed with, which must be the one that everybody else over this database has.
async fn open_key(
    plan: &Plan,
    folder: &DataFolder,
    in_folder: key::Sealed,
    databases: &Databases,
    head: &Head,
) -> anyhow::Result<Key> {
    let sealed = match (&head.key_fingerprint, &plan.store) {
        (Some(_), _) => key::Sealed::Gallery,
        (None, Store::Files) => in_folder,
        (None, Store::Server { .. }) => key::Sealed::Nothing,
    };
    let key = key::open(folder, sealed)?;
    match &head.key_fingerprint {
        None => store::set_key_fingerprint(databases.site(), &key.fingerprint()).await?,
        Some(known) => anyhow::ensure!(
            known[..] == key.fingerprint(),
            "{} is not the key that the people in {} are encrypted with: copy it from a data folder that is used with it",
            folder.file(folder::GALLERY_KEY).display(),
            databases.gallery().place()
        ),
    }
    Ok(key)
}

/// Obeys what the configuration file says anew.
async fn obey_file(config: &Config, parts: &Parts) -> anyhow::Result<()> {
    let said = config.changeable();
    let news = configured::news_to(parts.databases.site(), &said).await?;
    if news.is_empty() {
        return Ok(());
    }
    let is_news = |key: &str| news.iter().any(|one| one == key);
    let zone = config.site.time_zone.clone().filter(|_| is_news("site.time_zone")).map(|zone| zone.0);
    let codes = config.site.code_set.filter(|_| is_news("site.code_set")).map(Into::into);
    parts.attendance.configure(zone, codes).await?;
    configured::remember(parts.databases.site(), &parts.writes, said).await?;
    tracing::info!(keys = news.join(","), "the configuration file's settings were taken over");
    Ok(())
}

/// How the parts are, for HealthService.
fn probes(parts: &Parts, backups: Option<&Keeper>) -> Vec<health::Probe> {
    let mut probes = vec![
        part_health::log(parts.log.clone()),
        part_health::clock(Arc::clone(&parts.clock)),
        part_health::disk(parts.folder.path().to_owned()),
    ];
    probes.extend(backups.map(Keeper::probe));
    probes
}
