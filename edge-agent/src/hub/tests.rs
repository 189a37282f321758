//! A terminal joins a real hub over the loopback: its server, its authority, its adoptions; the table of its terminals is
//! a list.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use rollcall_accounts::Accounts;
use rollcall_core::{Fault, Reason, TerminalId, UtcInstant};
use rollcall_server::{
    Authority, HubMembership, Judgement, Registry, Running, Server, ServerConfig, Services, ShownCertificate,
    key_sha256, requested_key_sha256,
};
use rollcall_store::{DataFolder, Db, SqliteOptions, Writes, requests};
use rollcall_terminals::adoption::{
    AdoptedTerminals, AdoptingHub, AdoptingSite, Adoptions, JoinToken, Newcomer, SignedCertificate,
    TrustedAuthority,
};
use rollcall_terminals::{ADOPTION_MIGRATIONS, HowToJoin, JoinStep, Joining as _, adoption_service};
use rollcall_terminals::{Adopting as _, Answering};

use super::{Hubs, Introducing, Introduction};

/// Everything is soon over in a test, or never.
const SOON: Duration = Duration::from_secs(30);
const BY: &str = "accounts/admin";

/// The authority, as adoption asks for it.
struct Certificates {
    authority: Authority,
    addresses: Mutex<Vec<String>>,
}

impl AdoptingHub for Certificates {
    fn requested_key(&self, csr: &[u8]) -> Result<[u8; 32], Fault> {
        requested_key_sha256(csr).map_err(|error| error.fault())
    }

    fn sign(&self, csr: &[u8], terminal: TerminalId, now: UtcInstant) -> Result<SignedCertificate, Fault> {
        let leaf = self.authority.sign_terminal(csr, terminal, now).map_err(|error| error.fault())?;
        Ok(SignedCertificate { chain: leaf.chain, not_after: leaf.not_after })
    }

    fn authorities(&self, now: UtcInstant) -> Result<Vec<TrustedAuthority>, Fault> {
        let all = self.authority.certificates(now).map_err(|error| error.fault())?;
        Ok(all
            .into_iter()
            .filter_map(|der| Some(TrustedAuthority { key_sha256: key_sha256(&der)?, der }))
            .collect())
    }

    fn next_authority(&self, now: UtcInstant) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.authority.next(now).map_err(|error| error.fault())?.map(|id| id.0))
    }

    fn end_rotation(&self, now: UtcInstant) -> Result<(), Fault> {
        self.authority.end_rotation(now).map_err(|error| error.fault())
    }

    fn site(&self) -> Answering<'_, AdoptingSite> {
        let addresses = self.addresses.lock().unwrap().clone();
        Box::pin(std::future::ready(Ok(AdoptingSite { name: "North School".into(), addresses })))
    }
}

#[derive(Default)]
struct Table(Mutex<Vec<Newcomer>>);

impl AdoptedTerminals for Table {
    fn register(&self, newcomer: Newcomer, _: UtcInstant) -> Answering<'_, ()> {
        self.0.lock().unwrap().push(newcomer);
        Box::pin(std::future::ready(Ok(())))
    }

    fn renewed(&self, _: TerminalId, _: [u8; 32], _: UtcInstant, _: UtcInstant) -> Answering<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn in_force(&self) -> Answering<'_, Vec<TerminalId>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

impl Registry for Table {
    fn judge<'a>(&'a self, shown: &'a ShownCertificate) -> Judgement<'a> {
        let known = self.0.lock().unwrap().iter().any(|newcomer| newcomer.key_sha256 == shown.key_sha256);
        let unknown = Fault::new(Reason::CredentialsInvalid, "unknown");
        Box::pin(std::future::ready(if known { Ok(()) } else { Err(unknown) }))
    }
}

