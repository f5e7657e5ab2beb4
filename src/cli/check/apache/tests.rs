use std::fs;

use super::*;

/// A host with Debian's layout, and that site.
fn host(site: &str) -> (tempfile::TempDir, Apache) {
    let dir = tempfile::tempdir().unwrap();
    let etc = dir.path().join("etc/apache2");
    for folder in ["mods-enabled", "conf-enabled", "sites-enabled"] {
        fs::create_dir_all(etc.join(folder)).unwrap();
    }
    let main = "ServerRoot \"/etc/apache2\"\nIncludeOptional mods-enabled/*.load\n\
                <Directory />\n\tOptions FollowSymLinks\n</Directory>\n\
                Include conf-enabled/*.conf\nInclude sites-enabled/\n";
    fs::write(etc.join("apache2.conf"), main).unwrap();
    let load = "LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so\n";
    fs::write(etc.join("mods-enabled/cgid.load"), load).unwrap();
    let cgi_bin = "<IfModule mod_cgid.c>\n  Define ENABLE_USR_LIB_CGI_BIN\n</IfModule>\n\
                   <IfModule mod_cgi.c>\n  Define NOT_THIS\n</IfModule>\n\
                   <IfDefine ENABLE_USR_LIB_CGI_BIN>\n  ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/\n\
                   <Directory \"/usr/lib/cgi-bin\">\n  Options +ExecCGI \\\n   -MultiViews\n</Directory>\n\
                   </IfDefine>\n<IfDefine NOT_THIS>\n<IfModule so>\nScriptAlias /x/ /x/\n</IfModule>\n</IfDefine>\n";
    fs::write(etc.join("conf-enabled/serve-cgi-bin.conf"), cgi_bin).unwrap();
    fs::write(etc.join("sites-enabled/site.conf"), site).unwrap();
    let apache = Apache::read(dir.path()).unwrap();
    (dir, apache)
}

#[test]
fn debian_s_layout() {
    let (_dir, apache) =
        host("<VirtualHost *:80>\n# DocumentRoot /no\nDocumentRoot /var/www/html\n</VirtualHost>");
    assert!(apache.has_module("cgid") && !apache.has_module("cgi"));
    let at = |file: &str| apache.script_alias(Path::new(file)).map(|(_, url)| url);
    assert_eq!(
        at("/usr/lib/cgi-bin/wiki.cgi").as_deref(),
        Some("/cgi-bin/wiki.cgi")
    );
    assert_eq!(at("/x/wiki.cgi"), None, "its condition does not hold");
    let exec = |folder: &str| apache.exec_cgi(Path::new(folder));
    let found = exec("/usr/lib/cgi-bin/deeper").unwrap();
    assert!(
        found.position().ends_with("serve-cgi-bin.conf:10"),
        "{}",
        found.position()
    );
    assert!(exec("/usr/lib").is_none() && exec("/var/www/html").is_none());
    assert!(apache.documents(Path::new("/var/www/html/wiki")).is_some());
    assert!(apache.documents(Path::new("/var/www/htmlx")).is_none());
}

#[test]
fn folders_and_their_sections() {
    let site = "Define ROOT /srv/sites\nUserDir public_html\n<VirtualHost *>\nSuexecUserGroup joe staff\n\
                <Directory /home/*/public_html>\nOptions ExecCGI\nAddHandler cgi-script .cgi\nCGIPassAuth On\n</Directory>\n\
                <Directory ${ROOT}/one>\nOptions All\n</Directory>\n\
                <Directory ${ROOT}>\nOptions +ExecCGI\n</Directory>\n\
                <Directory ${ROOT}/two>\nOptions -ExecCGI\n</Directory>\n\
                <Location /x>\nOptions ExecCGI\n</Location>\n</VirtualHost>\n";
    let (_dir, apache) = host(site);
    let exec = |folder: &str| apache.exec_cgi(Path::new(folder)).is_some();
    assert!(
        exec("/home/joe/public_html/a") && !exec("/home/joe") && !exec("/home/a/b/public_html")
    );
    assert!(exec("/srv/sites/one") && exec("/srv/sites") && !exec("/srv/sites/two"));
    let joe = Path::new("/home/joe/public_html");
    assert!(apache.handles(joe, Path::new("x.cgi")) && !apache.handles(joe, Path::new("x.py")));
    assert!(apache.pass_auth(joe).is_some() && apache.pass_auth(Path::new("/srv")).is_none());
    let host = apache.pass_auth(joe).and_then(Directive::host);
    let (_, user, group) = apache.suexec(host).unwrap();
    assert_eq!(
        (user, group, apache.user_dir()),
        ("joe", "staff", Some("public_html"))
    );
    assert!(apache.suexec(None).is_none());
}

#[test]
fn a_configuration_that_includes_itself_ends() {
    let (dir, _) = host("Include apache2.conf\nInclude sites-enabled/*.conf\n");
    assert!(Apache::read(dir.path()).is_some());
    assert!(Apache::read(&dir.path().join("no")).is_none());
}

#[test]
fn patterns() {
    for (pattern, text, fits) in [
        ("*.conf", "a.conf", true),
        ("*.conf", "a.confx", false),
        ("a?c*", "abc", true),
        ("", "", true),
        ("**x", "x", true),
        ("a", "ab", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}
