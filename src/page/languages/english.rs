//! English, also for clients that read none of our languages.

use crate::page::language::{Category, Language, Plural};

pub(super) static ENGLISH: Language = Language {
    tag: "en",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "in {n} second"),
        (Category::Other, "in {n} seconds"),
    ],
    one_moment: "One moment, please",
    busy: "This site is very busy.",
    away: "The program behind this page is not running just now.",
    starting: "This site is starting.",
    by_itself: "This page tries again by itself.",
    again: "Please try again {when}.",
    next: "Next try:",
    now: "Trying again now",
    try_now: "Try now",
    unsaved: "Nothing was saved.",
    keep: "Your browser's Back button usually brings back what you typed. Copy it before you send \
         it again.",
    unknown: "It is not certain whether what you sent was saved. Please check before you send it \
         again.",
    again_or_tell: "Please try again. If it happens again, please tell the site's owner.",
    app_broken: (
        "This site is out of order",
        "The program behind this page could not be started. The site's owner finds the reason in \
         the error log.",
    ),
    app_failed: (
        "Something went wrong",
        "The program behind this page has failed.",
    ),
    bad_gateway: (
        "Something went wrong",
        "The program behind this page stopped before it had answered.",
    ),
    bad_request: (
        "That request could not be read",
        "The request came in a form that this site cannot read. Please go back and try again.",
    ),
    body_too_large: (
        "That was too much at once",
        "What you sent is larger than this site accepts.",
    ),
    header_too_large: (
        "That request was too long",
        "The header of the request is larger than this site accepts. Deleting this site's cookies \
         may help.",
    ),
    misconfigured: (
        "This site is not set up right",
        "The owner of this site has to correct its configuration; the error log says where.",
    ),
    not_found: (
        "There is nothing here",
        "This address is not part of this site. Please look whether it is spelled right.",
    ),
    request_timeout: (
        "That did not arrive",
        "What you sent stopped on its way here. Please go back and try again.",
    ),
    timed_out: (
        "That took too long",
        "The program behind this page did not answer in time.",
    ),
};
