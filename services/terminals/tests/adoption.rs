//! Adoption at the hub on both engines, with an authority and a table of terminals that write down what they are told.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rollcall_core::{Fault, PeerAddress, Reason, TerminalId, UtcInstant, limits};
use rollcall_proto::v1;
use rollcall_proto::v1::adoption_service_server::AdoptionService as _;
use rollcall_store::{Db, Writes};
use rollcall_terminals::adoption::{
    AdoptedTerminals, AdoptingHub, AdoptingSite, Adoptions, Applicant, JoinToken, Newcomer, Sides,
    SignedCertificate, TrustedAuthority, digits,
};
use rollcall_terminals::{ADOPTION_MIGRATIONS, TerminalError};
use rollcall_terminals::{Adopting as _, Answering};
use sha2::{Digest as _, Sha256};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));
const MINUTE: Duration = Duration::from_secs(60);
const AUTHORITY: [u8; 32] = [1; 32];
const NONCE: [u8; 32] = [5; 32];
const BY: &str = "accounts/admin";

fn now() -> UtcInstant {
    UtcInstant::from_micros(1_790_000_000_000_000)
}

/// Requests are texts here, and a key is the hash of one.
fn key_of(csr: &[u8]) -> [u8; 32] {
    Sha256::digest(csr).into()
}

/// A hub's authority. Certificates are numbered.
#[derive(Default)]
struct Hub {
    signed: Mutex<Vec<TerminalId>>,
    next: Mutex<Option<Vec<u8>>>,
}

impl AdoptingHub for Hub {
    fn requested_key(&self, csr: &[u8]) -> Result<[u8; 32], Fault> {
        match csr {
            b"" => Err(Fault::new(Reason::FieldInvalid, "no request")),
            csr => Ok(key_of(csr)),
        }
    }

    fn sign(&self, _: &[u8], terminal: TerminalId, now: UtcInstant) -> Result<SignedCertificate, Fault> {
        let mut signed = self.signed.lock().unwrap();
        signed.push(terminal);
        let chain = vec![format!("certificate {}", signed.len()).into_bytes(), b"authority".to_vec()];
        Ok(SignedCertificate { chain, not_after: now.after(MINUTE * 60 * 24 * 90) })
    }

    fn authorities(&self, _: UtcInstant) -> Result<Vec<TrustedAuthority>, Fault> {
        Ok(vec![TrustedAuthority { der: b"authority".to_vec(), key_sha256: AUTHORITY }])
    }

    fn next_authority(&self, _: UtcInstant) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.next.lock().unwrap().clone())
    }

    fn end_rotation(&self, _: UtcInstant) -> Result<(), Fault> {
        *self.next.lock().unwrap() = None;
        Ok(())
    }

    fn site(&self) -> Answering<'_, AdoptingSite> {
        let addresses = vec!["hub.example:7444".to_owned()];
        Box::pin(std::future::ready(Ok(AdoptingSite { name: "North School".into(), addresses })))
    }
}

/// The table of terminals, which can be made to fail.
#[derive(Default)]
struct Table {
    keys: Mutex<HashMap<TerminalId, Newcomer>>,
    is_broken: Mutex<bool>,
}

impl AdoptedTerminals for Table {
    fn register(&self, newcomer: Newcomer, _: UtcInstant) -> Answering<'_, ()> {
        let result = if *self.is_broken.lock().unwrap() {
            Err(TerminalError::Refused(Fault::new(Reason::Unavailable, "the database is away")))
        } else {
            self.keys.lock().unwrap().insert(newcomer.applicant.terminal, newcomer);
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }

    fn renewed(
        &self,
        terminal: TerminalId,
        key_sha256: [u8; 32],
        _: UtcInstant,
        _: UtcInstant,
    ) -> Answering<'_, ()> {
        let in_force = self.keys.lock().unwrap().get(&terminal).map(|newcomer| newcomer.key_sha256);
        let other = Fault::new(Reason::CredentialsInvalid, "another key is in force");
        let result = if in_force == Some(key_sha256) { Ok(()) } else { Err(TerminalError::Refused(other)) };
        Box::pin(std::future::ready(result))
    }

    fn in_force(&self) -> Answering<'_, Vec<TerminalId>> {
        Box::pin(std::future::ready(Ok(self.keys.lock().unwrap().keys().copied().collect())))
    }
}

/// A hub that adopts, and what it was told to do.
struct Site {
    adoptions: Adoptions,
    hub: Arc<Hub>,
    table: Arc<Table>,
}

