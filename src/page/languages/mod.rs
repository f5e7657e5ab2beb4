//! The languages that we speak, a file each, and the one that a client prefers. What is said in them is not chosen
//! here.

mod arabic;
mod chinese;
mod dutch;
mod english;
mod french;
mod german;
mod italian;
mod japanese;
mod polish;
mod portuguese;
mod russian;
mod spanish;

use super::language::Language;
use super::weight::quality;

/// For clients that name none of them.
pub(super) const DEFAULT: &Language = &english::ENGLISH;

/// The most language ranges that are looked at. A browser names a handful.
const MOST_RANGES: usize = 64;
/// The most bytes of a range: what RFC 5646 4.4.1 asks of those that have a limit. A longer one is ignored.
const LONGEST_RANGE: usize = 35;

/// By Accept-Language (RFC 9110 12.5.4): the range of the highest weight, of equal ones the first, for which a lookup
/// (RFC 4647 3.4) finds a language of ours. `*` finds none.
pub(super) fn from_accept(accept_language: &[u8]) -> &'static Language {
    let mut best = (0, DEFAULT);
    let ranges = accept_language.split(|&byte| byte == b',');
    for range in ranges.take(MOST_RANGES) {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let Some(language) = parts.next().and_then(look_up) else {
            continue;
        };
        let weight = quality(parts);
        if weight > best.0 {
            best = (weight, language);
        }
    }
    best.1
}

/// The language of a range. Subtags are taken off its end until one is found.
fn look_up(range: &[u8]) -> Option<&'static Language> {
    let mut lower = [0; LONGEST_RANGE];
    let lower = lower.get_mut(..range.len())?;
    lower.copy_from_slice(range);
    lower.make_ascii_lowercase();
    let mut rest = &lower[..];
    loop {
        if let Some(language) = of_tag(rest) {
            return Some(language);
        }
        let end = memchr::memrchr(b'-', rest)?;
        rest = &rest[..end];
    }
}

/// The language of a tag in lower case.
fn of_tag(tag: &[u8]) -> Option<&'static Language> {
    Some(match tag {
        b"ar" => &arabic::ARABIC,
        b"de" => &german::GERMAN,
        b"en" => DEFAULT,
        b"es" => &spanish::SPANISH,
        b"fr" => &french::FRENCH,
        b"it" => &italian::ITALIAN,
        b"ja" => &japanese::JAPANESE,
        b"nl" => &dutch::DUTCH,
        b"pl" => &polish::POLISH,
        b"pt" => &portuguese::PORTUGUESE,
        b"ru" => &russian::RUSSIAN,
        b"zh" => &chinese::SIMPLIFIED,
        b"zh-hant" | b"zh-hk" | b"zh-mo" | b"zh-tw" => &chinese::TRADITIONAL,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) const ALL: [&Language; 13] = [
    &arabic::ARABIC,
    &chinese::SIMPLIFIED,
    &chinese::TRADITIONAL,
    &dutch::DUTCH,
    DEFAULT,
    &french::FRENCH,
    &german::GERMAN,
    &italian::ITALIAN,
    &japanese::JAPANESE,
    &polish::POLISH,
    &portuguese::PORTUGUESE,
    &russian::RUSSIAN,
    &spanish::SPANISH,
];

#[cfg(test)]
mod tests;
