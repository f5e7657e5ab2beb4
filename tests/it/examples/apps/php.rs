//! php-cgi: it runs index.php, and nothing that a client names; no source is shown.

use super::{Example, WAYS};
use crate::util::{Conversation, Server};

const INDEX: &str = "<?php\nheader('Content-Type: text/plain');\n\
                     echo 'ran index ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? \
                     $_SERVER['ORIG_PATH_INFO'] ?? '', ' ', $_POST['name'] ?? $_GET['name'] ?? '', \"\\n\";\n";
const EVIL: &str = "<?php echo 'ran ', 'evil';\n";

/// What clients try: a file of theirs that PATH_INFO leads to, options of php-cgi by a query string.
const TRIED: [&str; 8] = [
    "/cgi-bin/php.cgi/evil.txt",
    "/cgi-bin/php.cgi/evil.txt/x.php",
    "/cgi-bin/php.cgi/evil.txt?-s",
    "/cgi-bin/php.cgi?-s",
    "/cgi-bin/php.cgi?-d+cgi.fix_pathinfo=1+-d+auto_prepend_file=/etc/passwd",
    "/cgi-bin/php.cgi?%ADs",
    "/shop/evil.txt",
    "/shop/evil.txt?-s",
];

fn ask(server: &Server, target: &str) -> String {
    let reply = Conversation::new(server.address(), "GET", target, &[], None).reply();
    assert!(
        [200, 404, 500].contains(&reply.status()),
        "{target}: {}",
        reply.text()
    );
    reply.text()
}

fn is_attacked(shown: &str) -> bool {
    [
        "ran evil",
        "<?php",
        "&lt;?php",
        "<span style",
        "root:",
        "env.SCRIPT",
    ]
    .iter()
    .any(|sign| shown.contains(sign))
}

#[test]
fn php() {
    let example = Example::of("php");
    example.dir.file("srv/php/index.php", INDEX, 0o644);
    example.dir.folder("documents", 0o755);
    example.dir.file("documents/evil.txt", EVIL, 0o644);
    example.serves("/page?name=Alice", "ran index /php.cgi /page Alice\n");
    let documents = example.dir.join("documents");
    // As a .htaccess file has it: then Apache sets REDIRECT_URL too.
    let more = format!(
        "LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\nDocumentRoot {at}\n<Directory {at}>\n\
         Require all granted\nRewriteEngine On\nRewriteRule ^shop(/.*)$ /cgi-bin/php.cgi$1 [L]\n</Directory>\n",
        at = documents.display()
    );
    let server = example.behind_apache("AllowEncodedSlashes", &more);
    // The lines that are needed, by settings.
    let mut needed: Vec<Vec<&str>> = Vec::new();
    for settings in ["", "cgi.fix_pathinfo = 0\n"] {
        example.dir.file("srv/php/php.ini", settings, 0o644);
        let with_settings = format!(
            "{}env.PHPRC = {}\n",
            example.text,
            example.dir.join("srv/php").display()
        );
        for way in WAYS {
            let text = format!("{with_settings}mode = {way}\n");
            example.dir.file("cgi-bin/php.cgi", &text, 0o755);
            for target in TRIED {
                let shown = ask(&server, target);
                assert!(!is_attacked(&shown), "{way} {settings}{target}: {shown}");
                assert!(
                    shown.starts_with("ran index /cgi-bin/php.cgi"),
                    "{way} {settings}{target}: {shown}"
                );
            }
            let post = [("Content-Type", "application/x-www-form-urlencoded")];
            let posted = Conversation::new(
                server.address(),
                "POST",
                "/cgi-bin/php.cgi/p",
                &post,
                Some(b"name=Bob"),
            );
            assert_eq!(posted.reply().ok(), "ran index /cgi-bin/php.cgi /p Bob\n");
        }
        example.polycgi(&["stop"], &[]);
        let is_needed = |variable: &&str| is_needed(&example, &server, &with_settings, variable);
        let variables = ["PATH_TRANSLATED", "REDIRECT_STATUS", "SCRIPT_FILENAME"];
        needed.push(variables.into_iter().filter(is_needed).collect());
    }
    // PHP chooses the script by PATH_TRANSLATED alone if it is told not to correct what it gets.
    let both = vec!["PATH_TRANSLATED", "REDIRECT_STATUS"];
    let all = [both.clone(), vec!["SCRIPT_FILENAME"]].concat();
    assert_eq!(needed, [all, both]);
}

/// Whether, without that line, an attack succeeds or nothing is served.
fn is_needed(example: &Example, server: &Server, text: &str, variable: &str) -> bool {
    let line = format!("env.{variable} = ");
    assert!(text.contains(&line), "{text}");
    let lines = text.lines().filter(|other| !other.starts_with(&line));
    let lines: Vec<&str> = lines.collect();
    let text = format!("{}\nmode = cgi\n", lines.join("\n"));
    example.dir.file("cgi-bin/php.cgi", &text, 0o755);
    let is_served = ask(server, "/cgi-bin/php.cgi/page").starts_with("ran index ");
    let mut tried = TRIED.iter().map(|target| ask(server, target));
    let is_attacked = tried.any(|shown| is_attacked(&shown));
    !is_served || is_attacked
}
