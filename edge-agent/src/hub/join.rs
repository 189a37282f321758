//! Joining a hub: finds it, asks it, shows the digits, waits for an operator; or shows a token's secret.
//!
//! Promises: to a hub that is not the one of the token nothing is said; what a hub grants counts only when the authority
//! that it showed is among those that it tells, and the certificate is of this terminal's key. One joining at a time; it
//! ends when nobody listens any more, and can be begun again whatever happened: the key stays.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use rollcall_core::{Fault, Reason};
use rollcall_proto::v1;
use rollcall_proto::v1::adoption_service_client::AdoptionServiceClient;
use rollcall_server::{HubMembership, HubTrust, Membership, Seen, TerminalKey, client_config, key_sha256};
use rollcall_terminals::adoption::{JoinToken, Sides, digits};
use rollcall_terminals::nearby;
use rollcall_terminals::{Answering, HowToJoin, JoinStep, JoinSteps, Joining, TerminalError};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::connect::{connect, with_port};

/// Between two questions whether an operator has accepted.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Questions in a row that may fail: a hub that restarts is there again after some seconds.
const FAILURES: u32 = 30;
/// For hubs on this network to say where they are.
const LOOK_ROUND: Duration = Duration::from_secs(5);

/// What a terminal says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// What its machine is known by.
    pub hardware: String,
    /// The door's name.
    pub display_name: String,
    /// Version of its software.
    pub software: String,
    /// People that it has.
    pub people: usize,
    /// Events that it has.
    pub events: u64,
}

/// Who knows that.
pub trait Introducing: Send + Sync + 'static {
    /// What it is now.
    ///
    /// # Errors
    /// The databases.
    fn introduce(&self) -> Pin<Box<dyn Future<Output = Result<Introduction, Fault>> + Send + '_>>;
}

/// Joins and leaves hubs.
pub struct Hubs {
    shared: Arc<Shared>,
}

struct Shared {
    membership: HubMembership,
    terminal: Box<dyn Introducing>,
    turn: Arc<Semaphore>,
    /// The digits that the screen shows.
    digits: watch::Sender<Option<String>>,
}

impl Hubs {
    /// `terminal` introduces itself.
    pub fn new(membership: HubMembership, terminal: Box<dyn Introducing>) -> Self {
        let (turn, digits) = (Arc::new(Semaphore::new(1)), watch::Sender::new(None));
        Self { shared: Arc::new(Shared { membership, terminal, turn, digits }) }
    }

    /// The digits to be shown on the screen, while an operator is to compare them.
    pub fn digits(&self) -> watch::Receiver<Option<String>> {
        self.shared.digits.subscribe()
    }
}

impl Joining for Hubs {
    fn join(&self, how: HowToJoin) -> Result<JoinSteps, Fault> {
        if let Some(joined) = self.shared.membership.joined() {
            let message = format!("this terminal belongs to the hub of {}; leave it first", joined.site);
            return Err(Fault::new(Reason::StateForbids, message));
        }
        let turn = Arc::clone(&self.shared.turn).try_acquire_owned().map_err(|_| {
            Fault::new(Reason::StateForbids, "this terminal is asking a hub already; wait for the end")
        })?;
        let session = Session { shared: Arc::clone(&self.shared), stage: Stage::Begin(how), _turn: turn };
        Ok(Box::pin(unfold(session, async |mut session| Some((session.next().await?, session)))))
    }

    fn leave(&self) -> Answering<'_, ()> {
        let membership = self.shared.membership.clone();
        Box::pin(async move {
            if membership.joined().is_none() {
                let message = "this terminal stands alone; there is no hub to leave";
                return Err(TerminalError::Refused(Fault::new(Reason::StateForbids, message)));
            }
            membership.leave().map_err(|error| TerminalError::Refused(error.fault()))?;
            tracing::info!("this terminal has left its hub and stands alone");
            Ok(())
        })
    }
}

/// One joining.
struct Session {
    shared: Arc<Shared>,
    stage: Stage,
    _turn: OwnedSemaphorePermit,
}

enum Stage {
    Begin(HowToJoin),
    Find,
    Wait(Box<Waiting>),
    Over,
}

/// An operator has to accept.
struct Waiting {
    address: String,
    client: AdoptionServiceClient<Channel>,
    request_id: Vec<u8>,
    seen: Arc<Seen>,
    /// The hub's authority, of which the digits were made, DER.
    authority: Vec<u8>,
    /// SHA-256 of its public key.
    pin: [u8; 32],
    failures: u32,
    _shown: Shown,
}

/// Takes the digits off the screen when it goes.
struct Shown(Arc<Shared>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.digits.send_replace(None);
    }
}

