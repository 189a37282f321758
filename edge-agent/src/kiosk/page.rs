//! The page itself: every file of it is in the program, and its words are put in once, at the start.

use sha2::{Digest as _, Sha256};

use super::HereButton;
use super::config::KioskConfig;
use super::texts::Texts;

const INDEX: &str = include_str!("page/index.html");

/// A file of the page.
pub(super) struct Asset {
    pub path: &'static str,
    pub kind: &'static str,
    pub text: &'static str,
}

/// What `index.html` loads. `tokens.css` holds the colours and sizes of the whole product.
pub(super) const ASSETS: [Asset; 6] = [
    Asset { path: "/tokens.css", kind: CSS, text: include_str!("page/tokens.css") },
    Asset { path: "/kiosk.css", kind: CSS, text: include_str!("page/kiosk.css") },
    Asset { path: "/kiosk.js", kind: JS, text: include_str!("page/kiosk.js") },
    Asset { path: "/picture.js", kind: JS, text: include_str!("page/picture.js") },
    Asset { path: "/pin.js", kind: JS, text: include_str!("page/pin.js") },
    Asset { path: "/tone.js", kind: JS, text: include_str!("page/tone.js") },
];

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// `index.html` with its words.
pub(super) struct Page {
    html: String,
    id: String,
}

impl Page {
    /// Puts in words and settings.
    ///
    /// # Errors
    /// A place in the page for which there is no word.
    pub fn new(config: &KioskConfig, button: HereButton, texts: &Texts) -> Result<Self, String> {
        let id = id(config, button, texts);
        let flag = |is_on: bool| Some(if is_on { "on" } else { "off" }.to_owned());
        let value = |key: &str| match key {
            "@page" => Some(id.clone()),
            "@language" => Some(texts.tag().to_owned()),
            "@sound" => flag(config.sound),
            "@picture" => flag(config.picture),
            "@button" => flag(button == HereButton::Shown),
            _ => texts.page_text(key),
        };
        let mut pieces = INDEX.split("{{");
        let mut html = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (key, rest) = piece.split_once("}}").ok_or("index.html has a place without an end")?;
            html += &escaped(&value(key).ok_or_else(|| format!("index.html asks for {key}"))?);
            html += rest;
        }
        Ok(Self { html, id })
    }

    /// As the browser gets it.
    pub fn html(&self) -> &str {
        &self.html
    }

    /// Another for each version of the page and each of its settings.
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn id(config: &KioskConfig, button: HereButton, texts: &Texts) -> String {
    let mut hash = Sha256::new();
    for text in ASSETS.iter().map(|asset| asset.text).chain([INDEX, texts.tag(), env!("CARGO_PKG_VERSION")]) {
        hash.update(text);
    }
    hash.update([u8::from(config.sound), u8::from(config.picture), u8::from(button == HereButton::Shown)]);
    hex::encode(&hash.finalize()[..8])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
