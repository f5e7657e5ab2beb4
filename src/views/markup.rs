//! Text of others in HTML and SVG.

use crate::page::Html;
use crate::printable;

/// The text as HTML shows it, also in an attribute: on one line, and without characters that change its direction.
pub(super) fn escaped(text: &str) -> String {
    Html(&printable::line(text)).to_string()
}
