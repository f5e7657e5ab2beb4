//! Italian, with the polite form.

use crate::page::language::{Category, Language, Plural};

pub(super) static ITALIAN: Language = Language {
    tag: "it",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "tra {n} secondo"),
        (Category::Other, "tra {n} secondi"),
    ],
    one_moment: "Un momento, per favore",
    busy: "Questo sito è sovraccarico in questo momento.",
    away: "Il programma che genera questa pagina non è in esecuzione in questo momento.",
    starting: "Questo sito si sta avviando.",
    by_itself: "Questa pagina riprova da sola.",
    again: "Riprovi {when}, per favore.",
    next: "Prossimo tentativo:",
    now: "Nuovo tentativo in corso",
    try_now: "Riprova ora",
    unsaved: "Non è stato salvato nulla.",
    keep: "Con il pulsante Indietro del browser di solito si ritrova quanto è stato scritto. Lo \
         copi prima di inviarlo di nuovo.",
    unknown: "Non è certo che quanto inviato sia stato salvato. Verifichi prima di inviarlo di nuovo, \
         per favore.",
    again_or_tell: "Riprovi, per favore. Se succede di nuovo, avvisi il responsabile del sito.",
    app_broken: (
        "Questo sito è fuori servizio",
        "Non è stato possibile avviare il programma che genera questa pagina. Il responsabile del \
         sito ne trova il motivo nel registro degli errori.",
    ),
    app_failed: (
        "Qualcosa è andato storto",
        "Nel programma che genera questa pagina si è verificato un errore.",
    ),
    bad_gateway: (
        "Qualcosa è andato storto",
        "Il programma che genera questa pagina si è interrotto prima di rispondere.",
    ),
    bad_request: (
        "La richiesta non era leggibile",
        "La richiesta è arrivata in una forma che questo sito non può leggere. Torni indietro e \
         riprovi, per favore.",
    ),
    body_too_large: (
        "Era troppo in una volta sola",
        "Quanto inviato supera la dimensione che questo sito accetta.",
    ),
    header_too_large: (
        "La richiesta era troppo lunga",
        "L’intestazione della richiesta supera la dimensione che questo sito accetta. Cancellare \
         i cookie di questo sito può aiutare.",
    ),
    misconfigured: (
        "Questo sito non è configurato correttamente",
        "Il responsabile di questo sito deve correggerne la configurazione; il registro degli \
         errori indica dove.",
    ),
    not_found: (
        "Qui non c’è nulla",
        "Questo indirizzo non fa parte di questo sito. Verifichi che sia scritto correttamente, \
         per favore.",
    ),
    request_timeout: (
        "L’invio non è arrivato",
        "Quanto inviato si è fermato lungo il percorso. Torni indietro e riprovi, per favore.",
    ),
    timed_out: (
        "Ci è voluto troppo tempo",
        "Il programma che genera questa pagina non ha risposto in tempo.",
    ),
};
