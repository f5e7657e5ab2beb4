//! Names that follow from others: the applet that a web server runs, an app's id, its socket's path. It knows bytes
//! only: not who owns those paths, nor what is there. It allocates nothing and can't panic: see [`crate::bounded`].
#![forbid(unsafe_code)]

use crate::bounded::{Bytes, Word};

const APP_CGI: Word = Word::new("app-cgi");
const OVERLOAD_PAGE: Word = Word::new("overload-page");

/// The programs that a web server can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Applet {
    AppCgi,
    CgiFront,
    OverloadPage,
}

impl Applet {
    /// By the exact base name of argv\[0\]. The other words are never read: by RFC 3875 4.4 they may be the client's.
    #[inline(always)]
    pub fn under_web_server(argv0: &[u8]) -> Applet {
        let (_, name) = split(argv0);
        if APP_CGI.says(name) {
            Applet::AppCgi
        } else if OVERLOAD_PAGE.says(name) {
            Applet::OverloadPage
        } else {
            Applet::CgiFront
        }
    }
}

/// The folder of a file, up to its last slash and with it, and the file's name.
#[inline(always)]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    path.split_at_checked(slash.map_or(0, |slash| slash + 1))
        .unwrap_or_default()
}

/// The name without its last extension. A name whose only dot is its first character has none.
#[inline(always)]
pub fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) if dot > 0 => name.get(..dot).unwrap_or_default(),
        _ => name,
    }
}

/// Names by which the binary itself is run: never those of an app.
const OWN_NAMES: [Word; 5] = [
    APP_CGI,
    OVERLOAD_PAGE,
    Word::new("cgi-front"),
    Word::new("polycgi"),
    Word::new("scgi-daemon"),
];

/// Whether a symlink of this name is one of the binary's own and not an app.
#[inline(always)]
pub fn is_own_name(name: &[u8]) -> bool {
    Word::read(name).is_some_and(|name| OWN_NAMES.iter().any(|own| name.is(own)))
}

/// The path, in parts, of the configuration of a symlink or a NAME: below `home`, or without one in /etc/polycgi. Never
/// beside the symlink, where a web server could serve it.
#[inline(always)]
pub fn config_path<'a>(home: Option<&'a [u8]>, name: &'a [u8]) -> [&'a [u8]; 4] {
    let (above, folder): (&[u8], &[u8]) = match home {
        Some(home) => {
            let end = home.iter().rposition(|&byte| byte != b'/');
            let end = end.map_or(0, |end| end + 1);
            (home.get(..end).unwrap_or_default(), b"/.config/polycgi/")
        }
        None => (b"", b"/etc/polycgi/"),
    };
    [above, folder, name, b".conf"]
}

/// The most bytes of an app's name in its id.
const LONGEST_NAME: usize = 32;

/// `<name>-<hash>`: the name of an app's directory below a runtime directory.
pub type AppId = Bytes<{ LONGEST_NAME + 1 + 16 }>;

/// An app's id: readable, and short enough for a socket's path. It stays the same while the configuration file has the
/// same folder (by device and inode) and name, even if an editor replaces the file.
#[inline(always)]
pub fn app_id(device: u64, inode: u64, file: &[u8]) -> AppId {
    let mut id = AppId::new();
    for &byte in stem(file).iter().take(LONGEST_NAME) {
        id.push(match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => byte,
            _ => b'_',
        });
    }
    // FNV-1a: the name need not be secret.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for number in [device, inode] {
        number.to_le_bytes().into_iter().for_each(&mut add);
    }
    file.iter().copied().for_each(&mut add);
    id.push(b'-');
    for digit in (0..16).rev().map(|place| (hash >> (4 * place)) as u8 & 15) {
        id.push(digit + if digit < 10 { b'0' } else { b'a' - 10 });
    }
    id
}

/// The directories for apps' places. Never /run/user, which is removed at log-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `/run/polycgi/<uid>`, if the host's owner has made it.
    Run,
    /// `/tmp/polycgi-<uid>`.
    Tmp,
}

impl Base {
    /// In the order in which they are tried.
    pub const ALL: [Base; 2] = [Base::Run, Base::Tmp];

    /// The directory of this uid.
    #[inline(always)]
    pub fn path(self, uid: u32) -> Bytes<{ LONGEST_BASE }> {
        let mut path = Bytes::new();
        self.write(uid, &mut path);
        path
    }

    /// The socket of an app's daemon.
    #[inline(always)]
    pub fn socket(self, uid: u32, app: &AppId) -> SocketPath {
        let mut path = SocketPath::new();
        self.write(uid, &mut path);
        path.push(b'/');
        path.append(app.as_slice());
        path.push(b'/');
        path.append(SOCKET);
        path
    }

