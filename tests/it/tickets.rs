//! The tickets of the waiting room: which 503 carries one and for which path, what an early one is told, and that a
//! front, a daemon and the next daemon know one another's. Tickets of any age are signed with the keys of the app's
//! place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use polycgi::ticket::{SigningKeys, Ticket};

use super::util::{
    Conversation, Dir, Hosted, Mode, Mpm, Reply, Site, WebServer, cgi, free_address, nginx, run,
    under_both,
};

under_both!(
    a_front_s_503_has_a_ticket_for_browsers
    the_path_is_that_of_the_app_for_its_client
);

const WSGI: &str = "wsgi = testapp:application\n";
/// The only place is taken by whoever holds the gate.
const ONE_CGI: &str = "wsgi = testapp:application\nmode = cgi\ncgi-max = 1\n";
const ONE_WORKER: &str = "wsgi = testapp:application\nmax-procs = 1\nqueue-size = 0\n";
/// A front that finds no daemon answers 503 itself, and says 15 s.
const NO_ROOM: &str = "wsgi = testapp:application\noverload-when-load = 0\n";

pub(super) const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const HOLD: &str = "/hold?gate=gate";

/// A ticket of our keys: issued so many seconds ago, with a Retry-After of so many.
pub(super) fn signed(dir: &Dir, age: i64, retry_after: u32) -> String {
    signed_as(dir, 7, age, retry_after)
}

/// The same with this number.
#[track_caller]
pub(super) fn signed_as(dir: &Dir, id: u64, age: i64, retry_after: u32) -> String {
    let file = dir.place().join("keys");
    let found = fs::metadata(&file).expect("there are keys");
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    let keys = fs::read(file).expect("the tests may read them");
    let keys = SigningKeys::from_bytes(&keys).expect("the file holds keys");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970");
    let moved = Duration::from_secs(age.unsigned_abs());
    let issued = if age < 0 { now + moved } else { now - moved };
    let value = keys.sign(&Ticket::new(id, issued, retry_after));
    format!("polycgi-ticket={value}")
}

#[track_caller]
fn seconds(reply: &Reply) -> u32 {
    assert_eq!(reply.status(), 503, "{}", reply.text());
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    let seconds = reply.field("Retry-After").map(str::parse);
    seconds.expect("Retry-After").expect("a number")
}

