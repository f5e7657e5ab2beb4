//! Addresses, networks and users as they are typed. It refuses to look up a host or a user.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::bad_value::{BadAddress, BadValue, Misread};
use super::values;
use super::words::{self, ShellWord};

/// `sun_path` of unix(7) has 108 bytes, the last a NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// The address of an SCGI server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket: an absolute path of at most 107 bytes.
    Path(PathBuf),
    /// A host's name or IP address (without brackets) and a port, which is not 0.
    Tcp {
        /// Not resolved.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => path.display().fmt(f),
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// An IPv4 or IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, address) = (self.first, address.to_canonical());
        first.is_ipv4() == address.is_ipv4()
            && (bits(first) ^ bits(address)) & !host_mask(address, self.prefix) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// By number.
    Id(u32),
    /// By name; not looked up.
    Name(String),
}

/// `listen-allow`: which clients may connect to `listen` and send REMOTE_USER.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Of clients of a socket's path.
    pub users: Vec<User>,
    /// Of clients over TCP.
    pub networks: Vec<Network>,
}

/// `show-errors`: which clients see reasons on our pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShowErrors {
    /// Those in these networks; at least one network.
    Networks(Vec<Network>),
    /// None.
    Off,
    /// All.
    On,
}

impl ShowErrors {
    /// Whether a client at `address` sees reasons. `None`: its address is not known.
    pub fn shown_to(&self, address: Option<IpAddr>) -> bool {
        match self {
            ShowErrors::Networks(networks) => address
                .is_some_and(|address| networks.iter().any(|network| network.contains(address))),
            ShowErrors::Off => false,
            ShowErrors::On => true,
        }
    }
}

/// `status-path`, and which clients get a page of the app's figures there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusPage {
    /// The decoded path below the app's own address. `None`: there is no such page.
    pub path: Option<String>,
    /// `status-allow`: clients in these networks; none by default.
    pub allow: Vec<Network>,
}

impl StatusPage {
    /// Whether the page answers such a request. If not, the request is the app's, as if the keys were not there: a
    /// client that may not see the page can't find out that there is one.
    pub fn answers(&self, method: &[u8], path: &[u8], address: Option<IpAddr>) -> bool {
        let is_there = self.path.as_ref().is_some_and(|own| own.as_bytes() == path);
        let allowed = |address| self.allow.iter().any(|network| network.contains(address));
        is_there && [&b"GET"[..], b"HEAD"].contains(&method) && address.is_some_and(allowed)
    }
}

pub(super) fn connect(value: &str) -> Result<Address, Misread> {
    Ok(address(&words::text(value)?)?)
}

/// Addresses with blanks between, or the word `none`.
pub(super) fn listen(value: &str) -> Result<Vec<Address>, Misread> {
    let words = words::split(value)?;
    match &words[..] {
        [none] if none.text == "none" => Ok(Vec::new()),
        words => words
            .iter()
            .map(|word| blame(word, own_address(&word.text)))
            .collect(),
    }
}

/// An address of this host. No host name but localhost: what a name stands for may change, and be another host's.
fn own_address(text: &str) -> Result<Address, BadValue> {
    match address(text)? {
        Address::Tcp { host, .. } if host != "localhost" && host.parse::<IpAddr>().is_err() => {
            Err(BadAddress::HostName.into())
        }
        address => Ok(address),
    }
}

/// Users and networks with blanks between. A word that has a `/` or a `:`, or is an IP address, is a network.
pub(super) fn allow(value: &str) -> Result<Allow, Misread> {
    let mut allow = Allow::default();
    for word in words::split(value)? {
        let text = word.text.as_str();
        if text.contains(['/', ':']) || text.parse::<IpAddr>().is_ok() {
            allow.networks.push(blame(&word, network(text))?);
        } else {
            allow.users.push(blame(&word, user(text))?);
        }
    }
    Ok(allow)
}

pub(super) fn show_errors(value: &str) -> Result<ShowErrors, Misread> {
    let words = words::split(value)?;
    match &words[..] {
        [on] if on.text == "on" => Ok(ShowErrors::On),
        [off] if off.text == "off" => Ok(ShowErrors::Off),
        [word] if !word.text.contains(['.', ':', '/']) => blame(
            word,
            Err(BadValue::NotOneOf(&[
                "on",
                "off",
                "networks (192.0.2.0/24)",
            ])),
        ),
        words => Ok(ShowErrors::Networks(networks_of(words)?)),
    }
}