    #[inline(always)]
    fn write<const N: usize>(self, uid: u32, path: &mut Bytes<N>) {
        match self {
            Base::Run => path.append(b"/run/polycgi/"),
            Base::Tmp => path.append(b"/tmp/polycgi-"),
        }
        path.append_number(uid.into());
    }
}

/// The socket in an app's place.
pub const SOCKET: &[u8] = b"sock";

/// `<name>-<hash>/sock`: the end of a socket's path, which is the same in every runtime directory.
#[inline(always)]
pub fn of_app(socket: &[u8]) -> &[u8] {
    let (place, name) = split(socket);
    let (above, _) = split(
        place
            .get(..place.len().saturating_sub(1))
            .unwrap_or_default(),
    );
    socket.get(above.len()..).unwrap_or(name)
}

const LONGEST_BASE: usize = b"/run/polycgi/4294967295".len();

/// A socket's path below a [`Base`]: always shorter than the 108 bytes of an address (unix(7)).
pub type SocketPath = Bytes<{ LONGEST_BASE + 1 + LONGEST_NAME + 1 + 16 + 1 + SOCKET.len() }>;

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_exact_name_decides() {
        for (argv0, applet) in [
            ("/usr/local/bin/polycgi", Applet::CgiFront),
            ("/usr/local/bin/app-cgi", Applet::AppCgi),
            ("app-cgi", Applet::AppCgi),
            ("overload-page", Applet::OverloadPage),
            ("x-app-cgi", Applet::CgiFront),
            ("app-cgi/", Applet::CgiFront),
            ("", Applet::CgiFront),
        ] {
            assert_eq!(
                Applet::under_web_server(argv0.as_bytes()),
                applet,
                "{argv0}"
            );
        }
    }

    /// A new version must find the daemon of the one before.
    #[test]
    fn an_app_keeps_its_place() {
        let id = app_id(65024, 1234567, b"wiki.cgi");
        assert_eq!(id.as_slice(), b"wiki-a6936ab8df96276f");
        let socket = Base::Run.socket(33, &id);
        let expected = [b"/run/polycgi/33/", id.as_slice(), b"/sock"].concat();
        assert_eq!(socket.as_slice(), expected);
        assert_eq!(Base::Tmp.path(33).as_slice(), b"/tmp/polycgi-33");
        let odd = app_id(1, 2, b"a b\xc3\xa4.tar.gz");
        assert!(odd.as_slice().starts_with(b"a_b__.tar-"));
    }

    #[test]
    fn a_socket_is_its_apps_wherever_it_lies() {
        let id = app_id(1, 2, b"wiki.cgi");
        let own = [id.as_slice(), b"/sock"].concat();
        for base in Base::ALL {
            assert_eq!(of_app(base.socket(33, &id).as_slice()), own);
        }
        for (path, own) in [
            ("/srv/run/a-1/sock", "a-1/sock"),
            ("a-1/sock", "a-1/sock"),
            ("/sock", "/sock"),
            ("sock", "sock"),
            ("//sock", "/sock"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(of_app(path.as_bytes()), own.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_configuration_has_its_places() {
        for (home, expected) in [
            (None, "/etc/polycgi/wiki.conf"),
            (Some("/home/ann"), "/home/ann/.config/polycgi/wiki.conf"),
            (Some("/home/ann//"), "/home/ann/.config/polycgi/wiki.conf"),
            (Some("/"), "/.config/polycgi/wiki.conf"),
        ] {
            let home = home.map(str::as_bytes);
            assert_eq!(config_path(home, b"wiki").concat(), expected.as_bytes());
        }
        for (name, is_own) in [("polycgi", true), ("app-cgi", true), ("polycgi.cgi", false)] {
            assert_eq!(is_own_name(name.as_bytes()), is_own, "{name}");
        }
    }

    #[test]
    fn the_longest_socket_fits_an_address() {
        let longest = "x".repeat(255);
        for base in Base::ALL {
            let socket = base.socket(u32::MAX, &app_id(u64::MAX, u64::MAX, longest.as_bytes()));
            assert!(socket.as_slice().ends_with(b"/sock"));
            assert!(socket.as_slice().len() < 108);
        }
    }

    proptest! {
        #[test]
        fn names_are_what_std_says(path in "(/?[a.]{1,4}/){0,2}[ab.]{0,5}[ab]") {
            let known = Path::new(&path);
            let (folder, name) = split(path.as_bytes());
            prop_assert_eq!(Some(OsStr::from_bytes(name)), known.file_name());
            prop_assert_eq!(Some(OsStr::from_bytes(stem(name))), known.file_stem());
            prop_assert_eq!(folder.len() + name.len(), path.len());
        }
    }
}
