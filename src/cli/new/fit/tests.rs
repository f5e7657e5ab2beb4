//! What is written for a folder, by the files in it.

use std::fs;

use super::*;

/// What is taken of a folder with these files.
fn taken(files: &[(&str, &str)]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let folder = Folder::look(dir.path().to_path_buf()).unwrap();
    let fit = Fits::of(&folder).fits.into_iter().next()?;
    Some(fit.line)
}

#[test]
fn an_application_by_its_name_or_by_what_makes_it() {
    for (text, target) in [
        ("application = x", Some("pages:application")),
        (
            "from x import app as application",
            Some("pages:application"),
        ),
        ("def application(e, s): pass", Some("pages:application")),
        (
            "def wiki(environ, start_response): pass",
            Some("pages:wiki"),
        ),
        ("site = Flask(__name__)", Some("pages:site")),
        ("app = falcon.App()", Some("pages:app")),
        ("app = web.application(urls).wsgifunc()", Some("pages:app")),
        (
            "app = dash.Dash()\nserver = app.server",
            Some("pages:server"),
        ),
        ("app = Dash(__name__)", Some("pages:app.server")),
        ("app = ASGIMiddleware(FastAPI())", Some("pages:app")),
        ("app = Celery()", None),
        ("app = anything()", None),
        ("application = 'a text'", None),
        ("application = None", None),
        ("def apply(x): pass", None),
        ("def _inner(environ, start_response): pass", None),
        ("from flask import Flask", None),
        // By a module that is made.
        ("application = FastAPI()", Some("wsgi:application")),
        (
            "async def application(scope, receive, send): pass",
            Some("wsgi:application"),
        ),
    ] {
        let expected = target.map(|target| format!("wsgi = {target}"));
        assert_eq!(taken(&[("pages.py", text)]), expected, "{text}");
    }
    assert_eq!(
        taken(&[("app.py", "app = anything()")]).as_deref(),
        Some("wsgi = app:app")
    );
}

#[test]
fn where_django_has_its_application() {
    let manage =
        |settings: &str| format!("x.setdefault(\"DJANGO_SETTINGS_MODULE\", \"{settings}\")");
    for (settings, text, file, target) in [
        ("a.settings", "", "a/wsgi.py", "a.wsgi:application"),
        ("a.settings.live", "", "a/wsgi.py", "a.wsgi:application"),
        (
            "a.settings",
            "WSGI_APPLICATION = 'b.web.app'",
            "b/web.py",
            "b.web:app",
        ),
        (
            "a.settings",
            "WSGI_APPLICATION = 'b.web.app'",
            "a/wsgi.py",
            "a.wsgi:application",
        ),
        ("settings", "", "x.py", "wsgi:application"),
    ] {
        let at = settings.replace('.', "/") + ".py";
        let files = [("manage.py", &*manage(settings)), (&*at, text), (file, "")];
        assert_eq!(
            taken(&files),
            Some(format!("wsgi = {target}")),
            "{settings} {file}"
        );
    }
    assert_eq!(taken(&[("manage.py", "DJANGO_SETTINGS_MODULE")]), None);
    assert_eq!(
        taken(&[("manage.py", "DJANGO_SETTINGS_MODULE', '/etc/x'")]),
        None
    );
}

#[test]
fn which_factories_need_arguments() {
    for (line, needs) in [
        ("def create_app():", false),
        (
            "def create_app(config=None, *more, **rest) -> Flask:",
            false,
        ),
        ("def create_app(names: dict[str, int] = {}):", false),
        ("def create_app(config):", true),
        ("def create_app(a=1, *, b):", true),
        ("def create_app(names: dict[str, int]):", true),
    ] {
        assert_eq!(needs_arguments(line), needs, "{line}");
    }
}

#[test]
fn what_goes_wrong_at_an_import_is_said() {
    let lines = top_lines("app.run(debug=True)\nos.execl(a, b)\nsubprocess.run\n");
    assert_eq!(cautions("app.py", &lines).len(), 2);
    assert!(cautions("app.py", &top_lines("if x:\n    app.run()\n")).is_empty());
}
