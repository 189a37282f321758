//! The door: which connections are taken.
//!
//! Promises: 256 at once and 16 from one address, the rest is closed at once; a handshake has five seconds; when there
//! are no file descriptors left, there is a pause between two tries instead of a busy loop.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use rollcall_core::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::auth::Peer;
use crate::connection::{self, Connections};
use crate::throttle::place;
use crate::tls;

/// Takes connections until it is told to stop.
pub(crate) async fn run(
    listener: TcpListener,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let admission = Arc::new(Admission::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => match Admission::admit(&admission, address.ip()) {
                Ok(slot) => {
                    let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
                    let connection = handshake(stream, address, acceptor, Arc::clone(&connections), slot);
                    connections.tracker.spawn(connection);
                }
                Err(reason) => {
                    counter!("rollcall_connections_refused_total", "reason" => reason).increment(1);
                    tracing::debug!(%address, reason, "a connection was refused");
                }
            },
            Err(error) => {
                counter!("rollcall_connections_refused_total", "reason" => "accept_failed").increment(1);
                tracing::debug!(%error, "accepting a connection failed");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(limits::ACCEPT_PAUSE_MS)) => {}
                }
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    connections: Arc<Connections>,
    slot: Slot,
) {
    // Small answers shall not wait for more of them.
    let _ = stream.set_nodelay(true);
    let refused = |reason| {
        counter!("rollcall_connections_refused_total", "reason" => reason).increment(1);
    };
    let patience = connections.calls.patience.handshake;
    let stream = tokio::select! {
        () = connections.kill.cancelled() => return,
        done = tokio::time::timeout(patience, acceptor.accept(stream)) => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "a TLS handshake failed");
                return refused("handshake_failed");
            }
            Err(_) => {
                tracing::debug!(%address, "a TLS handshake took too long");
                return refused("handshake_slow");
            }
        },
    };
    let certificate = tls::certificate(stream.get_ref().1);
    let peer = Peer { address: address.ip(), certificate };
    connection::serve(stream, Arc::new(peer), connections, slot).await;
}

/// Who is connected.
#[derive(Default)]
struct Admission {
    /// Connections of each place, and of all.
    open: Mutex<(HashMap<IpAddr, usize>, usize)>,
}

/// The right to be connected, until it is dropped.
pub(crate) struct Slot {
    admission: Arc<Admission>,
    place: IpAddr,
}

impl Admission {
    fn admit(admission: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let place = place(address);
        let mut open = admission.open();
        let (places, all) = &mut *open;
        if *all >= limits::CONNECTIONS {
            return Err("too_many");
        }
        let of_place = places.entry(place).or_default();
        if *of_place >= limits::CONNECTIONS_PER_ADDRESS {
            return Err("too_many_from_address");
        }
        *of_place += 1;
        *all += 1;
        gauge!("rollcall_connections").set(*all as f64);
        Ok(Slot { admission: Arc::clone(admission), place })
    }

    fn open(&self) -> MutexGuard<'_, (HashMap<IpAddr, usize>, usize)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        let (places, all) = &mut *open;
        *all -= 1;
        gauge!("rollcall_connections").set(*all as f64);
        if let Some(of_place) = places.get_mut(&self.place) {
            *of_place -= 1;
            if *of_place == 0 {
                places.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_gets_16_connections_and_all_together_256() {
        let admission = Arc::new(Admission::default());
        let mut slots = Vec::new();
        for host in 0..16 {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, host));
            for _ in 0..16 {
                slots.push(Admission::admit(&admission, address).unwrap());
            }
            let expected = if host < 15 { "too_many_from_address" } else { "too_many" };
            assert_eq!(Admission::admit(&admission, address).err(), Some(expected));
        }
        slots.pop();
        assert!(Admission::admit(&admission, IpAddr::V4(Ipv4Addr::LOCALHOST)).is_ok());
        slots.clear();
        assert_eq!(*admission.open(), (HashMap::new(), 0));
    }
}
