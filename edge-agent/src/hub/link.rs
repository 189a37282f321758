//! What this terminal does while it belongs to a hub: it keeps in touch, and its services know where they belong.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollcall_attendance::{Attendance, Clock, Log};
use rollcall_core::{Fault, LogId, Reason, UtcInstant};
use rollcall_gallery::Gallery;
use rollcall_server::{HubMembership, Joined};
use rollcall_sync::client::{Client, Connecting, Link, Membership};
use rollcall_terminals::{Device, Site, Terminals};
use tokio::sync::watch;
use tonic::transport::Channel;

use super::connect::connect;

/// Before it is tried again to say where the services belong, or to use a file that could not be.
const AGAIN: Duration = Duration::from_secs(30);

/// See the module.
pub struct InTouch<D> {
    /// The log.
    pub log: Log,
    /// The people.
    pub gallery: Gallery,
    /// The settings.
    pub terminals: Terminals<D>,
    /// What goes by the site's time zone.
    pub attendance: Attendance,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The hub, if there is one.
    pub membership: HubMembership,
    /// The data folder.
    pub folder: PathBuf,
    /// The program and its version.
    pub software: String,
    /// How it stands with the hub; `None`: it stands alone.
    pub link: watch::Sender<Option<Link>>,
    /// Up to which number the hub has each log, as it said since the program started.
    pub acknowledged: watch::Sender<BTreeMap<LogId, u64>>,
}

impl<D: Device> InTouch<D> {
    /// Tells the services where they belong. Before anything is served.
    ///
    /// # Errors
    /// The databases.
    pub async fn settle(&self) -> Result<(), Fault> {
        let address = self.membership.joined().map(|hub| first_address(&hub));
        match &address {
            Some(address) => self.gallery.belong_to(address, None).await.map_err(|error| error.fault())?,
            None if self.gallery.hub().await.map_err(|error| error.fault())?.is_some() => {
                self.gallery.leave_hub(UtcInstant::now()).await.map_err(|error| error.fault())?;
            }
            None => {}
        }
        self.terminals.belong_to(address).await.map_err(|error| error.fault())
    }

    /// Keeps in touch while there is a hub, until it is dropped.
    pub async fn run(self) -> Infallible {
        let mut joined = self.membership.watch();
        loop {
            let is_joined = joined.borrow_and_update().is_some();
            if let Err(fault) = self.settle().await {
                tracing::error!(
                    reason = fault.reason.as_str(),
                    why = fault.message,
                    "the hub is not taken up"
                );
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            if !is_joined {
                self.link.send_replace(None);
                until_other(&mut joined, is_joined).await;
                continue;
            }
            tokio::select! {
                () = until_other(&mut joined, is_joined) => forget_contacts(&self.folder),
                fault = self.client().run() => {
                    let Err(fault) = fault;
                    tracing::error!(reason = fault.reason.as_str(), why = fault.message, "no contact with the hub is possible");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn client(&self) -> Client<D> {
        Client {
            log: self.log.clone(),
            gallery: self.gallery.clone(),
            terminals: self.terminals.clone(),
            attendance: self.attendance.clone(),
            clock: Arc::clone(&self.clock),
            membership: Arc::new(Member(self.membership.clone())),
            folder: self.folder.clone(),
            software: self.software.clone(),
            link: self.link.clone(),
            acknowledged: self.acknowledged.clone(),
        }
    }
}

/// Until it is another way round. Other addresses or another certificate are no other hub.
async fn until_other(joined: &mut watch::Receiver<Option<Arc<Joined>>>, is_joined: bool) {
    // The sender lives as long as the membership.
    let _hub = joined.wait_for(|hub| hub.is_some() != is_joined).await.map(drop);
}

/// The next hub counts anew.
fn forget_contacts(folder: &std::path::Path) {
    if let Err(error) = rollcall_sync::client::forget_contacts(folder) {
        tracing::warn!(reason = error.reason.as_str(), "what was said to the former hub is still there");
    }
}

fn first_address(hub: &Joined) -> String {
    hub.addresses.first().cloned().unwrap_or_default()
}

struct Member(HubMembership);

impl Member {
    async fn connected(&self) -> Result<Channel, Fault> {
        let alone = || Fault::new(Reason::StateForbids, "this terminal stands alone");
        let hub = self.0.joined().ok_or_else(alone)?;
        let mut last = Fault::new(Reason::Unavailable, "the hub has not said where it is; join it anew");
        for address in &hub.addresses {
            match connect(address, Arc::clone(&hub.tls)).await {
                Ok(channel) => return Ok(channel),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

impl Membership for Member {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(self.connected())
    }

    fn certificate_request(&self) -> Result<Vec<u8>, Fault> {
        let key = self.0.key().map_err(|error| error.fault())?;
        key.request().map_err(|error| error.fault())
    }

    fn renewed(&self, chain: &[Vec<u8>]) -> Result<(), Fault> {
        self.0.renew(chain).map_err(|error| error.fault())
    }

    fn needs_renewal(&self, now: UtcInstant) -> bool {
        self.0.joined().is_some_and(|hub| hub.needs_renewal(now))
    }

    fn told(&self, site: &Site) -> Result<(), Fault> {
        let updated = self.0.update(&site.authorities, site.addresses.clone(), site.display_name.clone());
        updated.map_err(|error| error.fault())
    }

    fn told_time(&self, time: UtcInstant) -> Result<(), Fault> {
        self.0.raise_clock(time).map_err(|error| error.fault())
    }
}