impl Site {
    fn new(db: &Db) -> Self {
        let (hub, table) = (Arc::new(Hub::default()), Arc::new(Table::default()));
        let adoptions =
            Adoptions::new(db.clone(), Writes::new(), Arc::clone(&hub) as _, Arc::clone(&table) as _);
        Self { adoptions, hub, table }
    }

    /// Asks, and shows the nonce; the id of the request, and the digits that the terminal shows.
    async fn ask(&self, applicant: &Applicant, now: UtcInstant) -> ([u8; 16], String) {
        let commitment = Sha256::digest(NONCE).into();
        let begun = self.adoptions.begin(applicant.clone(), commitment, ADDRESS, now).await.unwrap();
        self.adoptions.reveal(begun.request_id, NONCE, now).await.unwrap();
        let sides = Sides {
            authority_sha256: AUTHORITY,
            terminal_key_sha256: key_of(&applicant.csr),
            hub_nonce: begun.hub_nonce,
            terminal_nonce: NONCE,
        };
        (begun.request_id, digits(&sides))
    }

    async fn adopt(&self, terminal: TerminalId, digits: &str, now: UtcInstant) -> Result<(), TerminalError> {
        self.adoptions.adopt(terminal, String::new(), digits.to_owned(), BY.into(), now).await
    }

