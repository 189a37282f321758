//! What is answered: the page and its files, `/events`, `/picture`, `/pin`, `/here`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use rollcall_core::limits;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::page::{ASSETS, Page};
use super::texts::{Say, Texts};
use super::{KioskCommand, LivePicture, Patience, Preview};
use crate::entrance::Announced;

/// What the handlers share.
pub(super) struct Shared {
    pub guard: Guard,
    pub page: Page,
    pub texts: Arc<Texts>,
    pub states: watch::Receiver<Arc<str>>,
    pub preview: LivePicture,
    pub commands: mpsc::Sender<KioskCommand>,
    pub viewers: Arc<Semaphore>,
    pub pictures: Semaphore,
    pub stopping: CancellationToken,
    pub patience: Patience,
}

type Here = State<Arc<Shared>>;

/// Only files of this server, nothing inline, nothing embedded anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// On every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // The picture and names are never on the browser's disk; an updated program is never shown an old page.
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
];

/// The number of a picture, so that the page can ask for the next.
const PICTURE: HeaderName = HeaderName::from_static("x-picture");

/// Everything that is served.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/", get(index))
        .route("/events", get(events))
        .route("/picture", get(picture))
        .route("/pin", post(pin))
        .route("/here", post(here));
    for asset in &ASSETS {
        router =
            router.route(asset.path, get(|| async { ([(header::CONTENT_TYPE, asset.kind)], asset.text) }));
    }
    router.layer(middleware::from_fn_with_state(Arc::clone(&shared), guarded)).with_state(shared)
}

async fn guarded(State(shared): Here, request: Request, next: Next) -> Response {
    let mut response = match shared.guard.check(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => (StatusCode::FORBIDDEN, refused.to_string()).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn index(State(shared): Here) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], shared.page.html().to_owned()).into_response()
}

/// States as they change. A viewer too many gets one event that says so: a browser does not show a page the body of a
/// stream that was refused.
async fn events(State(shared): Here) -> Response {
    match Arc::clone(&shared.viewers).try_acquire_owned() {
        Ok(place) => Sse::new(states(&shared, place)).into_response(),
        Err(_) => {
            let refusal = Event::default().event("refused").data(shared.texts.say(Say::TooMany));
            Sse::new(stream::iter([Ok::<_, Infallible>(refusal)])).into_response()
        }
    }
}

fn states(
    shared: &Shared,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let mut states = shared.states.clone();
    states.mark_changed();
    let following = (states, shared.stopping.clone(), place);
    stream::unfold(following, |(mut states, stopping, place)| async move {
        let next = timeout(Duration::from_secs(limits::KIOSK_HEARTBEAT_SECONDS), next_state(&mut states));
        let event = tokio::select! {
            () = stopping.cancelled() => return None,
            next = next => match next {
                Ok(state) => Event::default().event("state").data(&*state?),
                // A browser drops an event without data.
                Err(_) => Event::default().event("beat").data("-"),
            },
        };
        Some((Ok(event), (states, stopping, place)))
    })
}

/// `None` when there will be no more. Before the first is made there is an empty one.
async fn next_state(states: &mut watch::Receiver<Arc<str>>) -> Option<Arc<str>> {
    loop {
        states.changed().await.ok()?;
        let state = Arc::clone(&states.borrow_and_update());
        if !state.is_empty() {
            return Some(state);
        }
    }
}

/// Which picture the page has.
#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

/// The next picture: 200 with it, 204 when none came for a second.
async fn picture(State(shared): Here, Query(After { after }): Query<After>) -> Response {
    let Ok(_place) = shared.pictures.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, shared.texts.say(Say::TooMany)).into_response();
    };
    let mut preview = shared.preview.subscribe();
    let is_next = |preview: &Option<Preview>| {
        preview.as_ref().is_some_and(|preview| {
            let is_fresh = preview.captured.elapsed() < Duration::from_millis(limits::KIOSK_PICTURE_AGE_MS);
            is_fresh && Some(preview.number) != after
        })
    };
    let next = async {
        match timeout(shared.patience.picture, preview.wait_for(is_next)).await {
            Ok(Ok(preview)) => preview.clone(),
            // No picture, and none to come: then the page need not ask at once again either.
            Ok(Err(_)) | Err(_) => None,
        }
    };
    let next = tokio::select! {
        () = shared.stopping.cancelled() => None,
        next = next => next,
    };
    match next {
        Some(Preview { jpeg, number, .. }) => {
            let headers = [(header::CONTENT_TYPE, "image/jpeg".to_owned()), (PICTURE, number.to_string())];
            (headers, Body::from(jpeg.to_vec())).into_response()
        }
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    digits: String,
}

/// What the pad does next.
#[derive(Serialize)]
struct PinAnswer {
    /// The pad closes: what there is to say is announced.
    is_over: bool,
    /// Words for the pad.
    text: String,
}

async fn pin(State(shared): Here, headers: HeaderMap, body: Body) -> Response {
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let bytes = match timeout(shared.patience.request, to_bytes(body, limits::KIOSK_BODY_SIZE_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let digits = match serde_json::from_slice(&bytes) {
        Ok(Typed { digits }) if is_pin(&digits) => digits,
        _ => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
    };
    let (reply, answered) = oneshot::channel();
    if shared.commands.try_send(KioskCommand::Pin { digits, reply }).is_err() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, false, shared.texts.say(Say::PinUnreachable));
    }
    match timeout(shared.patience.pin, answered).await {
        Ok(Ok(announced)) => answered_with(&announced, &shared.texts),
        Ok(Err(_)) | Err(_) => {
            answer(StatusCode::SERVICE_UNAVAILABLE, false, shared.texts.say(Say::PinUnreachable))
        }
    }
}

fn is_pin(digits: &str) -> bool {
    limits::KIOSK_PIN_DIGITS.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Whoever typed a wrong PIN has the pad before them still, so there it is said.
fn answered_with(announced: &Announced, texts: &Texts) -> Response {
    match announced {
        Announced::CredentialInvalid => {
            let (what, next) = (texts.say(Say::CredentialInvalid), texts.say(Say::CredentialInvalidNext));
            answer(StatusCode::OK, false, format!("{what}. {next}."))
        }
        Announced::WaitSeconds(seconds) => {
            let what = texts.say_with(Say::WaitSeconds, [("seconds", (*seconds).into())]);
            answer(StatusCode::OK, false, format!("{what}."))
        }
        _ => answer(StatusCode::OK, true, String::new()),
    }
}

fn answer(status: StatusCode, is_over: bool, text: String) -> Response {
    (status, axum::Json(PinAnswer { is_over, text })).into_response()
}

async fn here(State(shared): Here) -> StatusCode {
    match shared.commands.try_send(KioskCommand::ButtonPressed) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
