//! A real server on the loopback, with a site of its own, and clients for it.
#![allow(
    dead_code,
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rollcall_accounts::{Accounts, Authenticated, MIGRATIONS, NewToken, Scope};
use rollcall_core::{Caller, CallerId, Fault, Reason, Role, TerminalId, TokenId, UtcInstant};
use rollcall_proto::v1::account_service_client::AccountServiceClient;
use rollcall_proto::v1::health_service_client::HealthServiceClient;
use rollcall_server::health::{self, Part, State};
use rollcall_server::{
    Authority, CA_FILE, CA_KEY_FILE, Judgement, Registry, Running, Server, ServerConfig, Services,
    ShownCertificate, TerminalKey,
};
use rollcall_store::{Db, SqliteOptions, Writes, requests};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Code, Status};

/// Everything is soon over in a test, or never.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Site {
    pub folder: TempDir,
    pub accounts: Accounts,
    pub address: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub admin: String,
    pub authority: Authority,
    pub registry: Arc<FakeRegistry>,
    running: Option<Running>,
}

#[derive(PartialEq, Eq)]
enum Terminals {
    Adopted,
    None,
}

/// Knows every terminal, but for those that were revoked.
#[derive(Default)]
pub struct FakeRegistry {
    revoked: Mutex<HashSet<TerminalId>>,
    judged: Mutex<Vec<ShownCertificate>>,
}

impl FakeRegistry {
    pub fn revoke(&self, terminal: TerminalId) {
        self.revoked.lock().unwrap().insert(terminal);
    }

    /// What was shown last.
    pub fn last(&self) -> Option<ShownCertificate> {
        self.judged.lock().unwrap().last().cloned()
    }
}

impl Registry for FakeRegistry {
    fn judge<'a>(&'a self, shown: &'a ShownCertificate) -> Judgement<'a> {
        self.judged.lock().unwrap().push(shown.clone());
        let is_revoked = self.revoked.lock().unwrap().contains(&shown.terminal);
        let revoked = Fault::new(Reason::CredentialsInvalid, "the terminal was revoked");
        Box::pin(std::future::ready(if is_revoked { Err(revoked) } else { Ok(()) }))
    }
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(set: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_as(set, Terminals::Adopted).await
    }

    /// A program to which no terminals belong.
    pub async fn start_without_terminals() -> Self {
        Self::start_as(|_| {}, Terminals::None).await
    }

