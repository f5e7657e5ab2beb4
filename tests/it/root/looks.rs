//! Commands that only look make nothing: no runtime directory, no place, no file in it, no link. What root's other
//! commands make belongs to the app's user.

use super::*;

const LOOKS: [&[&str]; 8] = [
    &["status"],
    &["status", "--json"],
    &["check"],
    &["request", "--via", "cgi"],
    &["stop"],
    &["reload"],
    &["request", "--via", "/nowhere"],
    &["request", "--via", "127.0.0.1:1"],
];

#[test]
fn a_look_makes_nothing() {
    let Some(world) = World::new() else { return };
    let site = world.app("app.cgi", CONFIG);
    let folder = world.dir.folder("theirs", 0o755);
    for runtime_dir in [
        None,
        // One that www-data could make, one that only root could, and one that can't be made.
        Some(folder.join("run")),
        Some(world.dir.join("site/run")),
        Some(world.dir.join("no/run")),
        Some(PathBuf::from("/dev/null/run")),
    ] {
        let more = runtime_dir.as_ref().map_or(String::new(), |dir| {
            format!("runtime-dir = {}\n", dir.display())
        });
        let listen = format!("listen = {}\n", folder.join("sock").display());
        // Without Python's own `.pyc` files.
        let quiet = "env.PYTHONDONTWRITEBYTECODE = 1";
        world.app("app.cgi", &format!("{CONFIG}\n{quiet}\n{more}{listen}"));
        let app = text_of(&site);
        let before = world.listing();
        for words in LOOKS {
            for uid in [0, WWW_DATA, NOBODY, 12_345] {
                let output = world.polycgi(uid, &[words, &[&app]].concat());
                let what = format!("{words:?} of {uid} with {runtime_dir:?}: {}", output.stderr);
                world::assert_same(&before, &world.listing(), &what);
                if words[0] == "status" || words.contains(&"cgi") {
                    output.success();
                }
            }
        }
        let bare = world.root(&["status"]).success();
        assert_eq!(bare, "no app has run here\n");
        world::assert_same(&before, &world.listing(), "status");
    }
}

/// Until www-data has a runtime directory there is neither a daemon nor a limit, and `check` says so.
#[test]
fn check_says_that_the_user_has_no_runtime_directory() {
    let Some(world) = World::new() else { return };
    let folder = world.dir.folder("theirs", 0o755);
    let site = world.dir.join("site");
    let roots = site.join("roots");
    let open = folder.join("open");
    let app = text_of(&world.app("app.cgi", CONFIG));
    fs::create_dir(&roots).expect("a folder can be made");
    fs::set_permissions(&roots, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("a mode can be set");
    world.dir.folder("theirs/open", 0o755);
    fs::write(folder.join("file"), "").expect("a file can be made");
    for (runtime_dir, said) in [
        (site.join("run"), "Permission denied"),
        (roots, "it belongs to another user"),
        (open, "its mode is not 0700"),
        (folder.join("file"), "it is not a directory"),
        (folder.join("no/run"), "No such file"),
    ] {
        world.app(
            "app.cgi",
            &format!("{CONFIG}\nruntime-dir = {}", text_of(&runtime_dir)),
        );
        for uid in [0, WWW_DATA] {
            let output = world.polycgi(uid, &["check", &app]);
            assert_code(&output, 78, said);
            assert_code(
                &output,
                78,
                "without a runtime directory of www-data's own, mode 0700, the app runs as a plain CGI only",
            );
            assert_code(&output, 78, &text_of(&runtime_dir));
        }
    }
    // A directory that a request can make is right.
    let fine = format!("{CONFIG}\nruntime-dir = {}", text_of(&folder.join("new")));
    world.app("app.cgi", &fine);
    assert_code(&world.root(&["check", &app]), 0, "nothing wrong");
}

/// A place of the app's user in which a file is root's, as an older version left it.
#[test]
fn check_says_that_the_limit_cannot_be_kept() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    world.root(&["stop", "--hold", &app]).success();
    let name = place_in(&world, "/tmp/polycgi-33");
    let slots = world.at(&format!("/tmp/polycgi-33/{name}/slots"));
    assert_eq!(owner(&slots), WWW_DATA);
    std::os::unix::fs::chown(&slots, Some(0), Some(0)).expect("root can take a file");
    let said = "slots: Permission denied";
    assert_code(&world.root(&["check", &app]), 78, said);
    let run = format!("{CONFIG}\nruntime-dir = /tmp/polycgi-33");
    world.app("app.cgi", &run);
    assert_code(&world.root(&["check", &app]), 78, said);
}

