//! The keys of an app's tickets, in the file `keys` of its place: made by the first process that issues a ticket, and
//! replaced once a day by one that issues another. Fronts and the daemon share the file, so each knows the tickets of
//! the others, and a daemon those of the daemon before it.
//!
//! # Two writers
//! Keys that have signed a ticket are not lost to a second writer. New ones are written beside the name and linked to
//! it, which fails where another process was first; then its keys are used. Old ones are replaced under a lock on the
//! file itself, and only while the locked file is the one at the name; a process that finds it locked goes on with the
//! old ones. A file of ours that holds anything else is replaced as old ones are. What can't be a file of ours
//! is removed first: this alone could remove another process's new keys, whose tickets would then count as none. Where
//! a look at the file fails for another reason, as for want of descriptors, it stays, and nothing is signed.

use std::fs::{self, File};
use std::io;
use std::time::Duration;

use crate::page::{Cookies, Failure, whole_seconds};
use crate::place::Place;
use crate::sys::{Errno, files, lock, process, random};
use crate::ticket::{self, KEYS_LENGTH, Key, SECRET, Scope, SigningKeys, Standing, Ticket};

/// The least time between two looks for a key that is not known, and between two attempts to make one.
const PAUSE: Duration = Duration::from_secs(1);
/// How often one attempt begins anew because another process has changed the file.
const TRIES: u32 = 3;

/// The keys as this process has last read them. `now` is the wall clock's: time since 1970.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: Option<SigningKeys>,
    looked: Option<Duration>,
    renewed: Option<Duration>,
    has_trouble: bool,
    trouble: Option<io::Error>,
}

/// What a response tells a client that may come back later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// In seconds.
    pub retry_after: u32,
    /// The value of a Set-Cookie field, with a new ticket. `None`: the client has one, or there are no keys.
    pub set_cookie: Option<String>,
}

/// A failure, and what its page has to do with cookies, for a client with this invitation, if it has one.
pub fn told(failure: Failure, invitation: Option<&Invitation>) -> (Failure, Cookies<'_>) {
    let Some(invitation) = invitation else {
        return (failure, Cookies::Unread);
    };
    let set = invitation.set_cookie.as_deref();
    let cookies = set.map_or(Cookies::Read, Cookies::Set);
    (failure.with_wait(invitation.retry_after), cookies)
}

impl Keyring {
    /// What the tickets in a Cookie field say of its visitor. The file is read again if one of them may be signed by a
    /// key that another process has made. Makes nothing.
    pub fn standing(&mut self, cookies: &[u8], place: &Place, now: Duration) -> Standing {
        let is_missed = match &self.keys {
            Some(keys) => keys.miss_one_of(cookies),
            None => ticket::is_in(cookies),
        };
        if is_missed && has_passed(&mut self.looked, now) {
            self.keys = read(place)
                .map(|(_, keys)| keys)
                .unwrap_or_default()
                .or(self.keys);
        }
        let keys = self.keys.as_ref();
        keys.map_or(Standing::Anonymous, |keys| keys.standing(cookies, now))
    }

    /// What to tell the client of a request that is refused for load. One that came too early keeps its ticket, and is
    /// told what is left of its time; it gets a new one if that is more than twice what others are told now, which
    /// differs a little from one to the next. `value`: the request's meta-variables, empty where there is none of this
    /// name.
    pub fn invite<'a>(
        &mut self,
        value: impl Fn(&str) -> &'a [u8],
        retry_after: u32,
        place: &Place,
        now: Duration,
    ) -> Invitation {
        let (retry_after, is_new) = match self.standing(value("HTTP_COOKIE"), place, now) {
            Standing::Anonymous => (retry_after, true),
            Standing::Early(ticket) => match whole_seconds(ticket.left(now)) {
                left if left <= retry_after.saturating_mul(2) => (left, false),
                _ => (retry_after, true),
            },
            Standing::Due(_) => (retry_after, false),
        };
        let issued = match is_new {
            true => self.issue(&Scope::of(value), retry_after, place, now),
            false => Ok(None),
        };
        let set_cookie = issued.unwrap_or_else(|error| {
            self.trouble = Some(error).filter(|_| !self.has_trouble);
            self.has_trouble = true;
            None
        });
        self.has_trouble &= set_cookie.is_none();
        Invitation {
            retry_after,
            set_cookie,
        }
    }

    /// Why there are no keys: once, until there are some again.
    pub fn take_trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// The value of a Set-Cookie field with a new ticket; makes or replaces the keys where that is due. `retry_after`:
    /// what the same response says, in seconds. `None`: there are no keys, and they were tried to make a moment ago.
    ///
    /// # Errors
    /// No keys can be made, or the kernel has no random numbers.
    fn issue(
        &mut self,
        scope: &Scope,
        retry_after: u32,
        place: &Place,
        now: Duration,
    ) -> io::Result<Option<String>> {
        let is_due = self.keys.is_none_or(|keys| keys.are_old(now));
        if is_due && has_passed(&mut self.renewed, now) {
            let renewed = renew(place, now);
            match (renewed, &self.keys) {
                (Ok(keys), _) => self.keys = Some(keys),
                // The old ones still sign.
                (Err(_), Some(_)) => {}
                (Err(error), None) => return Err(error),
            }
        }
        let Some(keys) = &self.keys else {
            return Ok(None);
        };
        let mut id = [0; 8];
        random::fill(&mut id)?;
        let ticket = Ticket::new(u64::from_be_bytes(id), now, retry_after);
        Ok(Some(scope.set_cookie(&ticket, &keys.sign(&ticket))))
    }
}

