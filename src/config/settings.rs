//! What was typed: the table of keys, and each value with its position. It knows no default, and not what two keys mean
//! together.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::addresses::{self, Address, Allow, Network, ShowErrors};
use super::bad_config::{BadConfig, Position, quoted};
use super::bad_value::{BadValue, Misread};
use super::choices::{Accept, Handoff, LogLevel, Mode, Reload};
use super::env_file::{BadName, check_name};
use super::guess;
use super::lines::{self, Line, Secrets};
use super::names::{self, Mount, Python, Target};
use super::values::{self, Load, OrAuto, Percentage, Rate};
use super::words;

/// The most workers, and the most CGIs, of an app. Each worker has a byte in a page of 4096 to note that it has begun
/// to write, and a reload has two generations of workers.
pub(super) const MOST_PROCS: u32 = 1024;

/// The most of anything else that is counted. A larger number is a mistake; and what is computed from this one can't
/// overflow.
const MOST: u32 = 1_000_000;

/// A value and where it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed<T> {
    /// The value.
    pub value: T,
    /// Its key's line and column.
    pub position: Position,
}

/// What can be wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BadKey {
    Again { line: usize },
    Name(BadName),
    NoValue,
    Unknown { meant: Option<&'static str> },
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadKey::Again { line } => write!(f, "is set already, on line {line}"),
            BadKey::Name(bad) => bad.fmt(f),
            BadKey::NoValue => f.write_str("has no value"),
            BadKey::Unknown { meant: Some(key) } => write!(f, "; did you mean '{key}'?"),
            BadKey::Unknown { meant: None } => Ok(()),
        }
    }
}

/// Makes the struct, the parser and the list of keys from one table.
macro_rules! settings {
    ($($key:literal $field:ident: $type:ty = $read:expr;)+) => {
        /// The keys that were typed in one file or (by `or`) in two.
        #[derive(Clone, Debug)]
        pub struct Settings {
            /// The end of the app's own file, for what is missing.
            pub(super) end: Position,
            /// `env.NAME`, in the order typed; no name twice.
            pub env: Vec<(String, Typed<String>)>,
            $(
                #[doc = concat!("`", $key, "`")]
                pub $field: Option<Typed<$type>>,
            )+
        }

        /// Every key.
        pub(super) const KEYS: &[&str] = &["env.NAME", $($key),+];

        /// Every key but `env.NAME`, and the type of its value.
        #[cfg(test)]
        pub(crate) const TYPES: &[(&str, &str)] = &[$(($key, stringify!($type))),+];

        impl Settings {
            fn empty(end: Position) -> Settings {
                Settings { end, env: Vec::new(), $($field: None),+ }
            }

            fn set(&mut self, line: &Line<'_>) -> Result<(), BadConfig> {
                match line.key() {
                    $($key => set(&mut self.$field, line, $read),)+
                    key => match key.strip_prefix("env.") {
                        Some(name) => self.set_env(name, line),
                        None => Err(bad_key(line, BadKey::Unknown { meant: guess::meant(key, KEYS) })),
                    },
                }
            }

            /// These settings, and those of `defaults` (the host's) that are not set here.
            ///
            /// `wsgi`, `cgi`, `scgi` and `connect` go together: if the app sets one of them, none of the host's is
            /// taken.
            pub fn or(mut self, mut defaults: Settings) -> Settings {
                if self.has_app() {
                    (defaults.wsgi, defaults.cgi, defaults.scgi, defaults.connect) = (None, None, None, None);
                }
                defaults.env.retain(|(name, _)| self.env.iter().all(|(own, _)| own != name));
                defaults.env.append(&mut self.env);
                self.env = defaults.env;
                $(self.$field = self.$field.or(defaults.$field);)+
                self
            }

            /// Every key that is set, but `env.NAME`, and its position.
            pub(super) fn positions(&self) -> Vec<(&'static str, Position)> {
                let positions = [$(self.$field.as_ref().map(|typed| ($key, typed.position.clone()))),+];
                positions.into_iter().flatten().collect()
            }
        }
    };
}

