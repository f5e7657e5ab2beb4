//! Requests that failed, and starts that did: what an operator is told of the last ones. Equal ones are one, with their
//! number, so that a flood of one kind leaves room for the others. Knows texts and times; not where they are kept.
#![forbid(unsafe_code)]

/// The most incidents of one app that are kept.
pub const MOST: usize = 24;
/// The most of one kind, once there are [`MOST`].
const MOST_OF_KIND: usize = 8;
/// Bytes of a path that are shown.
const LONGEST_PATH: usize = 200;
/// Bytes of each text that are kept.
const LONGEST: usize = 300;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mishap {
    /// The app raised an exception.
    Exception,
    /// A signal ended a worker or a program in a request.
    Killed,
    /// A worker or a program ended by itself in a request, without an answer.
    Exited,
    /// The answer was none.
    BadResponse,
    /// A request took too long.
    TimeOut,
    /// The app can't be imported or started.
    Import,
    /// The host refused something.
    Host,
    /// The configuration is wrong, or what it names is missing.
    Configuration,
    /// The app's server can't be reached.
    Server,
}

impl Mishap {
    pub(crate) const ALL: [Mishap; 9] = [
        Mishap::Exception,
        Mishap::Killed,
        Mishap::Exited,
        Mishap::BadResponse,
        Mishap::TimeOut,
        Mishap::Import,
        Mishap::Host,
        Mishap::Configuration,
        Mishap::Server,
    ];

    /// Its word in JSON and in the file.
    pub fn word(self) -> &'static str {
        match self {
            Mishap::Exception => "exception",
            Mishap::Killed => "killed",
            Mishap::Exited => "exited",
            Mishap::BadResponse => "bad-response",
            Mishap::TimeOut => "time-out",
            Mishap::Import => "import",
            Mishap::Host => "host",
            Mishap::Configuration => "configuration",
            Mishap::Server => "server",
        }
    }

    /// The kind that has this word.
    pub fn from_word(word: &str) -> Option<Mishap> {
        Mishap::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Something that went wrong, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What.
    pub kind: Mishap,
    /// When last, in seconds since 1970.
    pub at: u64,
    /// When first.
    pub first: u64,
    /// How often.
    pub count: u64,
    /// The request's method when it happened last; empty where no request was concerned.
    pub method: String,
    /// Its path, without the query string.
    pub path: String,
    /// One line: the exception, how the process ended, what the host refused.
    pub reason: String,
}

impl Incident {
    /// One that happens now.
    pub fn new(kind: Mishap, at: u64, line: (String, String), reason: &str) -> Incident {
        let (method, path) = line;
        Incident {
            kind,
            at,
            first: at,
            count: 1,
            method: clean(&method),
            path: clean(&path),
            reason: clean(reason.lines().next().unwrap_or_default()),
        }
    }

    /// A line without its end: fields between tabs.
    pub fn to_line(&self) -> String {
        let Incident {
            at, first, count, ..
        } = self;
        let kind = self.kind.word();
        let (method, path, reason) = (&self.method, &self.path, &self.reason);
        format!("{at}\t{first}\t{count}\t{kind}\t{method}\t{path}\t{reason}")
    }

    /// Reads such a line. `None`: it makes no sense.
    pub fn from_line(line: &str) -> Option<Incident> {
        let mut fields = line.splitn(7, '\t');
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (at, first, count) = (number()?, number()?, number()?);
        Some(Incident {
            at,
            first,
            count,
            kind: Mishap::from_word(fields.next()?)?,
            method: clean(fields.next()?),
            path: clean(fields.next()?),
            reason: clean(fields.next()?),
        })
    }

    /// It is the same again.
    fn is_like(&self, other: &Incident) -> bool {
        self.kind == other.kind && self.reason == other.reason
    }
}

/// A request's method and path, as they are shown: the path that the client has asked for, without the query string.
/// Each is a meta-variable, empty if there is none.
pub fn line(method: &[u8], uri: &[u8], script_name: &[u8], path_info: &[u8]) -> (String, String) {
    let path = match uri.split(|&byte| byte == b'?').next() {
        Some(path) if !path.is_empty() => visible(path),
        _ => visible(&[script_name, path_info].concat()),
    };
    (visible(method), path)
}

/// For a page: why the app could not be started, and what it wrote.
pub fn not_started(reason: &str, words: &str) -> String {
    // A traceback's last line is the reason again, as late.py has it.
    let words = words.trim_end();
    let (above, last) = words.rsplit_once('\n').unwrap_or(("", words));
    let is_twice = !reason.is_empty() && last.ends_with(reason);
    match if is_twice { above } else { words } {
        "" => format!("cannot start the app: {reason}"),
        words => format!("cannot start the app: {reason}\n\n{words}"),
    }
}

