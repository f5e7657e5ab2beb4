//! The whole configuration, from text to meaning: every key and every default.

mod errors;

use std::net::IpAddr;
use std::path::Path;

use super::*;

const HOST: Host = Host {
    cores: 2.0,
    nproc: None,
};

fn read(text: &str) -> Result<Config, String> {
    Config::from_settings(
        parse("/srv/cgi-bin/wiki.cgi", text.as_bytes()).map_err(|bad| bad.to_string())?,
        HOST,
    )
    .map_err(|bad| bad.to_string())
}

/// An app with `line` on line 3.
fn with(line: &str) -> Config {
    read(&format!(
        "#!/usr/local/bin/polycgi -\nwsgi = wiki:app\n{line}\n"
    ))
    .unwrap()
}

fn over_host(own: &str, host: &str) -> Result<Config, String> {
    let own = parse("/srv/wiki.cgi", own.as_bytes()).unwrap();
    let host = parse("/etc/polycgi.conf", host.as_bytes()).unwrap();
    Config::from_settings(own.or(host), HOST).map_err(|bad| bad.to_string())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn defaults() {
    let c = with("");
    assert_eq!(
        c.app,
        App::Wsgi(Target {
            module: "wiki".to_owned(),
            callable: "app".to_owned()
        })
    );
    assert_eq!(c.python, Python::InPath("python3".to_owned()));
    assert_eq!(
        (c.directory, c.env, c.env_file, c.mount),
        (None, vec![], None, None)
    );
    assert_eq!(c.mode, Mode::Auto);
    assert_eq!((c.when.busy, c.when.rate), (2, OrAuto::Auto));
    assert_eq!(c.when.load.per_core(), 1.0);
    let lifetime = Lifetime {
        idle_timeout: OrAuto::Auto,
        min_lifetime: secs(120),
        quiet_timeout: None,
    };
    assert_eq!(c.lifetime, lifetime);
    let pool = PoolLimits {
        min_procs: 0,
        max_procs: 5,
        min_idle: 1,
        max_requests: Some(10_000),
        max_rss: None,
        worker_idle_timeout: secs(60),
        preload: true,
    };
    assert_eq!((c.pool, c.cgi_max), (pool, 5));
    let queue = QueueLimits {
        size: 100,
        timeout: secs(10),
        target: secs(1),
        priority_cookie: None,
        waiting_room: true,
    };
    assert_eq!(c.queue, queue);
    let timeouts = Timeouts {
        start: secs(45),
        start_page: Some(secs(30)),
        request: secs(45),
        request_limit: None,
        graceful: secs(30),
    };
    assert_eq!(c.timeouts, timeouts);
    assert_eq!(
        c.limits,
        SizeLimits {
            header: 65_536,
            body: None
        }
    );
    assert_eq!(
        c.spool,
        Spool {
            dir: "/var/tmp".into(),
            limit: 1 << 30
        }
    );
    assert_eq!(
        (c.reload, c.show_errors, c.server_timing),
        (Reload::Auto, ShowErrors::Off, false)
    );
    assert!(c.watch.is_empty());
    assert_eq!(c.status, StatusPage::default());
    assert_eq!(
        c.overload,
        Overload {
            page: None,
            when_load: None,
            when_pressure: None
        }
    );
    assert_eq!(c.runtime_dir, None);
    let listen = Listen {
        addresses: vec![],
        allow: Allow::default(),
        socket_mode: 0o600,
        socket_group: None,
    };
    assert_eq!(c.listen, listen);
    assert_eq!(c.handoff, Handoff::Auto);
    assert_eq!(
        c.log,
        Logging {
            file: None,
            level: LogLevel::Info
        }
    );
}

#[test]
fn max_procs_follow_the_host() {
    let cases = [
        (1.0, None, 3),
        (0.5, None, 2),
        (0.1, None, 1),
        (1.5, None, 4),
        (64.0, None, 16),
        (64.0, Some(40), 10),
        (2.0, Some(3), 1),
        (2.0, Some(u64::MAX), 5),
        (f64::NAN, None, 1),
        (f64::INFINITY, None, 16),
    ];
    for (cores, nproc, expected) in cases {
        assert_eq!(
            defaults::default_max_procs(Host { cores, nproc }),
            expected,
            "{cores} {nproc:?}"
        );
    }
}

#[test]
fn what_to_run() {
    let app = |text: &str| read(text).unwrap().app;
    let commands = |cgi: Option<&[&str]>, scgi: Option<&[&str]>| App::Commands {
        cgi: cgi.map(words),
        scgi: scgi.map(words),
    };
    assert_eq!(
        app("cgi = ./wiki --cgi 'a b' # old"),
        commands(Some(&["./wiki", "--cgi", "a b"]), None)
    );
    assert_eq!(
        app("scgi = wiki {socket}"),
        commands(None, Some(&["wiki", "{socket}"]))
    );
    assert_eq!(
        app("scgi = b\ncgi = a"),
        commands(Some(&["a"]), Some(&["b"]))
    );
    assert_eq!(
        app("connect = /run/wiki"),
        App::Connect(Address::Path("/run/wiki".into()))
    );
    let tcp = Address::Tcp {
        host: "localhost".to_owned(),
        port: 4000,
    };
    assert_eq!(app("connect = localhost:4000 # there"), App::Connect(tcp));
    assert!(app("cgi = a\nscgi = b").runs_as_cgi() && app("wsgi = a:b").runs_as_cgi());
    assert!(!app("scgi = b").runs_as_cgi() && !app("connect = /a").runs_as_cgi());
}

#[test]
fn every_key() {
    assert_eq!(
        with("python = /srv/my venv # 3.12").python,
        Python::At("/srv/my venv".into())
    );
    assert_eq!(
        with("directory = \"/srv/wiki\"").directory.as_deref(),
        Some(Path::new("/srv/wiki"))
    );
    assert_eq!(
        with("env-file = secrets").env_file.as_deref(),
        Some(Path::new("secrets"))
    );
    assert_eq!(with("mount = /").mount.unwrap().script_name(), "");
    assert_eq!(with("mode = daemon").mode, Mode::Daemon);
    assert_eq!(with("daemon-when-busy = 1").when.busy, 1);
    let rate = with("daemon-when-rate = 20/s").when.rate.given();
    assert_eq!(rate.map(Rate::count), Some(20));
    assert_eq!(with("daemon-when-rate = auto").when.rate, OrAuto::Auto);
    assert_eq!(with("daemon-when-load = 0.5").when.load.per_core(), 0.5);
    assert_eq!(
        with("idle-timeout = 1h").lifetime.idle_timeout,
        OrAuto::Given(secs(3600))
    );
    assert_eq!(
        with("idle-timeout = auto # measured").lifetime.idle_timeout,
        OrAuto::Auto
    );
    assert_eq!(with("min-lifetime = 0s").lifetime.min_lifetime, secs(0));
    assert_eq!(
        with("quiet-timeout = 90s # soon").lifetime.quiet_timeout,
        Some(secs(90))
    );
    let rate = "daemon-when-rate = 6/m\n";
    for (line, time) in [
        ("", Some(secs(900))),
        ("quiet-timeout = auto", Some(secs(900))),
    ] {
        assert_eq!(with(&format!("{rate}{line}")).lifetime.quiet_timeout, time);
    }
    assert_eq!(with("min-procs = 2").pool.min_procs, 2);
    assert_eq!(with("max-procs = 1024").pool.max_procs, 1024);
    assert_eq!(with("min-idle = 0").pool.min_idle, 0);
    assert_eq!(with("max-requests = none").pool.max_requests, None);
    assert_eq!(with("max-requests = 7").pool.max_requests, Some(7));
    assert_eq!(with("max-rss = 512M").pool.max_rss, Some(512 << 20));
    assert_eq!(
        with("worker-idle-timeout = 5s").pool.worker_idle_timeout,
        secs(5)
    );
    assert!(!with("preload = off").pool.preload);
    assert_eq!(with("cgi-max = 9").cgi_max, 9);
    assert_eq!(with("queue-size = 0").queue.size, 0);
    assert_eq!(with("queue-timeout = 3s").queue.timeout, secs(3));
    assert_eq!(
        with("queue-target = 250ms").queue.target,
        Duration::from_millis(250)
    );
    assert_eq!(
        with("priority-cookie = sid")
            .queue
            .priority_cookie
            .as_deref(),
        Some("sid")
    );
    assert!(!with("waiting-room = off").queue.waiting_room);
    assert_eq!(with("start-timeout = 2m").timeouts.start, secs(120));
    let start_page = |lines: &str| with(lines).timeouts.start_page;
    assert_eq!(start_page("start-timeout = 2m"), Some(secs(30)));
    assert_eq!(start_page("start-timeout = 9s"), Some(secs(6)));
    assert_eq!(start_page("start-page-after = 5s"), Some(secs(5)));
    assert_eq!(start_page("start-page-after = none"), None);
    assert_eq!(with("request-timeout = 50s").timeouts.request, secs(50));
    assert_eq!(
        with("request-limit = 10m").timeouts.request_limit,
        Some(secs(600))
    );
    assert_eq!(with("graceful-timeout = 0s").timeouts.graceful, secs(0));
    assert_eq!(with("header-limit = 128k").limits.header, 131_072);
    assert_eq!(with("body-limit = 1G").limits.body, Some(1 << 30));
    assert_eq!(
        with("spool-dir = /srv/tmp").spool.dir,
        Path::new("/srv/tmp")
    );
    assert_eq!(with("spool-limit = 0").spool.limit, 0);
    assert_eq!(with("reload = touch").reload, Reload::Touch);
    let watched = with("watch = 't m/**/*.html' /srv/[ab].ini # both").watch;
    assert_eq!(watched, words(&["t m/**/*.html", "/srv/[ab].ini"]));
    assert!(with("watch = none").watch.is_empty());
    assert!(
        with("show-errors = 10.0.0.0/8")
            .show_errors
            .shown_to(Some(IpAddr::from([10, 1, 2, 3])))
    );
    assert!(with("server-timing = on").server_timing);
    assert_eq!(
        with("overload-page = busy.html").overload.page.as_deref(),
        Some(Path::new("busy.html"))
    );
    assert_eq!(
        with("overload-when-load = 4")
            .overload
            .when_load
            .map(Load::per_core),
        Some(4.0)
    );
    assert_eq!(
        with("overload-when-pressure = 12.5%")
            .overload
            .when_pressure
            .map(Percentage::percent),
        Some(12.5)
    );
    assert_eq!(
        with("runtime-dir = /run/wiki").runtime_dir.as_deref(),
        Some(Path::new("/run/wiki"))
    );
    assert_eq!(
        with("listen = /run/a localhost:80").listen.addresses.len(),
        2
    );
    assert_eq!(
        with("listen-allow = www-data").listen.allow.users,
        [User::Name("www-data".to_owned())]
    );
    assert_eq!(with("socket-mode = 0660").listen.socket_mode, 0o660);
    assert_eq!(
        with("socket-group = www-data")
            .listen
            .socket_group
            .as_deref(),
        Some("www-data")
    );
    assert_eq!(with("handoff = relay").handoff, Handoff::Relay);
    assert_eq!(
        with("log-file = /var/log/wiki").log.file.as_deref(),
        Some(Path::new("/var/log/wiki"))
    );
    assert_eq!(with("log-level = debug").log.level, LogLevel::Debug);
}

#[test]
fn env() {
    let env =
        with("env.A = 1 # all of it\nenv.B = 'x # y' # not this\nenv.C =\nenv.D_1 = it's").env;
    let expected = [
        ("A", "1 # all of it"),
        ("B", "x # y"),
        ("C", ""),
        ("D_1", "it's"),
    ];
    assert_eq!(
        env,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn the_app_over_the_host() {
    let c = over_host(
        "wsgi = a:b\nmode = cgi\nenv.A = 1",
        "mode = daemon\nmax-rss = 1G\nenv.A = 2\nenv.B = 3",
    )
    .unwrap();
    assert_eq!((c.mode, c.pool.max_rss), (Mode::Cgi, Some(1 << 30)));
    assert_eq!(
        c.env,
        [("B", "3"), ("A", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    let c = over_host(
        "wsgi = a:b\nmax-rss = none",
        "max-rss = 1G\ncgi = x\nscgi = y",
    )
    .unwrap();
    assert_eq!(c.pool.max_rss, None);
    assert!(matches!(c.app, App::Wsgi(_)));
    // Defaults, not limits: the host's gives way to the app's.
    let c = over_host("wsgi = a:b\nmax-procs = 2", "min-procs = 4\nmin-idle = 3").unwrap();
    assert_eq!(
        (c.pool.min_procs, c.pool.max_procs, c.pool.min_idle),
        (2, 2, 2)
    );
    let c = over_host("wsgi = a:b\nmin-procs = 8", "max-procs = 4").unwrap();
    assert_eq!((c.pool.min_procs, c.pool.max_procs, c.cgi_max), (8, 8, 8));
    assert_eq!(
        over_host("connect = /run/x", "mode = cgi").unwrap().mode,
        Mode::Auto
    );
    let error = over_host("wsgi = a:b", "max-procs = 2\nmin-procs = 3").unwrap_err();
    assert!(error.starts_with(
        "/etc/polycgi.conf:2:1: min-procs: 3 is above max-procs, which is 2 on line 1"
    ));
}

#[test]
fn keys_that_depend_on_keys() {
    let c = with("min-procs = 30");
    assert_eq!((c.pool.max_procs, c.cgi_max), (30, 30));
    assert_eq!(with("max-procs = 3").cgi_max, 3);
    assert_eq!(with("cgi-max = 1").when.busy, 1);
    assert_eq!(with("cgi-max = 0").when.busy, 0);
}

#[test]
fn blame() {
    let c = with("python = /opt/py");
    assert_eq!(
        c.blame(
            "python",
            "cannot execute /opt/py: No such file or directory"
        )
        .to_string(),
        "/srv/cgi-bin/wiki.cgi:3:1: cannot execute /opt/py: No such file or directory\npython = /opt/py\n^~~~~~"
    );
    assert_eq!(
        c.blame("directory", "not there").sentence(),
        "/srv/cgi-bin/wiki.cgi:2:1: not there"
    );
}
