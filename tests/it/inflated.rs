//! Request bodies that an input filter of Apache's (mod_deflate, mod_ext_filter) makes larger than CONTENT_LENGTH says:
//! the response is whole, however much of the body its app reads, and whatever the size of either.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};

use super::util::{Conversation, Mpm, Site, as_user, free_address, run, under_both};

under_both!(a_body_that_is_inflated a_body_that_a_program_doubles a_body_that_shrinks by_mod_proxy_scgi a_page_of_ours);

/// Reads so much of the body, and answers with its number and so many bytes: `/READ?SIZE`.
const APP: &str = r#"
import os, socket, sys
def page(environ, read):
    want = environ['PATH_INFO'].strip('/').split('/')[-1]
    length = int(environ.get('CONTENT_LENGTH') or 0)
    body = b'' if want == 'none' else read(length // 2) if want == 'half' else read(length)
    return b'%d\n' % len(body) + b'x' * int(environ['QUERY_STRING'] or 0)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if 'stream' in environ['PATH_INFO']:
        text = page(environ, environ['wsgi.input'].read)
        return (text[at:at + 50000] for at in range(0, len(text), 50000))
    return [page(environ, environ['wsgi.input'].read)]
HEAD = b'Content-Type: text/plain\r\n\r\n'
def serve(listener):
    while True:
        connection = listener.accept()[0]
        source = connection.makefile('rb')
        length = b''
        while not length.endswith(b':'):
            length += source.read(1)
        words = source.read(int(length[:-1]) + 1)[:-2].decode('latin-1').split('\0')
        try:
            connection.sendall(HEAD + page(dict(zip(words[::2], words[1::2])), source.read))
        except OSError:
            pass
        source.close()
        connection.close()
if __name__ == '__main__' and 'REQUEST_METHOD' in os.environ:
    sys.stdout.buffer.write(HEAD + page(os.environ, sys.stdin.buffer.read))
elif __name__ == '__main__':
    serve(socket.socket(fileno=0))
"#;

/// A name, and lines of the app file, `AT` standing for the test's directory.
const APPS: [(&str, &str); 6] = [
    ("wsgi-cgi", "wsgi = large:application\nmode = cgi\n"),
    (
        "wsgi-stay",
        "wsgi = large:application\nmode = daemon\nhandoff = stay\n",
    ),
    (
        "wsgi-exit",
        "wsgi = large:application\nmode = daemon\nhandoff = exit\n",
    ),
    (
        "wsgi-relay",
        "wsgi = large:application\nmode = daemon\nhandoff = relay\n",
    ),
    (
        "cgi-daemon",
        "cgi = /usr/bin/python3 -S large.py\nmode = daemon\n",
    ),
    ("connect", "connect = AT/tmp/large\n"),
];

struct Large {
    site: Site,
    server: Child,
    /// What Apache's log may tell of.
    told: &'static str,
}

impl Large {
    #[track_caller]
    fn start(mpm: Mpm, more: &str) -> Large {
        let modules = ["deflate", "ext_filter", "filter", "proxy", "proxy_scgi"];
        let mut lines: String = modules
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .concat();
        lines += "DeflateInflateRatioLimit 2000\nDeflateInflateRatioBurst 1000\n";
        lines += more;
        let site = Site::with(mpm, 16, &lines);
        let at = site.dir.path().display().to_string();
        site.dir.file("apps/large.py", APP, 0o644);
        for (name, lines) in APPS {
            site.dir.app_file(name, &lines.replace("AT", &at));
        }
        let path = site.dir.join("tmp/large");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("a mode can be set");
        let server = as_user("/usr/bin/python3")
            .arg("-S")
            .arg(site.dir.join("apps/large.py"))
            .stdin(std::os::fd::OwnedFd::from(listener))
            .spawn()
            .expect("a server can be started");
        Large {
            site,
            server,
            told: "nothing",
        }
    }

    /// POST of that body, of which the app reads so much. The size of the response is right, and nothing else is said.
    #[track_caller]
    fn post(&self, target: &str, body: &[u8], size: usize, read: usize) {
        let fields = [("Content-Encoding", "gzip")];
        let address = self.site.server.address();
        let target = format!("{target}?{size}");
        let reply = Conversation::new(address, "POST", &target, &fields, Some(body)).reply();
        assert_eq!(reply.status(), 200, "{target}: {:.300}", reply.text());
        let line = format!("{read}\n");
        let begins = reply.body.starts_with(line.as_bytes());
        assert!(
            begins,
            "{target}: {:?}",
            &reply.body[..reply.body.len().min(20)]
        );
        assert_eq!(reply.body.len(), line.len() + size, "{target}");
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_file(self.site.dir.join("tmp/large"));
        let log = self.site.log();
        if std::thread::panicking() {
            return;
        }
        let lines = log.lines().filter(|line| !line.contains(self.told));
        assert_eq!(lines.count(), 0, "{log}");
    }
}

/// Bytes that gzip makes a thousandth of.
fn zipped(size: usize) -> Vec<u8> {
    run(Command::new("/bin/gzip").arg("-c"), &vec![b'a'; size]).stdout
}

const SIZES: [usize; 3] = [0, 200_000, 5_000_000];

fn a_body_that_is_inflated(mpm: Mpm) {
    let large = Large::start(
        mpm,
        "<Location /cgi-bin>\nSetInputFilter DEFLATE\n</Location>\n",
    );
    for inflated in [100_000, 10_000_000] {
        let body = zipped(inflated);
        assert!(body.len() * 100 < inflated);
        for (app, _) in APPS {
            for size in SIZES {
                for (want, read) in [("none", 0), ("half", body.len() / 2), ("all", body.len())] {
                    large.post(&format!("/cgi-bin/{app}/{want}"), &body, size, read);
                }
            }
        }
        for app in ["wsgi-cgi", "wsgi-stay"] {
            large.post(
                &format!("/cgi-bin/{app}/stream/all"),
                &body,
                5_000_000,
                body.len(),
            );
        }
    }
}

/// Nothing in the request says that it is another.
fn a_body_that_a_program_doubles(mpm: Mpm) {
    let large = Large::start(
        mpm,
        "ExtFilterDefine double mode=input cmd=\"/bin/sed p\"\n\
         <Location /cgi-bin>\nSetInputFilter double\n</Location>\n",
    );
    let body = b"a line of sixteen\n".repeat(100_000);
    for (app, _) in APPS {
        for size in SIZES {
            for (want, read) in [("none", 0), ("all", body.len())] {
                large.post(&format!("/cgi-bin/{app}/{want}"), &body, size, read);
            }
        }
    }
}

/// What ends before its length is an upload that was cut, in the daemon.
fn a_body_that_shrinks(mpm: Mpm) {
    let mut large = Large::start(
        mpm,
        "ExtFilterDefine half mode=input cmd=\"/bin/sed -n 1p\"\n\
         <Location /cgi-bin>\nSetInputFilter half\n</Location>\n",
    );
    large.told = "the message-body ended early";
    let address = large.site.server.address();
    for app in ["wsgi-stay", "wsgi-exit", "cgi-daemon", "connect"] {
        let target = format!("/cgi-bin/{app}/all?0");
        let reply = Conversation::new(address, "POST", &target, &[], Some(b"a\nb\n")).reply();
        assert_eq!(reply.status(), 400, "{app}");
    }
}

fn by_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let large = Large::start(
        mpm,
        &format!(
            "ProxyPass /tcp scgi://{address} disablereuse=on retry=0\n\
             ProxyPass /path unix:../tmp/listens|scgi://localhost disablereuse=on retry=0\n\
             <LocationMatch ^/(tcp|path)>\nSetInputFilter DEFLATE\n</LocationMatch>\n"
        ),
    );
    let dir = &large.site.dir;
    let at = dir.path().display();
    let listen = format!("listen = {at}/tmp/listens {address}\nmode = daemon\n");
    dir.app_file("app", &format!("wsgi = large:application\n{listen}"));
    dir.polycgi(&["start"]).success();
    let body = zipped(10_000_000);
    for way in ["tcp", "path"] {
        for size in SIZES {
            for (want, read) in [("none", 0), ("half", body.len() / 2), ("all", body.len())] {
                large.post(&format!("/{way}/{want}"), &body, size, read);
            }
        }
    }
}

/// Nor is a page of ours lost, by a front or by a daemon.
fn a_page_of_ours(mpm: Mpm) {
    let mut large = Large::start(
        mpm,
        "<Location /cgi-bin>\nSetInputFilter DEFLATE\n</Location>\n",
    );
    large.told = "is not below 'mount'";
    let body = zipped(10_000_000);
    let address = large.site.server.address();
    for mode in ["cgi", "daemon"] {
        let config = format!("wsgi = large:application\nmode = {mode}\nmount = /elsewhere\n");
        large.site.dir.app_file("app", &config);
        let fields = [("Content-Encoding", "gzip")];
        let reply =
            Conversation::new(address, "POST", "/cgi-bin/app/all", &fields, Some(&body)).reply();
        assert_eq!(reply.status(), 404, "{mode}");
        assert!(reply.text().starts_with("404 "), "{mode}: {}", reply.text());
    }
}
