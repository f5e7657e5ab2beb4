use std::fs;

use super::*;

fn host(text: &str) -> (tempfile::TempDir, Option<Lighttpd>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("etc/lighttpd/conf-enabled")).unwrap();
    fs::write(dir.path().join(MAIN), text).unwrap();
    let cgi = "server.modules += ( \"mod_cgi\" )\n$HTTP[\"url\"] =~ \"^/cgi-bin/\" {\n\
               alias.url += ( \"/cgi-bin/\" => \"/usr/lib/cgi-bin/\" )\ncgi.assign = ( \"\" => \"\" )\n}\n\
               cgi.assign = ( \".pl\" => \"/usr/bin/perl\", )\n";
    fs::write(
        dir.path().join("etc/lighttpd/conf-enabled/10-cgi.conf"),
        cgi,
    )
    .unwrap();
    let read = Lighttpd::read(dir.path());
    (dir, read)
}

#[test]
fn debian_s_layout() {
    let text = "server.modules = (\n\t\"mod_alias\", # \"mod_x\"\n)\nvar.root = \"/var\"\n\
                server.document-root = var.root + \"/www/html\"\n\
                static-file.exclude-extensions = ( \".php\", \".fcgi\" )\n\
                include_shell \"/usr/share/lighttpd/use-ipv6.pl \" + server.port\n\
                include \"/etc/lighttpd/conf-enabled/*.conf\"\nserver.port = 80\n";
    let (_dir, read) = host(text);
    let read = read.unwrap();
    assert!(read.has_module("mod_alias") && read.has_module("mod_cgi"));
    assert!(!read.has_module("mod_x") && read.excludes("a.fcgi") && !read.excludes("a.cgi"));
    let (documents, position) = read.documents().unwrap();
    assert_eq!(documents, Path::new("/var/www/html"));
    assert!(position.ends_with("lighttpd.conf:5"), "{position}");
    let url = |file: &str| read.url(Path::new(file));
    assert_eq!(
        url("/usr/lib/cgi-bin/w.cgi").as_deref(),
        Some("/cgi-bin/w.cgi")
    );
    assert_eq!(url("/var/www/html/a/b").as_deref(), Some("/a/b"));
    assert_eq!(url("/srv/x"), None);
    let assigned = |url: &str| {
        let entries = read.entries("cgi.assign", url);
        let entries = entries
            .iter()
            .map(|entry| (entry.key.to_owned(), entry.value.text().to_owned()));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(
        assigned("/x.pl"),
        [(".pl".to_owned(), "/usr/bin/perl".to_owned())]
    );
}

#[test]
fn conditions_and_lists() {
    let text = "cgi.assign = ( \".py\" => \"/usr/bin/python3\" )\n\
                $HTTP[\"host\"] == \"a.example\" { $HTTP[\"url\"] =^ \"/w/\" { cgi.assign = ( \"\" => \"\" ) } }\n\
                else { cgi.assign += ( \".x\" => \"\" ) }\n\
                scgi.server = ( \"/wiki\" => (( \"socket\" => \"/run/\\\"wiki\", \"port\" => 4000 )) )\n";
    let (_dir, read) = host(text);
    let read = read.unwrap();
    let keys = |url: &str| {
        let entries = read.entries("cgi.assign", url);
        entries
            .iter()
            .map(|entry| entry.key.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (keys("/w/a"), keys("/a")),
        (
            vec!["".to_owned(), ".x".to_owned()],
            vec![".py".to_owned(), ".x".to_owned()]
        )
    );
    let servers = read.entries("scgi.server", "/wiki/x");
    let server = servers[0].value.list()[0].1.list();
    assert_eq!((servers[0].key, servers[0].by.line()), ("/wiki", 4));
    assert_eq!(
        server[0],
        ("socket".to_owned(), Setting::Text("/run/\"wiki".to_owned()))
    );
    assert_eq!(server[1].1.text(), "4000");
}

#[test]
fn a_configuration_that_makes_no_sense_ends() {
    let text = "include \"lighttpd.conf\"\na = ( ( ( \"\nb += \n$HTTP[\"url\"\n}}}) ) => =\nc = 1";
    assert!(host(text).1.is_some());
    for cut in 0..text.len() {
        let _ = host(&text[..cut]);
    }
    assert!(Lighttpd::read(Path::new("/nowhere")).is_none());
}
