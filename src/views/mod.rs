//! An app's status for other readers than a person at a terminal: for Prometheus, and as a page with charts. Pure text
//! from what is known; whatever others wrote in it is escaped.
#![forbid(unsafe_code)]

mod chart;
mod exposition;
mod frame;
mod html;
mod markup;
#[cfg(test)]
mod samples;

pub use exposition::exposition;
pub use frame::frame;
pub use html::{page, response};
#[cfg(test)]
pub(crate) use samples::rushed;

#[cfg(test)]
mod golden {
    /// Compares with a file of tests/golden. With POLYCGI_GOLDEN=write it is written instead: then look at what git shows.
    pub(super) fn compare(name: &str, text: &str) {
        let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("POLYCGI_GOLDEN").is_some_and(|word| word == "write") {
            std::fs::write(&path, text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = text
            .lines()
            .zip(golden.lines())
            .find(|(new, old)| new != old);
        assert_eq!(differs, None, "{path}");
        assert_eq!(text.len(), golden.len(), "{path}");
    }
}
