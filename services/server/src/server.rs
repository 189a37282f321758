//! [`Server`]: build (looks at everything and binds), spawn (serves), drain (ends).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use rollcall_accounts::Accounts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::calls::Calls;
use crate::config::{Reflection, ServerConfig};
use crate::connection::Connections;
use crate::contract::{Contract, HEALTH, REFLECTION};
use crate::services::Services;
use crate::standing::Standing;
use crate::throttle::{Strangers, Throttle};
use crate::tls::Identity;
use crate::{ServerError, accept, metrics_page, tls};

/// A server that is ready to serve.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    connections: Arc<Connections>,
    health: HealthReporter,
    names: Vec<&'static str>,
    metrics: Option<(TcpListener, SocketAddr, PrometheusHandle)>,
}

impl Server {
    /// Checks that every call has a rule, sets up TLS and binds. Nothing is served yet.
    ///
    /// # Errors
    /// A service or RPC without a rule, certificates that do not fit, an address that is taken.
    pub async fn build(
        config: ServerConfig,
        identity: &Identity,
        accounts: Accounts,
        services: Services,
    ) -> Result<Self, ServerError> {
        let health = HealthReporter::new();
        let service = tonic_health::server::HealthService::from_health_reporter(health.clone());
        let mut services = services.add(tonic_health::pb::health_server::HealthServer::new(service));
        if config.reflection == Reflection::On {
            services = services.add(reflection()?);
        }
        let names = services.names().to_vec();
        let contract = Contract::of(&names)?;
        let tls = watch::Sender::new(tls::config(identity)?);
        let (listener, address) = bind(config.listen).await?;
        let metrics = match config.metrics_listen {
            Some(listen) => {
                let (listener, address) = bind(listen).await?;
                Some((listener, address, metrics_page::collect()?))
            }
            None => None,
        };
        let calls = Calls {
            contract,
            routes: services.routes(),
            standing: Standing { accounts, registry: identity.registry.clone() },
            throttle: Arc::new(Throttle::default()),
            strangers: Strangers::default(),
            patience: config.patience,
        };
        let connections = Connections {
            calls: Arc::new(calls),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        let connections = Arc::new(connections);
        Ok(Self { listener, address, tls, connections, health, names, metrics })
    }

    /// Where it will serve.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it will serve metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address, _)| *address)
    }

    /// Serves from now on.
    pub async fn spawn(self) -> Running {
        let (tracker, stopping) = (&self.connections.tracker, &self.connections.stopping);
        set_health(&self.health, &self.names, ServingStatus::Serving).await;
        if let Some((listener, _, handle)) = self.metrics {
            tracker.spawn(metrics_page::run(listener, handle, tracker.clone(), stopping.clone()));
        }
        let connections = Arc::clone(&self.connections);
        tracker.spawn(accept::run(self.listener, self.tls.subscribe(), connections, stopping.clone()));
        Running {
            address: self.address,
            tls: self.tls,
            connections: self.connections,
            health: self.health,
            names: self.names,
        }
    }
}

/// Gives a server that serves another certificate.
#[derive(Clone)]
pub struct Renewal {
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
}

impl Renewal {
    /// Shows this identity's certificate to new connections, and takes the certificates of its clients. The registry
    /// stays.
    ///
    /// # Errors
    /// Certificates that do not fit; then nothing is changed.
    pub fn renew(&self, identity: &Identity) -> Result<(), ServerError> {
        self.tls.send_replace(tls::config(identity)?);
        Ok(())
    }
}

/// A server that serves. Dropped without [`Running::drain`], it stops at once.
pub struct Running {
    address: SocketAddr,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    connections: Arc<Connections>,
    health: HealthReporter,
    names: Vec<&'static str>,
}

impl Running {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What gives it another certificate while it serves.
    pub fn renewal(&self) -> Renewal {
        Renewal { tls: self.tls.clone() }
    }

    /// Takes no more connections and calls, ends the streams with UNAVAILABLE, lets other calls end, and cuts after
    /// `patience` what is still open. Returns how many tasks that were.
    pub async fn drain(self, patience: Duration) -> usize {
        set_health(&self.health, &self.names, ServingStatus::NotServing).await;
        let Connections { tracker, stopping, kill, .. } = &*self.connections;
        stopping.cancel();
        tracker.close();
        let left = match tokio::time::timeout(patience, tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => tracker.len(),
        };
        kill.cancel();
        tracker.wait().await;
        left
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connections.stopping.cancel();
        self.connections.kill.cancel();
    }
}

async fn bind(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Bind { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn set_health(health: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    health.set_service_status("", status).await;
    for name in names.iter().filter(|name| ![HEALTH, REFLECTION].contains(name)) {
        health.set_service_status(name, status).await;
    }
}

fn reflection() -> Result<
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    ServerError,
> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rollcall_proto::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServerError::Descriptor(error.to_string()))
}