/// A hub that serves adoption.
struct Hub {
    adoptions: Adoptions,
    certificates: Arc<Certificates>,
    table: Arc<Table>,
    address: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Hub {
    async fn start() -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), UtcInstant::now());
        let migrations = [requests::MIGRATIONS, rollcall_accounts::MIGRATIONS, ADOPTION_MIGRATIONS];
        let options = SqliteOptions { secure_delete: true };
        let db = Db::open_sqlite(&folder.path().join("hub.db"), options, &migrations).await.unwrap();
        let authority = Authority::open(folder.path(), now).unwrap();
        let certificates = Arc::new(Certificates { authority, addresses: Mutex::default() });
        let table = Arc::new(Table::default());
        let identity = certificates.authority.identity(&[], now).unwrap();
        let identity = identity.with_registry(Arc::clone(&table) as _);
        let adoptions = Adoptions::new(
            db.clone(),
            Writes::new(),
            Arc::clone(&certificates) as _,
            Arc::clone(&table) as _,
        );
        let services = Services::new().add(adoption_service(adoptions.clone()));
        let config = ServerConfig::at("127.0.0.1:0".parse().unwrap());
        let accounts = Accounts::new(db, Writes::new());
        let server = Server::build(config, &identity, accounts, services).await.unwrap();
        let address = server.address();
        certificates.addresses.lock().unwrap().push(address.to_string());
        Self { adoptions, certificates, table, address, _running: server.spawn().await, _folder: folder }
    }

    async fn token(&self) -> JoinToken {
        let made = self.adoptions.create_token("Gate B".into(), BY.into(), UtcInstant::now()).await.unwrap();
        JoinToken::parse(&made.text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The only one that asks.
    async fn asking(&self) -> rollcall_terminals::Asking {
        let mut all = self.adoptions.list(UtcInstant::now()).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

struct Gate;

impl Introducing for Gate {
    fn introduce(&self) -> Pin<Box<dyn Future<Output = Result<Introduction, Fault>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(Introduction {
            hardware: "ab".repeat(32),
            display_name: "Gate A".into(),
            software: "1.2.3".into(),
            people: 300,
            events: 9_000,
        })))
    }
}

/// A terminal that stands alone.
struct Terminal {
    membership: HubMembership,
    hubs: Hubs,
    _folder: DataFolder,
    _parent: tempfile::TempDir,
}

impl Terminal {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&parent.path().join("data")).unwrap();
        let built = UtcInstant::from_micros(0);
        let membership = HubMembership::open(&folder, TerminalId::generate(), "a machine", built).unwrap();
        let hubs = Hubs::new(membership.clone(), Box::new(Gate));
        Self { membership, hubs, _folder: folder, _parent: parent }
    }
}

