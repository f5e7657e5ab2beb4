//! Spanish, with the polite form.

use crate::page::language::{Category, Language, Plural};

pub(super) static SPANISH: Language = Language {
    tag: "es",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "en {n} segundo"),
        (Category::Other, "en {n} segundos"),
    ],
    one_moment: "Un momento, por favor",
    busy: "Este sitio está saturado en este momento.",
    away: "El programa que genera esta página no está en marcha en este momento.",
    starting: "Este sitio se está iniciando.",
    by_itself: "Esta página vuelve a intentarlo por sí sola.",
    again: "Vuelva a intentarlo {when}, por favor.",
    next: "Próximo intento:",
    now: "Nuevo intento en curso",
    try_now: "Intentar ahora",
    unsaved: "No se ha guardado nada.",
    keep: "Con el botón Atrás de su navegador suele recuperarse lo que ha escrito. Cópielo antes de \
         volver a enviarlo.",
    unknown: "No es seguro que se haya guardado lo que ha enviado. Compruébelo antes de volver a \
         enviarlo, por favor.",
    again_or_tell: "Inténtelo de nuevo, por favor. Si vuelve a ocurrir, avise al responsable del sitio.",
    app_broken: (
        "Este sitio no funciona",
        "No se ha podido iniciar el programa que genera esta página. El responsable del sitio \
         encontrará la causa en el registro de errores.",
    ),
    app_failed: (
        "Algo ha salido mal",
        "El programa que genera esta página ha fallado.",
    ),
    bad_gateway: (
        "Algo ha salido mal",
        "El programa que genera esta página se ha detenido antes de responder.",
    ),
    bad_request: (
        "No se ha podido leer la solicitud",
        "La solicitud ha llegado en una forma que este sitio no puede leer. Vuelva atrás e \
         inténtelo de nuevo, por favor.",
    ),
    body_too_large: (
        "Era demasiado de una vez",
        "Lo que ha enviado supera el tamaño que este sitio acepta.",
    ),
    header_too_large: (
        "La solicitud era demasiado larga",
        "El encabezado de la solicitud supera el tamaño que este sitio acepta. Borrar las cookies \
         de este sitio puede ayudar.",
    ),
    misconfigured: (
        "Este sitio no está bien configurado",
        "El responsable de este sitio tiene que corregir su configuración; el registro de errores \
         indica dónde.",
    ),
    not_found: (
        "Aquí no hay nada",
        "Esta dirección no forma parte de este sitio. Compruebe que esté bien escrita, por favor.",
    ),
    request_timeout: (
        "El envío no ha llegado",
        "Lo que ha enviado se ha detenido por el camino. Vuelva atrás e inténtelo de nuevo, por \
         favor.",
    ),
    timed_out: (
        "Ha tardado demasiado",
        "El programa que genera esta página no ha respondido a tiempo.",
    ),
};
