//! The modules that `new` makes where an application is there, but not as a name that a module of Python has.

use super::super::folder::Folder;

/// A module of a few lines that makes an application of what is there.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Made {
    /// Its file in the app's folder.
    pub(in super::super) file: String,
    pub(in super::super) text: String,
}

impl Made {
    /// A module of this text, under a name that is free.
    fn of(folder: &Folder, text: String) -> Made {
        let names = ["wsgi.py", "polycgi_wsgi.py"];
        let is_free = |name: &&str| folder.text(name).is_none_or(|found| found == text);
        let file = names
            .into_iter()
            .find(is_free)
            .unwrap_or("application_wsgi.py");
        Made {
            file: file.to_owned(),
            text,
        }
    }

    /// Of Django's settings.
    pub(super) fn of_django(folder: &Folder, settings: &str) -> Made {
        let text = format!(
            "import os\n\nfrom django.core.wsgi import get_wsgi_application\n\n\
             os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{settings}')\n\
             application = get_wsgi_application()\n"
        );
        Made::of(folder, text)
    }

    /// Of a function that makes an application.
    pub(super) fn of_factory(folder: &Folder, module: &str, name: &str) -> Made {
        let text = format!("from {module} import {name}\n\napplication = {name}()\n");
        Made::of(folder, text)
    }

    /// Of an ASGI application. The thread of its event loop begins with a process's first request: it would not be in a
    /// worker that was forked after it had begun.
    pub(super) fn of_asgi(folder: &Folder, module: &str, name: &str) -> Made {
        let text = format!(
            "from functools import lru_cache\n\nfrom a2wsgi import ASGIMiddleware\n\nfrom {module} import {name} as asgi\n\n\n\
             # Made by a process's first request: its event loop has a thread, which no fork takes along.\n\
             @lru_cache(None)\ndef middleware():\n    return ASGIMiddleware(asgi)\n\n\n\
             def application(environ, start_response):\n    return middleware()(environ, start_response)\n"
        );
        Made::of(folder, text)
    }

    /// Of a file that mod_wsgi would run: a module in all but its name.
    pub(super) fn of_wsgi_file(folder: &Folder, file: &str) -> Made {
        let text = format!(
            "import os\nimport sys\nfrom importlib.machinery import SourceFileLoader\n\
             from importlib.util import module_from_spec, spec_from_loader\n\n\
             path = os.path.join(os.path.dirname(os.path.abspath(__file__)), '{file}')\n\
             loader = SourceFileLoader('application_of_mod_wsgi', path)\n\
             module = sys.modules[loader.name] = module_from_spec(spec_from_loader(loader.name, loader))\n\
             loader.exec_module(module)\napplication = module.application\n"
        );
        Made::of(folder, text)
    }

    /// What `wsgi` names.
    pub(super) fn target(&self) -> String {
        let module = self.file.strip_suffix(".py").unwrap_or(&self.file);
        format!("{module}:application")
    }
}
