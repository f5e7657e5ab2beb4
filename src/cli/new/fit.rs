//! What of a folder can be an app, and how it would be run, the likeliest first. It knows the customs of Django, Flask
//! and their like by names and text.

mod made;
mod programs;

pub(super) use self::made::Made;

use super::folder::Folder;
use super::source::{self, Binding, bindings, top_lines};

/// What an app file can run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// What was found: a file, and the text in it that decides.
    pub(super) what: String,
    /// `wsgi = wiki:application`
    pub(super) line: String,
    /// Lines that belong to it.
    pub(super) more: String,
    pub(super) is_wsgi: bool,
    /// What a person should know, in sentences.
    pub(super) cautions: Vec<String>,
    /// The module that has to be made first.
    pub(super) made: Option<Made>,
}

/// What looks like an app and can't be run as it is, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) what: String,
    pub(super) advice: String,
}

#[derive(Default)]
pub(super) struct Fits {
    pub(super) fits: Vec<Fit>,
    pub(super) misfits: Vec<Misfit>,
}

/// Modules in which servers look for an application, in this order. There `app` is one, however it is made.
const USUAL: [&str; 6] = [
    "wsgi",
    "passenger_wsgi",
    "app",
    "application",
    "main",
    "server",
];
/// Modules that are no app.
const OTHERS: [&str; 6] = ["conftest", "fabfile", "manage", "noxfile", "setup", "tasks"];
/// What makes a WSGI application, as the text has it; and what makes something else.
const WSGI: [&str; 12] = [
    "ASGIMiddleware(",
    "Bottle(",
    "Flask(",
    "WSGIApp(",
    "create_app(",
    "default_app(",
    "falcon.App(",
    "get_wsgi_application(",
    "make_app(",
    "make_wsgi_app(",
    ".server",
    ".wsgifunc(",
];
const ASGI: [&str; 9] = [
    "FastAPI(",
    "Litestar(",
    "Quart(",
    "Sanic(",
    "Starlette(",
    "async def ",
    "falcon.asgi.",
    "get_asgi_application(",
    ".ASGIApp(",
];
const NEITHER: [&str; 9] = [
    "ArgumentParser(",
    "Celery(",
    "Dash(",
    "QApplication(",
    "Tk(",
    "Typer(",
    "class ",
    "socketserver.",
    "web.Application(",
];
const NAMES: [&str; 2] = ["app", "application"];
const FACTORIES: [&str; 2] = ["create_app", "make_app"];
/// The most packages and modules that are read.
const MOST_SOURCES: usize = 100;

#[derive(Clone, Copy, PartialEq)]
enum Nature {
    Asgi,
    Neither,
    Unknown,
    Wsgi,
}

impl Fit {
    fn wsgi(what: String, target: &str) -> Fit {
        Fit {
            what,
            line: format!("wsgi = {target}"),
            more: String::new(),
            is_wsgi: true,
            cautions: Vec::new(),
            made: None,
        }
    }

    /// By a module that is to be made.
    fn by(what: String, made: Made) -> Fit {
        let mut fit = Fit::wsgi(what, &made.target());
        fit.made = Some(made);
        fit
    }

    fn program(what: String, line: String) -> Fit {
        Fit {
            what,
            line,
            more: String::new(),
            is_wsgi: false,
            cautions: Vec::new(),
            made: None,
        }
    }
}

impl Fits {
    pub(super) fn of(folder: &Folder) -> Fits {
        let mut found = Fits::default();
        found.look_for_django(folder);
        for module in USUAL {
            found.look_at(folder, module, &format!("{module}.py"));
        }
        for package in folder.packages().take(MOST_SOURCES) {
            found.look_at(folder, package, &format!("{package}/__init__.py"));
            for module in USUAL {
                let dotted = format!("{package}.{module}");
                found.look_at(folder, &dotted, &format!("{package}/{module}.py"));
            }
        }
        let others = folder.modules().filter(|module| {
            let is_test = module.starts_with("test_") || module.ends_with("_test");
            !USUAL.contains(module) && !OTHERS.contains(module) && !is_test
        });
        for module in others.take(MOST_SOURCES) {
            found.look_at(folder, module, &format!("{module}.py"));
        }
        found.look_for_wsgi_files(folder);
        found.look_for_cgis(folder);
        // What has to be made comes behind what is there.
        found.fits.sort_by_key(|fit| fit.made.is_some());
        found
    }

    fn add(&mut self, fit: Fit) {
        if self.fits.iter().all(|known| known.line != fit.line) {
            self.fits.push(fit);
        }
    }