async fn next(steps: &mut rollcall_terminals::JoinSteps) -> Result<JoinStep, Fault> {
    tokio::time::timeout(SOON, steps.next()).await.unwrap().expect("a step")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_whose_digits_are_the_hubs_joins_and_its_certificate_is_taken() {
    let (hub, terminal) = (Hub::start().await, Terminal::new());
    let mut steps = terminal.hubs.join(HowToJoin::At(hub.address.to_string())).unwrap();
    let shown = terminal.hubs.digits();
    let Ok(JoinStep::Waiting { address, digits }) = next(&mut steps).await else { panic!("digits") };
    let asking = hub.asking().await;
    assert_eq!((&address, &digits), (&hub.address.to_string(), &asking.digits));
    assert_eq!(shown.borrow().as_ref(), Some(&digits), "the screen shows them");
    assert_eq!((asking.terminal, asking.people, asking.events), (terminal.membership.terminal(), 300, 9_000));

    let busy = terminal.hubs.join(HowToJoin::Nearby).err().unwrap();
    assert_eq!(busy.reason, Reason::StateForbids);
    hub.adoptions.adopt(asking.terminal, String::new(), digits, BY.into(), UtcInstant::now()).await.unwrap();
    assert_eq!(next(&mut steps).await.unwrap(), JoinStep::Adopted { address: address.clone() });
    assert!(steps.next().await.is_none());
    drop(steps);
    assert_eq!(*shown.borrow(), None);

    let joined = terminal.membership.joined().unwrap();
    assert_eq!((joined.site.as_str(), &joined.addresses[..]), ("North School", &[address.clone()][..]));
    super::connect::connect(&address, Arc::clone(&joined.tls)).await.unwrap();
    let again = terminal.hubs.join(HowToJoin::Nearby).err().unwrap();
    assert!(again.message.contains("North School"), "{}", again.message);
    terminal.hubs.leave().await.unwrap();
    assert!(terminal.membership.joined().is_none());
    assert_eq!(terminal.hubs.leave().await.unwrap_err().fault().reason, Reason::StateForbids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_with_a_token_joins_without_anybody() {
    let (hub, terminal) = (Hub::start().await, Terminal::new());
    let mut steps = terminal.hubs.join(HowToJoin::With(hub.token().await)).unwrap();
    assert!(matches!(next(&mut steps).await, Ok(JoinStep::Adopted { .. })));
    assert!(terminal.membership.joined().is_some());
    assert_eq!(hub.table.0.lock().unwrap()[0].applicant.display_name, "Gate B");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f073_a_false_address_fails_at_the_pin_names_it_and_the_next_is_tried() {
    let (hub, other, terminal) = (Hub::start().await, Hub::start().await, Terminal::new());
    let token = hub.token().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let false_ones = vec![closed.to_string(), other.address.to_string()];
    let only_false = JoinToken { addresses: false_ones.clone(), ..token.clone() };
    let mut steps = terminal.hubs.join(HowToJoin::With(only_false)).unwrap();
    let fault = next(&mut steps).await.unwrap_err();
    let pin = hex::encode(token.pin);
    assert_eq!(fault.reason, Reason::Unavailable);
    assert!(fault.message.contains(&pin), "{}", fault.message);
    drop(steps);
    let addresses = [false_ones, token.addresses.clone()].concat();
    let mut steps = terminal.hubs.join(HowToJoin::With(JoinToken { addresses, ..token })).unwrap();
    assert!(matches!(next(&mut steps).await, Ok(JoinStep::Adopted { .. })));
    assert!(other.table.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f075_somebody_in_the_middle_is_seen_by_other_digits() {
    let (hub, middle, terminal) = (Hub::start().await, Hub::start().await, Terminal::new());
    let mut steps = terminal.hubs.join(HowToJoin::At(middle.address.to_string())).unwrap();
    let Ok(JoinStep::Waiting { digits, .. }) = next(&mut steps).await else { panic!("digits") };
    // Whoever is in the middle asks the hub as if it were the terminal.
    let impostor = Terminal::new();
    let mut asked = impostor.hubs.join(HowToJoin::At(hub.address.to_string())).unwrap();
    next(&mut asked).await.unwrap();
    assert_ne!(hub.asking().await.digits, digits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f074_a_used_token_is_refused_in_words() {
    let (hub, first, second) = (Hub::start().await, Terminal::new(), Terminal::new());
    let token = hub.token().await;
    let mut steps = first.hubs.join(HowToJoin::With(token.clone())).unwrap();
    next(&mut steps).await.unwrap();
    let mut steps = second.hubs.join(HowToJoin::With(token)).unwrap();
    let fault = next(&mut steps).await.unwrap_err();
    assert_eq!(fault.reason, Reason::CredentialsInvalid);
    assert!(fault.message.contains("was used by another terminal"), "{}", fault.message);
    assert!(second.membership.joined().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f076_a_terminal_that_stopped_asking_joins_when_it_asks_again() {
    let (hub, terminal) = (Hub::start().await, Terminal::new());
    let mut steps = terminal.hubs.join(HowToJoin::At(hub.address.to_string())).unwrap();
    next(&mut steps).await.unwrap();
    let first = hub.asking().await;
    hub.adoptions
        .adopt(first.terminal, String::new(), first.digits, BY.into(), UtcInstant::now())
        .await
        .unwrap();
    // It is registered, and gone before it was told.
    drop(steps);
    let mut steps = terminal.hubs.join(HowToJoin::At(hub.address.to_string())).unwrap();
    next(&mut steps).await.unwrap();
    let second = hub.asking().await;
    hub.adoptions
        .adopt(second.terminal, String::new(), second.digits, BY.into(), UtcInstant::now())
        .await
        .unwrap();
    assert!(matches!(next(&mut steps).await, Ok(JoinStep::Adopted { .. })));
    let keys: Vec<[u8; 32]> =
        hub.table.0.lock().unwrap().iter().map(|newcomer| newcomer.key_sha256).collect();
    assert_eq!(keys, [terminal.membership.key().unwrap().sha256(); 2], "one key is in force");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f080_a_token_made_while_another_authority_takes_over_pins_the_one_that_the_hub_shows() {
    let (hub, terminal) = (Hub::start().await, Terminal::new());
    hub.certificates.authority.begin_rotation(UtcInstant::now()).unwrap();
    let mut steps = terminal.hubs.join(HowToJoin::With(hub.token().await)).unwrap();
    assert!(matches!(next(&mut steps).await, Ok(JoinStep::Adopted { .. })));
    let joined = terminal.membership.joined().unwrap();
    assert!(!joined.needs_renewal(UtcInstant::now()), "its certificate is of the new one");
    super::connect::connect(&joined.addresses[0], Arc::clone(&joined.tls)).await.unwrap();
}
