//! Lines of the configuration that are read as they stand, and secrets in them.

use super::*;

/// What is said of a line with a sign that only a shell knows, and of the same in quotes.
#[test]
fn signs_for_a_shell() {
    let dir = Dir::new();
    // It answers with its words: no shell has read them.
    dir.file(
        "apps/words",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; printf '%s\\n' \"$@\"\n",
        0o755,
    );
    for (words, sign) in [
        ("a | tr a b", "|"),
        ("a > out", ">"),
        ("a 2>&1", "2>"),
        ("*.py", "*"),
        ("~/x", "~"),
        ("$HOME/x", "$HOME"),
    ] {
        let config = format!("cgi = ./words {words}\nmode = cgi");
        let app = dir.app_file("app", &config);
        let output = run(&mut cgi::front(&app, "GET", "/", &[]), b"");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains(sign), "{words}: {shown}");
        let column = "cgi = ./words ".len() + 1 + words.find(sign).expect("a sign");
        let line = fs::read_to_string(&app).expect("it can be read");
        let line = 1 + line
            .lines()
            .position(|line| line.starts_with("cgi"))
            .expect("a line");
        Checked::of(&app).finds(&[
            &format!("{}:{line}:{column}: '{sign}' stays as it is", text_of(&app)),
            "sh -c '...'",
        ]);
        let quoted = config.replace(words, &format!("'{words}'"));
        Checked::of(&dir.app_file("app", &quoted)).is_well();
    }
    let app = dir.app_file("app", "cgi = ./words | cat > ~/x 2>&1\nmode = cgi");
    Checked::of(&app).finds(&[
        "'|', '>', '~' and '2>' stay as they are: no shell reads this line",
        "put the command into a script of your own",
    ]);
    let app = dir.app_file("app", "cgi = './words a'\nmode = cgi");
    assert_eq!(served(&app).0, 500);
    Checked::of(&app).finds(&["the quotes make a single word", "leave the quotes out"]);
    let app = dir.app_file("app", "cgi = X=1 ./words\nmode = cgi");
    assert_eq!(served(&app).0, 500);
    Checked::of(&app).finds(&["it is no assignment here", "env.NAME = VALUE"]);
}

#[test]
fn a_value_that_keeps_its_comment() {
    let dir = Dir::new();
    let debug = "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
                 return [os.environ.get('DEBUG', '').encode()]\n";
    dir.file("apps/debug.py", debug, 0o644);
    let wsgi = "wsgi = debug:application\nmode = cgi";
    let app = dir.app_file(
        "app",
        &format!("{wsgi}\nenv.DEBUG = 0   # off in production"),
    );
    let shown = dir.polycgi(&["request", "--via", "cgi"]).success();
    assert_eq!(shown, "0   # off in production");
    Checked::of(&app).warns(&[
        "the value of env.DEBUG keeps its end from '#' on",
        "\nenv.DEBUG = *   # off in production\n",
        "a line of its own",
    ]);
    let app = dir.app_file(
        "app",
        &format!("{wsgi}\nenv.DEBUG = '0'   # off in production"),
    );
    Checked::of(&app).is_well();
    dir.file("apps/secrets", "KEY=tiger # lily\n", 0o600);
    let app = dir.app_file("app", &format!("{wsgi}\nenv-file = secrets"));
    let checked = Checked::of(&app);
    checked.warns(&["secrets:1:11: the value of KEY keeps"]);
    assert!(
        !checked.text.contains("tiger") && !checked.text.contains("lily"),
        "{}",
        checked.text
    );
}

#[test]
fn secrets_that_others_can_read() {
    let dir = Dir::new();
    let wsgi = "wsgi = testapp:application\nmode = cgi";
    let app = dir.app_file("app", &format!("{wsgi}\nenv.DB_PASSWORD = tiger"));
    let checked = Checked::of(&app);
    let line = fs::read_to_string(&app).expect("it can be read");
    let line = line.lines().position(|line| line.starts_with("env.DB_"));
    let line = 1 + line.expect("a line");
    checked.warns(&[
        &format!(
            "{}:{line}:1: env.DB_PASSWORD looks like a secret",
            text_of(&app)
        ),
        "\nenv.DB_PASSWORD = *****\n",
        "(mode 0755)",
        "'env-file'",
    ]);
    assert!(!checked.text.contains("tiger"), "{}", checked.text);
    set_mode(&app, 0o700);
    Checked::of(&app).is_well();
}

/// php-cgi runs the file of SCRIPT_FILENAME; one that shows only that stands for it.
#[test]
fn php_that_would_print_the_app_file() {
    let dir = Dir::new();
    let php = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; cat \"$SCRIPT_FILENAME\"\n";
    dir.file("apps/php-cgi", php, 0o755);
    dir.file("apps/index.php", "the script\n", 0o644);
    let at = text_of(dir.path());
    let app = dir.app_file(
        "app",
        "cgi = ./php-cgi index.php\nmode = cgi\nenv.SECRET_KEY = tiger",
    );
    let get = || {
        let mut front = cgi::front(&app, "GET", "/", &[]);
        let output = run(front.env("SCRIPT_FILENAME", &app), b"");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(get().contains("tiger"), "a visitor sees the app file");
    Checked::of(&app).finds(&[
        "./php-cgi runs the file that SCRIPT_FILENAME names, which is the app file",
        &format!("env.SCRIPT_FILENAME = {at}/apps/index.php"),
    ]);
    let set = format!("cgi = ./php-cgi\nmode = cgi\nenv.SCRIPT_FILENAME = {at}/apps/index.php");
    dir.app_file("app", &set);
    assert!(get().ends_with("\n\nthe script\n"));
    Checked::of(&app).is_well();
}

/// Without networks no client sees the page; without a page no networks are needed.
#[test]
fn a_status_page_for_nobody() {
    let dir = Dir::new();
    let page = "status-path = /state";
    let allow = "status-allow = 127.0.0.1";
    let checked = |lines: &str| {
        Checked::of(&dir.app_file(
            "app",
            &format!("wsgi = testapp:application\nmode = cgi\n{lines}"),
        ))
    };
    checked(page).finds(&[
        "status-path",
        "no client may see this page",
        "status-allow = ",
    ]);
    checked(allow).finds(&[
        "status-allow",
        "there is no page to allow",
        "status-path = ",
    ]);
    checked(&format!("{page}\n{allow}")).is_well();
}