/// Untrusted bytes: visible ASCII, others as `?`.
fn visible(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| match byte {
        b' '..=b'~' => byte as char,
        _ => '?',
    };
    let mut text: String = bytes.iter().take(LONGEST_PATH).map(shown).collect();
    if bytes.len() > LONGEST_PATH {
        text.push_str("...");
    }
    text
}

/// One field: no tab, no end of a line, not too long.
fn clean(text: &str) -> String {
    let mut text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    text
}

/// Takes an incident into the others, the last of which is the newest.
pub fn add(all: &mut Vec<Incident>, mut new: Incident) {
    if let Some(at) = all.iter().position(|one| one.is_like(&new)) {
        let before = all.remove(at);
        new.count = new.count.saturating_add(before.count);
        new.first = new.first.min(before.first);
        new.at = new.at.max(before.at);
    } else if all.len() >= MOST {
        let of_kind = |kind| all.iter().filter(|one| one.kind == kind).count();
        let crowd = all.iter().position(|one| of_kind(one.kind) > MOST_OF_KIND);
        all.remove(crowd.unwrap_or(0));
    }
    all.push(new);
}

/// The incidents of a file, the oldest first. Lines that make no sense are left out.
pub fn from_text(text: &str) -> Vec<Incident> {
    let mut all = Vec::new();
    for incident in text.lines().filter_map(Incident::from_line) {
        add(&mut all, incident);
    }
    all
}

/// The text of a file with these incidents.
pub fn to_text(all: &[Incident]) -> String {
    all.iter().map(|one| one.to_line() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(kind: Mishap, at: u64, reason: &str) -> Incident {
        let line = ("GET".to_owned(), format!("/{at}"));
        Incident::new(kind, at, line, reason)
    }

    #[test]
    fn equal_ones_are_counted() {
        let mut all = Vec::new();
        for at in 1..=1000 {
            add(&mut all, incident(Mishap::Exception, at, "ValueError: x"));
        }
        add(&mut all, incident(Mishap::Killed, 1001, "ValueError: x"));
        assert_eq!(all.len(), 2);
        let first = &all[0];
        assert_eq!((first.count, first.first, first.at), (1000, 1, 1000));
        assert_eq!(first.path, "/1000");
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_others() {
        let mut all = vec![incident(Mishap::Killed, 1, "SIGSEGV")];
        for at in 2..=1000 {
            add(
                &mut all,
                incident(Mishap::Exception, at, &format!("KeyError: {at}")),
            );
        }
        add(&mut all, incident(Mishap::TimeOut, 1001, "late"));
        assert_eq!(all.len(), MOST);
        assert_eq!(all[0].kind, Mishap::Killed);
        assert_eq!(all[MOST - 1].kind, Mishap::TimeOut);
        assert_eq!(all[MOST - 2].at, 1000);
        for at in 1002..=1100 {
            for kind in Mishap::ALL {
                add(&mut all, incident(kind, at, &at.to_string()));
            }
        }
        assert_eq!(all.len(), MOST);
    }

    #[test]
    fn a_request_is_known_by_its_method_and_path() {
        let known = |uri: &[u8]| line(b"GET", uri, b"/cgi-bin/wiki", b"/Front").1;
        assert_eq!(known(b""), "/cgi-bin/wiki/Front");
        assert_eq!(known(b"/w/Front?token=secret"), "/w/Front");
        assert_eq!(known(b"?token=secret"), "/cgi-bin/wiki/Front");
        assert_eq!(known(b"/\x1b[2J\xff"), "/?[2J?");
        assert_eq!(known(&[b'/'; 1000]).len(), LONGEST_PATH + 3);
    }

    #[test]
    fn a_file_is_read_back_whatever_is_in_it() {
        let hostile = incident(Mishap::Host, 7, "a\tb\x1b[2J");
        let two = incident(Mishap::Import, 8, "first\nsecond");
        let all = vec![hostile, two];
        let text = to_text(&all);
        assert_eq!(text.lines().count(), 2);
        assert_eq!(from_text(&text), all);
        assert_eq!(all[1].reason, "first");
        for cut in 0..text.len() {
            assert!(from_text(&text[..cut]).len() <= 2);
        }
        let junk = "\u{0}\n\t\t\t\t\t\t\n1\t2\t3\tnone\t\t\t\n-1\t2\t3\tkilled\t\t\tx\n";
        assert_eq!(from_text(junk), []);
        let many = "9\t9\t18446744073709551615\tkilled\tGET\t/\tx\n".repeat(1000);
        assert_eq!(from_text(&many).len(), 1);
        let long = incident(Mishap::Killed, 1, &"\u{e9}".repeat(1000));
        assert!(long.reason.len() <= LONGEST + 3);
    }
}
