//! `[kiosk]`: what the configuration says of the screen at the door.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::Deserialize;

/// `[kiosk]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KioskConfig {
    /// Whether there is a page at all.
    pub enabled: bool,
    /// Where it is served.
    pub address: LoopbackAddress,
    /// In which language.
    pub language: Language,
    /// Whether the page itself plays a tone; the door's buzzer does otherwise.
    pub sound: bool,
    /// Whether the live picture is shown.
    pub picture: bool,
}

impl Default for KioskConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            address: LoopbackAddress::default(),
            language: Language::default(),
            sound: false,
            picture: true,
        }
    }
}

/// A language of the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Vietnamese.
    Vi,
}

/// An address that only this machine reaches: the page shows the camera's picture and takes PINs, without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LoopbackAddress(SocketAddr);

impl LoopbackAddress {
    /// Address and port; port 0 is any free one.
    pub fn get(self) -> SocketAddr {
        self.0
    }
}

impl Default for LoopbackAddress {
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7080))
    }
}

impl TryFrom<String> for LoopbackAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for LoopbackAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.parse().map_err(|_| {
            format!(
                "\"{}\" is no address with a port; give 127.0.0.1:7080",
                text.chars().take(80).collect::<String>().escape_debug()
            )
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} can be reached from elsewhere; give 127.0.0.1:PORT or [::1]:PORT"
            ));
        }
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_reach_is_refused() {
        for wrong in [
            "0.0.0.0:7080",
            "192.0.2.1:7080",
            "[::]:7080",
            "[::ffff:127.0.0.1]:7080",
            "[2001:db8::1]:80",
            "[fe80::1]:80",
        ] {
            let refusal = LoopbackAddress::try_from(wrong.to_owned());
            assert!(refusal.is_err_and(|words| words.contains("from elsewhere")), "{wrong}");
        }
        for wrong in ["localhost:7080", "127.0.0.1", "", "7080"] {
            let refusal = LoopbackAddress::try_from(wrong.to_owned());
            assert!(refusal.is_err_and(|words| words.contains("no address")), "{wrong}");
        }
        for right in ["127.0.0.1:0", "127.9.9.9:80", "[::1]:7080"] {
            assert!(LoopbackAddress::try_from(right.to_owned()).is_ok(), "{right}");
        }
    }
}
