//! A wire between two programs, to be harmed: a TCP proxy that a test cuts, silences, slows and shortens.
//!
//! What passes is not looked at, so it does for TLS. Each connection has two threads, one a way. A harm that is done to the
//! wire takes effect at once on what is connected, and on whatever connects until it is healed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at what the wire is told.
const LOOK: Duration = Duration::from_millis(20);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From whoever connected.
    Up,
    /// To whoever connected.
    Down,
}

/// What is wrong with a wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Harm {
    /// Nothing.
    None,
    /// Connections are reset and refused.
    Cut,
    /// Connections stay and are taken; not a byte passes: a stopped peer, a switch without power.
    Silent,
    /// What goes this way gets lost, and nothing says so.
    Deaf(Way),
    /// Every piece comes this much later.
    Slow(Duration),
    /// So many bytes a second pass, each way.
    Narrow(u64),
    /// Each connection is reset once so many bytes have gone this way.
    Short(Way, u64),
    /// Each connection is ended this way after so many bytes, and goes on the other way.
    HalfClosed(Way, u64),
}

/// See the module. Dropped, it is cut for ever.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    target: SocketAddr,
    harm: Harm,
    connections: Vec<TcpStream>,
    accepted: u64,
    passed: [u64; 2],
    is_over: bool,
}

impl Wire {
    /// A wire whose other end is at `target`.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            target,
            harm: Harm::None,
            connections: Vec::new(),
            accepted: 0,
            passed: [0; 2],
            is_over: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads elsewhere from now on: a program that was started again on another port. What is connected stays.
    pub fn lead_to(&self, target: SocketAddr) {
        self.shared.state().target = target;
    }

    /// Harms the wire. What is connected feels it too.
    pub fn harm(&self, harm: Harm) {
        let mut state = self.shared.state();
        if harm == Harm::Cut {
            state.reset_all();
        }
        state.harm = harm;
        self.shared.changed.notify_all();
    }

    /// Makes it whole.
    pub fn heal(&self) {
        self.harm(Harm::None);
    }

    /// Resets what is connected; new connections are taken.
    pub fn reset(&self) {
        self.shared.state().reset_all();
    }

