//! What the configuration of web servers says of an app: in a namespace whose /etc/apache2 and units are the test's.

use std::os::unix::fs::symlink;

use super::super::util::world::World;
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
        let etc = world.dir.folder("etc", 0o755);
        let mount = ["-c", "mount --bind \"$0\" /etc/apache2"];
        run(world.command(0, "/bin/sh").args(mount).arg(etc), b"").success();
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
    let apache = "DocumentRoot /nowhere\n";
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
