//! The one place that writes to standard error, and the exit codes. It knows sentences and not their reasons.

use std::fmt::Display;
use std::io::Write;
use std::os::fd::AsFd;

use crate::printable;
use crate::sys::{Errno, clock, is, splice};

macro_rules! exits {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// Exit codes, by the names of sysexits.h but for two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        #[repr(u8)]
        pub enum Exit {
            $($(#[$doc])* $name = $number,)+
        }

        #[cfg(test)]
        impl Exit {
            pub(crate) const ALL: &[Exit] = &[$(Exit::$name),+];
        }
    };
}

exits! {
    Ok = 0,
    /// As diff(1) has it: what was compared differs.
    Differs = 1,
    Usage = 64,
    NoInput = 66,
    Unavailable = 69,
    Software = 70,
    OsError = 71,
    CantCreate = 73,
    IoError = 74,
    TempFail = 75,
    Protocol = 76,
    NoPermission = 77,
    Config = 78,
    /// The reader of standard output has closed it: what a shell says of a process that SIGPIPE has ended.
    BrokenPipe = 141,
}

/// Writes a sentence to standard error: one line, by one write(2), so that lines of processes that share a log do not
/// mix. (A wrong line of a configuration takes three.)
pub fn say(applet: &str, sentence: impl Display) {
    let sentence = printable::lines(&plain(&sentence.to_string()));
    // A command has the program's name before its own.
    let line = match applet {
        "polycgi" => format!("polycgi: {sentence}\n"),
        applet => format!("polycgi: {applet}: {sentence}\n"),
    };
    // If standard error can't be written to, there is nowhere to report it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Writes to standard output what a command is to print. If that fails, there is no reader, and this process ends.
pub fn print(text: impl Display) {
    if let Err(error) = splice::write_all(std::io::stdout().as_fd(), text.to_string().as_bytes()) {
        std::process::exit(unprinted(&error) as i32);
    }
}

/// How a command ends whose standard output can't be written to: quietly where the reader has closed the pipe.
pub fn unprinted(error: &std::io::Error) -> Exit {
    if is(error, Errno::EPIPE) {
        return Exit::BrokenPipe;
    }
    let sentence = format_args!("cannot write to standard output: {error}");
    say("polycgi", sentence);
    Exit::IoError
}

/// The same, with a newline behind it.
pub fn print_line(text: impl Display) {
    print(format_args!("{text}\n"));
}

/// The same to standard error, for what is to be read and is not the output.
pub fn print_beside(text: impl Display) {
    // If that can't be written to, there is nowhere to report it.
    let _ = std::io::stderr().write_all(text.to_string().as_bytes());
}

/// Removes the number after an errno's words (`os error 2`): it tells an operator nothing more.
pub fn plain(sentence: &str) -> String {
    let mut rest = sentence;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once(" (os error ") {
        text.push_str(before);
        match after
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix(')')
        {
            Some(behind) => rest = behind,
            None => {
                // Not an errno's number: it stays.
                text.push_str(" (os error ");
                rest = after;
            }
        }
    }
    text + rest
}

/// What an app printed, for a log: one line, without characters that a terminal would obey.
pub fn printable(line: &[u8]) -> String {
    printable::line(&String::from_utf8_lossy(line))
}

/// Untrusted bytes for a log: visible ASCII, other bytes as `?`, cut after 100.
pub fn visible(bytes: &[u8]) -> String {
    visible_up_to(100, bytes)
}

/// The same, cut after `most` bytes: for a sentence of ours that has a path or a word from outside.
pub fn visible_up_to(most: usize, bytes: &[u8]) -> String {
    let shown = |&byte: &u8| {
        if (b' '..=b'~').contains(&byte) {
            byte as char
        } else {
            '?'
        }
    };
    let mut text: String = bytes.iter().take(most).map(shown).collect();
    if bytes.len() > most {
        text.push_str("...");
    }
    text
}

/// What a web server's log is told of a request: which app, which request, and what has happened.
pub fn of_request(app: &str, line: &(String, String), sentence: impl Display) -> String {
    match line {
        (method, path) if method.is_empty() => format!("{app}: {path}: {sentence}"),
        (method, path) => format!("{app}: {method} {path}: {sentence}"),
    }
}

/// Sends the log of a daemon to `target`, or to standard error: one event, one line.
pub fn start_log(level: log::LevelFilter, target: Option<Box<dyn Write + Send + 'static>>) {
    let mut builder = env_logger::Builder::new();
    // The `log` crate filters by level, which may change.
    builder
        .filter_level(log::LevelFilter::Trace)
        .format(|out, record| out.write_all(log_line(record.level(), record.args()).as_bytes()));
    if let Some(target) = target {
        builder.target(env_logger::Target::Pipe(target));
    }
    // Fails only if a log was started before, a bug of ours: that log goes on.
    let _ = builder.try_init();
    set_log_level(level);
}

/// A line of a daemon's log, with its newline.
pub fn log_line(level: log::Level, sentence: impl Display) -> String {
    let (time, level) = (
        printable::timestamp(clock::wall().as_secs()),
        level.as_str().to_ascii_lowercase(),
    );
    let sentence = plain(&sentence.to_string());
    format!("{time} polycgi: {level}: {sentence}\n")
}

/// From now on nothing below this level is logged.
pub fn set_log_level(level: log::LevelFilter) {
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_words() {
        let missing = std::io::Error::from_raw_os_error(2);
        let sentence = plain(&format!("cannot run x: {missing}; and (os error y"));
        assert_eq!(
            sentence,
            "cannot run x: No such file or directory; and (os error y"
        );
        assert_eq!(printable(b"a\x1b[31m\tb"), "a?[31m\tb");
    }

    #[test]
    fn a_line_about_a_request() {
        let of = |method: &str| of_request("wiki", &(method.to_owned(), "/x".to_owned()), "gone");
        assert_eq!(of("GET"), "wiki: GET /x: gone");
        assert_eq!(of(""), "wiki: /x: gone");
    }

    #[test]
    fn untrusted_bytes_are_visible_and_short() {
        assert_eq!(visible(b"a\n\x1b[31m\xff~"), "a??[31m?~");
        assert_eq!(visible(&[b'x'; 200]).len(), 103);
    }
}
