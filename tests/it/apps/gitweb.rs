//! gitweb, a CGI in Perl of the old school, which makes links of SCRIPT_NAME and PATH_INFO.

use super::super::util::{Mpm, Way};
use super::git::{commit, do_git};
use super::{everywhere, served_by, site};

const GITWEB: &str = "/usr/share/gitweb/gitweb.cgi";

everywhere!(pages);

fn pages(mpm: Mpm, way: Way) {
    let site = site(mpm, way, |dir| {
        for folder in ["home", "repos", "repos/project"] {
            dir.folder(folder, 0o755);
        }
        let (repos, project) = (dir.join("repos"), dir.join("repos/project"));
        do_git(dir, &project, &["init", "--quiet", "--initial-branch=main"]);
        commit(dir, &project, "readme", b"hello <you>\n");
        let settings = format!(
            "$projectroot = '{}';\n@git_base_url_list = ();\n$feature{{'pathinfo'}}{{'default'}} = [1];\n1;\n",
            repos.display()
        );
        let settings = dir.file("gitweb.conf", &settings, 0o644);
        format!(
            "cgi = {GITWEB}\nenv.GITWEB_CONFIG = {}\nenv.HOME = {}",
            settings.display(),
            dir.join("home").display()
        )
    });
    let list = site.get("").ok();
    assert!(
        list.contains("href=\"/cgi-bin/app/project/.git\""),
        "{list}"
    );
    let blob = site.get("/project/.git/blob_plain/main:/readme");
    assert_eq!(blob.ok(), "hello <you>\n");
    let page = site.get("/project/.git/blob/main:/readme").ok();
    assert!(page.contains("hello&nbsp;&lt;you&gt;"), "{page}");
    // The same page by a query that has a `;`.
    let log = site.get("?p=project/.git;a=shortlog").ok();
    assert!(log.contains("add readme"), "{log}");
    let archive = site.get("/project/.git/snapshot/main.tar.gz");
    assert_eq!(archive.status(), 200);
    assert_eq!(archive.body[..2], [0x1f, 0x8b], "gzip's first bytes");
    assert_eq!(site.get("?p=nothing.git;a=summary").status(), 404);
    served_by(&site, way);
}
