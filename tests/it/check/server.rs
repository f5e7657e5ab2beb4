//! What the configuration of web servers says of an app: in a namespace whose /etc/apache2 and units are the test's.

use std::os::unix::fs::symlink;

use super::super::util::world::World;
use super::super::util::{Configured, Conversation};
use super::*;

const CONFIG: &str = "wsgi = who:application\nmode = daemon\nmax-procs = 2";
const MODULE: &str = "LoadModule cgid_module mod_cgid.so\n";

/// The world, with Apache's main file to be written.
struct Host {
    world: World,
    app: PathBuf,
}

impl Host {
    fn new() -> Option<Self> {
        let world = World::new()?;
        // Units of this host do not count, such as that of Debian's Apache.
        for (own, at) in [
            ("etc", "/etc/apache2"),
            ("lighttpd", "/etc/lighttpd"),
            ("etc-units", "/etc/systemd/system"),
            ("lib-units", "/usr/lib/systemd/system"),
        ] {
            if !Path::new(at).exists() {
                continue;
            }
            let own = world.dir.folder(own, 0o755);
            let mount = ["-c", "mount --bind \"$0\" \"$1\""];
            let mut mount_it = world.command(0, "/bin/sh");
            run(mount_it.args(mount).arg(own).arg(at), b"").success();
        }
        let app = world.app("wiki.cgi", CONFIG);
        Some(Self { world, app })
    }

    /// `check` by root, with that in Apache's configuration; SITE stands for the app's folder.
    #[track_caller]
    fn check(&self, options: &[&str], apache: &str) -> Checked {
        let site = text_of(self.app.parent().expect("a folder"));
        let apache = apache.replace("SITE", &site);
        self.world.dir.file("etc/apache2.conf", &apache, 0o644);
        let app = text_of(&self.app);
        let words = [&["check"], options, &[app.as_str()]].concat();
        Checked::new(self.world.root(&words))
    }
}

#[test]
fn how_apache_runs_the_app_file() {
    let Some(host) = Host::new() else { return };
    let alias = format!("{MODULE}ScriptAlias /cgi-bin/ SITE/\n");
    let checked = host.check(&[], &alias);
    checked.is_well();
    checked.says(
        0,
        &["as www-data; Apache runs it at /cgi-bin/wiki.cgi (ScriptAlias, /etc/apache2/apache2.conf:2)"],
    );
    host.check(&[], "ScriptAlias /cgi-bin/ SITE/\n").warns(&[
        "apache2.conf:1: Apache has neither mod_cgi nor mod_cgid loaded",
        "a2enmod cgid",
    ]);
    host.check(&[], &format!("{MODULE}DocumentRoot SITE\n"))
        .warns(&[
            "neither ScriptAlias nor 'Options ExecCGI' stands for ",
            "it would send the app file as text",
        ]);
    let exec =
        format!("{MODULE}DocumentRoot SITE\n<Directory SITE>\nOptions +ExecCGI\n</Directory>\n");
    host.check(&[], &exec).warns(&[
        "(/etc/apache2/apache2.conf:4), but no handler makes",
        "AddHandler cgi-script .cgi",
    ]);
    host.check(&[], &format!("{exec}AddHandler cgi-script .cgi\n"))
        .says(
            0,
            &["Apache may run it (Options ExecCGI, /etc/apache2/apache2.conf:4)"],
        );
    // Nothing of the app is in it.
    host.check(&[], "DocumentRoot /nowhere\n").is_well();
    host.check(&["--json"], &alias).says(
        0,
        &["\"kind\":\"cgi-pass-auth\"", "CGIPassAuth is not on for "],
    );
    let pass = format!("{alias}<Directory SITE>\nCGIPassAuth On\n</Directory>\n");
    host.check(&["--json"], &pass)
        .says(0, &["CGIPassAuth is on (/etc/apache2/apache2.conf:4)"]);
}

