//! What bash, zsh and fish offer for the words of a line, by the completions as they are installed. bash and zsh run on
//! a terminal, and insert all that they offer; fish prints it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::util::{Dir, PATH, client, prefix, run};

/// Lines, and the words that each shell offers for the last one.
const LINES: [(&str, &[&str]); 18] = [
    ("polycgi st", &["start", "status", "stop"]),
    ("polycgi scgi", &["scgi-daemon"]),
    ("polycgi status --js", &["--json"]),
    (
        "polycgi status --",
        &[
            "--help",
            "--html",
            "--json",
            "--prometheus",
            "--user",
            "--watch",
        ],
    ),
    ("polycgi request --via s", &["scgi"]),
    ("polycgi request -X P", &["PATCH", "POST", "PUT"]),
    ("polycgi request --method=DEL", &["--method=DELETE"]),
    ("polycgi start --user roo", &["root"]),
    ("polycgi check --as=roo", &["--as=root"]),
    ("polycgi check wi", &["wiki.cgi", "winter"]),
    ("polycgi compare -n 3 wik", &["wiki.cgi"]),
    ("polycgi reload win", &["winter"]),
    ("polycgi new --example cg", &["cgit"]),
    ("polycgi links fol", &["folder"]),
    ("polycgi links folder win", &["winter"]),
    ("polycgi scgi-daemon --us", &["--user"]),
    ("scgi-daemon --us", &["--user"]),
    ("scgi-daemon wi", &["wiki.cgi", "winter"]),
];

/// Reads the installed file where bash-completion looks for one of that name; `report` notes the words of a line.
const BASHRC: &str = r#"
PS1= PROMPT_COMMAND=
. /usr/share/bash-completion/bash_completion
bind 'set enable-bracketed-paste off'
bind '"\C-x": insert-completions'
report() { printf '%s\n' "$*" >>"$REPORT"; }
"#;

const ZSHRC: &str = r#"
PS1= PS2= RPS1=
unsetopt zle_bracketed_paste prompt_cr prompt_sp
fpath=($SITE_FUNCTIONS $fpath)
autoload -Uz compinit
compinit -u -D
zle -C all-matches complete-word _generic
zstyle ':completion:all-matches:*' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert true
bindkey -e
bindkey '^X' all-matches
report() { print -r -- "$*" >>$REPORT }
"#;

/// A folder with an app file, another file, a folder, and an app that is known by name.
fn person() -> Dir {
    let dir = Dir::new();
    for folder in [
        "home",
        "home/at",
        "home/at/folder",
        "home/.config",
        "home/.config/polycgi",
    ] {
        dir.folder(folder, 0o755);
    }
    dir.file("home/at/wiki.cgi", "#!/usr/local/bin/polycgi -\n", 0o755);
    dir.file("home/at/other", "", 0o644);
    dir.file("home/.config/polycgi/winter.conf", "cgi = true\n", 0o644);
    dir
}

fn shell(dir: &Dir, program: &str) -> Command {
    let (share, bin) = (prefix().join("share"), prefix().join("bin"));
    let mut command = client(dir, &dir.join("home/at"), program);
    // fish looks for completions only of commands that are there.
    command.env("PATH", format!("{}:{PATH}", bin.display()));
    command.env("XDG_DATA_DIRS", format!("{}:/usr/share", share.display()));
    command.env("SITE_FUNCTIONS", share.join("zsh/site-functions"));
    command.env("REPORT", dir.join("home/report"));
    command.env("TERM", "dumb");
    command.env("INPUTRC", "/dev/null");
    command
}

/// Without what a shell puts behind an option that takes a value, or behind a folder.
fn bare(word: &str) -> &str {
    word.trim_end_matches(['=', '/'])
}

/// What stands in a line beside what was typed there.
fn words<'a>(line: &'a str, typed: &str) -> BTreeSet<&'a str> {
    let whole = typed
        .rsplit_once(' ')
        .map_or(0, |(before, _)| before.split(' ').count());
    let words = line.split_whitespace().skip(whole);
    words.map(bare).collect()
}

#[track_caller]
fn assert_offered(shell: &str, offered: &[BTreeSet<&str>]) {
    assert_eq!(offered.len(), LINES.len(), "{shell}: {offered:?}");
    let differs = LINES
        .iter()
        .zip(offered)
        .filter(|((_, expected), offered)| {
            let expected: BTreeSet<&str> = expected.iter().copied().collect();
            expected != **offered
        });
    let differs: Vec<_> = differs.collect();
    assert!(differs.is_empty(), "{shell}: {differs:#?}");
}

/// Types each line on a terminal, lets the shell insert all that it offers, and has the line noted.
#[track_caller]
fn on_a_terminal(dir: &Dir, program: &str) {
    let mut typed = String::new();
    for (line, _) in LINES {
        // Ctrl-X inserts, Ctrl-A goes to the line's beginning.
        typed += &format!("{line}\x18\x01report \r");
    }
    typed += "exit\r";
    let mut script = shell(dir, "/usr/bin/script");
    script.args(["-qec", program, "/dev/null"]);
    let output = run(&mut script, typed.as_bytes());
    let report = fs::read_to_string(dir.join("home/report")).unwrap_or_default();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        report.lines().count(),
        LINES.len(),
        "{program}: {report}\n{seen}"
    );
    let lines = report.lines().zip(LINES);
    let offered = lines.map(|(line, (typed, _))| words(line, typed));
    assert_offered(program, &offered.collect::<Vec<_>>());
}

#[test]
fn bash_offers_what_fits() {
    let dir = person();
    let rc = dir.file("home/bashrc", BASHRC, 0o644);
    on_a_terminal(&dir, &format!("bash --rcfile {} -i", rc.display()));
}

#[test]
fn zsh_offers_what_fits() {
    let dir = person();
    dir.file("home/.zshrc", ZSHRC, 0o644);
    on_a_terminal(&dir, "zsh -d -i");
}

#[test]
fn fish_offers_what_fits() {
    let dir = person();
    let mut text = String::new();
    for (line, _) in LINES {
        text += &format!("complete -C '{line}' | string replace -r '\\t.*' ''\necho .\n");
    }
    let mut fish = shell(&dir, "/usr/bin/fish");
    fish.args(["-c", &text]);
    let printed = run(&mut fish, b"").success();
    let parts = printed.split(".\n").filter(|part| !part.is_empty());
    let offered = parts.map(|part| part.lines().map(bare).collect::<BTreeSet<&str>>());
    assert_offered("fish", &offered.collect::<Vec<_>>());
}
