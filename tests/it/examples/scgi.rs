//! The options of the examples by which a web server asks the daemon without a front, with the lines that they have
//! for the app file, and those of the README.

use std::fs;
use std::path::Path;

use nix::unistd::Uid;

use super::{Configured, text_for, with_all_options, with_each};
use crate::util::{Conversation, Dir, as_user, installed, not_tested, run};

with_each!(straight_to_the_daemon);

/// Each `key = value` in comments, or indented as in the README, without a comment behind it.
fn lines_for_app(text: &str) -> Vec<String> {
    let indented = |line: &str| {
        let line = line.strip_prefix("#   ").or(line.strip_prefix("    "))?;
        let (key, value) = line.split_once(" = ")?;
        let value = value.split(" #").next().unwrap_or_default().trim_end();
        let is_key = key
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        is_key.then(|| format!("{key} = {value}\n"))
    };
    text.lines().filter_map(indented).collect()
}

fn straight_to_the_daemon(server: Configured) {
    let dir = Dir::new();
    let text = text_for(server, &dir);
    let configs = match server {
        Configured::Nginx => {
            let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
            let readme = fs::read_to_string(readme).expect("there is a README");
            let (_, section) = readme
                .split_once("## Straight from the web server\n")
                .expect("a section");
            let section = section.split("\n## ").next().unwrap_or_default();
            let of_readme = lines_for_app(section);
            let at = dir.path().display();
            let of_readme = of_readme
                .concat()
                .replace("/run/wiki/", &format!("{at}/wiki/"));
            vec![lines_for_app(&text).concat(), of_readme]
        }
        _ => {
            // Keys that are named in a sentence.
            let mut words = text
                .split('\'')
                .filter(|words| words.starts_with("listen = "));
            let listen = words
                .next()
                .expect("the example says where the daemon listens");
            assert!(text.contains("'mount = /wiki'"), "{text}");
            vec![format!("{listen}\nmount = /wiki\n")]
        }
    };
    dir.folder("wiki", 0o755);
    dir.file("htpasswd", "", 0o644);
    let straight = without_log_in(&with_all_options(&text));
    let running = server.start(&dir, &straight);
    for config in configs {
        assert!(
            config.contains("listen = ") && config.contains("mount = /wiki\n"),
            "{config}"
        );
        if config.contains("socket-group") && !Uid::effective().is_root() {
            not_tested("a socket's group that is not one's own");
            continue;
        }
        let app = dir.app_file(
            "straight.cgi",
            &format!("wsgi = names:application\n{config}"),
        );
        let polycgi = |word: &str| run(as_user(installed("polycgi")).arg(word).arg(&app), b"");
        polycgi("start").success();
        let ask =
            |target: &str| Conversation::new(running.address(), "GET", target, &[], None).reply();
        for (target, path_info) in [
            ("/wiki", ""),
            ("/wiki/", "/"),
            ("/wiki/x?y=z", "/x"),
            ("/wiki/a%20b", "/a b"),
        ] {
            let shown = ask(target).ok();
            for line in [
                "SCRIPT_NAME=/wiki\n".to_owned(),
                format!("PATH_INFO={path_info}\n"),
            ] {
                assert!(shown.contains(&line), "no {line} for {target} in {shown}");
            }
        }
        for target in [
            "/wikix",
            "/wiki/../x",
            "/wiki%2f..%2f..%2fx",
            "/wiki/..%2f..%2fx",
            "/x",
        ] {
            let reply = ask(target);
            assert!(
                [400, 403, 404].contains(&reply.status()),
                "{target}: {} {}",
                reply.status(),
                reply.text()
            );
        }
        for target in [
            "//wiki/x",
            "/wiki//x",
            "/wiki;x",
            "/wiki%2Fx",
            "/wiki/%2e%2e/wiki/x",
        ] {
            let reply = ask(target);
            assert!(
                [200, 400, 403, 404].contains(&reply.status()),
                "{target}: {}",
                reply.status()
            );
            if reply.status() == 200 {
                assert!(
                    reply.text().contains("SCRIPT_NAME=/wiki\n"),
                    "{target}: {}",
                    reply.text()
                );
            }
        }
        polycgi("stop").success();
    }
}

/// The text without its log-in, which another test is about.
fn without_log_in(text: &str) -> String {
    let mut kept = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        is_inside |= line.starts_with("<Files ") || line.starts_with("<Location ");
        let is_nginx = line.trim_start().starts_with("auth_basic ");
        // It would lead to the same app by a CGI.
        let is_alias = line.starts_with("ScriptAlias /wiki ");
        if !is_inside && !is_nginx && !is_alias {
            kept.push(line);
        }
        is_inside &= line != "</Files>" && line != "</Location>";
    }
    kept.join("\n") + "\n"
}
