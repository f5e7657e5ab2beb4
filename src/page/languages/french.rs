//! French, with the polite form.

use crate::page::language::{Category, Language, Plural};

pub(super) static FRENCH: Language = Language {
    tag: "fr",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "dans {n} seconde"),
        (Category::Other, "dans {n} secondes"),
    ],
    one_moment: "Un instant, s’il vous plaît",
    busy: "Ce site est très sollicité en ce moment.",
    away: "Le programme qui produit cette page ne fonctionne pas en ce moment.",
    starting: "Ce site est en cours de démarrage.",
    by_itself: "Cette page réessaie d’elle-même.",
    again: "Veuillez réessayer {when}.",
    next: "Prochain essai\u{a0}:",
    now: "Nouvel essai en cours",
    try_now: "Réessayer maintenant",
    unsaved: "Rien n’a été enregistré.",
    keep: "Le bouton Précédent de votre navigateur permet en général de retrouver ce que vous avez \
         saisi. Copiez-le avant de l’envoyer à nouveau.",
    unknown: "Il n’est pas certain que votre envoi ait été enregistré. Veuillez vérifier avant de \
         l’envoyer à nouveau.",
    again_or_tell: "Veuillez réessayer. Si cela se reproduit, veuillez prévenir le responsable du site.",
    app_broken: (
        "Ce site est hors service",
        "Le programme qui produit cette page n’a pas pu démarrer. Le responsable du site en \
         trouvera la raison dans le journal des erreurs.",
    ),
    app_failed: (
        "Une erreur s’est produite",
        "Le programme qui produit cette page a échoué.",
    ),
    bad_gateway: (
        "Une erreur s’est produite",
        "Le programme qui produit cette page s’est arrêté avant d’avoir répondu.",
    ),
    bad_request: (
        "Cette requête n’a pas pu être lue",
        "La requête est arrivée sous une forme que ce site ne peut pas lire. Veuillez revenir en \
         arrière et réessayer.",
    ),
    body_too_large: (
        "C’était trop à la fois",
        "Ce que vous avez envoyé dépasse la taille que ce site accepte.",
    ),
    header_too_large: (
        "Cette requête était trop longue",
        "L’en-tête de la requête dépasse la taille que ce site accepte. Supprimer les cookies de \
         ce site peut aider.",
    ),
    misconfigured: (
        "Ce site n’est pas bien configuré",
        "Le responsable de ce site doit en corriger la configuration\u{a0}; le journal des \
         erreurs indique où.",
    ),
    not_found: (
        "Il n’y a rien ici",
        "Cette adresse ne fait pas partie de ce site. Veuillez vérifier qu’elle est bien écrite.",
    ),
    request_timeout: (
        "Votre envoi n’est pas arrivé",
        "Ce que vous avez envoyé s’est arrêté en chemin. Veuillez revenir en arrière et réessayer.",
    ),
    timed_out: (
        "Cela a pris trop de temps",
        "Le programme qui produit cette page n’a pas répondu à temps.",
    ),
};