    fn look_for_django(&mut self, folder: &Folder) {
        let Some(text) = folder.text("manage.py") else {
            return;
        };
        let after = text.split_once("DJANGO_SETTINGS_MODULE");
        // The name's own closing quote comes first.
        let after = after.and_then(|(_, after)| after.get(1..));
        let Some(settings) = after
            .and_then(source::literal)
            .filter(|name| is_dotted(name))
        else {
            return;
        };
        let what = format!("manage.py: Django's, with the settings {settings}");
        let mut fit = match django_application(folder, settings) {
            Some(target) => Fit::wsgi(what, &target),
            None => Fit::by(what, Made::of_django(folder, settings)),
        };
        fit.cautions.push(
            "Django's static files are the web server's ('manage.py collectstatic'), and ALLOWED_HOSTS has to name \
             the site's host"
                .to_owned(),
        );
        self.add(fit);
    }

    /// Looks for an application in a module.
    fn look_at(&mut self, folder: &Folder, module: &str, file: &str) {
        let Some(text) = folder.text(file) else {
            return;
        };
        let lines = top_lines(&text);
        let bindings = bindings(&lines);
        let is_usual = USUAL.contains(&module.rsplit('.').next().unwrap_or(module));
        let what = |bound: &Binding| format!("{file}: {}", shown(bound));
        if let Some((bound, callable)) = application(&bindings, is_usual) {
            let mut fit = Fit::wsgi(what(bound), &format!("{module}:{callable}"));
            fit.cautions = cautions(file, &lines);
            self.add(fit);
        } else if let Some(bound) = last(&bindings, |bound| {
            FACTORIES.contains(&&*bound.name) && bound.by.starts_with("def ")
        }) {
            self.add_factory(folder, module, bound, what(bound));
        } else if let Some(bound) = last(&bindings, is_asgi) {
            let mut fit = Fit::by(what(bound), Made::of_asgi(folder, module, &bound.name));
            fit.cautions.push(
                "that is an ASGI application, which a2wsgi makes one of WSGI: install it where the app's modules are \
                 (pip install a2wsgi); WebSockets and lifespan events it has not"
                    .to_owned(),
            );
            self.add(fit);
        }
    }

    /// What mod_wsgi runs: the name of such a file is none of a module's.
    fn look_for_wsgi_files(&mut self, folder: &Folder) {
        for file in folder.files(".wsgi") {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let text = folder.text(file).unwrap_or_default();
            let bindings = bindings(&top_lines(&text));
            let bound = last(&bindings, |bound| bound.name == "application");
            if let Some(bound) = bound.filter(|_| file.chars().all(is_plain)) {
                let what = format!("{file}: {}", shown(bound));
                self.add(Fit::by(what, Made::of_wsgi_file(folder, file)));
            }
        }
    }

    fn add_factory(&mut self, folder: &Folder, module: &str, bound: &Binding, what: String) {
        let name = &bound.name;
        if needs_arguments(&bound.by) {
            let advice = format!(
                "it needs arguments: write a wsgi.py with 'from {module} import {name}' and 'application = \
                 {name}(...)', and run 'polycgi new' again"
            );
            return self.misfits.push(Misfit { what, advice });
        }
        self.add(Fit::by(what, Made::of_factory(folder, module, name)));
    }
}

/// `mysite.wsgi:application`: what the settings name, or the `wsgi.py` beside them or above.
fn django_application(folder: &Folder, settings: &str) -> Option<String> {
    let file = |module: &str| module.replace('.', "/") + ".py";
    let lines = folder.text(&file(settings)).map(|text| top_lines(&text));
    let named = bindings(&lines.unwrap_or_default());
    let named = named.iter().rfind(|bound| bound.name == "WSGI_APPLICATION");
    let named = named.and_then(|bound| source::literal(&bound.by)?.rsplit_once('.'));
    let named = named.map(|(module, callable)| (module.to_owned(), callable.to_owned()));
    let above = settings.match_indices('.').map(|(at, _)| at).rev();
    let beside = above.map(|at| {
        (
            format!("{}.wsgi", &settings[..at]),
            "application".to_owned(),
        )
    });
    let root = ("wsgi".to_owned(), "application".to_owned());
    let mut all = named.into_iter().chain(beside).chain([root]);
    all.find_map(|(module, callable)| {
        let is_there = is_dotted(&module) && is_dotted(&callable) && folder.has(&file(&module));
        is_there.then(|| format!("{module}:{callable}"))
    })
}

fn is_dotted(name: &str) -> bool {
    name.split('.')
        .all(|part| source::identifier(part) == Some(part))
}

