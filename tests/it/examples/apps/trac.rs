//! Trac, with a log-in that Apache checks.

use super::{Example, WAYS, by_python, curl};

/// alice logs in, and makes a ticket; a client without a log-in may not.
#[test]
fn a_ticket() {
    let example = Example::of("trac");
    example.link_venv("wikis", "trac");
    example.run_commands(&example.dir.join("srv/trac"), b"", by_python);
    example.checked();
    let server = example.behind_apache("AuthType Basic", "");
    let url = format!("http://{}/cgi-bin/trac.cgi", server.address());
    for way in WAYS {
        example.serve_by(way);
        let ask = |words: &[&str]| {
            curl(
                &example.dir,
                &[&["--user", "alice:open sesame", "--location"], words].concat(),
            )
        };
        let page = ask(&[&format!("{url}/login")]);
        assert!(page.contains("logged in as"), "{way}: {page}");
        let form = ask(&[&format!("{url}/newticket")]);
        let start = "name=\"__FORM_TOKEN\" value=\"";
        let token = form
            .split_once(start)
            .and_then(|(_, rest)| rest.split('"').next());
        let token = format!(
            "__FORM_TOKEN={}",
            token.unwrap_or_else(|| panic!("no token in {form}"))
        );
        let summary = format!("field_summary=by {way}");
        let mut words = vec!["--data", &*token];
        words.extend([
            "--data-urlencode",
            &summary,
            "--data",
            "field_type=defect",
            "--data",
            "submit=Create",
        ]);
        let target = format!("{url}/newticket");
        words.push(&target);
        let page = ask(&words);
        assert!(
            page.contains(&format!("by {way}")) && page.contains("alice"),
            "{way}: {page}"
        );
        let page = ask(&[&format!("{url}/query?format=csv&summary=~by")]);
        assert!(page.contains(&format!(",by {way},")), "{way}: {page}");
    }
}
