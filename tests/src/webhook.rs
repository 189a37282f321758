//! A webhook that writes down what it is sent, and can refuse.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Of the header Idempotency-Key.
    pub key: String,
    /// The body.
    pub body: String,
    /// What it was answered with.
    pub status: u16,
}

/// See the module.
pub struct Webhook {
    url: String,
    calls: mpsc::Receiver<Call>,
    refusals: Arc<Mutex<u32>>,
}

impl Webhook {
    /// Listens on a free port until the test process ends.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (send, calls) = mpsc::channel();
        let refusals = Arc::new(Mutex::new(0));
        std::thread::spawn({
            let refusals = Arc::clone(&refusals);
            move || {
                for stream in listener.incoming() {
                    let refuse = {
                        let mut refusals = refusals.lock().unwrap();
                        let refuse = *refusals > 0;
                        *refusals = refusals.saturating_sub(1);
                        refuse
                    };
                    if let Ok(Some(call)) = stream.map(|stream| answer(stream, refuse))
                        && send.send(call).is_err()
                    {
                        return;
                    }
                }
            }
        });
        Self { url, calls, refusals }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the next so many requests with 503.
    pub fn refuse(&self, requests: u32) {
        *self.refusals.lock().unwrap() = requests;
    }

    /// The next request.
    pub fn next(&self) -> Call {
        self.calls.recv_timeout(Duration::from_secs(60)).expect("a request")
    }

    /// A request that has been made, if there is one.
    pub fn waiting(&self) -> Option<Call> {
        self.calls.try_recv().ok()
    }

    /// Whether there was none since.
    pub fn is_quiet(&self) -> bool {
        self.waiting().is_none()
    }
}

fn answer(stream: TcpStream, refuse: bool) -> Option<Call> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut key, mut length) = (String::new(), 0);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 0 && !line.trim().is_empty() {
        if let Some((name, value)) = line.split_once(':') {
            match name.to_lowercase().as_str() {
                "idempotency-key" => key = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().ok()?,
                _ => {}
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let status = if refuse { 503 } else { 204 };
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    (&stream).write_all(answer.as_bytes()).ok()?;
    Some(Call { key, body: String::from_utf8(body).ok()?, status })
}
