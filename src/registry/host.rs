//! Where a registry listens, and whether it is spoken to in plain HTTP. No I/O.
//!
//! Plain HTTP is for loopback addresses, as in Docker, and for hosts that the user named. A loopback host with
//! certificates of its own (`certs.d`) is spoken to over TLS.

use std::net::IpAddr;

use reqwest::Url;

/// The name in references of Docker Hub, and the host that answers for it.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The host that answers for a registry's name.
pub(super) fn endpoint(registry: &str) -> &str {
    if registry == DOCKER_HUB.0 || registry == "index.docker.io" { DOCKER_HUB.1 } else { registry }
}

/// Whether the name means Docker Hub.
pub(super) fn is_docker_hub(registry: &str) -> bool {
    endpoint(registry) == DOCKER_HUB.1
}

/// Whether a host, with or without port, is this machine: `localhost`, `127.0.0.0/8`, `::1`.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a host is in the user's list, which names hosts (any port) or hosts with ports.
pub(super) fn is_listed(host: &str, list: &[String]) -> bool {
    list.iter()
        .any(|entry| entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(without_port(host)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Host and, where it is not the scheme's own, port.
pub(super) fn origin_name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether two addresses are the same server: scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether credentials of a registry may be sent to this token server: over TLS to any, as token servers commonly are
/// other hosts; in plain HTTP only where the registry itself is, and to the same host or to this machine.
pub(super) fn may_receive_credentials(realm: &Url, registry: &Url) -> bool {
    let here = |url: &Url| url.host_str().is_some_and(is_loopback);
    let plain = registry.scheme() == "http" && (realm.host_str() == registry.host_str() || here(realm));
    realm.username().is_empty() && (realm.scheme() == "https" || realm.scheme() == "http" && plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1:5000", "ghcr.io", "[::2]:5000", "127.0.0.1.nip.io"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn listed_hosts() {
        let list = ["registry.lan:5000".to_owned(), "other.lan".to_owned()];
        for (host, expected) in
            [("registry.lan:5000", true), ("registry.lan", false), ("other.lan:80", true), ("ghcr.io", false)]
        {
            assert_eq!(is_listed(host, &list), expected, "{host}");
        }
    }

    #[test]
    fn docker_hub_has_an_endpoint_of_its_own() {
        assert_eq!(endpoint("docker.io"), "registry-1.docker.io");
        assert_eq!(endpoint("ghcr.io"), "ghcr.io");
        assert!(is_docker_hub("index.docker.io") && !is_docker_hub("quay.io"));
    }

    #[test]
    fn credentials_go_to_honest_realms_only() {
        let cases = [
            ("https://auth.example/token", "https://registry.example/v2/", true),
            ("http://auth.example/token", "https://registry.example/v2/", false),
            ("http://registry.lan:81/token", "http://registry.lan:5000/v2/", true),
            ("http://auth.lan/token", "http://registry.lan/v2/", false),
            ("http://127.0.0.1:9/token", "http://localhost:5000/v2/", true),
            ("http://127.0.0.1:9/token", "https://registry.example/v2/", false),
            ("ftp://registry.lan/token", "http://registry.lan/v2/", false),
            ("https://user@auth.example/token", "https://registry.example/v2/", false),
        ];
        for (realm, registry, expected) in cases {
            let url = |text: &str| Url::parse(text).expect("url");
            assert_eq!(may_receive_credentials(&url(realm), &url(registry)), expected, "{realm}");
        }
    }
}
