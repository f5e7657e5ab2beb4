//! Where the time of a request goes in each way, and what a request leaves in a worker.

use std::fmt::Write;

use crate::printable::json_string;

/// What Python's profiler found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Of the import: a table, as the others are.
    pub import: String,
    /// Of the request in a plain CGI.
    pub cgi: String,
    /// Of the request in a worker that has served it before.
    pub daemon: String,
    /// What grows in a worker.
    pub growth: Vec<Growth>,
}

/// Objects that each request leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// By each request, on the average.
    pub objects: u64,
    /// The same in bytes.
    pub bytes: u64,
    /// Where they are made: `FILE:LINE`.
    pub place: String,
}

impl Profile {
    pub(super) fn add_to_text(&self, text: &mut String) {
        let parts = [
            ("The import of the app", &self.import),
            ("The request in a plain CGI", &self.cgi),
            (
                "The request in a worker that has served it before",
                &self.daemon,
            ),
        ];
        for (what, top) in parts {
            // A String takes all that is written.
            let _ = writeln!(text, "\n{what}:\n{}", top.trim_end());
        }
        match self.growth.is_empty() {
            true => text.push_str("\nNo request leaves anything behind in a worker.\n"),
            false => text.push_str("\nEach request leaves behind in a worker:\n"),
        }
        for Growth {
            objects,
            bytes,
            place,
        } in &self.growth
        {
            let _ = writeln!(
                text,
                "  {objects} objects of {bytes} bytes, made at {place}"
            );
        }
    }

    pub(super) fn to_json(&self) -> String {
        let growth = self.growth.iter().map(|growth| {
            let place = json_string(&growth.place);
            let (objects, bytes) = (growth.objects, growth.bytes);
            format!(r#"{{"objects":{objects},"bytes":{bytes},"place":{place}}}"#)
        });
        let growth: Vec<String> = growth.collect();
        format!(
            r#"{{"import":{},"cgi":{},"daemon":{},"growth":[{}]}}"#,
            json_string(&self.import),
            json_string(&self.cgi),
            json_string(&self.daemon),
            growth.join(",")
        )
    }
}