#[test]
fn what_root_makes_is_the_apps_users() {
    let Some(world) = World::new() else { return };
    let folder = world.dir.folder("theirs", 0o755);
    for words in [
        &["start"][..],
        &["stop", "--hold"],
        &["request"],
        &["request", "--via", "scgi"],
    ] {
        for runtime_dir in [None, Some(folder.join("run"))] {
            let base = runtime_dir
                .as_ref()
                .map_or(world.at("/tmp/polycgi-33"), Clone::clone);
            let more = runtime_dir.map_or(String::new(), |dir| {
                format!("runtime-dir = {}\n", dir.display())
            });
            let app = text_of(&world.app("app.cgi", &format!("{CONFIG}\n{more}")));
            world.root(&[words, &[&app]].concat()).success();
            let mut made = Vec::new();
            all_below(&base, &mut made);
            assert!(made.len() > 1, "{words:?}: {made:?}");
            for path in &made {
                assert_eq!(owner(path), WWW_DATA, "{}", path.display());
            }
            assert!(!world.at("/tmp/polycgi-0").exists() && !world.at("/run/polycgi/0").exists());
            assert!(world.users_of_apps().iter().all(|uid| *uid == WWW_DATA));
            if words[0] == "stop" {
                // The app's user sees the hold.
                let output = world.polycgi(WWW_DATA, &["status", &app]).success();
                assert!(output.contains(": held"), "{output}");
            } else {
                daemon::with_its_children(world.dir.daemon(), || {
                    world.root(&["stop", &app]).success();
                });
            }
            world.clear("/tmp/polycgi-33");
            fs::remove_dir_all(&base).unwrap_or_default();
        }
    }
}

fn all_below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_path_buf());
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("it can be read").flatten() {
            all_below(&entry.path(), found);
        }
    }
}

/// Another user who tries the app does not make its runtime directory, which would then be the wrong user's.
#[test]
fn a_runtime_dir_is_not_made_by_another_user() {
    let Some(world) = World::new() else { return };
    let folder = world.dir.folder("open", 0o1777);
    let config = format!("{CONFIG}\nruntime-dir = {}", folder.join("run").display());
    let app = text_of(&world.app("app.cgi", &config));
    let before = world.listing();
    for words in [
        &["start"][..],
        &["stop", "--hold"],
        &["request"],
        &["request", "--via", "scgi"],
    ] {
        let output = world.polycgi(NOBODY, &[words, &[&app]].concat());
        assert_code(&output, 77, "say --user nobody");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        world::assert_same(&before, &world.listing(), &format!("{words:?}"));
    }
    let words = ["request", "--via", "cgi", &app];
    assert_eq!(world.polycgi(NOBODY, &words).success(), "65534 65534 cgi\n");
    assert_code(
        &world.polycgi(NOBODY, &["request", "--user", "www-data", &app]),
        77,
        "only root",
    );
    // With `--user` it is made.
    let words = ["request", "--user", "nobody", &app];
    assert_eq!(
        world.polycgi(NOBODY, &words).success(),
        "65534 65534 daemon\n"
    );
    assert_eq!(owner(&folder.join("run")), NOBODY);
}