impl Session {
    /// The next that is told; `None` after the last.
    async fn next(&mut self) -> Option<Result<JoinStep, Fault>> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let step = match stage {
            Stage::Over => return None,
            Stage::Begin(HowToJoin::Nearby) => {
                self.stage = Stage::Find;
                Ok(JoinStep::Searching)
            }
            Stage::Begin(HowToJoin::At(address)) => self.ask(vec![with_port(&address)]).await,
            Stage::Begin(HowToJoin::With(token)) => self.redeem(&token).await,
            Stage::Find => match found().await {
                Ok(addresses) => self.ask(addresses).await,
                Err(fault) => Err(fault),
            },
            Stage::Wait(waiting) => self.wait(*waiting).await,
        };
        Some(step)
    }

    /// Asks the first of these that is a hub.
    async fn ask(&mut self, addresses: Vec<String>) -> Result<JoinStep, Fault> {
        let mut last = None;
        for address in addresses {
            let seen = Arc::new(Seen::default());
            let asked = self.begin(&address, &seen).await;
            match asked {
                Ok((waiting, digits)) => {
                    self.shared.digits.send_replace(Some(digits.clone()));
                    self.stage = Stage::Wait(Box::new(waiting));
                    return Ok(JoinStep::Waiting { address, digits });
                }
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(no_hub))
    }

    async fn begin(&self, address: &str, seen: &Arc<Seen>) -> Result<(Waiting, String), Fault> {
        let membership = &self.shared.membership;
        let key = membership.key().map_err(|error| error.fault())?;
        let tls = client_config(HubTrust::Whoever(Arc::clone(seen)), None, membership.clock());
        let channel = connect(address, tls.map_err(|error| error.fault())?).await?;
        let authority = seen.authority().ok_or_else(no_hub)?;
        let mut client = AdoptionServiceClient::new(channel);
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce)
            .map_err(|_| Fault::new(Reason::Internal, "the system gives no random bytes"))?;
        let request = v1::BeginAdoptionRequest {
            applicant: Some(self.applicant(&key).await?),
            commitment: Sha256::digest(nonce).to_vec().into(),
        };
        let begun = client.begin_adoption(request).await.map_err(|status| refused(address, &status))?;
        let begun = begun.into_inner();
        let hub_nonce = <[u8; 32]>::try_from(&begun.hub_nonce[..]);
        let hub_nonce = hub_nonce.map_err(|_| told_nonsense(address))?;
        let pin = key_sha256(&authority).ok_or_else(|| told_nonsense(address))?;
        let reveal =
            v1::RevealAdoptionRequest { request_id: begun.request_id.clone(), nonce: nonce.to_vec().into() };
        client.reveal_adoption(reveal).await.map_err(|status| refused(address, &status))?;
        let sides = Sides {
            authority_sha256: pin,
            terminal_key_sha256: key.sha256(),
            hub_nonce,
            terminal_nonce: nonce,
        };
        let waiting = Waiting {
            address: address.to_owned(),
            client,
            request_id: begun.request_id.to_vec(),
            seen: Arc::clone(seen),
            authority,
            pin,
            failures: 0,
            _shown: Shown(Arc::clone(&self.shared)),
        };
        Ok((waiting, digits(&sides)))
    }

    /// Asks until an operator has accepted.
    async fn wait(&mut self, mut waiting: Waiting) -> Result<JoinStep, Fault> {
        loop {
            sleep(ASK_AGAIN).await;
            let request = v1::AwaitAdoptionRequest { request_id: waiting.request_id.clone().into() };
            let answered = waiting.client.await_adoption(request).await;
            // The connection may be another by now, and somebody else at its end.
            if waiting.seen.authority().as_ref() != Some(&waiting.authority) {
                let message = format!("somebody else answers at {} than before; join anew", waiting.address);
                return Err(Fault::new(Reason::Unavailable, message));
            }
            match answered {
                Ok(answer) => {
                    waiting.failures = 0;
                    if let Some(adoption) = answer.into_inner().adoption {
                        return self.adopted(&waiting.address, adoption, waiting.pin);
                    }
                }
                Err(status) if status.code() == Code::NotFound => {
                    return Ok(JoinStep::Refused { address: waiting.address });
                }
                Err(status) => {
                    waiting.failures += 1;
                    if waiting.failures > FAILURES {
                        return Err(refused(&waiting.address, &status));
                    }
                }
            }
        }
    }

    /// Shows a token's secret to its hub, wherever that is.
    async fn redeem(&mut self, token: &JoinToken) -> Result<JoinStep, Fault> {
        let mut last = match self.redeem_at(token, token.addresses.clone()).await {
            Err(fault) if fault.reason == Reason::Unavailable => fault,
            done => return done,
        };
        // It may have moved since.
        if let Ok(nearby) = found().await {
            let others = nearby.into_iter().filter(|address| !token.addresses.contains(address)).collect();
            match self.redeem_at(token, others).await {
                Err(fault) if fault.reason == Reason::Unavailable => {
                    last.message = format!("{}; {}", last.message, fault.message);
                }
                done => return done,
            }
        }
        Err(last)
    }

    async fn redeem_at(&mut self, token: &JoinToken, addresses: Vec<String>) -> Result<JoinStep, Fault> {
        let membership = self.shared.membership.clone();
        let key = membership.key().map_err(|error| error.fault())?;
        let tls = client_config(HubTrust::Pinned(token.pin), None, membership.clock());
        let tls = tls.map_err(|error| error.fault())?;
        let mut words = Vec::new();
        for address in addresses.iter().map(|address| with_port(address)) {
            let channel = match connect(&address, Arc::clone(&tls)).await {
                Ok(channel) => channel,
                Err(fault) => {
                    words.push(fault.message);
                    continue;
                }
            };
            let request = v1::RedeemAdoptionTokenRequest {
                secret: token.secret_text(),
                applicant: Some(self.applicant(&key).await?),
            };
            match AdoptionServiceClient::new(channel).redeem_adoption_token(request).await {
                Ok(adoption) => return self.adopted(&address, adoption.into_inner(), token.pin),
                Err(status) if status.code() == Code::Unavailable => {
                    words.push(refused(&address, &status).message);
                }
                Err(status) => return Err(refused(&address, &status)),
            }
        }
        match words.is_empty() {
            true => Err(no_hub()),
            false => Err(Fault::new(Reason::Unavailable, words.join("; "))),
        }
    }

    async fn applicant(&self, key: &TerminalKey) -> Result<v1::Applicant, Fault> {
        let introduction = self.shared.terminal.introduce().await?;
        Ok(v1::Applicant {
            terminal_id: self.shared.membership.terminal().to_bytes().to_vec().into(),
            hw_id: introduction.hardware,
            display_name: introduction.display_name,
            software: introduction.software,
            csr: key.request().map_err(|error| error.fault())?.into(),
            people: i64::try_from(introduction.people).unwrap_or(i64::MAX),
            events: i64::try_from(introduction.events).unwrap_or(i64::MAX),
            ..Default::default()
        })
    }

    /// Believes what the hub says that has this pin.
    fn adopted(&self, address: &str, adoption: v1::Adoption, pin: [u8; 32]) -> Result<JoinStep, Fault> {
        if !adoption.authorities.iter().any(|authority| key_sha256(authority) == Some(pin)) {
            let message =
                format!("{address} tells of other authorities than the one that it has; nothing was taken");
            return Err(Fault::new(Reason::CredentialsInvalid, message));
        }
        let mut addresses = adoption.addresses;
        // Here it was, whatever it says.
        if !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
        let membership = Membership {
            chain: adoption.chain.iter().map(|certificate| certificate.to_vec()).collect(),
            authorities: adoption.authorities.iter().map(|authority| authority.to_vec()).collect(),
            site: adoption.site,
            addresses,
        };
        self.shared.membership.join(&membership).map_err(|error| error.fault())?;
        tracing::info!(address, site = membership.site, "this terminal belongs to a hub");
        Ok(JoinStep::Adopted { address: address.to_owned() })
    }
}

/// Where hubs on this network are.
async fn found() -> Result<Vec<String>, Fault> {
    let found = nearby::hubs(LOOK_ROUND).await;
    let found = found.map_err(|error| Fault::new(Reason::Unavailable, error))?;
    if found.is_empty() {
        return Err(no_hub());
    }
    Ok(found.into_iter().map(|hub| hub.address.to_string()).collect())
}

fn no_hub() -> Fault {
    let message = "no hub was found on this network; say where it is (edge-agent join HOST)";
    Fault::new(Reason::Unavailable, message)
}

fn told_nonsense(address: &str) -> Fault {
    let message = format!("{address} does not answer as a hub does; is it one, and of the same version?");
    Fault::new(Reason::Unavailable, message)
}

/// What a hub refused, in its own words.
fn refused(address: &str, status: &Status) -> Fault {
    let named = rollcall_proto::reason(status);
    let known = Reason::ALL.iter().find(|reason| named.as_deref() == Some(reason.as_str()));
    match known {
        Some(reason) => Fault::new(*reason, format!("{address}: {}", status.message())),
        None => Fault::new(Reason::Unavailable, format!("{address} does not answer: {}", status.message())),
    }
}
