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

/// A file `x.cgi` there, whose URL is not known.
fn in_folder(folder: &str) -> Spot<'_> {
    Spot {
        folder: Path::new(folder),
        name: "x.cgi",
        url: None,
    }
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
    let exec = |folder| apache.exec_cgi(&in_folder(folder));
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
    let exec = |folder| apache.exec_cgi(&in_folder(folder)).is_some();
    assert!(
        exec("/home/joe/public_html/a") && !exec("/home/joe") && !exec("/home/a/b/public_html")
    );
    assert!(exec("/srv/sites/one") && exec("/srv/sites") && !exec("/srv/sites/two"));
    let joe = in_folder("/home/joe/public_html");
    assert!(
        apache.handles(&joe)
            && !apache.handles(&Spot {
                name: "x.py",
                ..joe
            })
    );
    assert!(apache.pass_auth(&joe).is_some() && apache.pass_auth(&in_folder("/srv")).is_none());
    let host = apache.pass_auth(&joe).and_then(Directive::host);
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
        assert_eq!(sections::matches(pattern, text), fits, "{pattern} {text}");
    }
}

#[test]
fn sections_by_expressions_of_files_and_of_urls() {
    let site = "<DirectoryMatch \"^/srv/[^/]+/www\">\nOptions +ExecCGI\n</DirectoryMatch>\n\
                <Directory ~ ^/opt/>\nOptions +ExecCGI\n</Directory>\n\
                <Directory /srv/joe/www>\nOptions -ExecCGI\n</Directory>\n\
                <FilesMatch \"\\.(cgi|pl)$\">\nSetHandler cgi-script\n</FilesMatch>\n\
                <Files *.txt>\nSetHandler none\n</Files>\n\
                <LocationMatch ^/w/>\nCGIPassAuth On\n</LocationMatch>\n\
                <Location /w/off>\nOptions None\n</Location>\n\
                Alias /w/ /srv/joe/www/\nScriptAliasMatch ^/u/([^/]+)/(.*) /home/$1/cgi/$2\n";
    let (_dir, apache) = host(site);
    // Expressions are merged behind folders.
    assert!(apache.exec_cgi(&in_folder("/srv/joe/www/a")).is_some());
    assert!(apache.exec_cgi(&in_folder("/srv/joe/x")).is_none());
    assert!(apache.exec_cgi(&in_folder("/opt/x")).is_some());
    let spot = in_folder("/srv/joe/www");
    assert!(
        apache.handles(&spot)
            && apache.handles(&Spot {
                name: "a.pl",
                ..spot
            })
    );
    assert!(!apache.handles(&Spot {
        name: "a.txt",
        ..spot
    }));
    let url = apache.url(Path::new("/srv/joe/www/off/x.cgi")).unwrap();
    assert_eq!(url, "/w/off/x.cgi");
    let known = Spot {
        url: Some(&url),
        ..spot
    };
    assert!(apache.pass_auth(&known).is_some() && apache.pass_auth(&spot).is_none());
    assert!(apache.exec_cgi(&known).is_none(), "a URL counts most");
    let by_match = |file: &str| apache.script_alias_match(Path::new(file)).is_some();
    assert!(by_match("/home/joe/cgi/x.cgi") && !by_match("/home/joe/x.cgi"));
}

#[test]
fn access_files_count_as_far_as_they_may() {
    let (dir, _) = host("");
    let www = dir.path().join("www");
    let deep = www.join("a");
    fs::create_dir_all(&deep).unwrap();
    fs::write(
        www.join(".htaccess"),
        "Options +ExecCGI\nAddHandler cgi-script .cgi\n",
    )
    .unwrap();
    fs::write(
        deep.join(".htaccess"),
        "<IfModule mod_cgid.c>\nCGIPassAuth On\n</IfModule>\nDirectoryIndex x\n",
    )
    .unwrap();
    let folder = deep.to_str().unwrap();
    for (allowed, exec, handles, auth, refused, read) in [
        ("AllowOverride None", false, false, false, 3, 0),
        ("", false, false, false, 3, 0),
        ("AllowOverride All", true, true, true, 0, 2),
        ("AllowOverride Options FileInfo", true, true, false, 1, 2),
        ("AllowOverride FileInfo", false, true, false, 2, 2),
        (
            "AllowOverride Options=ExecCGI,Indexes AuthConfig",
            true,
            false,
            true,
            1,
            2,
        ),
        ("AllowOverride Options=Indexes", false, false, false, 3, 2),
        ("AllowOverrideList AddHandler", false, true, false, 2, 2),
        (
            "AllowOverride AuthConfig Nonfatal=All",
            false,
            false,
            true,
            0,
            2,
        ),
    ] {
        let site = format!("<Directory {}>\n{allowed}\n</Directory>\n", www.display());
        fs::write(dir.path().join("etc/apache2/sites-enabled/site.conf"), site).unwrap();
        let mut apache = Apache::read(dir.path()).unwrap();
        let files = apache.read_access_files(dir.path(), &deep);
        let spot = in_folder(folder);
        let found = (
            apache.exec_cgi(&spot).is_some(),
            apache.handles(&spot),
            apache.pass_auth(&spot).is_some(),
            files.iter().map(|file| file.refused.len()).sum::<usize>(),
            files.iter().filter(|file| file.is_read).count(),
        );
        assert_eq!(found, (exec, handles, auth, refused, read), "{allowed}");
    }
}