settings! {
    "wsgi" wsgi: Target = bare(names::target);
    "cgi" cgi: Vec<String> = names::command;
    "scgi" scgi: Vec<String> = names::command;
    "connect" connect: Address = addresses::connect;
    "python" python: Python = names::python;
    "directory" directory: PathBuf = names::path;
    "env-file" env_file: PathBuf = names::path;
    "mount" mount: Mount = names::mount;
    "mode" mode: Mode = bare(Mode::from_word);
    "daemon-when-busy" daemon_when_busy: u32 = bare(|v| values::count(v, 0, MOST));
    "daemon-when-rate" daemon_when_rate: OrAuto<Rate> = or_auto(bare(values::rate));
    "daemon-when-load" daemon_when_load: Load = bare(values::load);
    "idle-timeout" idle_timeout: OrAuto<Duration> = or_auto(bare(values::time_to_leave));
    "min-lifetime" min_lifetime: Duration = bare(values::time);
    "quiet-timeout" quiet_timeout: OrAuto<Duration> = or_auto(bare(values::time_to_leave));
    "min-procs" min_procs: u32 = bare(|v| values::count(v, 0, MOST_PROCS));
    "max-procs" max_procs: u32 = bare(|v| values::count(v, 1, MOST_PROCS));
    "min-idle" min_idle: u32 = bare(|v| values::count(v, 0, MOST_PROCS));
    "max-requests" max_requests: Option<u32> = or_none(bare(|v| values::count(v, 1, u32::MAX)));
    "max-rss" max_rss: Option<u64> = or_none(bare(values::size_limit));
    "worker-idle-timeout" worker_idle_timeout: Duration = bare(values::time);
    "preload" preload: bool = bare(values::switch);
    "cgi-max" cgi_max: u32 = bare(|v| values::count(v, 0, MOST_PROCS));
    "queue-size" queue_size: u32 = bare(|v| values::count(v, 0, MOST));
    "queue-timeout" queue_timeout: Duration = bare(values::time);
    "queue-target" queue_target: Duration = bare(values::time);
    "priority-cookie" priority_cookie: Option<String> = or_none(bare(names::cookie_name));
    "waiting-room" waiting_room: bool = bare(values::switch);
    "start-timeout" start_timeout: Duration = bare(values::time_limit);
    "start-page-after" start_page_after: Option<Duration> = or_none(bare(values::time_limit));
    "request-timeout" request_timeout: Duration = bare(values::time_limit);
    "request-limit" request_limit: Option<Duration> = or_none(bare(values::time_limit));
    "graceful-timeout" graceful_timeout: Duration = bare(values::time);
    "header-limit" header_limit: usize = bare(values::header_limit);
    "body-limit" body_limit: Option<u64> = or_none(bare(values::size_limit));
    "spool-dir" spool_dir: PathBuf = names::absolute_path;
    "spool-limit" spool_limit: u64 = bare(values::size);
    "reload" reload: Reload = bare(Reload::from_word);
    "watch" watch: Vec<String> = names::patterns;
    "show-errors" show_errors: ShowErrors = addresses::show_errors;
    "status-path" status_path: Option<String> = or_none(names::site_path);
    "status-allow" status_allow: Vec<Network> = addresses::networks;
    "server-timing" server_timing: bool = bare(values::switch);
    "overload-page" overload_page: PathBuf = names::path;
    "overload-when-load" overload_when_load: Option<Load> = or_none(bare(values::load));
    "overload-when-pressure" overload_when_pressure: Option<Percentage> = or_none(bare(values::percentage));
    "runtime-dir" runtime_dir: PathBuf = names::absolute_path;
    "listen" listen: Vec<Address> = addresses::listen;
    "listen-allow" listen_allow: Allow = addresses::allow;
    "socket-mode" socket_mode: u32 = bare(values::socket_mode);
    "socket-group" socket_group: String = bare(names::group);
    "accept" accept: Accept = bare(Accept::from_word);
    "handoff" handoff: Handoff = bare(Handoff::from_word);
    "log-file" log_file: PathBuf = names::log_file;
    "log-level" log_level: LogLevel = bare(LogLevel::from_word);
}