    async fn start_as(set: impl FnOnce(&mut ServerConfig), terminals: Terminals) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { secure_delete: true };
        let migrations = [MIGRATIONS, requests::MIGRATIONS];
        let db = Db::open_sqlite(&folder.path().join("site.db"), options, &migrations).await.unwrap();
        let accounts = Accounts::new(db, Writes::new());
        let now = UtcInstant::now();
        let admin = accounts.bootstrap(folder.path(), now).await.unwrap();
        let admin = std::fs::read_to_string(admin).unwrap().trim().to_owned();
        let authority = Authority::open(folder.path(), now).unwrap();
        let registry = Arc::new(FakeRegistry::default());
        let mut identity = authority.identity(&[], now).unwrap();
        if terminals == Terminals::Adopted {
            identity = identity.with_registry(Arc::clone(&registry) as _);
        }
        let mut config = ServerConfig::at("127.0.0.1:0".parse().unwrap());
        set(&mut config);
        let services = Services::new()
            .add(rollcall_accounts::grpc::service(accounts.clone()))
            .add(health::service("test", "0.0.0", vec![Box::new(well)]))
            .add(FakeAdoption(Fake))
            .add(FakeAttendance(Fake))
            .add(FakeGallery(Fake))
            .add(FakeSync(Fake))
            .add(FakeTerminals(Fake));
        let server = Server::build(config, &identity, accounts.clone(), services).await.unwrap();
        let (address, metrics) = (server.address(), server.metrics_address());
        let running = Some(server.spawn().await);
        Self { folder, accounts, address, metrics, admin, authority, registry, running }
    }

    /// A token with these rights.
    pub async fn token(&self, role: Role, scopes: &[&str]) -> (TokenId, String) {
        self.token_for(role, scopes, Duration::from_secs(3_600)).await
    }

    pub async fn token_for(&self, role: Role, scopes: &[&str], lifetime: Duration) -> (TokenId, String) {
        let new = NewToken {
            display_name: "test".into(),
            role,
            scopes: scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect(),
            expire: UtcInstant::now().after(lifetime),
        };
        let maker = Authenticated {
            caller: Caller { id: CallerId::Token(TokenId::generate()), role: Role::Admin },
            display_name: "maker".into(),
            scopes: None,
            expire: None,
            account: None,
        };
        let made = self.accounts.create_token(new, &maker, UtcInstant::now(), None).await.unwrap();
        (made.token.id, made.secret.unwrap().to_string())
    }

    /// Shows this site's certificate, as it is now, to new connections.
    pub fn renew(&self) {
        let identity = self.authority.identity(&[], UtcInstant::now()).unwrap();
        self.running.as_ref().unwrap().renewal().renew(&identity).unwrap();
    }

    /// A certificate that was signed at `then`, as a terminal gets it.
    pub fn signed(&self, id: TerminalId, then: UtcInstant) -> (TerminalKey, Vec<Vec<u8>>) {
        let key = TerminalKey::generate().unwrap();
        let leaf = self.authority.sign_terminal(&key.request().unwrap(), id, then).unwrap();
        (key, leaf.chain)
    }

    pub fn ca_pem(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(CA_FILE)).unwrap()
    }

    /// A certificate that the site's authority signs for a terminal.
    pub fn terminal(&self, id: TerminalId) -> ClientCertificate {
        let key = std::fs::read_to_string(self.folder.path().join(CA_KEY_FILE)).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.ca_pem(), KeyPair::from_pem(&key).unwrap()).unwrap();
        ClientCertificate::of(&issuer, &format!("urn:rollcall:terminal:{id}"))
    }

    /// A channel with TLS, and with a certificate where one is given.
    pub async fn channel(&self, certificate: Option<&ClientCertificate>) -> Channel {
        let ca = tonic::transport::Certificate::from_pem(self.ca_pem());
        let mut tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
        if let Some(certificate) = certificate {
            let ClientCertificate { chain_pem, key_pem } = certificate;
            tls = tls.identity(tonic::transport::Identity::from_pem(chain_pem, key_pem));
        }
        let endpoint = Channel::from_shared(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls).unwrap().timeout(SOON).connect_lazy()
    }

    pub async fn accounts_client(&self, token: &str) -> AccountServiceClient<Authorised> {
        AccountServiceClient::new(self.authorised(token).await)
    }

    pub async fn health_client(&self, token: &str) -> HealthServiceClient<Authorised> {
        HealthServiceClient::new(self.authorised(token).await)
    }

    pub async fn authorised(&self, token: &str) -> Authorised {
        InterceptedService::new(self.channel(None).await, Bearer(token.to_owned()))
    }

    /// A TLS connection to the server.
    pub async fn tls(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(self.client_config(None)).connect(localhost(), tcp).await.unwrap()
    }

    pub fn client_config(&self, certificate: Option<&ClientCertificate>) -> Arc<rustls::ClientConfig> {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(ClientCertificate { chain_pem, key_pem }) => {
                let chain = vec![CertificateDer::from_pem_slice(chain_pem.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem().as_bytes()).unwrap()).unwrap();
        roots
    }

    /// An HTTP/2 connection, for requests that no well-meaning client makes.
    pub async fn h2(&self) -> h2::client::SendRequest<Bytes> {
        self.h2_with(h2::client::Builder::new()).await
    }

    pub async fn h2_with(&self, builder: h2::client::Builder) -> h2::client::SendRequest<Bytes> {
        let (send, connection) = builder.handshake(self.tls().await).await.unwrap();
        tokio::spawn(connection);
        send.ready().await.unwrap()
    }

    /// A request as gRPC makes it.
    pub fn request(&self, path: &str, token: &str) -> Request<()> {
        Request::post(format!("https://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"))
            .body(())
            .unwrap()
    }

    /// A request to a fake service by the administrator.
    pub fn fake(&self, path: &str, does: &'static str) -> Request<()> {
        let mut request = self.request(path, &self.admin);
        request.headers_mut().insert("x-fake", HeaderValue::from_static(does));
        request
    }

    pub async fn drain(mut self, patience: Duration) -> usize {
        self.running.take().unwrap().drain(patience).await
    }
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

pub type Authorised = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
pub struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if !self.0.is_empty() {
            let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

pub struct ClientCertificate {
    pub chain_pem: String,
    pub key_pem: String,
}

impl ClientCertificate {
    pub fn of(issuer: &Issuer<'_, KeyPair>, uri: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let chain_pem = params(uri).signed_by(&key, issuer).unwrap().pem();
        Self { chain_pem, key_pem: key.serialize_pem() }
    }

    pub fn self_signed(uri: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { chain_pem: params(uri).self_signed(&key).unwrap().pem(), key_pem: key.serialize_pem() }
    }
}

fn params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn well() -> Part {
    Part { part: "log", state: State::Well, explanation: String::new() }
}

/// A whole call: the code and the reason.
pub async fn outcome(response: h2::client::ResponseFuture) -> (Code, Option<String>) {
    let response = response.await.expect("a response");
    let headers = response.headers().clone();
    if headers.contains_key("grpc-status") {
        return told(&headers);
    }
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let size = data.expect("data").len();
        body.flow_control().release_capacity(size).unwrap();
    }
    told(&body.trailers().await.expect("trailers").expect("trailers"))
}

pub fn told(headers: &HeaderMap) -> (Code, Option<String>) {
    let status = Status::from_header_map(headers).expect("a status");
    (status.code(), rollcall_proto::reason(&status))
}

/// A gRPC message with this flag, claimed length and content.
pub fn message(flag: u8, length: u32, content: &[u8]) -> Bytes {
    [&[flag][..], &length.to_be_bytes(), content].concat().into()
}

pub fn whole(content: &[u8]) -> Bytes {
    message(0, u32::try_from(content.len()).unwrap(), content)
}

/// A service that answers every call with an empty message, or does what the metadata `x-fake` says.
#[derive(Clone)]
pub struct Fake;

/// Streams without end, as fast as it is read.
pub const ENDLESS: &str = "endless";
/// Streams nothing, without end.
pub const SILENT: &str = "silent";
/// Answers with more than clients take.
pub const HUGE: &str = "huge";
/// Never answers.
pub const HANGS: &str = "hangs";
/// Panics.
pub const PANICS: &str = "panics";
/// A call whose answer is one message.
pub const ONE: &str = "/rollcall.v1.AttendanceService/GetEvent";
/// A call whose answer is a stream.
pub const MANY: &str = "/rollcall.v1.AttendanceService/WatchEvents";

impl Fake {
    async fn answer(request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
        let kind = match request.headers().get("x-fake").and_then(|value| value.to_str().ok()).unwrap_or("") {
            ENDLESS => Kind::Endless,
            SILENT => Kind::Silent,
            HUGE => Kind::Huge,
            HANGS => std::future::pending().await,
            PANICS => panic!("a bug\nwith a line of its own \u{1b}[31m"),
            _ => Kind::Once,
        };
        let mut response = Response::new(tonic::body::Body::new(FakeBody { kind, sent: 0 }));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }
}

enum Kind {
    Once,
    Endless,
    Silent,
    Huge,
}

struct FakeBody {
    kind: Kind,
    sent: u64,
}

impl http_body::Body for FakeBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        self.sent += 1;
        match (&self.kind, self.sent) {
            (Kind::Once, 1) => Poll::Ready(Some(Ok(Frame::data(whole(b""))))),
            (Kind::Once, 2) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            (Kind::Once, _) => Poll::Ready(None),
            (Kind::Endless, _) => Poll::Ready(Some(Ok(Frame::data(whole(&[0; 256 << 10]))))),
            (Kind::Huge, _) => Poll::Ready(Some(Ok(Frame::data(whole(&vec![0; (4 << 20) + 1]))))),
            (Kind::Silent, _) => Poll::Pending,
        }
    }
}

macro_rules! fakes {
    ($($name:ident $service:literal;)+) => {$(
        #[derive(Clone)]
        pub struct $name(pub Fake);

        impl tonic::server::NamedService for $name {
            const NAME: &'static str = $service;
        }

        impl tower::Service<Request<tonic::body::Body>> for $name {
            type Response = Response<tonic::body::Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

            fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
                Box::pin(async move { Ok(Fake::answer(request).await) })
            }
        }
    )+};
}

fakes! {
    FakeAdoption "rollcall.v1.AdoptionService";
    FakeAttendance "rollcall.v1.AttendanceService";
    FakeGallery "rollcall.v1.GalleryService";
    FakeSync "rollcall.v1.SyncService";
    FakeTerminals "rollcall.v1.TerminalService";
}
