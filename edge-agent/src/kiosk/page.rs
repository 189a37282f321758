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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    const TOKENS: &str = include_str!("page/tokens.css");

    fn colour(name: &str) -> [f64; 3] {
        let value = TOKENS.split(&format!("--{name}: #")).nth(1).unwrap();
        let number = u32::from_str_radix(&value[..6], 16).unwrap();
        [16, 8, 0].map(|shift| f64::from((number >> shift) & 0xff))
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: [f64; 3]) -> f64 {
        let [r, g, b] = colour
            .map(|part| part / 255.0)
            .map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_on_every_ground_has_the_contrast_of_aa() {
        let ground = colour("ground");
        // The veil over a white picture, as thin as kiosk.css has it.
        let veil = ground.map(|part| part * 0.86 + 255.0 * 0.14);
        assert_eq!(include_str!("page/kiosk.css").matches("rgb(11 15 20 / 86%)").count(), 3);
        for text in ["text", "quiet", "look", "accent"] {
            for (name, under) in [("ground", ground), ("veil", veil), ("raised", colour("raised"))] {
                let contrast = contrast(colour(text), under);
                assert!(contrast >= 4.5, "{text} on {name}: {contrast:.2}");
            }
        }
        for (text, under) in [("on-accent", "accent"), ("on-act", "act"), ("text", "line")] {
            let contrast = contrast(colour(text), colour(under));
            assert!(contrast >= 4.5, "{text} on {under}: {contrast:.2}");
        }
        // The edge of a button (WCAG 1.4.11).
        assert!(contrast(colour("line"), ground) >= 3.0);
    }
}