/// What a `.htaccess` says counts as far as `AllowOverride` has it: Apache itself is asked as well.
#[test]
fn an_access_file_that_counts_or_not() {
    let Some(host) = Host::new() else { return };
    let lines = "Options +ExecCGI\nAddHandler cgi-script .cgi\n";
    let site = text_of(host.app.parent().expect("a folder"));
    fs::write(format!("{site}/.htaccess"), lines).expect("a file can be written");
    let allowing = |site: &str, allowed: &str| {
        format!("DocumentRoot {site}\n<Directory {site}>\nAllowOverride {allowed}\n</Directory>\n")
    };
    let check = |allowed| host.check(&[], &format!("{MODULE}{}", allowing("SITE", allowed)));
    check("None").warns(&[
        "/.htaccess: AllowOverride is None (/etc/apache2/apache2.conf:4)",
        "have 'AllowOverride Options FileInfo AuthConfig' set",
    ]);
    check("FileInfo").finds(&[
        "/.htaccess:1: AllowOverride does not allow Options here (/etc/apache2/apache2.conf:4): Apache answers each \
         request with 500",
    ]);
    let exec = format!("Apache may run it (Options ExecCGI, {site}/.htaccess:1)");
    check("All").says(0, &[&exec]);

    for (allowed, status, begin) in [
        ("None", 200, "#!"),
        ("FileInfo", 500, "<!"),
        ("All", 200, "hello "),
    ] {
        let dir = Dir::new();
        dir.app_file("wiki.cgi", "wsgi = testapp:application\nmode = cgi");
        let site = text_of(&dir.join("cgi-bin"));
        dir.file("cgi-bin/.htaccess", lines, 0o644);
        let mime =
            "LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so\nTypesConfig /dev/null\n";
        let server =
            Configured::ApacheEvent.start(&dir, &(mime.to_owned() + &allowing(&site, allowed)));
        let target = "/wiki.cgi/hello";
        let target = if allowed == "None" {
            "/wiki.cgi"
        } else {
            target
        };
        let reply = Conversation::new(server.address(), "GET", target, &[], None).reply();
        assert_eq!(reply.status(), status, "{allowed}: {}", reply.text());
        assert!(
            reply.text().starts_with(begin),
            "{allowed}: {}",
            reply.text()
        );
    }
}

/// Each configuration is one that lighttpd itself takes.
#[test]
fn how_lighttpd_runs_the_app_file() {
    let Some(host) = Host::new() else { return };
    let site = text_of(host.app.parent().expect("a folder"));
    let check = |options: &[&str], text: &str| {
        let text = text.replace("SITE", &site);
        let text = format!("server.document-root = \"/var/www\"\nserver.port = 8080\n{text}");
        host.world.dir.file("lighttpd/lighttpd.conf", &text, 0o644);
        let mut lighttpd = host.world.command(0, "/usr/sbin/lighttpd");
        run(
            lighttpd.args(["-tt", "-f", "/etc/lighttpd/lighttpd.conf"]),
            b"",
        )
        .success();
        host.check(options, "DocumentRoot /nowhere\n")
    };
    let modules = "server.modules = (\"mod_alias\", \"mod_cgi\", \"mod_scgi\")\n";
    let alias = "alias.url = (\"/cgi-bin/\" => \"SITE/\")\n";
    let section = "$HTTP[\"url\"] =~ \"^/cgi-bin/\" { cgi.assign = (\"\" => \"\") }\n";
    let whole = format!("{modules}{alias}{section}");
    let checked = check(&[], &whole);
    checked.is_well();
    checked.says(
        0,
        &["lighttpd may run it at /cgi-bin/wiki.cgi (cgi.assign, /etc/lighttpd/lighttpd.conf:5)"],
    );
    check(&["--json"], &whole).says(0, &["\"kind\":\"lighttpd\",\"severity\":\"note\""]);
    check(&[], &whole.replace(", \"mod_cgi\"", "")).warns(&[
        "mod_cgi is not in 'server.modules'",
        "lighty-enable-mod cgi",
    ]);
    check(&[], &format!("{modules}{alias}")).warns(&[
        "no 'cgi.assign' stands for /cgi-bin/wiki.cgi in lighttpd's configuration: it would send the app file as text",
    ]);
    let hidden = "static-file.exclude-extensions = (\".cgi\")\n";
    check(&[], &format!("{modules}{alias}{hidden}")).is_well();
    let elsewhere = section.replace("^/cgi-bin/", "^/other/");
    check(&[], &format!("{modules}{alias}{elsewhere}{hidden}")).is_well();
    check(
        &[],
        &format!("{modules}{alias}cgi.assign = (\".cgi\" => \"/usr/bin/perl\")\n"),
    )
    .warns(&[
        "lighttpd gives wiki.cgi to /usr/bin/perl",
        "let 'cgi.assign' have an empty program for it",
    ]);
    // In a file of its own, as Debian has it.
    host.world.dir.file(
        "lighttpd/10-cgi.conf",
        &format!("{alias}{section}").replace("SITE", &site),
        0o644,
    );
    check(&[], &format!("{modules}include \"*-cgi.conf\"\n"))
        .says(0, &["(cgi.assign, /etc/lighttpd/10-cgi.conf:2)"]);

    let apps = text_of(&host.world.dir.join("apps"));
    let listen = format!("{CONFIG}\nlisten = {apps}/sock\nmount = /wiki");
    host.world.app("wiki.cgi", &listen);
    let scgi = "scgi.server = (\"/wiki\" => ((\"socket\" => \"APPS/sock\", \"check-local\" => \"disable\")))\n";
    let asks = format!(
        "lighttpd asks the daemon at {apps}/sock for /wiki (scgi.server, /etc/lighttpd/lighttpd.conf:4)"
    );
    let scgi = scgi.replace("APPS", &apps);
    check(&[], &format!("{modules}{scgi}")).says(0, &[&asks]);
    check(&[], &scgi).warns(&["mod_scgi is not in 'server.modules'"]);
}