/// Whether [`PAUSE`] has passed since the last time; then this is the last time.
fn has_passed(last: &mut Option<Duration>, now: Duration) -> bool {
    let has = last.is_none_or(|last| last.abs_diff(now) >= PAUSE);
    if has {
        *last = Some(now);
    }
    has
}

/// The file, and the keys in it; `None`: it holds something else.
fn read(place: &Place) -> io::Result<(File, Option<SigningKeys>)> {
    let (file, bytes) = files::read_own(&place.keys(), process::uid(), KEYS_LENGTH)?;
    Ok((file, SigningKeys::from_bytes(&bytes)))
}

/// The keys of the place that should sign now: those that are there, or new ones.
fn renew(place: &Place, now: Duration) -> io::Result<SigningKeys> {
    for _ in 0..TRIES {
        let (file, found) = match read(place) {
            Ok(found) => found,
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::NotFound => {}
                    _ if is_of_no_keys(&error) => remove(place)?,
                    _ => return Err(error),
                }
                let keys = SigningKeys::new(fresh(now)?);
                if is_linked(place, &keys)? {
                    return Ok(keys);
                }
                continue;
            }
        };
        if let Some(keys) = found.filter(|keys| !keys.are_old(now)) {
            return Ok(keys);
        }
        let key = fresh(now)?;
        let keys = found.map_or_else(|| SigningKeys::new(key), |old| old.rotated(key));
        let locked = files::identity_of(&file)?;
        let Some(_lock) = lock::alone(file)? else {
            return found.ok_or_else(|| io::ErrorKind::WouldBlock.into());
        };
        if files::identity(&place.keys()).is_ok_and(|named| named == locked) {
            files::replace_own(&place.keys(), &keys.to_bytes())?;
            return Ok(keys);
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

fn fresh(now: Duration) -> io::Result<Key> {
    let mut secret = [0; SECRET];
    random::fill(&mut secret)?;
    Ok(Key::new(secret, now))
}

/// Puts the keys where there are none. `false`: there are some by now.
fn is_linked(place: &Place, keys: &SigningKeys) -> io::Result<bool> {
    let mut nth = [0; 8];
    random::fill(&mut nth)?;
    let name = format!("keys.{:016x}", u64::from_be_bytes(nth));
    let beside = place.dir.join(name);
    let made = files::make_own(&beside, &keys.to_bytes());
    let linked = made.and_then(|()| fs::hard_link(&beside, place.keys()));
    // If it can't be removed, it is one file too many in the place.
    let _ = fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        linked => linked.map(|()| true),
    }
}

/// Whether the file at the name can't be one of ours, by the error of [`read`]: a link, a socket, a file that we may
/// not read, one of another kind or user, or a larger one.
fn is_of_no_keys(error: &io::Error) -> bool {
    let codes = [Errno::ELOOP, Errno::ENXIO, Errno::EACCES];
    let kinds = [io::ErrorKind::Other, io::ErrorKind::FileTooLarge];
    match error.raw_os_error() {
        Some(code) => codes.iter().any(|&one| one as i32 == code),
        None => kinds.contains(&error.kind()),
    }
}