impl Settings {
    pub(super) fn read(path: &str, text: &[u8]) -> Result<Settings, BadConfig> {
        let path = path.into();
        let mut settings = Settings::empty(lines::end(&path, text, Secrets::Dotted));
        lines::read(&path, text, Secrets::Dotted).try_for_each(|line| settings.set(&line?))?;
        Ok(settings)
    }

    fn set_env(&mut self, name: &str, line: &Line<'_>) -> Result<(), BadConfig> {
        check_name(name).map_err(|bad| bad_key(line, BadKey::Name(bad)))?;
        if let Some((_, first)) = self.env.iter().find(|(known, _)| known == name) {
            return Err(bad_key(
                line,
                BadKey::Again {
                    line: first.position.line(),
                },
            ));
        }
        let value = words::env_value(line.value()).map_err(|bad| bad_value(line, bad.into()))?;
        self.env.push((
            name.to_owned(),
            Typed {
                value,
                position: line.key_position(),
            },
        ));
        Ok(())
    }

    fn has_app(&self) -> bool {
        self.wsgi.is_some() || self.cgi.is_some() || self.scgi.is_some() || self.connect.is_some()
    }
}

fn set<T>(
    field: &mut Option<Typed<T>>,
    line: &Line<'_>,
    read: impl Fn(&str) -> Result<T, Misread>,
) -> Result<(), BadConfig> {
    if let Some(first) = field {
        return Err(bad_key(
            line,
            BadKey::Again {
                line: first.position.line(),
            },
        ));
    }
    if words::bare(line.value()).is_empty() {
        return Err(bad_key(line, BadKey::NoValue));
    }
    let value = read(line.value()).map_err(|bad| bad_value(line, bad))?;
    *field = Some(Typed {
        value,
        position: line.key_position(),
    });
    Ok(())
}

/// Reads a value that needs no quotes, less a comment.
fn bare<T>(read: impl Fn(&str) -> Result<T, BadValue>) -> impl Fn(&str) -> Result<T, Misread> {
    move |value| read(words::bare(value)).map_err(Misread::from)
}

fn or_none<T>(
    read: impl Fn(&str) -> Result<T, Misread>,
) -> impl Fn(&str) -> Result<Option<T>, Misread> {
    move |value| values::or_none(value, &read)
}

fn or_auto<T>(
    read: impl Fn(&str) -> Result<T, Misread>,
) -> impl Fn(&str) -> Result<OrAuto<T>, Misread> {
    move |value| values::or_auto(value, &read)
}

fn bad_key(line: &Line<'_>, what: BadKey) -> BadConfig {
    let key = quoted(line.key());
    let message = match what {
        BadKey::Unknown { .. } => format!("unknown key {key}{what}"),
        BadKey::Again { .. } | BadKey::Name(_) | BadKey::NoValue => format!("{key} {what}"),
    };
    BadConfig::new(line.key_position(), message)
}

fn bad_value(line: &Line<'_>, bad: Misread) -> BadConfig {
    let key = line.key();
    let at: Range<usize> = bad.at.unwrap_or(0..words::bare(line.value()).len());
    let typed = line.value().get(at.clone()).unwrap_or_default();
    let message = match bad.what {
        // Without the value: these sentences need none, or it may be a secret.
        BadValue::Empty | BadValue::Words(_) => format!("{key}: {}", bad.what),
        what => format!("{key}: {} {what}", quoted(typed)),
    };
    BadConfig::new(line.value_position(at), message)
}
