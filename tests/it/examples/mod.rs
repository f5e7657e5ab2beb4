//! The installed examples, as they are: real servers with every line of them, each option alone and all together, under
//! attack. Only paths and ports are replaced by those of the test.

mod apps;
mod attacks;
mod host;
mod log_ins;
mod on_a_machine;
mod scgi;

use std::fs;
use std::ops::Range;

use super::util::{Configured, Dir, free_address, prefix};

/// Makes a test of each check with each web server.
macro_rules! with_each {
    ($($check:ident)*) => {
        $crate::examples::with_each!(@ apache_event ApacheEvent $($check)*);
        $crate::examples::with_each!(@ apache_prefork ApachePrefork $($check)*);
        $crate::examples::with_each!(@ lighttpd Lighttpd $($check)*);
        $crate::examples::with_each!(@ nginx Nginx $($check)*);
    };
    (@ $name:ident $server:ident $($check:ident)*) => {
        mod $name {
            $(#[test]
            fn $check() {
                super::$check(crate::util::Configured::$server);
            })*
        }
    };
}
use with_each;

/// An example's text as it was installed.
#[track_caller]
fn installed_text(name: &str) -> String {
    let path = prefix().join("share/polycgi/examples").join(name);
    fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The example for a web server, in this directory: CGIs are `cgi-bin`'s, `wiki/scgi` is the daemon's socket, and
/// `htpasswd` knows alice.
#[track_caller]
fn text_for(server: Configured, dir: &Dir) -> String {
    let name = match server {
        Configured::ApacheEvent | Configured::ApachePrefork => "servers/apache.conf",
        Configured::Lighttpd => "servers/lighttpd.conf",
        Configured::Nginx => "servers/nginx.conf",
    };
    let at = dir.path().display().to_string();
    let text = installed_text(name)
        .replace("/usr/lib", &at)
        .replace("/run/wiki/", &format!("{at}/wiki/"))
        .replace("/etc/nginx/htpasswd", &format!("{at}/htpasswd"))
        .replace("/etc/apache2/htpasswd", &format!("{at}/htpasswd"))
        .replace("127.0.0.1:4000", &free_address().to_string());
    for elsewhere in ["/etc/", "/srv/", "/usr/", "/var/"] {
        assert!(!text.contains(elsewhere), "{elsewhere} in {text}");
    }
    // Files beside nginx's own configuration.
    text.replace(" include ", " include /etc/nginx/")
}

/// The options of a text, by lines: what is commented out without a blank behind the sign. One that begins a block goes
/// to the block's end.
fn options(text: &str) -> Vec<Range<usize>> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let is_option = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '))
    };
    let mut options = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let (line, begin) = (lines[next], next);
        next += 1;
        if !is_option(line) {
            continue;
        }
        let end = if line.ends_with('{') {
            "#}"
        } else if line.starts_with("#<") {
            "#</"
        } else {
            options.push(begin..next);
            continue;
        };
        let behind = lines[next..].iter().position(|line| line.starts_with(end));
        next += 1 + behind.expect("a block has an end");
        options.push(begin..next);
    }
    options
}

/// The text with that option in force.
fn with_option(text: &str, option: &Range<usize>) -> String {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| match option.contains(&number) {
        true => line.replacen('#', "", 1) + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

/// The text with each of its options alone; one in a block comes with the block.
fn with_each_option(text: &str) -> Vec<String> {
    let mut variants = Vec::new();
    for option in options(text) {
        let variant = with_option(text, &option);
        let inside = options(&variant).into_iter();
        let inside = inside.filter(|other| option.contains(&other.start));
        variants.extend(inside.map(|other| with_option(&variant, &other)));
        variants.push(variant);
    }
    variants
}

/// The text with all of them.
fn with_all_options(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(option) = options(&text).first() {
        text = with_option(&text, option);
    }
    text
}

#[test]
fn what_an_option_is() {
    let text = "# prose\n#\na {\n    #b c;\n}\n#d {\n#    e;\n#\n#    # prose\n#    #f;\n#}\n#<g>\n#    h\n#</g>\n";
    assert_eq!(options(text), [3..4, 5..11, 11..14]);
    let variants = with_each_option(text);
    assert_eq!(variants.len(), 4);
    assert!(variants[1].contains("\n    f;\n}\n") && variants[2].contains("\n    #f;\n}\n"));
    let all = with_all_options(text);
    assert!(
        all.ends_with("\nd {\n    e;\n\n    # prose\n    f;\n}\n<g>\n    h\n</g>\n"),
        "{all}"
    );
}

with_each!(every_option_may_be_in_force);

/// By the server's own check of its configuration.
fn every_option_may_be_in_force(server: Configured) {
    let dir = Dir::new();
    let text = text_for(server, &dir);
    let mut variants = with_each_option(&text);
    assert!(variants.len() >= 2, "{text}");
    variants.push(with_all_options(&text));
    variants.push(text);
    for variant in &variants {
        let output = server.check(&dir, variant);
        assert!(output.status.success(), "{}\n{variant}", output.stderr);
        let is_doubt = |line: &&str| line.contains("warn") || line.contains("ignored");
        let doubts: Vec<&str> = output.stderr.lines().filter(is_doubt).collect();
        // lighttpd says so of an option whose module is in another line.
        let is_known = |line: &&str| line.contains("unknown config-key: scgi.server");
        assert!(doubts.iter().all(is_known), "{doubts:?}\n{variant}");
    }
}
