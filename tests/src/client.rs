//! A gRPC client with a token.

use std::time::Duration;

use rollcall_proto::v1;
use rollcall_proto::v1::account_service_client::AccountServiceClient;
use rollcall_proto::v1::attendance_service_client::AttendanceServiceClient;
use rollcall_proto::v1::gallery_service_client::GalleryServiceClient;
use rollcall_proto::v1::health_service_client::HealthServiceClient;
use rollcall_proto::v1::terminal_service_client::TerminalServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

const CALL: Duration = Duration::from_secs(60);

/// A channel that says who calls.
pub type Authorised = InterceptedService<Channel, Bearer>;

/// Says who calls.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Clients of every service.
#[derive(Clone)]
pub struct Client {
    /// People.
    pub gallery: GalleryServiceClient<Authorised>,
    /// Events and registers.
    pub attendance: AttendanceServiceClient<Authorised>,
    /// Doors.
    pub terminals: TerminalServiceClient<Authorised>,
    /// Accounts and tokens.
    pub accounts: AccountServiceClient<Authorised>,
    /// The program.
    pub health: HealthServiceClient<Authorised>,
}

impl Client {
    /// Connects.
    pub async fn connect(url: &str, ca: &[u8], token: &str) -> Self {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().tls_config(tls).unwrap().timeout(CALL);
        let channel = endpoint.connect().await.expect("a connection");
        let channel = InterceptedService::new(channel, Bearer(format!("Bearer {token}").parse().unwrap()));
        Self {
            gallery: GalleryServiceClient::new(channel.clone()),
            attendance: AttendanceServiceClient::new(channel.clone()),
            terminals: TerminalServiceClient::new(channel.clone()),
            accounts: AccountServiceClient::new(channel.clone()),
            health: HealthServiceClient::new(channel),
        }
    }

    /// Adds somebody.
    pub async fn create_person(&mut self, display_name: &str, external_id: &str) -> v1::Person {
        let person = v1::Person {
            display_name: display_name.to_owned(),
            external_id: external_id.to_owned(),
            ..Default::default()
        };
        let request = v1::CreatePersonRequest { person: Some(person), request_id: String::new() };
        self.gallery.create_person(request).await.unwrap().into_inner()
    }

    /// Adds a group; its name.
    pub async fn create_group(&mut self, display_name: &str) -> String {
        let group = v1::Group { display_name: display_name.to_owned(), ..Default::default() };
        let request = v1::CreateGroupRequest { group: Some(group), ..Default::default() };
        self.gallery.create_group(request).await.unwrap().into_inner().name
    }

    /// Puts somebody into a group, and out of every other.
    pub async fn put_into(&mut self, person: &str, group: &str) {
        let person =
            v1::Person { name: person.to_owned(), groups: vec![group.to_owned()], ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["groups".into()] });
        let request = v1::UpdatePersonRequest { person: Some(person), update_mask };
        self.gallery.update_person(request).await.unwrap();
    }

    /// The terminal that this is.
    pub async fn this_terminal(&mut self) -> String {
        let listed = self.terminals.list_terminals(v1::ListTerminalsRequest::default()).await.unwrap();
        listed.into_inner().terminals.remove(0).name
    }

    /// Has people of this group alone pass, on these days; `without_clock` says what becomes of that while the clock was
    /// not set.
    pub async fn set_rule(&mut self, group: &str, weekdays: &[i32], without_clock: v1::WithoutClock) {
        let midnight = Some(v1::TimeOfDay::default());
        let rule = v1::AccessRule {
            groups: vec![group.to_owned()],
            weekdays: weekdays.to_vec(),
            start: midnight,
            end: midnight,
            on_holidays: true,
        };
        let settings = v1::TerminalSettings {
            access_rules: vec![rule],
            without_clock: without_clock.into(),
            ..Default::default()
        };
        let request = v1::UpdateTerminalSettingsRequest {
            terminal: self.this_terminal().await,
            settings: Some(settings),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["access_rules".into(), "without_clock".into()],
            }),
        };
        self.terminals.update_terminal_settings(request).await.unwrap();
    }

    /// A group with these people that is expected all day, every day; today's session.
    pub async fn expect_every_day(&mut self, people: &[String]) -> String {
        let group = self.create_group("Everybody").await;
        for person in people {
            self.put_into(person, &group).await;
        }
        let midnight = v1::TimeOfDay { hours: 0, minutes: 0, seconds: 0 };
        let period = v1::Period {
            display_name: "Every day".into(),
            group,
            weekdays: (1..=7).collect(),
            start: Some(midnight),
            end: Some(midnight),
            start_date: Some(v1::Date { year: 2020, month: 1, day: 1 }),
            end_date: Some(v1::Date { year: 2099, month: 12, day: 31 }),
            ..Default::default()
        };
        let period = v1::CreatePeriodRequest { period: Some(period), ..Default::default() };
        self.attendance.create_period(period).await.unwrap();
        let sessions =
            self.attendance.list_sessions(v1::ListSessionsRequest::default()).await.unwrap().into_inner();
        sessions.sessions.first().expect("today's session").name.clone()
    }

    /// Records what somebody says of themself.
    pub async fn record_consent(&mut self, person: &str, decision: v1::consent::Decision) -> v1::Consent {
        let consent = v1::Consent {
            decision: decision.into(),
            giver: v1::consent::Giver::Person.into(),
            form: "Form A, 2026".to_owned(),
            ..Default::default()
        };
        let request = v1::RecordConsentRequest {
            person: person.to_owned(),
            consent: Some(consent),
            request_id: String::new(),
        };
        self.gallery.record_consent(request).await.unwrap().into_inner()
    }

    /// Offers a picture.
    pub async fn enrol(
        &mut self,
        person: &str,
        picture: Vec<u8>,
    ) -> Result<v1::EnrolPictureResponse, Status> {
        let request = v1::EnrolPictureRequest {
            person: person.to_owned(),
            picture: picture.into(),
            ..Default::default()
        };
        self.gallery.enrol_picture(request).await.map(tonic::Response::into_inner)
    }

    /// Whose faces are on a picture.
    pub async fn identify(&mut self, picture: Vec<u8>) -> v1::IdentifyResponse {
        let request = v1::IdentifyRequest { picture: picture.into() };
        self.gallery.identify(request).await.unwrap().into_inner()
    }
}

/// The REASON of a refusal.
pub fn reason(status: &Status) -> String {
    rollcall_proto::reason(status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}
