//! German, with the polite form.

use crate::page::language::{Category, Language, Plural};

pub(super) static GERMAN: Language = Language {
    tag: "de",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "in {n} Sekunde"),
        (Category::Other, "in {n} Sekunden"),
    ],
    one_moment: "Einen Moment, bitte",
    busy: "Diese Website ist gerade sehr stark ausgelastet.",
    away: "Das Programm hinter dieser Seite läuft gerade nicht.",
    starting: "Diese Website wird gerade gestartet.",
    by_itself: "Diese Seite versucht es von selbst noch einmal.",
    again: "Bitte versuchen Sie es {when} noch einmal.",
    next: "Nächster Versuch:",
    now: "Neuer Versuch läuft",
    try_now: "Jetzt versuchen",
    unsaved: "Es wurde nichts gespeichert.",
    keep: "Mit der Zurück-Taste Ihres Browsers kommen Sie in der Regel zu Ihren Eingaben zurück. \
         Kopieren Sie sie, bevor Sie sie noch einmal absenden.",
    unknown: "Es ist nicht sicher, ob das Gesendete gespeichert wurde. Bitte sehen Sie nach, bevor Sie \
         es noch einmal absenden.",
    again_or_tell: "Bitte versuchen Sie es noch einmal. Geschieht es wieder, sagen Sie bitte dem Betreiber \
         der Website Bescheid.",
    app_broken: (
        "Diese Website ist außer Betrieb",
        "Das Programm hinter dieser Seite ließ sich nicht starten. Der Betreiber der Website \
         findet den Grund im Fehlerprotokoll.",
    ),
    app_failed: (
        "Etwas ist schiefgegangen",
        "Im Programm hinter dieser Seite ist ein Fehler aufgetreten.",
    ),
    bad_gateway: (
        "Etwas ist schiefgegangen",
        "Das Programm hinter dieser Seite wurde beendet, bevor es geantwortet hatte.",
    ),
    bad_request: (
        "Diese Anfrage war nicht lesbar",
        "Die Anfrage kam in einer Form an, die diese Website nicht lesen kann. Bitte gehen Sie \
         zurück und versuchen Sie es noch einmal.",
    ),
    body_too_large: (
        "Das war zu viel auf einmal",
        "Was Sie gesendet haben, ist größer, als diese Website annimmt.",
    ),
    header_too_large: (
        "Diese Anfrage war zu lang",
        "Der Kopf der Anfrage ist größer, als diese Website annimmt. Vielleicht hilft es, die \
         Cookies dieser Website zu löschen.",
    ),
    misconfigured: (
        "Diese Website ist nicht richtig eingerichtet",
        "Der Betreiber dieser Website muss ihre Konfiguration berichtigen; das Fehlerprotokoll \
         nennt die Stelle.",
    ),
    not_found: (
        "Hier gibt es nichts",
        "Diese Adresse gehört nicht zu dieser Website. Bitte prüfen Sie, ob sie richtig \
         geschrieben ist.",
    ),
    request_timeout: (
        "Das ist nicht angekommen",
        "Was Sie gesendet haben, ist auf dem Weg hierher stecken geblieben. Bitte gehen Sie \
         zurück und versuchen Sie es noch einmal.",
    ),
    timed_out: (
        "Das hat zu lange gedauert",
        "Das Programm hinter dieser Seite hat nicht rechtzeitig geantwortet.",
    ),
};
