//! Hubs on this network, by multicast DNS (RFC 6762, RFC 6763): a hub announces itself, a terminal looks round.
//!
//! Whoever is on the network can announce anything, so what is found is a place to ask, and no more: who is there is
//! shown by its certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};
use rollcall_core::limits;

const SERVICE: &str = "_rollcall._tcp.local.";
/// The name of a service's instance is one DNS label.
const LABEL_SIZE_BYTES: usize = 63;

/// A hub that announces itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NearbyHub {
    /// Where.
    pub address: SocketAddr,
    /// The site's name, as it says.
    pub site: String,
}

/// The network cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("cannot speak to the local network ({0}); give the hub's address")]
pub struct NoNetwork(#[from] mdns_sd::Error);

/// A hub's announcement, until it is dropped.
pub struct Announcement {
    daemon: ServiceDaemon,
}

impl Announcement {
    /// Announces the hub of this site on every network of this machine.
    ///
    /// # Errors
    /// When multicast cannot be spoken.
    pub fn begin(site: &str, host: &str, port: u16) -> Result<Self, NoNetwork> {
        let daemon = ServiceDaemon::new()?;
        // A label has no dots, and a port that listens is one a machine.
        let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let host = if host.is_empty() { "rollcall-hub".to_owned() } else { host };
        let name = label(&format!("{site} {host} {port}"));
        let info =
            ServiceInfo::new(SERVICE, &name, &format!("{host}.local."), "", port, &[("site", site)][..])?;
        daemon.register(info.enable_addr_auto())?;
        Ok(Self { daemon })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // It says goodbye; whoever does not hear it sees the record end.
        let _ended = self.daemon.shutdown();
    }
}

/// The hubs that say where they are within `patience`, in the order of their addresses; those on IPv4 first. Each
/// is told once an address.
///
/// # Errors
/// When multicast cannot be spoken.
pub async fn hubs(patience: Duration) -> Result<Vec<NearbyHub>, NoNetwork> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    let mut found = BTreeSet::new();
    let look = async {
        while let Ok(event) = events.recv_async().await {
            if let ServiceEvent::ServiceResolved(hub) = event {
                let site: String = hub.get_property_val_str("site").unwrap_or_default().to_owned();
                let port = hub.get_port();
                let addresses = hub.get_addresses().iter().map(|address| address.to_ip_addr());
                let reachable = addresses.filter(|address| is_reachable(*address));
                found.extend(reachable.map(|address| NearbyHub {
                    address: SocketAddr::new(address, port),
                    site: site.clone(),
                }));
            }
            if found.len() >= limits::NEARBY_HUBS {
                return;
            }
        }
    };
    // That it is over is the usual end.
    let _over = tokio::time::timeout(patience, look).await;
    let _ended = daemon.shutdown();
    Ok(found.into_iter().take(limits::NEARBY_HUBS).collect())
}

/// Whether an address means the same without saying by which network card.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_unicast_link_local(),
    }
}

/// At most so many bytes of whole characters, without dots.
fn label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| if c == '.' { ' ' } else { c }) {
        if label.len() + c.len_utf8() > LABEL_SIZE_BYTES {
            break;
        }
        label.push(c);
    }
    label
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_label_has_whole_characters_and_no_dots() {
        assert_eq!(label("St. Mary hub 7443"), "St  Mary hub 7443");
        let long = label(&"ộ".repeat(40));
        assert!(long.len() <= LABEL_SIZE_BYTES && long.chars().all(|c| c == 'ộ'));
    }

    #[tokio::test]
    async fn a_hub_that_announces_itself_is_found() {
        let _hub = Announcement::begin("North School", "hub", 7443).unwrap();
        // Other tests on this machine may announce too.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while tokio::time::Instant::now() < deadline {
            let found = hubs(Duration::from_secs(2)).await.unwrap();
            if found.iter().any(|hub| hub.site == "North School" && hub.address.port() == 7443) {
                return;
            }
        }
        panic!("it is not found");
    }
}
