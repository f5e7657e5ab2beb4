//! What of a folder runs as a CGI: scripts and programs, PHP, and applications of Perl's PSGI.

use super::super::folder::Folder;
use super::{Fit, Fits};
use crate::config;

impl Fits {
    pub(super) fn look_for_cgis(&mut self, folder: &Folder) {
        self.look_for_php(folder);
        self.look_for_programs(folder);
        self.look_for_psgi(folder);
    }

    /// An index.php, which answers for all addresses.
    fn look_for_php(&mut self, folder: &Folder) {
        const SCRIPT: &str = "index.php";
        let path = folder.path.join(SCRIPT);
        let Some(path) = folder
            .has(SCRIPT)
            .then(|| path.to_str().and_then(config::as_text))
            .flatten()
        else {
            return;
        };
        let mut fit = Fit::program(format!("{SCRIPT}: PHP"), "cgi = php-cgi".to_owned());
        // The app file itself, or a file that a client names, would be run without these.
        fit.more = format!(
            "env.SCRIPT_FILENAME = {path}\nenv.PATH_TRANSLATED = {path}\nenv.REDIRECT_STATUS = 200\n"
        );
        fit.cautions.push(format!(
            "{SCRIPT} answers for each address below the app's; pictures and other scripts there are the web server's"
        ));
        self.add(fit);
    }

    /// CGI programs, and FastCGI programs, most of which run as CGIs too.
    fn look_for_programs(&mut self, folder: &Folder) {
        for (extension, kind) in [
            (".cgi", "a CGI program"),
            (".pl", "a Perl script"),
            (".fcgi", "a FastCGI program"),
        ] {
            let mut names: Vec<&str> = folder.programs(extension).collect();
            names.sort_by_key(|name| !name.starts_with("index."));
            for name in names {
                // A name that no line can hold.
                let Some(command) = config::as_word(name) else {
                    continue;
                };
                let mut fit = Fit::program(format!("{name}: {kind}"), format!("cgi = ./{command}"));
                if extension == ".fcgi" {
                    let sentence =
                        "a FastCGI program runs here only if it also runs as a CGI, as most do";
                    fit.cautions.push(sentence.to_owned());
                }
                if !folder.can_execute(name) {
                    fit.cautions
                        .push(format!("{name} can't be executed: chmod 755 it"));
                }
                self.add(fit);
            }
        }
    }

    /// By Plack's own CGI server; `bin` is where Dancer has it.
    fn look_for_psgi(&mut self, folder: &Folder) {
        let names = folder.files(".psgi").map(str::to_owned);
        let in_bin = "bin/app.psgi";
        let names = names.chain(folder.has(in_bin).then(|| in_bin.to_owned()));
        for name in names.collect::<Vec<_>>() {
            let Some(word) = config::as_word(&name) else {
                continue;
            };
            // The environment 'development', which is the default, shows its errors to clients.
            let line = format!("cgi = plackup -s CGI -E deployment {word}");
            let mut fit = Fit::program(format!("{name}: a PSGI application"), line);
            fit.cautions.push(
                "plackup is in Debian's libplack-perl; it begins anew with each request, in the daemon too".to_owned(),
            );
            self.add(fit);
        }
    }
}