/// Removes what is no file of ours.
fn remove(place: &Place) -> io::Result<()> {
    let path = place.keys();
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path),
        _ => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: dir.path().to_path_buf(),
        };
        (dir, place)
    }

    fn scope() -> Scope {
        Scope::of(|_| b"")
    }

    /// What a browser sends back.
    fn issued(ring: &mut Keyring, place: &Place, now: Duration) -> String {
        let set = ring.issue(&scope(), 2, place, now).unwrap().unwrap();
        set.split(';').next().unwrap().to_owned()
    }

    fn is_due(ring: &mut Keyring, cookie: &str, place: &Place, now: Duration) -> bool {
        matches!(
            ring.standing(cookie.as_bytes(), place, now),
            Standing::Due(_)
        )
    }

    /// Nothing lies in the place but its one file of keys, which only its owner can read.
    fn is_tidy(place: &Place) -> bool {
        let names: Vec<_> = fs::read_dir(&place.dir).unwrap().flatten().collect();
        let mode = fs::symlink_metadata(place.keys())
            .unwrap()
            .permissions()
            .mode();
        names.len() == 1 && mode == 0o100_600
    }

    #[test]
    fn each_process_knows_the_others_tickets() {
        let (_dir, place) = place();
        let (mut daemon, mut front) = (Keyring::default(), Keyring::default());
        let later = NOW + PAUSE * 3;
        assert!(!is_due(&mut daemon, "polycgi-ticket=x", &place, NOW));
        assert!(!place.keys().exists(), "reading makes none");
        let by_front = issued(&mut front, &place, NOW);
        assert!(is_tidy(&place));
        assert!(is_due(&mut daemon, &by_front, &place, later));
        let by_daemon = issued(&mut daemon, &place, later);
        assert!(is_due(&mut front, &by_daemon, &place, later + PAUSE * 3));
        let mut restarted = Keyring::default();
        assert!(is_due(
            &mut restarted,
            &by_daemon,
            &place,
            later + PAUSE * 3
        ));
    }

    #[test]
    fn who_comes_too_early_keeps_the_ticket() {
        let (_dir, place) = place();
        let mut ring = Keyring::default();
        let mut invite = |cookie: &str, seconds, now| {
            let value = |name: &str| match name {
                "HTTP_COOKIE" => cookie.as_bytes(),
                _ => b"",
            };
            let invited = ring.invite(value, seconds, &place, now);
            (invited.retry_after, invited.set_cookie.unwrap_or_default())
        };
        let (seconds, set) = invite("a=b", 9, NOW);
        assert_eq!(seconds, 9);
        assert!(
            set.ends_with("; Path=/; Max-Age=609; HttpOnly; SameSite=Lax"),
            "{set}"
        );
        let cookie = set.split(';').next().unwrap();
        let none = String::new;
        let at = |seconds| NOW + Duration::from_millis(seconds);
        assert_eq!(invite(cookie, 9, at(0)), (9, none()));
        assert_eq!(invite(cookie, 9, at(3001)), (6, none()));
        assert_eq!(invite(cookie, 2, at(8999)), (1, none()));
        let (seconds, set) = invite(cookie, 2, at(3001));
        assert_eq!(seconds, 2, "as one without a ticket is told");
        assert!(set.contains("Max-Age=602;"), "{set}");
        assert_eq!(invite(cookie, 2, at(9000)), (2, none()), "due");
        let (seconds, set) = invite(cookie, 2, at(609_000));
        assert!(seconds == 2 && set.contains("Max-Age=602;"), "{set}");
    }

    #[test]
    fn another_app_s_ticket_is_none() {
        let ((_one, one), (_other, other)) = (place(), place());
        let ticket = issued(&mut Keyring::default(), &one, NOW);
        let mut ring = Keyring::default();
        issued(&mut ring, &other, NOW);
        assert!(!is_due(&mut ring, &ticket, &other, NOW + PAUSE * 5));
    }

    #[test]
    fn keys_are_replaced_daily_and_the_last_ones_count() {
        let (_dir, place) = place();
        let (mut ring, mut other) = (Keyring::default(), Keyring::default());
        let bytes = || fs::read(place.keys()).unwrap();
        issued(&mut other, &place, NOW);
        let before = bytes();
        let first = issued(&mut ring, &place, NOW + DAY - PAUSE);
        assert_eq!(bytes(), before);
        let second = issued(&mut ring, &place, NOW + DAY);
        let after = bytes();
        assert_ne!(after, before);
        assert!(is_tidy(&place));
        let now = NOW + DAY + PAUSE * 3;
        assert!(is_due(&mut ring, &first, &place, now), "the key before");
        // This one has the old key, learns of the new one from a ticket, and makes no third.
        assert!(is_due(&mut other, &second, &place, now));
        issued(&mut other, &place, now);
        assert_eq!(bytes(), after);
        issued(&mut ring, &place, NOW + DAY * 2);
        let is_first_due = is_due(&mut Keyring::default(), &first, &place, now);
        assert!(!is_first_due, "two keys ago");
    }

    #[test]
    fn what_is_no_file_of_keys_is_replaced() {
        let (outside, _) = place();
        let kept = outside.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        let good = SigningKeys::new(fresh(NOW).unwrap()).to_bytes();
        type Squat<'a> = (&'a str, &'a dyn Fn(&Place) -> io::Result<()>);
        let squats: [Squat<'_>; 10] = [
            ("empty", &|place| fs::write(place.keys(), "")),
            ("zeros", &|place| fs::write(place.keys(), [0; KEYS_LENGTH])),
            ("cut", &|place| fs::write(place.keys(), &good[1..])),
            ("longer", &|place| {
                fs::write(place.keys(), [&good[..], b"\0"].concat())
            }),
            ("huge", &|place| {
                File::create(place.keys())?.set_len(1 << 40)
            }),
            ("link", &|place| symlink(&kept, place.keys())),
            ("dangling", &|place| symlink("/none/none", place.keys())),
            ("socket", &|place| {
                UnixListener::bind(place.keys()).map(drop)
            }),
            ("folder", &|place| fs::create_dir(place.keys())),
            ("fifo", &|place| {
                let made = std::process::Command::new("mkfifo")
                    .arg(place.keys())
                    .status()?;
                assert!(made.success());
                Ok(())
            }),
        ];
        for (what, squat) in squats {
            let (_dir, place) = place();
            squat(&place).unwrap();
            let mut ring = Keyring::default();
            assert!(
                !is_due(&mut ring, "polycgi-ticket=x", &place, NOW),
                "{what}"
            );
            let cookie = issued(&mut ring, &place, NOW);
            assert!(is_tidy(&place), "{what}");
            let mut other = Keyring::default();
            assert!(
                is_due(&mut other, &cookie, &place, NOW + PAUSE * 3),
                "{what}"
            );
        }
        assert_eq!(fs::read(kept).unwrap(), b"kept");
    }

    #[test]
    fn where_no_keys_can_be_made_there_are_no_tickets() {
        let (_dir, place) = place();
        fs::create_dir(place.keys()).unwrap();
        fs::write(place.keys().join("full"), "").unwrap();
        let mut ring = Keyring::default();
        assert!(ring.issue(&scope(), 2, &place, NOW).is_err());
        for seconds in [2, 4] {
            let now = NOW + PAUSE * seconds;
            assert_eq!(ring.invite(|_| b"", 2, &place, now).set_cookie, None);
            assert_eq!(ring.take_trouble().is_some(), seconds == 2, "said once");
        }
        fs::remove_dir_all(place.keys()).unwrap();
        let soon = NOW + PAUSE * 4 + PAUSE / 2;
        assert_eq!(
            ring.issue(&scope(), 2, &place, soon).unwrap(),
            None,
            "not tried in each request"
        );
        issued(&mut ring, &place, NOW + PAUSE * 5);
    }

    #[test]
    fn one_of_many_makers_wins_and_all_use_its_keys() {
        const MAKERS: usize = 8;
        for round in 0..100 {
            let (_dir, place) = place();
            let mut now = NOW;
            if round % 2 == 1 {
                // Old keys, to be replaced once.
                issued(&mut Keyring::default(), &place, NOW);
                now = NOW + DAY;
            }
            let barrier = Barrier::new(MAKERS);
            let make = || {
                barrier.wait();
                issued(&mut Keyring::default(), &place, now)
            };
            let cookies: Vec<String> = thread::scope(|scope| {
                let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(make)).collect();
                makers
                    .into_iter()
                    .map(|maker| maker.join().unwrap())
                    .collect()
            });
            assert!(is_tidy(&place));
            let different: BTreeSet<_> = cookies.iter().collect();
            assert_eq!(different.len(), MAKERS, "each ticket is another");
            for cookie in &cookies {
                let mut ring = Keyring::default();
                assert!(is_due(&mut ring, cookie, &place, now + PAUSE * 3));
            }
        }
    }

    #[test]
    fn a_lock_that_another_process_holds_keeps_nobody_waiting() {
        let (_dir, place) = place();
        issued(&mut Keyring::default(), &place, NOW);
        let old = fs::read(place.keys()).unwrap();
        let held = lock::alone(File::open(place.keys()).unwrap())
            .unwrap()
            .unwrap();
        let cookie = issued(&mut Keyring::default(), &place, NOW + DAY);
        assert_eq!(fs::read(place.keys()).unwrap(), old);
        assert!(is_due(
            &mut Keyring::default(),
            &cookie,
            &place,
            NOW + DAY + PAUSE * 3
        ));
        drop(held);
        issued(&mut Keyring::default(), &place, NOW + DAY);
        assert_ne!(fs::read(place.keys()).unwrap(), old);
    }
}