/// The cookie that a browser sends back.
#[track_caller]
pub(super) fn ticket(reply: &Reply, path: &str, secure: &str) -> String {
    let lifetime = seconds(reply) + 600;
    let set = reply.field("Set-Cookie").expect("a ticket");
    let (cookie, attributes) = set.split_once("; ").expect("attributes");
    let expected = format!("Path={path}; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
    assert_eq!(attributes, expected);
    let (name, value) = cookie.split_once('=').expect("a value");
    assert_eq!((name, value.len()), ("polycgi-ticket", 49));
    assert!(varies(reply), "{:?}", reply.head);
    cookie.to_owned()
}

/// Whether a cache is told that the response depends on cookies.
fn varies(reply: &Reply) -> bool {
    let vary = reply.field("Vary").unwrap_or_default();
    vary.split(',').any(|name| name.trim() == "Cookie")
}

#[track_caller]
fn no_ticket(reply: &Reply) {
    seconds(reply);
    assert_eq!(reply.field("Set-Cookie"), None);
}

fn a_front_s_503_has_a_ticket_for_browsers(mpm: Mpm) {
    let site = Site::configured(mpm, 16, ONE_CGI);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", HOLD, &[], None);
    gate.entered();
    let ask = |method, fields: &[(&str, &str)]| site.send(method, "/hello?x=1", fields, None);
    let first = ticket(&ask("GET", &[BROWSER]), "/cgi-bin/app", "");
    let second = ticket(&ask("HEAD", &[BROWSER]), "/cgi-bin/app", "");
    assert_ne!(first, second);
    for accept in ["application/json", "*/*", "image/png"] {
        let reply = ask("GET", &[("Accept", accept)]);
        no_ticket(&reply);
        assert!(!varies(&reply), "{accept}");
    }
    no_ticket(&ask("GET", &[]));
    no_ticket(&site.send("POST", "/digest", &[BROWSER], Some(b"body")));
    // Who has one gets no other; others' and forged ones are none.
    let cookies = format!("a=b; {first}; polycgi-ticket=x");
    let again = ask("GET", &[BROWSER, ("Cookie", &cookies)]);
    no_ticket(&again);
    assert!(varies(&again));
    let forged = first.replace("=1", "=2");
    let forged = ask("GET", &[BROWSER, ("Cookie", &forged)]);
    ticket(&forged, "/cgi-bin/app", "");
    gate.open(1);
    held.reply().ok();
    // The app's own response has nothing of it, and the app gets what was sent.
    let served = site.send("GET", "/dump", &[BROWSER, ("Cookie", &cookies)], None);
    let dump = served.ok();
    assert!(dump.contains(&format!(r#"["HTTP_COOKIE", "{cookies}"]"#)));
    assert_eq!(served.field("Set-Cookie"), None);
    assert!(!varies(&served));
}

/// By a front and by the daemon, behind the servers that people have; and the daemon after it knows the ticket.
#[test]
fn the_daemon_s_503_has_one_and_the_next_daemon_knows_it() {
    for kind in [
        WebServer::ApacheCgi,
        WebServer::ApacheScgi,
        WebServer::LighttpdCgi,
        WebServer::LighttpdScgi,
        WebServer::NginxCgi,
        WebServer::NginxScgi,
    ] {
        let site = Hosted::configured(kind, Mode::Daemon, ONE_WORKER, "");
        let mut gate = site.dir.gate("gate");
        let held = site.open("GET", HOLD, &[], None);
        gate.entered();
        let ask = |fields: &[(&str, &str)]| site.send("GET", "/hello", fields, None);
        let first = ticket(&ask(&[BROWSER]), "/cgi-bin/app", "");
        no_ticket(&ask(&[BROWSER, ("Cookie", &first)]));
        no_ticket(&ask(&[("Accept", "application/json")]));
        let keys = || fs::read(site.dir.place().join("keys")).expect("there are keys");
        let before = keys();
        gate.open(1);
        held.reply().ok();
        let daemon = site.dir.daemon();
        site.dir.polycgi(&["stop"]).success();
        site.dir.polycgi(&["start"]).success();
        assert_ne!(site.dir.daemon(), daemon);
        let held = site.open("GET", HOLD, &[], None);
        gate.entered();
        no_ticket(&ask(&[BROWSER, ("Cookie", &first)]));
        ticket(&ask(&[BROWSER]), "/cgi-bin/app", "");
        assert_eq!(keys(), before, "{kind:?}");
        gate.open(1);
        held.reply().ok();
    }
}

/// A ticket's age decides: early, due, expired, or from a time that is still to come.
#[test]
fn an_early_ticket_is_told_what_is_left_and_an_expired_one_is_replaced() {
    let dir = Dir::new();
    let app = dir.app_file("app", NO_ROOM);
    let ask = |cookie: &str| {
        let fields = [BROWSER, ("Cookie", cookie)];
        cgi::reply(&run(&mut cgi::front(&app, "GET", "/hello", &fields), b"").stdout)
    };
    let first = ask("");
    assert_eq!(seconds(&first), 15);
    ticket(&first, "/", "");

    let early = ask(&signed(&dir, 600, 630));
    no_ticket(&early);
    let left = seconds(&early);
    assert!((1..=30).contains(&left), "{left}");
    let refreshes = format!(r#"http-equiv="refresh" content="{left}""#);
    assert!(early.text().contains(&refreshes), "{}", early.text());
    assert!(varies(&early));
    // One that would have to wait far longer than a newcomer is replaced.
    let too_early = ask(&signed(&dir, 600, 900));
    assert_eq!(seconds(&too_early), 15);
    ticket(&too_early, "/", "");

    let due = ask(&signed(&dir, 300, 15));
    no_ticket(&due);
    assert_eq!(seconds(&due), 15);
    // The last second of its ten minutes is over.
    ticket(&ask(&signed(&dir, 616, 15)), "/", "");
    ticket(&ask(&signed(&dir, -300, 15)), "/", "");
}

/// The path by which a browser decides whether to send the cookie; with a request that was encrypted it is Secure.
fn the_path_is_that_of_the_app_for_its_client(mpm: Mpm) {
    let lines = "LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\n\
                 LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n\
                 RewriteEngine On\nRewriteRule ^/pretty/(.*)$ /cgi-bin/app/$1 [PT]\n\
                 SetEnvIf X-Forwarded-Proto https HTTPS=on\n";
    let site = Site::with(mpm, 16, lines);
    let ask = |target: &str, fields: &[(&str, &str)]| {
        let fields = [&[BROWSER], fields].concat();
        let address = site.server.address();
        Conversation::new(address, "GET", target, &fields, None).reply()
    };
    site.dir.app_file("app", NO_ROOM);
    for (target, path) in [
        ("/cgi-bin/app", "/cgi-bin/app"),
        ("/cgi-bin/app/a/b?c", "/cgi-bin/app"),
        ("/cgi-bin/%61pp/a", "/cgi-bin/%61pp"),
        ("/pretty/a", "/"),
    ] {
        ticket(&ask(target, &[]), path, "");
    }
    let https = ("X-Forwarded-Proto", "https");
    ticket(&ask("/cgi-bin/app", &[https]), "/cgi-bin/app", "; Secure");
    let outer = ticket(&ask("/pretty/a", &[]), "/", "");
    site.dir
        .app_file("app", &format!("{NO_ROOM}mount = /pretty\n"));
    ticket(&ask("/pretty/a", &[]), "/pretty", "");
    // An app below another one gets the cookies of both.
    site.dir.app_file("inner", NO_ROOM);
    let cookies = [("Cookie", outer.as_str())];
    let inner = ticket(&ask("/cgi-bin/inner", &cookies), "/cgi-bin/inner", "");
    let both = format!("{inner}; {outer}");
    no_ticket(&ask("/cgi-bin/inner", &[("Cookie", &both)]));
    no_ticket(&ask("/pretty/a", &[("Cookie", &both)]));
}

#[test]
fn the_waiting_room_can_be_off() {
    for config in [ONE_CGI, &format!("mode = daemon\n{ONE_WORKER}")] {
        let config = format!("{config}waiting-room = off\n");
        let site = Site::configured(Mpm::Prefork, 16, &config);
        let mut gate = site.dir.gate("gate");
        let held = site.open("GET", HOLD, &[], None);
        gate.entered();
        let reply = site.send("GET", "/hello", &[BROWSER], None);
        no_ticket(&reply);
        assert!(!varies(&reply));
        assert!(!site.dir.place().join("keys").exists());
        gate.open(1);
        held.reply().ok();
    }
}

/// Waiting does not help where the app's server is away, nor in a time of maintenance.
#[test]
fn what_is_not_for_load_has_no_ticket() {
    let dir = Dir::new();
    let app = dir.app_file("app", "connect = /nowhere/sock\n");
    let output = run(&mut cgi::front(&app, "GET", "/hello", &[BROWSER]), b"");
    no_ticket(&cgi::reply(&output.stdout));
    dir.app_file("other", WSGI);
    let page = super::util::installed("overload-page");
    let output = run(&mut cgi::front(&page, "GET", "/hello", &[BROWSER]), b"");
    no_ticket(&cgi::reply(&output.stdout));
}

/// Without keys clients still get their 503, and the operator learns why, once.
#[test]
fn where_no_keys_can_be_made_the_log_says_why() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("mode = daemon\n{ONE_WORKER}"));
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, HOLD);
    gate.entered();
    let keys = dir.place().join("keys");
    fs::create_dir(&keys).expect("there are none yet");
    fs::write(keys.join("full"), "").expect("it is a folder");
    for _ in 0..3 {
        let output = run(&mut cgi::front(&app, "GET", "/hello", &[BROWSER]), b"");
        no_ticket(&cgi::reply(&output.stdout));
    }
    let why = format!("no tickets: cannot make {}: ", keys.display());
    dir.until_logged(&why);
    assert_eq!(dir.daemon_log().matches(&why).count(), 1);
    gate.open(1);
    held.end().response().ok();
}

/// nginx keeps what the app answers, and asks anew after each 503.
#[test]
fn a_cache_in_front_keeps_no_ticket() {
    let dir = Dir::new();
    dir.app_file("app", &format!("mode = daemon\n{ONE_WORKER}mount = /app\n"));
    dir.polycgi(&["start"]).success();
    let address = free_address();
    let cache = dir.join("nginx/cache");
    let caching = "scgi_cache cache;\nscgi_cache_key $request_method$request_uri;\n\
                   scgi_cache_valid any 10m;\nadd_header X-Cache $upstream_cache_status always;\n";
    let socket = dir.socket().display().to_string();
    let location = nginx::scgi("/app", &socket, caching);
    let cache = format!(
        "}}\nscgi_cache_path {} keys_zone=cache:1m;\nserver {{\nlisten {address};\n{location}",
        cache.display()
    );
    let _nginx = nginx::start(&dir, "nginx", &cache, vec![]);
    let ask = |target| Conversation::new(address, "GET", target, &[BROWSER], None).reply();
    let has = |reply: &Reply, word| assert_eq!(reply.field("X-Cache"), Some(word));
    for word in ["MISS", "HIT"] {
        let reply = ask("/app/hello");
        reply.ok();
        has(&reply, word);
    }
    let mut gate = dir.gate("gate");
    let held = Conversation::new(address, "GET", &format!("/app{HOLD}"), &[], None);
    gate.entered();
    let tickets = [(); 2].map(|()| {
        let reply = ask("/app/status/200");
        has(&reply, "MISS");
        ticket(&reply, "/app", "")
    });
    assert_ne!(tickets[0], tickets[1]);
    has(&ask("/app/hello"), "HIT");
    gate.open(1);
    held.reply().ok();
}
