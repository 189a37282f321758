//! A connection to a hub that has proven, or told, who it is.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rollcall_core::{Fault, Reason};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// The name that is asked for; a hub is known by its authority, not by a name.
const NAME: &str = "hub.rollcall.invalid";
/// For TCP and TLS together, over a bad network.
const CONNECT: Duration = Duration::from_secs(10);
/// Of one call, a push over a narrow network.
const CALL: Duration = Duration::from_secs(30);
/// Between two signs of life, and for the answer to one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Where a hub listens when nobody says otherwise.
const PORT: u16 = 7443;

/// The address with its port.
pub(super) fn with_port(address: &str) -> String {
    let has_port = match address.rsplit_once(':') {
        // Of an IPv6 address without brackets the last part is no port.
        Some((host, port)) => {
            port.parse::<u16>().is_ok()
                && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'))
        }
        None => false,
    };
    match has_port {
        true => address.to_owned(),
        false if address.contains(':') && !address.starts_with('[') => format!("[{address}]:{PORT}"),
        false => format!("{address}:{PORT}"),
    }
}

/// Connects, so that who is there has shown it; again by itself when the connection is lost.
pub(super) async fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, Fault> {
    let endpoint = Endpoint::from(Uri::from_static("http://hub.rollcall.invalid"))
        .timeout(CALL)
        // A hub that hangs, or a cable that was pulled, is noticed although nothing is asked.
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    let there = address.to_owned();
    let dial = tower::service_fn(move |_: Uri| {
        let (address, tls) = (there.clone(), Arc::clone(&tls));
        async move { dial(&address, tls).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(dial).await.map_err(|error| unreached(address, &error))
}

async fn dial(address: &str, tls: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).map_err(std::io::Error::other)?;
        TlsConnector::from(tls).connect(name, tcp).await
    };
    timeout(CONNECT, connecting).await?
}

/// What a caller is told: the last cause says what it was.
fn unreached(address: &str, error: &(dyn Error + 'static)) -> Fault {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    // rustls keeps its error inside of one of I/O, which is not its source.
    let inner = last.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
    let words = inner.map_or_else(|| last.to_string(), told);
    Fault::new(Reason::Unavailable, format!("{address}: {words}"))
}

fn told(error: &(dyn Error + Send + Sync + 'static)) -> String {
    use rustls::{CertificateError, Error as Tls};
    match error.downcast_ref::<Tls>() {
        Some(Tls::InvalidCertificate(CertificateError::Other(other))) => other.0.to_string(),
        Some(Tls::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "somebody else is there than the hub: the certificate is of another authority".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_hubs() {
        for (given, expected) in [
            ("hub.example", "hub.example:7443"),
            ("hub.example:9000", "hub.example:9000"),
            ("10.0.0.7", "10.0.0.7:7443"),
            ("[2001:db8::1]:9000", "[2001:db8::1]:9000"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("2001:db8::1", "[2001:db8::1]:7443"),
        ] {
            assert_eq!(with_port(given), expected);
        }
    }
}
