//! Everything of this terminal, open: built whole or not at all, then serving, then closed in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rollcall_accounts::Accounts;
use rollcall_attendance::{Attendance, Log, SystemClock};
use rollcall_core::{UtcInstant, limits};
use rollcall_gallery::{FaceOptions, Gallery, GalleryOptions, GalleryServer};
use rollcall_program::machine::{Host, host_name, program_made, url};
use rollcall_program::people::{Directory, SiteNotes};
use rollcall_program::run::Ready;
use rollcall_program::{health as part_health, systemd, ticks};
use rollcall_proto::v1;
use rollcall_proto::v1::gallery_service_server::GalleryServiceServer;
use rollcall_proto::v1::terminal_service_server::TerminalServiceServer;
use rollcall_server::{HubMembership, Running as RunningServer, Server, Services, health};
use rollcall_store::{DataFolder, Db, Writes, replace_file};
use rollcall_terminals::{
    Grpc, Identity, Revised, Settings, SettingsField, Terminals, WithoutClock, hardware_id,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::device::ThisDevice;
use super::hardware::{self, Hardware};
use super::{Alarms, Plan};
use crate::config::{self, Config};
use crate::enrolment::Enrolments;
use crate::entrance::Rules;
use crate::hub::{Hubs, InTouch};
use crate::{databases, folder, key};

/// What this program tells of itself.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Time for the log to write what waits.
const LOG_CLOSE: Duration = Duration::from_secs(10);

/// Built, and not yet serving.
pub(super) struct Site {
    parts: Parts,
    server: Server,
    hardware: Hardware,
    in_touch: InTouch<ThisDevice>,
    token: PathBuf,
}

/// What outlives the server.
struct Parts {
    folder: DataFolder,
    databases: Vec<Db>,
    writes: Writes,
    clock: Arc<SystemClock>,
    log: Log,
    gallery: Gallery,
    attendance: Attendance,
}

/// Serving.
pub(super) struct Running {
    parts: Parts,
    server: RunningServer,
    hardware: Hardware,
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
        let key = key::open(&folder, key::Sealed::in_folder(&folder))?;
        let site_db = databases::site(&folder).await?;
        let gallery_db = databases::gallery(&folder).await?;
        let identity = Identity::open(&site_db, &hardware_id(), &first_settings(&plan.config)).await?;
        if identity.moved {
            tracing::warn!("the data were made on another machine: was the card moved or copied?");
        }
        let clock = Arc::new(SystemClock::new(program_made()));
        let log = open_log(&folder, &identity, &clock).await?;
        let options = GalleryOptions {
            db: gallery_db.clone(),
            writes: writes.clone(),
            key,
            zone: rollcall_attendance::zone(&site_db).await?,
            erasures: folder.file(folder::ERASURES),
            terminal: Some(identity.terminal),
        };
        let gallery = Gallery::open_with(options, Some(Arc::new(SiteNotes(site_db.clone()))), now).await?;
        load_faces(plan, &gallery, &identity.settings(&site_db).await?).await?;
        let people = Arc::new(Directory(gallery.clone()));
        let (site, tmp) = (site_db.clone(), folder.file("tmp"));
        let attendance =
            Attendance::open(log.clone(), site, writes.clone(), people, Arc::new(log.clone()), tmp).await?;
        let membership = HubMembership::open(&folder, identity.terminal, &identity.hardware, program_made())?;
        let acknowledged = watch::Sender::new(BTreeMap::new());
        let device = ThisDevice {
            log: log.clone(),
            gallery: gallery.clone(),
            clock: Arc::clone(&clock),
            alarms: Alarms::new(log.clone()),
            settings: watch::Sender::new(identity.settings(&site_db).await?.settings),
            parts: Arc::default(),
            enrolments: Arc::new(Enrolments::new(gallery.clone(), hardware::given_name(&plan.config))),
            membership: membership.clone(),
            acknowledged: acknowledged.subscribe(),
        };
        let (site, data) = (site_db.clone(), folder.path().to_owned());
        let terminals = Terminals::open(identity, site, writes.clone(), device.clone(), data).await?;
        let door = hardware::open_door(&plan.config, terminals.lockdown().is_on).await?;
        if let Some((door, _)) = &door {
            let _first = device.parts.door.set(Arc::clone(door));
        }
        terminals.catch_up().await?;
        obey_file(&plan.config, &terminals, &attendance).await?;
        let accounts = Accounts::new(site_db.clone(), writes.clone());
        let token = accounts.bootstrap(folder.path(), now).await?;
        let databases = vec![gallery_db, site_db];
        let rules = Rules {
            settings: device.settings.subscribe(),
            lockdown: terminals.watch_lockdown(),
            attendance: attendance.clone(),
            clock: Arc::clone(&clock),
        };
        let parts = Parts { folder, databases, writes, clock, log, gallery, attendance };
        let hubs = Arc::new(Hubs::new(membership.clone(), Box::new(device.clone())));
        let digits = hubs.digits();
        let in_touch = InTouch {
            log: parts.log.clone(),
            gallery: parts.gallery.clone(),
            terminals: terminals.clone(),
            attendance: parts.attendance.clone(),
            clock: Arc::clone(&parts.clock) as _,
            membership,
            folder: parts.folder.path().to_owned(),
            software: VERSION.to_owned(),
            link: watch::Sender::new(None),
            acknowledged,
        };
        in_touch.settle().await.map_err(|fault| anyhow::anyhow!(fault.message))?;
        let server = build_server(plan, &parts, terminals, hubs, accounts).await?;
        let hardware = Hardware::start(plan, &device, rules, door, digits).await?;
        Ok(Self { parts, server, hardware, in_touch, token })
    }

    /// Serves from now on.
    pub(super) async fn spawn(self) -> anyhow::Result<Running> {
        let Self { parts, server, hardware, in_touch, token } = self;
        let address = format!("{}\n", url(server.address(), Host::ThisMachine));
        replace_file(&parts.folder.file(folder::ADDRESS), address.as_bytes())?;
        let stop = CancellationToken::new();
        let mut ticks = ticks::start(&parts.gallery, &parts.attendance, &parts.clock, &stop);
        systemd::keep_alive(&mut ticks, stop.clone(), hardware.heartbeat());
        let stopped = stop.clone();
        ticks.spawn(async move {
            tokio::select! {
                never = in_touch.run() => match never {},
                () = stopped.cancelled() => {}
            }
        });
        let server = server.spawn().await;
        Ok(Running { parts, server, hardware, ticks, stop, token })
    }
}