    /// Connections that were ever taken.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// Bytes that have passed this way.
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.state().passed[way as usize]
    }

    /// Waits until one more connection was taken than `before`.
    pub fn wait_for_connection_after(&self, before: u64, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state();
        while state.accepted <= before {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody connected to the wire in {patience:?}");
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        state.reset_all();
        drop(state);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn reset_all(&mut self) {
        for connection in self.connections.drain(..) {
            reset(&connection);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((near, _)) = listener.accept() {
            let mut state = self.state();
            if state.is_over {
                return;
            }
            state.accepted += 1;
            self.changed.notify_all();
            if state.harm == Harm::Cut {
                reset(&near);
                continue;
            }
            let Ok(far) = TcpStream::connect(state.target) else {
                reset(&near);
                continue;
            };
            for (from, to, way) in [(&near, &far, Way::Up), (&far, &near, Way::Down)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let shared = Arc::clone(&self);
                thread::spawn(move || shared.carry(from, to, way));
            }
            state.connections.extend([near, far]);
        }
    }

    /// Carries one way of a connection until it ends.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, way: Way) {
        from.set_read_timeout(Some(LOOK)).unwrap();
        let mut carried = 0;
        let mut piece = [0; 16 << 10];
        loop {
            let (harm, is_over) = {
                let state = self.state();
                (state.harm.clone(), state.is_over)
            };
            if is_over {
                return;
            }
            if harm == Harm::Silent {
                let state = self.state();
                drop(self.changed.wait_timeout(state, LOOK));
                continue;
            }
            let most = match harm {
                Harm::Short(hurt, size) | Harm::HalfClosed(hurt, size) if hurt == way => {
                    usize::try_from(size.saturating_sub(carried)).unwrap_or(piece.len()).min(piece.len())
                }
                Harm::Narrow(rate) => usize::try_from(rate / 50).unwrap_or(piece.len()).clamp(1, piece.len()),
                _ => piece.len(),
            };
            if most == 0 {
                match harm {
                    Harm::Short(..) => [&from, &to].map(reset),
                    _ => [&from, &to].map(|_| drop(to.shutdown(Shutdown::Write))),
                };
                return;
            }
            let size = match from.read(&mut piece[..most]) {
                Ok(0) => {
                    drop(to.shutdown(Shutdown::Write));
                    return;
                }
                Ok(size) => size,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => {
                    reset(&to);
                    return;
                }
            };
            match harm {
                Harm::Deaf(lost) if lost == way => continue,
                Harm::Slow(delay) => thread::sleep(delay),
                Harm::Narrow(rate) => {
                    thread::sleep(Duration::from_secs_f64(size as f64 / rate.max(1) as f64))
                }
                _ => {}
            }
            if to.write_all(&piece[..size]).is_err() {
                reset(&from);
                return;
            }
            carried += size as u64;
            self.state().passed[way as usize] += size as u64;
        }
    }
}

/// Ends a connection as a pulled plug and a rebooted peer do: with a reset, and what was sent is thrown away.
fn reset(stream: &TcpStream) {
    let _gone = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _gone = stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a wire to it.
    fn echo() -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    let _ended = std::io::copy(&mut stream, &mut back);
                });
            }
        });
        Wire::to(address)
    }

    fn connect(wire: &Wire) -> TcpStream {
        let stream = TcpStream::connect(wire.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn read(stream: &mut TcpStream, size: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        stream.read_exact(&mut bytes).map(|()| bytes)
    }

    #[test]
    fn a_whole_wire_carries_both_ways_and_counts() {
        let wire = echo();
        let mut stream = connect(&wire);
        stream.write_all(b"hello").unwrap();
        assert_eq!(read(&mut stream, 5).unwrap(), b"hello");
        assert_eq!((wire.passed(Way::Up), wire.passed(Way::Down), wire.accepted()), (5, 5, 1));
    }

    #[test]
    fn a_cut_wire_ends_what_is_connected_and_takes_nobody_until_it_is_healed() {
        let wire = echo();
        let mut stream = connect(&wire);
        stream.write_all(b"a").unwrap();
        read(&mut stream, 1).unwrap();
        wire.harm(Harm::Cut);
        assert!(read(&mut stream, 1).is_err());
        let mut refused = connect(&wire);
        assert!(refused.write_all(b"b").and_then(|()| read(&mut refused, 1)).is_err());
        wire.heal();
        let mut stream = connect(&wire);
        stream.write_all(b"c").unwrap();
        assert_eq!(read(&mut stream, 1).unwrap(), b"c");
    }

    #[test]
    fn a_silent_wire_holds_back_what_it_is_given_and_carries_it_once_it_is_healed() {
        let wire = echo();
        let mut stream = connect(&wire);
        wire.harm(Harm::Silent);
        stream.write_all(b"late").unwrap();
        stream.set_read_timeout(Some(LOOK * 5)).unwrap();
        assert!(read(&mut stream, 1).is_err());
        wire.heal();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(read(&mut stream, 4).unwrap(), b"late");
    }

    #[test]
    fn a_short_wire_carries_exactly_so_many_bytes_and_breaks() {
        let wire = echo();
        wire.harm(Harm::Short(Way::Up, 3));
        let mut stream = connect(&wire);
        let _broken = stream.write_all(b"abcdef");
        let mut got = Vec::new();
        let _broken = stream.read_to_end(&mut got);
        assert_eq!(wire.passed(Way::Up), 3);
        assert!(b"abc".starts_with(&got), "{got:?}");
    }

    #[test]
    fn a_wire_that_is_deaf_one_way_delivers_and_answers_nothing() {
        let wire = echo();
        wire.harm(Harm::Deaf(Way::Down));
        let mut stream = connect(&wire);
        stream.write_all(b"heard").unwrap();
        stream.set_read_timeout(Some(LOOK * 10)).unwrap();
        assert!(read(&mut stream, 1).is_err());
        assert_eq!((wire.passed(Way::Up), wire.passed(Way::Down)), (5, 0));
    }
}