    async fn token(&self, now: UtcInstant) -> JoinToken {
        let made = self.adoptions.create_token("Gate B".into(), BY.into(), now).await.unwrap();
        assert_eq!(made.expires, now.after(MINUTE * 15));
        JoinToken::parse(&made.text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn signed(&self) -> usize {
        self.hub.signed.lock().unwrap().len()
    }

    fn key_in_force(&self, terminal: TerminalId) -> Option<[u8; 32]> {
        self.table.keys.lock().unwrap().get(&terminal).map(|newcomer| newcomer.key_sha256)
    }
}

fn applicant(csr: &str) -> Applicant {
    Applicant {
        terminal: TerminalId::generate(),
        hardware: "ab".repeat(32),
        display_name: "Gate A".into(),
        software: "1.2.3".into(),
        csr: csr.as_bytes().to_vec(),
        people: 300,
        events: 9_000,
    }
}

fn reason<T>(result: Result<T, TerminalError>) -> Reason {
    result.err().expect("a refusal").fault().reason
}

rollcall_store::both_engines! {
    migrations = &[ADOPTION_MIGRATIONS];

    async fn a_terminal_whose_digits_were_compared_gets_its_certificate(db: Db) {
        let site = Site::new(&db);
        let gate = applicant("a key");
        let (id, shown) = site.ask(&gate, now()).await;
        let [asking] = &site.adoptions.list(now()).await.unwrap()[..] else { panic!("one asks") };
        assert_eq!((asking.terminal, &asking.digits, asking.people, asking.events), (gate.terminal, &shown, 300, 9_000));
        assert_eq!((asking.address.as_str(), asking.since), ("10.0.0.7", now()));
        assert_eq!(site.adoptions.wait(id, now()).await.unwrap(), None);

        // As people write six digits.
        let spoken = format!("{} {}", &shown[..3], &shown[3..]);
        site.adoptions.adopt(gate.terminal, "North gate".into(), spoken, BY.into(), now()).await.unwrap();
        let granted = site.adoptions.wait(id, now()).await.unwrap().expect("it is adopted");
        assert_eq!(granted.chain, [b"certificate 1".to_vec(), b"authority".to_vec()]);
        assert_eq!((granted.site.name.as_str(), granted.authorities), ("North School", vec![b"authority".to_vec()]));
        let newcomer = site.table.keys.lock().unwrap()[&gate.terminal].clone();
        assert_eq!((newcomer.applicant.display_name.as_str(), newcomer.by.as_str()), ("North gate", BY));
        assert_eq!(newcomer.key_sha256, key_of(b"a key"));
        assert!(site.adoptions.list(now()).await.unwrap().is_empty());
    }

    async fn nobody_is_adopted_whose_digits_are_others(db: Db) {
        let site = Site::new(&db);
        let gate = applicant("a key");
        let (id, shown) = site.ask(&gate, now()).await;
        let other = if shown == "000000" { "000001" } else { "000000" };
        assert_eq!(reason(site.adopt(gate.terminal, other, now()).await), Reason::NotFound);
        assert_eq!(reason(site.adopt(TerminalId::generate(), &shown, now()).await), Reason::NotFound);
        assert_eq!(site.adoptions.wait(id, now()).await.unwrap(), None);
        assert_eq!(site.signed(), 0);
    }

    async fn f075_a_nonce_that_was_not_committed_to_ends_the_request(db: Db) {
        let site = Site::new(&db);
        let gate = applicant("a key");
        let begun = site.adoptions.begin(gate, Sha256::digest(NONCE).into(), ADDRESS, now()).await.unwrap();
        assert!(site.adoptions.list(now()).await.unwrap().is_empty(), "before its nonce nobody sees it");
        let wrong = site.adoptions.reveal(begun.request_id, [6; 32], now()).await;
        assert_eq!(reason(wrong), Reason::CredentialsInvalid);
        assert_eq!(reason(site.adoptions.reveal(begun.request_id, NONCE, now()).await), Reason::NotFound);
    }

    async fn a_terminal_that_asks_again_takes_its_own_place_and_nobody_elses(db: Db) {
        let site = Site::new(&db);
        let gate = applicant("a key");
        let (first, _) = site.ask(&gate, now()).await;
        let (second, shown) = site.ask(&gate, now()).await;
        assert_eq!(reason(site.adoptions.wait(first, now()).await), Reason::NotFound);
        // Somebody who claims to be the same terminal has another key, and other digits.
        let impostor = Applicant { csr: b"another key".to_vec(), ..gate.clone() };
        site.ask(&impostor, now()).await;
        assert_eq!(site.adoptions.list(now()).await.unwrap().len(), 2);
        site.adopt(gate.terminal, &shown, now()).await.unwrap();
        assert!(site.adoptions.wait(second, now()).await.unwrap().is_some());
        assert_eq!(site.key_in_force(gate.terminal), Some(key_of(b"a key")));
    }

    async fn a_request_is_forgotten_after_15_minutes_and_a_granted_one_15_minutes_later(db: Db) {
        let site = Site::new(&db);
        let (gate, late) = (applicant("a key"), applicant("late"));
        let (id, shown) = site.ask(&gate, now()).await;
        let (_, late_shown) = site.ask(&late, now()).await;
        let almost = now().after(MINUTE * 14);
        site.adopt(gate.terminal, &shown, almost).await.unwrap();
        let after = now().after(MINUTE * 15);
        assert!(site.adoptions.list(after).await.unwrap().is_empty());
        assert_eq!(reason(site.adopt(late.terminal, &late_shown, after).await), Reason::NotFound);
        assert!(site.adoptions.wait(id, after).await.unwrap().is_some());
        assert_eq!(reason(site.adoptions.wait(id, almost.after(MINUTE * 15)).await), Reason::NotFound);
    }

    async fn so_many_ask_and_no_more(db: Db) {
        let site = Site::new(&db);
        let ask = async |host: u8, n: i64, at: UtcInstant| {
            let address = IpAddr::from([10, 0, 1, host]);
            site.adoptions.begin(applicant(&format!("{host} {n}")), [0; 32], address, at).await
        };
        for n in 0..limits::ADOPTION_REQUESTS_PER_ADDRESS {
            ask(1, n, now()).await.unwrap();
        }
        assert_eq!(reason(ask(1, 99, now()).await), Reason::LimitReached);
        for n in limits::ADOPTION_REQUESTS_PER_ADDRESS..limits::ADOPTION_REQUESTS {
            ask(u8::try_from(2 + n / 10).unwrap(), n, now()).await.unwrap();
        }
        assert_eq!(reason(ask(200, 0, now()).await), Reason::LimitReached);
        ask(200, 0, now().after(MINUTE * 15)).await.unwrap();
    }

    async fn f074_a_token_is_used_once_and_repeats_its_answer_to_the_same_key(db: Db) {
        let site = Site::new(&db);
        let token = site.token(now()).await;
        assert_eq!((token.pin, &token.addresses[..]), (AUTHORITY, &["hub.example:7444".to_owned()][..]));
        let gate = applicant("a key");
        let secret = token.secret_text();
        let redeem = |applicant: &Applicant, at| site.adoptions.redeem(&secret, applicant.clone(), ADDRESS, at);
        let granted = redeem(&gate, now()).await.unwrap();
        assert_eq!(redeem(&gate, now().after(MINUTE * 14)).await.unwrap(), granted);
        assert_eq!(reason(redeem(&applicant("other"), now()).await), Reason::CredentialsInvalid);
        let same_terminal = Applicant { csr: b"other".to_vec(), ..gate.clone() };
        assert_eq!(reason(redeem(&same_terminal, now()).await), Reason::CredentialsInvalid);
        assert_eq!(site.signed(), 1);
        assert_eq!(site.table.keys.lock().unwrap()[&gate.terminal].applicant.display_name, "Gate B");
    }

    async fn f074_a_token_used_twice_at_the_same_instant_makes_one_certificate(db: Db) {
        let site = Site::new(&db);
        let secret = site.token(now()).await.secret_text();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (adoptions, secret) = (site.adoptions.clone(), secret.clone());
            let gate = applicant(&format!("key {n}"));
            tasks.spawn(async move { adoptions.redeem(&secret, gate, ADDRESS, now()).await });
        }
        let results = tasks.join_all().await;
        let (taken, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((taken.len(), site.signed(), site.table.keys.lock().unwrap().len()), (1, 1, 1));
        for result in refused {
            assert_eq!(reason(result), Reason::CredentialsInvalid);
        }
    }

    async fn f055_a_token_ends_after_15_minutes_of_the_hubs_clock(db: Db) {
        let site = Site::new(&db);
        let token = site.token(now()).await.secret_text();
        let redeem = |at| site.adoptions.redeem(&token, applicant("a key"), ADDRESS, at);
        assert_eq!(reason(redeem(now().after(MINUTE * 16)).await), Reason::TokenExpired);
        assert_eq!(reason(redeem(now().after(MINUTE * 15)).await), Reason::TokenExpired);
        redeem(now().after(MINUTE * 14)).await.unwrap();
    }

    async fn f074_a_secret_is_stored_as_its_hash_and_a_guess_finds_nothing(db: Db) {
        let site = Site::new(&db);
        let token = site.token(now()).await;
        for guess in ["", "AAAAAAAAAAAAAAAAAAAAAA", &hex::encode(Sha256::digest(token.secret_text()))] {
            let refused = site.adoptions.redeem(guess, applicant("a key"), ADDRESS, now()).await;
            assert_eq!(reason(refused), Reason::CredentialsInvalid, "{guess}");
        }
        assert_eq!(site.signed(), 0);
    }

    async fn f076_a_crash_before_the_registration_is_mended_by_repeating_and_signs_nothing_anew(db: Db) {
        let site = Site::new(&db);
        let (by_digits, by_token) = (applicant("digits"), applicant("token"));
        let (id, shown) = site.ask(&by_digits, now()).await;
        let secret = site.token(now()).await.secret_text();
        *site.table.is_broken.lock().unwrap() = true;
        assert_eq!(reason(site.adopt(by_digits.terminal, &shown, now()).await), Reason::Unavailable);
        let redeem = || site.adoptions.redeem(&secret, by_token.clone(), ADDRESS, now());
        assert_eq!(reason(redeem().await), Reason::Unavailable);
        assert_eq!(site.adoptions.wait(id, now()).await.unwrap(), None, "nobody is told before it is registered");
        assert_eq!(site.adoptions.list(now()).await.unwrap().len(), 1, "it can be accepted again");

        // Another process, over the same database.
        *site.table.is_broken.lock().unwrap() = false;
        let after = Adoptions::new(db.clone(), Writes::new(), Arc::clone(&site.hub) as _, Arc::clone(&site.table) as _);
        after.adopt(by_digits.terminal, String::new(), shown.clone(), BY.into(), now()).await.unwrap();
        after.adopt(by_digits.terminal, String::new(), shown, BY.into(), now()).await.unwrap();
        let granted = after.wait(id, now()).await.unwrap().unwrap();
        assert_eq!(granted.chain[0], b"certificate 1");
        assert_eq!(redeem().await.unwrap().chain[0], b"certificate 2");
        assert_eq!(site.signed(), 2);
    }

    async fn f076_a_terminal_that_is_adopted_anew_has_one_key_in_force(db: Db) {
        let site = Site::new(&db);
        let before = applicant("old");
        let (_, shown) = site.ask(&before, now()).await;
        site.adopt(before.terminal, &shown, now()).await.unwrap();
        let after = Applicant { csr: b"new".to_vec(), ..before.clone() };
        let (_, shown) = site.ask(&after, now()).await;
        site.adopt(after.terminal, &shown, now()).await.unwrap();
        assert_eq!(site.key_in_force(before.terminal), Some(key_of(b"new")));
        assert_eq!(reason(site.adoptions.renew(before.terminal, b"old", now()).await), Reason::CredentialsInvalid);
        assert_eq!(site.adoptions.renew(before.terminal, b"new", now()).await.unwrap()[0], b"certificate 4");
    }

    async fn f080_the_old_authority_goes_when_every_terminal_has_shown_a_certificate_of_the_new_one(db: Db) {
        let site = Site::new(&db);
        let mut all = Vec::new();
        for n in 0..5 {
            let gate = applicant(&format!("key {n}"));
            let (_, shown) = site.ask(&gate, now()).await;
            site.adopt(gate.terminal, &shown, now()).await.unwrap();
            site.adoptions.shown(gate.terminal, b"old", now()).await.unwrap();
            all.push(gate.terminal);
        }
        assert!(site.adoptions.end_rotation(now()).await.unwrap().is_empty(), "none is under way");
        *site.hub.next.lock().unwrap() = Some(b"new".to_vec());
        for terminal in &all[..2] {
            site.adoptions.shown(*terminal, b"new", now()).await.unwrap();
        }
        let mut waiting = site.adoptions.end_rotation(now()).await.unwrap();
        waiting.sort_unstable();
        assert_eq!(waiting, all[2..], "three were away");
        assert!(site.hub.next.lock().unwrap().is_some());
        for terminal in &all[2..4] {
            site.adoptions.shown(*terminal, b"new", now()).await.unwrap();
        }
        // The last one was revoked.
        site.table.keys.lock().unwrap().remove(&all[4]);
        assert!(site.adoptions.end_rotation(now()).await.unwrap().is_empty());
        assert!(site.hub.next.lock().unwrap().is_none());
    }

    async fn what_a_terminal_says_of_itself_is_checked(db: Db) {
        let site = Site::new(&db);
        let begin = |applicant| site.adoptions.begin(applicant, [0; 32], ADDRESS, now());
        let good = applicant("a key");
        for wrong in [
            Applicant { display_name: "x".repeat(limits::TERMINAL_NAME_CHARS + 1), ..good.clone() },
            Applicant { display_name: "a\nline".into(), ..good.clone() },
            Applicant { software: "\u{1b}[31m".into(), ..good.clone() },
            Applicant { hardware: "x".repeat(limits::APPLICANT_TEXT_CHARS + 1), ..good.clone() },
            Applicant { people: -1, ..good.clone() },
            Applicant { csr: Vec::new(), ..good.clone() },
        ] {
            assert_eq!(reason(begin(wrong).await), Reason::FieldInvalid);
        }
        begin(good).await.unwrap();
    }

    async fn over_grpc_a_terminal_is_adopted_step_by_step(db: Db) {
        let site = Site::new(&db);
        let service = rollcall_terminals::AdoptionGrpc::new(site.adoptions.clone());
        let gate = applicant("a key");
        let applicant = v1::Applicant {
            terminal_id: gate.terminal.to_bytes().to_vec().into(),
            csr: gate.csr.clone().into(),
            display_name: "Gate A".into(),
            ..v1::Applicant::default()
        };
        fn from_there<T>(message: T) -> tonic::Request<T> {
            let mut request = tonic::Request::new(message);
            request.extensions_mut().insert(PeerAddress(ADDRESS));
            request
        }
        let begin = v1::BeginAdoptionRequest {
            applicant: Some(applicant.clone()),
            commitment: Sha256::digest(NONCE).to_vec().into(),
        };
        let short = v1::BeginAdoptionRequest { commitment: vec![1; 31].into(), ..begin.clone() };
        let status = service.begin_adoption(from_there(short)).await.unwrap_err();
        assert_eq!(rollcall_proto::reason(&status).unwrap(), "FIELD_INVALID");
        let begun = service.begin_adoption(from_there(begin)).await.unwrap().into_inner();
        let reveal = v1::RevealAdoptionRequest { request_id: begun.request_id.clone(), nonce: NONCE.to_vec().into() };
        service.reveal_adoption(from_there(reveal)).await.unwrap();
        let wait = || from_there(v1::AwaitAdoptionRequest { request_id: begun.request_id.clone() });
        assert_eq!(service.await_adoption(wait()).await.unwrap().into_inner().adoption, None);
        let asking = site.adoptions.list(UtcInstant::now()).await.unwrap().remove(0);
        site.adopt(asking.terminal, &asking.digits, UtcInstant::now()).await.unwrap();
        let adoption = service.await_adoption(wait()).await.unwrap().into_inner().adoption.unwrap();
        assert_eq!((adoption.site.as_str(), adoption.chain.len()), ("North School", 2));

        let redeem = v1::RedeemAdoptionTokenRequest { secret: "guess".into(), applicant: Some(applicant) };
        let status = service.redeem_adoption_token(from_there(redeem)).await.unwrap_err();
        assert_eq!(rollcall_proto::reason(&status).unwrap(), "CREDENTIALS_INVALID");
    }
}
