//! Request bodies that an input filter of Apache's (mod_deflate, mod_ext_filter) makes larger than CONTENT_LENGTH says:
//! the response is whole, however much of the body its app reads, whatever the sizes of both.

use std::process::Command;

use super::util::kinds::{KINDS, Kinds};
use super::util::{Conversation, Mpm, free_address, run, under_both};

under_both!(a_body_that_is_inflated a_body_that_a_program_doubles a_body_that_shrinks by_mod_proxy_scgi a_page_of_ours);

/// Reads so much of the body, and answers with its number and so many bytes: `/READ?SIZE`.
const PAGE: &str = r#"
def page(environ, read):
    want = environ['PATH_INFO'].strip('/').split('/')[-1]
    length = int(environ.get('CONTENT_LENGTH') or 0)
    body = b'' if want == 'none' else read(length // 2) if want == 'half' else read(length)
    return b'%d\n' % len(body) + b'x' * int(environ['QUERY_STRING'] or 0)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    text = page(environ, environ['wsgi.input'].read)
    if 'stream' in environ['PATH_INFO']:
        return (text[at:at + 50000] for at in range(0, len(text), 50000))
    return [text]
def send(connection, response):
    try:
        connection.sendall(response)
    except OSError:
        pass
"#;

/// All but the plain CGI program, to which only Apache passes the body.
fn apps() -> impl Iterator<Item = &'static str> {
    let names = KINDS.iter().map(|(name, _)| *name);
    names.filter(|name| *name != "cgi-cgi")
}

#[track_caller]
fn start(mpm: Mpm, more: &str) -> Kinds {
    let modules = ["deflate", "ext_filter", "filter", "proxy", "proxy_scgi"];
    let limits = "DeflateInflateRatioLimit 2000\nDeflateInflateRatioBurst 1000\n";
    Kinds::start(mpm, PAGE, &modules, &format!("{limits}{more}"))
}

/// POST of that body, of which the app reads so much. The response has the right size and no other bytes.
#[track_caller]
fn post(large: &Kinds, target: &str, body: &[u8], size: usize, read: usize) {
    let fields = [("Content-Encoding", "gzip")];
    let address = large.site.server.address();
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

/// Bytes that gzip makes a thousandth of.
fn zipped(size: usize) -> Vec<u8> {
    run(Command::new("/bin/gzip").arg("-c"), &vec![b'a'; size]).stdout
}

const SIZES: [usize; 3] = [0, 200_000, 5_000_000];

fn a_body_that_is_inflated(mpm: Mpm) {
    let large = start(
        mpm,
        "<Location /cgi-bin>\nSetInputFilter DEFLATE\n</Location>\n",
    );
    for inflated in [100_000, 10_000_000] {
        let body = zipped(inflated);
        assert!(body.len() * 100 < inflated);
        for app in apps() {
            for size in SIZES {
                for (want, read) in [("none", 0), ("half", body.len() / 2), ("all", body.len())] {
                    post(&large, &format!("/cgi-bin/{app}/{want}"), &body, size, read);
                }
            }
        }
        for app in ["wsgi-cgi", "wsgi-stay"] {
            post(
                &large,
                &format!("/cgi-bin/{app}/stream/all"),
                &body,
                5_000_000,
                body.len(),
            );
        }
    }
}

/// No header field says that the body will be another one.
fn a_body_that_a_program_doubles(mpm: Mpm) {
    let large = start(
        mpm,
        "ExtFilterDefine double mode=input cmd=\"/bin/sed p\"\n\
         <Location /cgi-bin>\nSetInputFilter double\n</Location>\n",
    );
    let body = b"a line of sixteen\n".repeat(100_000);
    for app in apps() {
        for size in SIZES {
            for (want, read) in [("none", 0), ("all", body.len())] {
                post(&large, &format!("/cgi-bin/{app}/{want}"), &body, size, read);
            }
        }
    }
}

/// The daemon takes a body that ends before its length for an upload that was cut.
fn a_body_that_shrinks(mpm: Mpm) {
    let mut large = start(
        mpm,
        "ExtFilterDefine half mode=input cmd=\"/bin/sed -n 1p\"\n\
         <Location /cgi-bin>\nSetInputFilter half\n</Location>\n",
    );
    large.expected = Some("the message-body ended early");
    let address = large.site.server.address();
    for app in ["wsgi-stay", "wsgi-exit", "cgi-daemon", "connect"] {
        let target = format!("/cgi-bin/{app}/all?0");
        let reply = Conversation::new(address, "POST", &target, &[], Some(b"a\nb\n")).reply();
        assert_eq!(reply.status(), 400, "{app}");
    }
}

fn by_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let large = start(
        mpm,
        &format!(
            "{}<LocationMatch ^/(tcp|path)>\nSetInputFilter DEFLATE\n</LocationMatch>\n",
            Kinds::proxy("", address)
        ),
    );
    large.listen(address);
    let body = zipped(10_000_000);
    for way in ["tcp", "path"] {
        for size in SIZES {
            for (want, read) in [("none", 0), ("half", body.len() / 2), ("all", body.len())] {
                post(&large, &format!("/{way}/{want}"), &body, size, read);
            }
        }
    }
}

/// Our own pages are whole as well, a front's and a daemon's.
fn a_page_of_ours(mpm: Mpm) {
    let mut large = start(
        mpm,
        "<Location /cgi-bin>\nSetInputFilter DEFLATE\n</Location>\n",
    );
    large.expected = Some("is not below 'mount'");
    let body = zipped(10_000_000);
    let address = large.site.server.address();
    for mode in ["cgi", "daemon"] {
        let config = format!("wsgi = page:application\nmode = {mode}\nmount = /elsewhere\n");
        large.site.dir.app_file("app", &config);
        let fields = [("Content-Encoding", "gzip")];
        let reply =
            Conversation::new(address, "POST", "/cgi-bin/app/all", &fields, Some(&body)).reply();
        assert_eq!(reply.status(), 404, "{mode}");
        assert!(reply.text().starts_with("404 "), "{mode}: {}", reply.text());
    }
}
