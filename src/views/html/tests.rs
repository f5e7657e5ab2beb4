//! Tests of the page.

use super::*;
use crate::views::samples::{hostile, quiet, rushed};

#[test]
fn the_page_is_the_golden_one() {
    crate::views::golden::compare("status.html", &page(&rushed()));
}

#[test]
fn an_app_without_requests_has_a_page() {
    let page = page(&quiet());
    assert!(page.contains("no request in the last hour"), "{page}");
    assert!(
        !page.contains("<details>") && !page.contains("<table>"),
        "{page}"
    );
}

/// No text of others ends an element, an attribute or a line, and nothing is loaded from elsewhere.
#[test]
fn the_texts_of_others_are_only_shown() {
    let page = page(&hostile());
    assert!(
        !page.contains("<script") && !page.contains("alert(1)</"),
        "{page}"
    );
    assert!(!page.contains(['\u{1b}', '\u{202e}']), "{page}");
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"),
        "{page}"
    );
    for loaded in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<link",
    ] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

/// Elements are closed in their order, and ids are used once.
#[test]
fn the_page_is_well_formed() {
    for status in [rushed(), quiet(), hostile()] {
        let page = page(&status);
        let mut open = Vec::new();
        for tag in page.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
            let inner = tag.split('>').next().unwrap();
            let name = inner.split([' ', '\n']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{inner}"),
                None if name == "meta" || inner.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        for id in ["ways", "times", "workers"] {
            assert_eq!(page.matches(&format!("id=\"{id}-title\"")).count(), 1);
        }
    }
}
