//! Which key an unknown one may have meant, by spelling and by other servers' names. An unknown key is an error all the
//! same: the guess is only shown.

use crate::spelling;

/// Other servers' names, as `plain` writes them, and our key for the same thing.
const PEERS: &[(&str, &str)] = &[
    ("allow", "listen-allow"),
    ("app", "wsgi"),
    ("application", "wsgi"),
    ("backlog", "queue-size"),
    ("bind", "listen"),
    ("buffersize", "header-limit"),
    ("callable", "wsgi"),
    ("chdir", "directory"),
    ("cheaper", "min-procs"),
    ("chmodsocket", "socket-mode"),
    ("chownsocket", "socket-group"),
    ("clientmaxbodysize", "body-limit"),
    ("command", "cgi"),
    ("concurrency", "max-procs"),
    ("cwd", "directory"),
    ("debug", "show-errors"),
    ("dieonidle", "idle-timeout"),
    ("env", "env.NAME"),
    ("environment", "env.NAME"),
    ("environmentfile", "env-file"),
    ("errorlog", "log-file"),
    ("exec", "cgi"),
    ("fcgidmaxprocesses", "max-procs"),
    ("fcgidmaxrequestlen", "body-limit"),
    ("harakiri", "request-timeout"),
    ("home", "python"),
    ("idle", "idle-timeout"),
    ("lazyapps", "preload"),
    ("limitrequestbody", "body-limit"),
    ("logto", "log-file"),
    ("lowloadavg", "daemon-when-load"),
    ("maxchildren", "max-procs"),
    ("maxconn", "max-procs"),
    ("maxqueue", "queue-size"),
    ("maxrequestqueuesize", "queue-size"),
    ("maxruns", "max-requests"),
    ("maxworkers", "max-procs"),
    ("minworkers", "min-procs"),
    ("module", "wsgi"),
    ("pass", "connect"),
    ("pmmaxchildren", "max-procs"),
    ("pmstatuspath", "status-path"),
    ("prefix", "mount"),
    ("preloadapp", "preload"),
    ("processes", "max-procs"),
    ("pyautoreload", "reload"),
    ("pythonhome", "python"),
    ("pythonpath", "directory"),
    ("reloadextrafile", "watch"),
    ("reloadextrafiles", "watch"),
    ("reloadonrss", "max-rss"),
    ("requestterminatetimeout", "request-timeout"),
    ("restartafter", "max-requests"),
    ("scgipass", "connect"),
    ("scgireadtimeout", "request-timeout"),
    ("scriptname", "mount"),
    ("setenv", "env.NAME"),
    ("socket", "listen"),
    ("startuptimeout", "start-timeout"),
    ("stats", "status-path"),
    ("threads", "max-procs"),
    ("timeout", "request-timeout"),
    ("timeoutqueue", "queue-timeout"),
    ("touchreload", "watch"),
    ("upstream", "connect"),
    ("venv", "python"),
    ("virtualenv", "python"),
    ("workerreloadmercy", "graceful-timeout"),
    ("workers", "max-procs"),
    ("workingdirectory", "directory"),
    ("wsgifile", "wsgi"),
    ("wsgiscriptreloading", "reload"),
];

/// The one of `keys` that `typed` may have meant.
pub(super) fn meant(typed: &str, keys: &'static [&'static str]) -> Option<&'static str> {
    let plain_typed = plain(typed);
    let same = keys.iter().find(|key| plain(key) == plain_typed);
    let peer = PEERS
        .iter()
        .find(|(name, _)| *name == plain_typed)
        .map(|(_, key)| key);
    let found = same.or(peer).copied();
    found.or_else(|| spelling::nearest(typed, keys.iter().copied()))
}

/// Letters and digits only, in lower case: `max_procs`, `Max-Procs` and `max procs` become the same.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::settings::KEYS;
    use super::*;

    #[test]
    fn guesses() {
        let cases = [
            ("workers", Some("max-procs")),
            ("processes", Some("max-procs")),
            ("FcgidMaxProcesses", Some("max-procs")),
            ("pm.max_children", Some("max-procs")),
            ("chdir", Some("directory")),
            ("virtualenv", Some("python")),
            ("home", Some("python")),
            ("harakiri", Some("request-timeout")),
            ("max_procs", Some("max-procs")),
            ("Max Procs", Some("max-procs")),
            ("maxprocs", Some("max-procs")),
            ("wgsi", Some("wsgi")),
            ("idle-timout", Some("idle-timeout")),
            ("que-size", Some("queue-size")),
            ("deamon-when-rate", Some("daemon-when-rate")),
            ("env", Some("env.NAME")),
            ("envfile", Some("env-file")),
            ("colour", None),
            ("x", None),
            ("", None),
            (
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                None,
            ),
        ];
        for (typed, expected) in cases {
            assert_eq!(meant(typed, KEYS), expected, "{typed}");
        }
    }

    #[test]
    fn peers_lead_to_keys_and_are_none() {
        for (name, key) in PEERS {
            assert!(KEYS.contains(key), "{key}");
            assert!(!KEYS.contains(name), "{name}");
            assert_eq!(plain(name), *name);
        }
        assert!(PEERS.is_sorted());
    }
}