/// Networks with blanks between, or the word `none`.
pub(super) fn networks(value: &str) -> Result<Vec<Network>, Misread> {
    let words = words::split(value)?;
    match &words[..] {
        [none] if none.text == "none" => Ok(Vec::new()),
        words => networks_of(words),
    }
}

fn networks_of(words: &[ShellWord]) -> Result<Vec<Network>, Misread> {
    let networks = words.iter().map(|word| blame(word, network(&word.text)));
    networks.collect()
}

fn blame<T>(word: &ShellWord, read: Result<T, impl Into<BadValue>>) -> Result<T, Misread> {
    read.map_err(|bad| Misread {
        what: bad.into(),
        at: Some(word.at.clone()),
    })
}

fn address(text: &str) -> Result<Address, BadValue> {
    if text.starts_with("unix:") {
        return Err(BadAddress::UnixPrefix.into());
    }
    if text.starts_with("~/") {
        return Err(BadValue::Tilde);
    }
    if text.starts_with('/') {
        let fits = text.len() <= LONGEST_SOCKET_PATH;
        return if fits {
            Ok(Address::Path(text.into()))
        } else {
            Err(BadAddress::SocketPathTooLong.into())
        };
    }
    Ok(host_and_port(text)?)
}

fn host_and_port(text: &str) -> Result<Address, BadAddress> {
    if text.is_empty() || text.contains(['/', ' ', '\t']) {
        return Err(BadAddress::NotAnAddress);
    }
    if values::digits(text).is_some() {
        return Err(BadAddress::NoHost);
    }
    let (host, port) = text.rsplit_once(':').ok_or(BadAddress::NotAnAddress)?;
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(inner) => {
            inner
                .parse::<Ipv6Addr>()
                .map_err(|_| BadAddress::NotAnAddress)?;
            inner
        }
        None if host.contains([':', '[', ']']) => return Err(BadAddress::NotAnAddress),
        None => host,
    };
    if host.is_empty() || host == "*" {
        return Err(BadAddress::NoHost);
    }
    let port = values::digits(port)
        .flatten()
        .and_then(|port| u16::try_from(port).ok())
        .filter(|&port| port > 0);
    Ok(Address::Tcp {
        host: host.to_owned(),
        port: port.ok_or(BadAddress::Port)?,
    })
}

fn network(text: &str) -> Result<Network, BadAddress> {
    let (first, prefix) = text
        .split_once('/')
        .map_or((text, None), |(first, prefix)| (first, Some(prefix)));
    let first: IpAddr = first.parse().map_err(|_| BadAddress::NotANetwork)?;
    let most = if first.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(prefix) => values::digits(prefix).flatten().unwrap_or(u64::MAX),
    };
    let prefix = u8::try_from(prefix)
        .ok()
        .filter(|&prefix| u64::from(prefix) <= most);
    let prefix = prefix.ok_or(BadAddress::NotANetwork)?;
    if bits(first) & host_mask(first, prefix) != 0 {
        return Err(BadAddress::HostBits);
    }
    Ok(Network { first, prefix })
}

