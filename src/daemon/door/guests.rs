//! Which clients may connect at an address of `listen`, and which of them may say who the user is (`listen-allow`).
//! Knows users and networks by number.

use std::collections::BTreeSet;

use crate::config::{Allow, Network};
use crate::daemon::guest::Guest;
use crate::listen;

/// So many are remembered as turned away; no others are named in the log.
const MOST: usize = 64;

/// `listen-allow`, looked up.
#[derive(Debug, Default)]
pub(super) struct Guests {
    own_uid: u32,
    users: Option<BTreeSet<u32>>,
    networks: Vec<Network>,
    turned_away: BTreeSet<Guest>,
}

impl Guests {
    /// `listen-allow`, looked up, and a sentence for each name that /etc/passwd does not have: it lets no client in.
    pub(super) fn new(allow: &Allow, own_uid: u32) -> (Guests, Vec<String>) {
        let mut unknown = Vec::new();
        let mut users = BTreeSet::new();
        for user in &allow.users {
            match listen::uid(user) {
                Ok(uid) => _ = users.insert(uid),
                Err(sentence) => unknown.push(sentence),
            }
        }
        let guests = Guests {
            own_uid,
            users: (!allow.users.is_empty()).then_some(users),
            networks: allow.networks.clone(),
            turned_away: BTreeSet::new(),
        };
        (guests, unknown)
    }

    /// `None`: it may not connect. Else whether it may say who the user is: a named one may.
    pub(super) fn admit(&self, guest: Guest) -> Option<bool> {
        match guest {
            Guest::Address(address) if self.networks.is_empty() => {
                address.is_loopback().then_some(false)
            }
            Guest::Address(address) => {
                let is_named = self.networks.iter().any(|net| net.contains(address));
                is_named.then_some(true)
            }
            Guest::Unknown => None,
            Guest::User(uid) if uid == self.own_uid => Some(true),
            Guest::User(uid) => match &self.users {
                Some(users) => users.contains(&uid).then_some(true),
                // Mode and group of the path have let it in.
                None => Some(false),
            },
        }
    }

    /// The users that may connect by a path; `None`: all whom its mode lets in.
    pub(super) fn uids(&self) -> Option<Vec<u32>> {
        let users = self.users.as_ref()?;
        Some(users.iter().copied().chain([self.own_uid]).collect())
    }

    /// A client may not connect. `true`: for the first time, so that it is worth a line.
    pub(super) fn turn_away(&mut self, guest: Guest) -> bool {
        self.turned_away.len() < MOST && guest != Guest::Unknown && self.turned_away.insert(guest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config, Host};

    fn guests(allow: &str) -> (Guests, Vec<String>) {
        let text = format!("wsgi = a:b\n{allow}\n");
        let settings = config::parse("app", text.as_bytes()).unwrap();
        let host = Host {
            cores: 1.0,
            nproc: None,
        };
        let config = Config::from_settings(settings, host).unwrap();
        Guests::new(&config.listen.allow, 1000)
    }

    fn address(text: &str) -> Guest {
        Guest::Address(text.parse().unwrap())
    }

    #[test]
    fn without_names_it_is_this_host_and_what_the_path_lets_in() {
        let (guests, unknown) = guests("");
        assert!(unknown.is_empty());
        assert_eq!(guests.admit(address("127.0.0.9")), Some(false));
        assert_eq!(guests.admit(address("::1")), Some(false));
        assert_eq!(guests.admit(address("192.0.2.1")), None);
        assert_eq!(guests.admit(Guest::User(33)), Some(false));
        assert_eq!(guests.admit(Guest::User(1000)), Some(true));
        assert_eq!(guests.admit(Guest::Unknown), None);
    }

    #[test]
    fn a_named_client_is_believed_and_no_other_comes_in() {
        let (guests, unknown) = guests("listen-allow = root 33 192.0.2.0/24");
        assert!(unknown.is_empty());
        for uid in [0, 33, 1000] {
            assert_eq!(guests.admit(Guest::User(uid)), Some(true), "{uid}");
        }
        assert_eq!(guests.admit(Guest::User(34)), None);
        assert_eq!(guests.admit(address("192.0.2.7")), Some(true));
        assert_eq!(guests.admit(address("127.0.0.1")), None);
    }

    #[test]
    fn one_kind_says_nothing_of_the_other() {
        let (users, _) = guests("listen-allow = 33");
        assert_eq!(users.admit(address("127.0.0.1")), Some(false));
        let (networks, _) = guests("listen-allow = 192.0.2.1");
        assert_eq!(networks.admit(Guest::User(34)), Some(false));
    }

    #[test]
    fn an_unknown_name_lets_no_client_in() {
        let (guests, unknown) = guests("listen-allow = no-such-user");
        let sentence = "listen-allow: /etc/passwd has no user no-such-user";
        assert_eq!(unknown, [sentence]);
        assert_eq!(guests.admit(Guest::User(33)), None);
    }

    #[test]
    fn addresses_of_one_host_are_one_origin() {
        let same = |one, other| address(one).origin() == address(other).origin();
        assert!(same("2001:db8::1", "2001:db8::ffff:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert_eq!(Guest::User(5).origin(), Guest::User(5));
    }

    #[test]
    fn each_is_worth_one_word() {
        let (mut guests, _) = guests("");
        assert!(guests.turn_away(address("192.0.2.1")));
        assert!(!guests.turn_away(address("192.0.2.1")));
        assert!(guests.turn_away(Guest::User(5)));
        for uid in 100..300 {
            guests.turn_away(Guest::User(uid));
        }
        assert!(guests.turned_away.len() <= MOST);
        assert!(!guests.turn_away(Guest::User(99)));
    }
}
