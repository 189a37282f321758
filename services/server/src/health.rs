//! Health: for whoever may know (`rollcall.v1.HealthService`), and SERVING for everybody (`grpc.health.v1`).

use std::sync::Arc;
use std::time::Instant;

use rollcall_proto::v1;
use rollcall_proto::v1::health_service_server::{HealthService, HealthServiceServer};
use tonic::{Request, Response, Status};

/// How a part of the program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name: log, gallery, site, recognition, camera, door, disk, clock.
    pub part: &'static str,
    /// How it is.
    pub state: State,
    /// In a sentence, where it is not well. No personal data.
    pub explanation: String,
}

/// How well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Well,
    /// It works, and somebody should look at it.
    Degraded,
    /// It does not work.
    Failed,
}

/// Looks at a part. Called for each question; answers at once.
pub type Probe = Box<dyn Fn() -> Part + Send + Sync>;

/// The service that tells how the program's parts are.
pub fn service(
    program: &'static str,
    version: &'static str,
    probes: Vec<Probe>,
) -> HealthServiceServer<impl HealthService> {
    HealthServiceServer::new(Health { program, version, started: Instant::now(), probes: probes.into() })
}

struct Health {
    program: &'static str,
    version: &'static str,
    started: Instant,
    probes: Arc<[Probe]>,
}

#[tonic::async_trait]
impl HealthService for Health {
    async fn get_health(
        &self,
        _request: Request<v1::GetHealthRequest>,
    ) -> Result<Response<v1::Health>, Status> {
        let uptime = self.started.elapsed();
        Ok(Response::new(v1::Health {
            program: self.program.to_owned(),
            version: self.version.to_owned(),
            uptime: prost_types::Duration::try_from(uptime).ok(),
            parts: self.probes.iter().map(|probe| part(probe())).collect(),
        }))
    }
}

fn part(part: Part) -> v1::health::Part {
    let state = match part.state {
        State::Well => v1::health::State::Well,
        State::Degraded => v1::health::State::Degraded,
        State::Failed => v1::health::State::Failed,
    };
    v1::health::Part { part: part.part.to_owned(), state: state.into(), explanation: part.explanation }
}