fn user(text: &str) -> Result<User, BadAddress> {
    match values::digits(text) {
        // (uid_t) -1 is no user: to chown(2) it means 'no change'.
        Some(id) => {
            let id = id
                .and_then(|id| u32::try_from(id).ok())
                .filter(|&id| id != u32::MAX);
            id.map(User::Id).ok_or(BadAddress::NotAUser)
        }
        None if text.is_empty() || text.contains([' ', '\t', ',']) => Err(BadAddress::NotAUser),
        None => Ok(User::Name(text.to_owned())),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The bits after the prefix, in an address of this family.
fn host_mask(family: IpAddr, prefix: u8) -> u128 {
    let width: u32 = if family.is_ipv4() { 32 } else { 128 };
    let host = width - u32::from(prefix);
    1u128.checked_shl(host).map_or(u128::MAX, |bit| bit - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn the_status_page_is_for_a_few() {
        let page = StatusPage {
            path: Some("/a b".to_owned()),
            allow: networks("192.0.2.0/24 ::1").unwrap(),
        };
        let at = |address: &str| address.parse().ok();
        let here = at("192.0.2.7");
        assert!(page.answers(b"GET", b"/a b", here));
        assert!(page.answers(b"HEAD", b"/a b", at("::1")));
        for (method, path, address) in [
            ("GET", "/a b", at("198.51.100.7")),
            ("GET", "/a b", None),
            ("GET", "/a b/", here),
            ("GET", "", here),
            ("POST", "/a b", here),
            ("get", "/a b", here),
        ] {
            assert!(!page.answers(method.as_bytes(), path.as_bytes(), address));
        }
        let nobody = StatusPage {
            allow: networks("none").unwrap(),
            ..page
        };
        assert!(!nobody.answers(b"GET", b"/a b", here));
        assert!(!StatusPage::default().answers(b"GET", b"", here));
    }

    #[test]
    fn addresses() {
        assert_eq!(
            address("/run/wiki.sock"),
            Ok(Address::Path("/run/wiki.sock".into()))
        );
        assert_eq!(address("localhost:4000"), Ok(tcp("localhost", 4000)));
        assert_eq!(address("0.0.0.0:65535"), Ok(tcp("0.0.0.0", 65535)));
        assert_eq!(address("[::1]:4000"), Ok(tcp("::1", 4000)));
        assert_eq!(tcp("::1", 4000).to_string(), "[::1]:4000");
        assert_eq!(tcp("host", 80).to_string(), "host:80");
        assert!(address(&format!("/{}", "a".repeat(106))).is_ok());
        let cases = [
            ("", BadAddress::NotAnAddress),
            ("localhost", BadAddress::NotAnAddress),
            ("./sock", BadAddress::NotAnAddress),
            ("::1:4000", BadAddress::NotAnAddress),
            ("[::g]:4000", BadAddress::NotAnAddress),
            ("http://localhost:4000", BadAddress::NotAnAddress),
            ("4000", BadAddress::NoHost),
            (":4000", BadAddress::NoHost),
            ("*:4000", BadAddress::NoHost),
            ("localhost:0", BadAddress::Port),
            ("localhost:65536", BadAddress::Port),
            ("localhost:+80", BadAddress::Port),
            ("localhost:", BadAddress::Port),
            ("unix:/run/x", BadAddress::UnixPrefix),
        ];
        for (text, expected) in cases {
            assert_eq!(address(text), Err(expected.into()), "{text}");
        }
        let long = format!("/{}", "a".repeat(107));
        assert_eq!(address(&long), Err(BadAddress::SocketPathTooLong.into()));
        assert_eq!(address("~/sock"), Err(BadValue::Tilde));
    }

    #[test]
    fn lists() {
        let two = vec![Address::Path("/run/a b".into()), tcp("::1", 80)];
        assert_eq!(listen("'/run/a b' [::1]:80 # both"), Ok(two));
        assert_eq!(listen("none"), Ok(vec![]));
        assert_eq!(listen("localhost:80"), Ok(vec![tcp("localhost", 80)]));
        let bad = Misread {
            what: BadAddress::HostName.into(),
            at: Some(0..14),
        };
        assert_eq!(listen("example.org:80"), Err(bad));
        let bad = Misread {
            what: BadAddress::Port.into(),
            at: Some(7..10),
        };
        assert_eq!(listen("/run/a a:b"), Err(bad));
        let allow = super::allow("www-data 33 10.0.0.0/8 ::1 192.0.2.1").unwrap();
        assert_eq!(
            allow.users,
            [User::Name("www-data".to_owned()), User::Id(33)]
        );
        let shown: Vec<_> = allow.networks.iter().map(Network::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "::1/128", "192.0.2.1/32"]);
        let bad = Misread {
            what: BadAddress::NotAUser.into(),
            at: Some(0..10),
        };
        assert_eq!(super::allow("4294967295"), Err(bad));
    }

    #[test]
    fn networks_and_what_they_contain() {
        let contains =
            |net: &str, address: &str| network(net).unwrap().contains(address.parse().unwrap());
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.1"));
        assert!(!contains("192.0.2.0/24", "192.0.3.0"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
        for text in [
            "",
            "a",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(network(text), Err(BadAddress::NotANetwork), "{text}");
        }
        assert_eq!(network("10.0.0.1/8"), Err(BadAddress::HostBits));
    }

    #[test]
    fn who_sees_errors() {
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        assert!(show_errors("on").unwrap().shown_to(None));
        assert!(!show_errors("off").unwrap().shown_to(here));
        let networks = show_errors("10.0.0.0/8 127.0.0.1").unwrap();
        assert!(networks.shown_to(here));
        assert!(!networks.shown_to(None));
        assert!(!networks.shown_to(Some(IpAddr::from([192, 0, 2, 1]))));
        assert!(matches!(
            show_errors("yes"),
            Err(Misread {
                what: BadValue::NotOneOf(_),
                at: Some(_)
            })
        ));
        assert_eq!(
            show_errors("10.0.0.0/8 on"),
            Err(Misread {
                what: BadAddress::NotANetwork.into(),
                at: Some(11..13)
            })
        );
    }
}
