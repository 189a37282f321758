//! Who may ask: a page of ours on this machine, and no other page that a browser on this machine happens to show.
//!
//! A foreign page reaches a loopback server in two ways. It posts to it (the browser then names the page in `Origin` and
//! says `Sec-Fetch-Site: cross-site`), or its name is made to mean 127.0.0.1 (DNS rebinding; the browser then sends that
//! name in `Host`). Both are refused here, before anything else is looked at.

use std::net::SocketAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, Uri};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why somebody is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name that was asked for is not this screen's.
    #[error("this is not the host that you asked for; use the address that the program has printed")]
    Host,
    /// Another page asks.
    #[error("another page may not use this screen")]
    Origin,
}

/// The names under which the page is reached.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: [String; 2],
}

impl Guard {
    /// For a server that listens on `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { hosts: [address.to_string(), format!("localhost:{}", address.port())] }
    }

    /// Whether a request comes from our page, or from whoever opens it. A request that changes something must name our
    /// page.
    ///
    /// # Errors
    /// A host or a page that is not ours.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let host = only(headers, &HOST).ok_or(Refused::Host)?;
        let is_ours = |name: &str| self.hosts.iter().any(|host| host == name);
        if !is_ours(host) || uri.authority().is_some_and(|authority| !is_ours(authority.as_str())) {
            return Err(Refused::Host);
        }
        let is_reading = matches!(*method, Method::GET | Method::HEAD);
        if headers.contains_key(ORIGIN) || !is_reading {
            let origin = only(headers, &ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
            if origin != Some(host) {
                return Err(Refused::Origin);
            }
        }
        if headers.contains_key(FETCH_SITE)
            && !only(headers, &FETCH_SITE).is_some_and(|site| matches!(site, "same-origin" | "none"))
        {
            return Err(Refused::Origin);
        }
        Ok(())
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;

    fn check(method: Method, uri: &str, lines: &[(&'static str, &'static str)]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Guard::new("127.0.0.1:7080".parse().unwrap()).check(&method, &uri.parse().unwrap(), &headers)
    }

    #[test]
    fn a_host_that_is_not_ours_is_refused() {
        for host in [
            "evil.example:7080",
            "evil.example",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:7080",
            "localhost",
            "localhost.evil.example:7080",
            "127.0.0.1:7080.evil.example",
            "",
        ] {
            assert_eq!(check(Method::GET, "/", &[("host", host)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(check(Method::GET, "/", &[]), Err(Refused::Host));
        let twice = [("host", "127.0.0.1:7080"), ("host", "evil.example")];
        assert_eq!(check(Method::GET, "/", &twice), Err(Refused::Host));
        let ours = [("host", "127.0.0.1:7080")];
        assert_eq!(check(Method::GET, "http://evil.example/", &ours), Err(Refused::Host));
        assert_eq!(check(Method::GET, "/", &ours), Ok(()));
        assert_eq!(check(Method::GET, "/", &[("host", "localhost:7080")]), Ok(()));
    }

    #[test]
    fn a_page_that_is_not_ours_is_refused() {
        let host = ("host", "127.0.0.1:7080");
        for origin in [
            "http://evil.example",
            "https://127.0.0.1:7080",
            "http://127.0.0.1:7081",
            "null",
            "http://localhost:7080",
        ] {
            assert_eq!(
                check(Method::GET, "/", &[host, ("origin", origin)]),
                Err(Refused::Origin),
                "{origin}"
            );
            assert_eq!(
                check(Method::POST, "/pin", &[host, ("origin", origin)]),
                Err(Refused::Origin),
                "{origin}"
            );
        }
        assert_eq!(check(Method::POST, "/pin", &[host]), Err(Refused::Origin), "no page is named");
        for site in ["cross-site", "same-site", "x"] {
            assert_eq!(
                check(Method::GET, "/events", &[host, ("sec-fetch-site", site)]),
                Err(Refused::Origin)
            );
        }
        let ours = [host, ("origin", "http://127.0.0.1:7080"), ("sec-fetch-site", "same-origin")];
        assert_eq!(check(Method::POST, "/pin", &ours), Ok(()));
        assert_eq!(check(Method::GET, "/", &[host, ("sec-fetch-site", "none")]), Ok(()));
    }
}