#[test]
fn files_that_a_visitor_could_ask_for() {
    let Some(host) = Host::new() else { return };
    let root = text_of(host.world.dir.path());
    let apache = format!("{MODULE}ScriptAlias /cgi-bin/ SITE/\nDocumentRoot {root}/apps\n");
    host.check(&[], &apache).warns(&[
        &format!("the app's files in {root}/apps lie below {root}/apps"),
        "(DocumentRoot, /etc/apache2/apache2.conf:3)",
        "name that by 'directory'",
    ]);
    host.world.dir.file("apps/secrets", "KEY=tiger\n", 0o600);
    let host = Host {
        app: host
            .world
            .app("wiki.cgi", &format!("{CONFIG}\nenv-file = secrets")),
        ..host
    };
    let checked = host.check(&[], &apache);
    checked.finds(&[&format!("{root}/apps/secrets lies below {root}/apps")]);
    assert!(!checked.text.contains("tiger"), "{}", checked.text);
}

#[test]
fn rules_of_suexec() {
    let Some(mut host) = Host::new() else { return };
    let apache = format!(
        "{MODULE}LoadModule suexec_module mod_suexec.so\nScriptAlias /cgi-bin/ SITE/\nSuexecUserGroup nobody nogroup\n"
    );
    let site = host.app.parent().expect("a folder").to_path_buf();
    for path in [&site, &host.app] {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).expect("root can give a file");
    }
    let nobody = ["--as", "nobody"];
    set_mode(&host.app, 0o700);
    host.check(&nobody, &apache).is_well();
    for (mode, said) in [
        (0o720, "can be written by others than its owner (mode 0720)"),
        (0o4700, "is set-user-ID or set-group-ID (mode 4700)"),
    ] {
        set_mode(&host.app, mode);
        host.check(&nobody, &apache).finds(&[
            said,
            "suEXEC, which runs it as nobody (SuexecUserGroup, /etc/apache2/apache2.conf:4)",
        ]);
    }
    set_mode(&host.app, 0o755);
    std::os::unix::fs::chown(&site, Some(0), Some(0)).expect("root can take a file");
    host.check(&nobody, &apache)
        .finds(&["has uid 0 and gid 0, and has to have 65534 and 65534"]);
    let low = apache.replace("nobody nogroup", "www-data www-data");
    host.check(&nobody, &low)
        .finds(&["www-data's uid 33 or gid 33 is below 100"]);
    let link = site.join("link.cgi");
    symlink(&host.app, &link).expect("a link can be made");
    host.app = link;
    host.check(&nobody, &apache)
        .finds(&["it is a symlink", "a script whose first line names polycgi"]);
    // Without the module nothing of it counts.
    host.check(&nobody, &apache.replace("suexec_module", "other_module"))
        .says(0, &["nothing wrong"]);
}

#[test]
fn a_web_server_with_a_tmp_of_its_own() {
    let Some(host) = Host::new() else { return };
    let units = host.world.at("/run/systemd/system");
    fs::create_dir_all(&units).expect("a folder can be made");
    fs::write(
        units.join("apache2.service"),
        "[Service]\nPrivateTmp=true\n",
    )
    .expect("a file can be made");
    // One that does not lead to the app runs no daemon of it.
    host.check(&[], "DocumentRoot /nowhere\n").is_well();
    let apache = &format!("{MODULE}ScriptAlias /cgi-bin/ SITE/\n");
    host.check(&[], apache).warns(&[
        "/run/systemd/system/apache2.service:2: apache2 has a /tmp of its own (PrivateTmp)",
        "install -d -m 1777 /run/polycgi",
    ]);
    host.world.make_run();
    host.check(&[], apache).is_well();
    let listen = format!("{CONFIG}\nlisten = /tmp/wiki.sock");
    let host = Host {
        app: host.world.app("wiki.cgi", &listen),
        ..host
    };
    host.check(&[], apache)
        .warns(&["other servers do not find /tmp/wiki.sock"]);
}
