//! What this machine is called, and where a server on it is reached.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::UNIX_EPOCH;

use rollcall_core::UtcInstant;

use crate::config::Name;

/// The host's name; `None` when it has none that could be shown.
pub fn host_name() -> Option<Name> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Name::try_from(name.trim().to_owned()).ok()
}

/// When this program was made, as its file says: a clock that shows an earlier time was never set.
pub fn program_made() -> UtcInstant {
    let made = std::env::current_exe().and_then(|program| program.metadata()?.modified());
    let since_1970 = made.ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    UtcInstant::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(0))
}

/// From where a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// From the machine that it runs on.
    ThisMachine,
    /// From others.
    OtherMachines,
}

/// `https://HOST:PORT` of a server that listens there.
pub fn url(address: SocketAddr, host: Host) -> String {
    let port = address.port();
    match (host, address.ip()) {
        (_, ip) if !ip.is_unspecified() => format!("https://{address}"),
        (Host::OtherMachines, _) => {
            let name = host_name().map_or_else(|| "localhost".to_owned(), |name| name.0.to_lowercase());
            format!("https://{name}:{port}")
        }
        (Host::ThisMachine, ip) if ip.is_ipv6() => format!("https://[{}]:{port}", Ipv6Addr::LOCALHOST),
        (Host::ThisMachine, _) => format!("https://{}:{port}", Ipv4Addr::LOCALHOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_by_the_loopback_from_its_own_machine() {
        let url = |address: &str| {
            url(address.parse().unwrap_or_else(|_| unreachable!("an address")), Host::ThisMachine)
        };
        assert_eq!(url("0.0.0.0:7443"), "https://127.0.0.1:7443");
        assert_eq!(url("[::]:7443"), "https://[::1]:7443");
        assert_eq!(url("192.0.2.7:1"), "https://192.0.2.7:1");
    }
}