/// The binding of a module's application, and its name in the module.
fn application(bindings: &[Binding], is_usual: bool) -> Option<(&Binding, String)> {
    let of = |name: &'static str, may_be_unknown: bool| {
        last(bindings, |bound| bound.name == name).filter(|bound| match nature(bound) {
            Nature::Wsgi => true,
            Nature::Unknown => may_be_unknown,
            Nature::Asgi | Nature::Neither => false,
        })
    };
    let is_other = |bound: &Binding| {
        nature(bound) == Nature::Wsgi && !is_import(bound) && !bound.name.starts_with('_')
    };
    let bound = of("application", true)
        .or_else(|| of("app", is_usual))
        .or_else(|| last(bindings, is_other));
    if let Some(bound) = bound {
        return Some((bound, bound.name.clone()));
    }
    let dash = last(bindings, |bound| bound.by.contains("Dash("))?;
    Some((dash, format!("{}.server", dash.name)))
}

fn last(bindings: &[Binding], which: impl Fn(&Binding) -> bool) -> Option<&Binding> {
    bindings.iter().rfind(|bound| which(bound))
}

fn nature(bound: &Binding) -> Nature {
    let has = |words: &[&str]| words.iter().any(|word| bound.by.contains(word));
    let is_value = bound.by.starts_with(['\'', '"', '[', '{'])
        || bound.by.starts_with(|c: char| c.is_ascii_digit());
    let is_function = bound.by.starts_with("def ");
    if is_function && FACTORIES.contains(&&*bound.name) {
        Nature::Neither
    } else if is_function {
        let is_one = bound.by.contains("start_response") || NAMES.contains(&&*bound.name);
        if is_one {
            Nature::Wsgi
        } else {
            Nature::Neither
        }
    } else if has(&["ASGIMiddleware("]) {
        Nature::Wsgi
    } else if has(&ASGI) {
        Nature::Asgi
    } else if is_value || has(&NEITHER) || ["None", "True", "False"].contains(&&*bound.by) {
        Nature::Neither
    } else if has(&WSGI) {
        Nature::Wsgi
    } else {
        Nature::Unknown
    }
}

/// Not any coroutine.
fn is_asgi(bound: &Binding) -> bool {
    let may_be = !bound.by.starts_with("async ") || NAMES.contains(&&*bound.name);
    may_be && nature(bound) == Nature::Asgi
}

fn is_import(bound: &Binding) -> bool {
    bound.by.starts_with("from ") || bound.by.starts_with("import ")
}

/// `app = Flask(__name__)`, cut where it is long.
fn shown(bound: &Binding) -> String {
    const MOST: usize = 60;
    let is_statement = is_import(bound)
        || ["def ", "class ", "async "]
            .iter()
            .any(|word| bound.by.starts_with(word));
    let text = if is_statement {
        bound.by.trim_end_matches(':').to_owned()
    } else {
        format!("{} = {}", bound.name, bound.by)
    };
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// What would go wrong when the module is imported.
fn cautions(file: &str, lines: &[String]) -> Vec<String> {
    let mut cautions = Vec::new();
    let runs = |line: &&String| {
        let called = line.split_once('(').map_or("", |(called, _)| called);
        called == "run_simple" || called.ends_with(".run") || called.ends_with(".serve_forever")
    };
    if let Some(line) = lines.iter().find(runs) {
        cautions.push(format!(
            "{file} starts a server of its own when it is imported: put '{}' below \"if __name__ == '__main__':\"",
            line.trim_end()
        ));
    }
    if lines.iter().any(|line| line.contains("os.execl(")) {
        cautions.push(format!(
            "{file} replaces its own interpreter (os.execl): remove that, and name the interpreter by 'python'"
        ));
    }
    cautions
}

/// Whether a function, by its `def` line, can't be called without arguments.
fn needs_arguments(line: &str) -> bool {
    let inner = line.split_once('(').map_or("", |(_, rest)| rest);
    let inner = inner.rsplit_once(')').map_or(inner, |(inner, _)| inner);
    let mut depth = 0_usize;
    let mut is_optional = true;
    let mut is_all_optional = true;
    let mut is_first = true;
    for c in inner.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                is_all_optional &= is_optional;
                is_first = true;
                is_optional = true;
            }
            '=' if depth == 0 => is_optional = true,
            c if c.is_whitespace() => {}
            c if is_first => {
                is_optional = matches!(c, '*' | '/');
                is_first = false;
            }
            _ => {}
        }
    }
    !(is_all_optional && is_optional)
}

#[cfg(test)]
mod tests;
