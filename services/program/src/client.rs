//! How commands reach a running program: gRPC over TLS, with a token, as any script does.
//!
//! On the machine where it runs nothing has to be said: its data folder has its address, the certificate of its
//! authority and the administrator's token.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rollcall_core::limits;
use rollcall_proto::v1::account_service_client::AccountServiceClient;
use rollcall_proto::v1::attendance_service_client::AttendanceServiceClient;
use rollcall_proto::v1::gallery_service_client::GalleryServiceClient;
use rollcall_proto::v1::terminal_service_client::TerminalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::DATA_FOLDER;
use crate::folder;

/// A picture takes a tenth of a second; a Raspberry Pi that does ten at once, seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// A restart with 20,000 people takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Which program a command speaks to, and as whom.
#[derive(clap::Args)]
#[command(next_help_heading = "Which program to speak to")]
pub struct Connection {
    /// Data folder of the program, when it runs on this machine
    #[arg(long, value_name = "DIR", default_value = DATA_FOLDER, env = "ROLLCALL_DATA")]
    data: PathBuf,
    /// Its address, https://HOST:PORT [default: as in the data folder]
    #[arg(long, value_name = "URL", env = "ROLLCALL_SERVER")]
    server: Option<String>,
    /// Certificate of the authority that signed its certificate [default: as in the data folder]
    #[arg(long, value_name = "FILE", env = "ROLLCALL_CA")]
    ca: Option<PathBuf>,
    /// File with the token to speak with [default: the administrator's in the data folder]
    #[arg(long, value_name = "FILE", env = "ROLLCALL_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// Terminals, over a connection with a token.
pub type Terminals = TerminalServiceClient<InterceptedService<Channel, Bearer>>;

/// A connection with a token.
pub struct Client {
    channel: InterceptedService<Channel, Bearer>,
}

/// Says who calls.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Client {
    /// Connects.
    pub async fn connect(args: &Connection) -> anyhow::Result<Self> {
        let url = match &args.server {
            Some(url) => url.clone(),
            None => small_file(&args.data.join(folder::ADDRESS)).with_context(|| {
                format!(
                    "no program runs on {}: start it (edge-agent run or hub run), say --data, or say --server",
                    args.data.display()
                )
            })?,
        };
        ensure!(url.starts_with("https://"), "\"{url}\" is no address; write it as https://HOST:PORT");
        let ca = args.ca.clone().unwrap_or_else(|| args.data.join(folder::CA));
        let ca = small_file(&ca).context("the authority's certificate; say where it is with --ca")?;
        let token = args.token_file.clone().unwrap_or_else(|| args.data.join(folder::ADMIN_TOKEN));
        let token = small_file(&token).context("the token; say where it is with --token-file")?;
        let mut bearer: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().context("the token file does not hold a token")?;
        bearer.set_sensitive(true);
        let endpoint = Endpoint::from_shared(url.clone())
            .and_then(|endpoint| {
                endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)))
            })
            .with_context(|| format!("cannot speak to {url}"))?
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(CALL_DEADLINE)
            .http2_keep_alive_interval(Duration::from_secs(30));
        let channel = endpoint.connect().await.map_err(|error| unreached(&url, &error))?;
        Ok(Self { channel: InterceptedService::new(channel, Bearer(bearer)) })
    }

    /// Accounts and tokens.
    pub fn accounts(&self) -> AccountServiceClient<InterceptedService<Channel, Bearer>> {
        AccountServiceClient::new(self.channel.clone())
    }

    /// Events. A stream of them has no deadline.
    pub fn attendance(&self) -> AttendanceServiceClient<InterceptedService<Channel, Bearer>> {
        AttendanceServiceClient::new(self.channel.clone())
    }

    /// Terminals.
    pub fn terminals(&self) -> Terminals {
        TerminalServiceClient::new(self.channel.clone())
    }

    /// People.
    pub fn gallery(&self) -> GalleryServiceClient<InterceptedService<Channel, Bearer>> {
        GalleryServiceClient::new(self.channel.clone())
            .max_decoding_message_size(limits::REQUEST_PICTURE_SIZE_BYTES)
    }
}

/// Calls again, with growing pauses, while the program cannot be reached: it may be restarting. The call must be one
/// that may be repeated.
///
/// # Errors
/// The last refusal.
pub async fn patiently<T>(call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(100);
    loop {
        match call().await {
            Err(status) if may_pass(&status) && waited < PATIENCE => {
                // Several clients of one program do not come back all at once.
                let jittered =
                    pause.mul_f64(0.5 + f64::from(RandomState::new().hash_one(0_u8) as u16) / 65_536.0);
                tokio::time::sleep(jittered).await;
                waited += jittered;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            done => return done,
        }
    }
}

/// Whether a refusal may pass by itself. A connection that broke has no reason of ours.
fn may_pass(status: &Status) -> bool {
    status.code() == Code::Unavailable
        || matches!(status.code(), Code::Unknown | Code::Internal) && rollcall_proto::reason(status).is_none()
}

/// A refusal, for people.
pub fn refused(status: Status) -> anyhow::Error {
    match rollcall_proto::reason(&status) {
        Some(reason) => anyhow::anyhow!("{} ({reason})", status.message()),
        None => anyhow::anyhow!("{} ({:?})", status.message(), status.code()),
    }
}

/// Why there is no connection, for people: TLS libraries say it last.
fn unreached(url: &str, error: &dyn std::error::Error) -> anyhow::Error {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    let cause = causes.join(": ");
    if cause.contains("UnknownIssuer") || cause.contains("BadSignature") {
        return anyhow::anyhow!(
            "{url} shows a certificate of another authority than the one given; take ca.pem of its data folder"
        );
    }
    if cause.contains("NotValidForName") {
        return anyhow::anyhow!("the certificate of {url} is for other names: {cause}");
    }
    anyhow::anyhow!("cannot reach {url}: {}", causes.last().map_or("", String::as_str))
}

/// The text of a small file without the white space around it.
fn small_file(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(limits::CONFIG_SIZE_BYTES).read_to_string(&mut text));
    read.with_context(|| path.display().to_string())?;
    if text.trim().is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(text.trim().to_owned())
}
