//! Dutch.

use crate::page::language::{Category, Language, Plural};

pub(super) static DUTCH: Language = Language {
    tag: "nl",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "over {n} seconde"),
        (Category::Other, "over {n} seconden"),
    ],
    one_moment: "Een ogenblik geduld",
    busy: "Deze site heeft het op dit moment erg druk.",
    away: "Het programma achter deze pagina draait op dit moment niet.",
    starting: "Deze site wordt gestart.",
    by_itself: "Deze pagina probeert het vanzelf opnieuw.",
    again: "Probeer het {when} opnieuw.",
    next: "Volgende poging:",
    now: "Nieuwe poging bezig",
    try_now: "Nu proberen",
    unsaved: "Er is niets opgeslagen.",
    keep: "Met de knop Terug van uw browser vindt u meestal terug wat u hebt ingevuld. Kopieer het \
         voordat u het opnieuw verstuurt.",
    unknown: "Het is niet zeker of wat u hebt verstuurd, is opgeslagen. Controleer dat voordat u het \
         opnieuw verstuurt.",
    again_or_tell: "Probeer het opnieuw. Gebeurt het weer, laat het dan de beheerder van de site weten.",
    app_broken: (
        "Deze site is buiten gebruik",
        "Het programma achter deze pagina kon niet worden gestart. De beheerder van de site vindt \
         de reden in het foutenlogboek.",
    ),
    app_failed: (
        "Er is iets misgegaan",
        "In het programma achter deze pagina is een fout opgetreden.",
    ),
    bad_gateway: (
        "Er is iets misgegaan",
        "Het programma achter deze pagina is gestopt voordat het had geantwoord.",
    ),
    bad_request: (
        "Dat verzoek was niet te lezen",
        "Het verzoek kwam binnen in een vorm die deze site niet kan lezen. Ga terug en probeer \
         het opnieuw.",
    ),
    body_too_large: (
        "Dat was te veel in één keer",
        "Wat u hebt verstuurd, is groter dan deze site accepteert.",
    ),
    header_too_large: (
        "Dat verzoek was te lang",
        "De header van het verzoek is groter dan deze site accepteert. Het kan helpen de cookies \
         van deze site te verwijderen.",
    ),
    misconfigured: (
        "Deze site is niet goed ingesteld",
        "De beheerder van deze site moet de configuratie corrigeren; het foutenlogboek zegt waar.",
    ),
    not_found: (
        "Hier is niets",
        "Dit adres hoort niet bij deze site. Controleer of het goed gespeld is.",
    ),
    request_timeout: (
        "Dat is niet aangekomen",
        "Wat u hebt verstuurd, is onderweg blijven steken. Ga terug en probeer het opnieuw.",
    ),
    timed_out: (
        "Dat duurde te lang",
        "Het programma achter deze pagina heeft niet op tijd geantwoord.",
    ),
};
