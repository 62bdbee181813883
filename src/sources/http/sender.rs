//! From which address a request comes.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

/// The header in which proxies say from whom they have a request, the last one last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the sender: of the connection, or of a connection from `proxies` what these say. `None` where they say
/// what is no address.
pub fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let mut sender = peer.to_canonical();
    let forwarded = headers.get_all(FORWARDED_FOR).iter().rev();
    let forwarded = forwarded.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for said in forwarded {
        // Anybody can write what stands before the word of a proxy of ours.
        if !is_in(sender, proxies) {
            break;
        }
        sender = parse(said)?;
    }
    Some(sender)
}

/// Whether one of the networks has an address.
pub fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An address; some proxies add the port.
fn parse(said: &[u8]) -> Option<IpAddr> {
    let said = std::str::from_utf8(said).ok()?.trim();
    let address = said.parse::<IpAddr>();
    let address = address.or_else(|_| said.parse::<SocketAddr>().map(|both| both.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sender of a request from this peer with these lines, behind proxies in 127.0.0.0/8 and 10.0.0.0/8.
    fn found(peer: &str, lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let proxies = ["127.0.0.0/8", "10.0.0.0/8"].map(|it| it.parse().unwrap());
        let address = address(peer.parse().unwrap(), &headers, &proxies)?;
        Some(address.to_string())
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        for (peer, lines, sender) in [
            ("203.0.113.7", &[][..], Some("203.0.113.7")),
            ("203.0.113.7", &["198.51.100.1"], Some("203.0.113.7")),
            ("127.0.0.1", &[], Some("127.0.0.1")),
            ("127.0.0.1", &["198.51.100.1"], Some("198.51.100.1")),
            ("::ffff:127.0.0.1", &["198.51.100.1"], Some("198.51.100.1")),
            (
                "127.0.0.1",
                &["1.1.1.1, 198.51.100.1, 10.0.0.3"],
                Some("198.51.100.1"),
            ),
            (
                "127.0.0.1",
                &["1.1.1.1", "198.51.100.1"],
                Some("198.51.100.1"),
            ),
            ("127.0.0.1", &["198.51.100.1:5060"], Some("198.51.100.1")),
            ("127.0.0.1", &["[2001:db8::1]:443"], Some("2001:db8::1")),
            ("127.0.0.1", &["unknown"], None),
            (
                "127.0.0.1",
                &["unknown, 198.51.100.1"],
                Some("198.51.100.1"),
            ),
        ] {
            assert_eq!(found(peer, lines).as_deref(), sender, "{peer} {lines:?}");
        }
    }
}
