//! The tarball: a user without root, without cargo and with a home folder of nothing but their own puts it there by the
//! five steps of INSTALL, behind a web server that a hosting provider has configured.

use super::*;

/// What a provider does: CGIs of ~/public_html/cgi-bin run as the user whose they are, if .htaccess says so.
const PROVIDER: &str = "\
useradd --create-home --shell /bin/bash ada
chmod 711 /home/ada
a2enmod --quiet cgid suexec userdir
printf 'public_html/cgi-bin\\npublic_html/cgi-bin\\n' >/etc/apache2/suexec/www-data
cat >/etc/apache2/conf-enabled/provider.conf <<END
<Directory /home/*/public_html/cgi-bin>
    AllowOverride FileInfo Options=ExecCGI
    Options ExecCGI
</Directory>
END
systemctl start apache2";

/// The commands of a numbered step of INSTALL: the lines that are set off in it.
fn step(text: &str, number: usize) -> String {
    let (_, step) = text
        .split_once(&format!("\n{number}. "))
        .expect("it has the step");
    let (step, _) = step
        .split_once(&format!("\n{}. ", number + 1))
        .expect("it is not the last");
    set_off(step)
}

fn set_off(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("       "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_user_without_root_has_an_app_in_five_steps() {
    let Some(machine) = Machine::boot() else {
        return;
    };
    let dir = Dir::new();
    let tarball = made(&dir, "tarball", "made");
    machine.run(PROVIDER).success();
    put_wiki(&machine, "/home/ada/wiki");
    let name = tarball.file_name().expect("a file has a name").display();
    copy(&machine, &tarball, &format!("/home/ada/{name}"));
    machine.run("chown -R ada: /home/ada").success();
    let ada = |script: &str| machine.run_as("ada", script).success();
    ada("! command -v cargo polycgi
        mkdir -p public_html/cgi-bin
        printf 'Options +ExecCGI\\nAddHandler cgi-script .cgi\\n' >public_html/cgi-bin/.htaccess");

    // Another version lies beside it. What others may read is not a matter of ada's umask.
    ada("mkdir polycgi-0.0.9 && touch polycgi-0.0.9.tar.gz");
    let text = "tar --extract --to-stdout --wildcards --file polycgi-*-linux-*.tar.gz '*/INSTALL'";
    let text = ada(text);
    ada(&format!("umask 077; {}", step(&text, 1)));
    ada(&format!("umask 077; {}", step(&text, 2)));
    let modes = ada("stat --format=%a .local/bin .local/bin/polycgi .local/share/polycgi | xargs");
    assert_eq!(modes, "755 755 755\n");
    ada(&format!("cd public_html/cgi-bin; {}", step(&text, 3)));
    let checked = ada(&format!("cd public_html/cgi-bin; {}", step(&text, 4)));
    assert!(checked.contains("nothing wrong found"), "{checked}");
    let page = get(&machine, "/~ada/cgi-bin/wiki.cgi/page");
    assert_eq!(page.ok(), "/page with nothing\n");

    let manual = ada("PATH=~/.local/bin:$PATH man --where polycgi");
    assert_eq!(manual, "/home/ada/.local/share/man/man1/polycgi.1\n");
    let completes = ada("PATH=~/.local/bin:$PATH bash --norc -c '
        . /usr/share/bash-completion/bash_completion
        _completion_loader polycgi
        complete -p polycgi'");
    assert!(completes.starts_with("complete "), "{completes}");
    put_newer(&machine, &text);
    // Nothing stays of it, and of ada's.
    let (_, removal) = text.split_once("To remove it:").expect("it says how");
    ada(&set_off(removal));
    assert_eq!(ada("find .local ! -type d"), "");
}

/// By the same steps, while the daemon of the older one runs.
#[track_caller]
fn put_newer(machine: &Machine, text: &str) {
    let ada = |script: &str| machine.run_as("ada", script).success();
    let app = "public_html/cgi-bin/wiki.cgi";
    ada(&format!(".local/bin/polycgi start {app}"));
    ada(&step(text, 1));
    let parts = ada("ls polycgi-*-linux-*/ | xargs");
    assert_eq!(parts, "INSTALL LICENSE-APACHE LICENSE-MIT bin share\n");
    ada(&step(text, 2));
    // Nothing of the folder is left, and `stop` says nothing: there was a daemon.
    let left = ada(&format!(
        "ls -d polycgi-*-linux-*/ || .local/bin/polycgi stop {app}"
    ));
    assert_eq!(left, "");
}