impl rollcall_program::run::Running for Running {
    fn ready(&self) -> Ready<'_> {
        let screen = self.hardware.screen().map(|screen| format!("screen={screen}"));
        Ready {
            url: url(self.server.address(), Host::OtherMachines),
            folder: self.parts.folder.path(),
            token: &self.token,
            more: screen.into_iter().collect(),
        }
    }

    async fn failed(&self) -> String {
        tokio::select! {
            reason = self.parts.log.failed() => reason,
            reason = self.hardware.failed() => reason,
        }
    }

    /// The hardware, calls, writes, the log, the databases.
    async fn drain(mut self, patience: Duration) -> usize {
        // A program that is not there any more is not looked for.
        let _ = std::fs::remove_file(self.parts.folder.file(folder::ADDRESS));
        self.hardware.stop().await;
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

async fn open_log(folder: &DataFolder, identity: &Identity, clock: &Arc<SystemClock>) -> anyhow::Result<Log> {
    let identity =
        rollcall_attendance::Identity { terminal_id: identity.terminal, hw_id: identity.hardware.clone() };
    Ok(Log::open(folder, identity, Arc::clone(clock) as _).await?)
}

async fn load_faces(plan: &Plan, gallery: &Gallery, settings: &Revised) -> anyhow::Result<()> {
    let faces = FaceOptions {
        models: plan.models.clone(),
        fpir_target: settings.settings.fpir_target,
        keep_pictures: settings.settings.keep_pictures,
        threads: limits::INFERENCE_THREADS,
    };
    let loaded = gallery.load_faces(faces).await;
    loaded.map(|_| ()).with_context(|| format!("the networks in {}", plan.models.display()))
}

async fn build_server(
    plan: &Plan,
    parts: &Parts,
    terminals: Terminals<ThisDevice>,
    hubs: Arc<Hubs>,
    accounts: Accounts,
) -> anyhow::Result<Server> {
    let names = &plan.config.server.names.0;
    let tls = rollcall_server::Identity::of_site(parts.folder.path(), names, UtcInstant::now())?;
    let services = Services::new()
        .add(rollcall_accounts::grpc::service(accounts.clone()))
        .add(gallery_service(&parts.gallery))
        .add(rollcall_attendance::service(parts.attendance.clone()))
        .add(TerminalServiceServer::new(Grpc::new(terminals, VERSION).with_joining(hubs)))
        .add(health::service("edge-agent", VERSION, probes(parts)));
    Ok(Server::build(plan.config.server.at(plan.address), &tls, accounts, services).await?)
}

/// The server has looked at the size of a message before.
fn gallery_service(gallery: &Gallery) -> GalleryServiceServer<GalleryServer> {
    let service = GalleryServiceServer::new(GalleryServer::new(gallery.clone()));
    service.max_decoding_message_size(usize::MAX)
}

/// How the parts are, for HealthService.
fn probes(parts: &Parts) -> Vec<health::Probe> {
    vec![
        part_health::log(parts.log.clone()),
        part_health::clock(Arc::clone(&parts.clock)),
        part_health::disk(parts.folder.path().to_owned()),
    ]
}

/// What a new terminal is told.
fn first_settings(config: &Config) -> Settings {
    let terminal = &config.terminal;
    Settings {
        display_name: terminal
            .name
            .clone()
            .or_else(host_name)
            .map_or_else(|| "Terminal".to_owned(), |name| name.0),
        direction: direction(terminal.direction.unwrap_or_default()),
        groups: Vec::new(),
        fpir_target: terminal.fpir_target.map_or(limits::FPIR_TARGET_DEFAULT, |rate| rate.0),
        keep_pictures: terminal.keep_pictures.unwrap_or(false),
        access_rules: Vec::new(),
        without_clock: WithoutClock::default(),
    }
}

fn direction(direction: config::Direction) -> v1::Direction {
    match direction {
        config::Direction::In => v1::Direction::In,
        config::Direction::Out => v1::Direction::Out,
    }
}

/// Obeys what the configuration file says anew. Not while the terminal belongs to a hub, which says it all: what the file
/// said meanwhile counts when it stands alone again.
async fn obey_file(
    config: &Config,
    terminals: &Terminals<ThisDevice>,
    attendance: &Attendance,
) -> anyhow::Result<()> {
    if terminals.hub().is_some() {
        return Ok(());
    }
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
        attendance.configure(zone, codes.map(Into::into)).await?;
    }
    terminals.remember(said).await?;
    tracing::info!(keys = news.join(","), "the configuration file's settings were taken over");
    Ok(())
}
