//! Polish.

use crate::page::language::{Category, Language, Plural};

pub(super) static POLISH: Language = Language {
    tag: "pl",
    right_to_left: false,
    space: " ",
    plural: Plural::Polish,
    when: &[
        (Category::One, "za {n} sekundę"),
        (Category::Few, "za {n} sekundy"),
        (Category::Many, "za {n} sekund"),
    ],
    one_moment: "Proszę chwilę poczekać",
    busy: "Ta witryna jest teraz bardzo obciążona.",
    away: "Program, który tworzy tę stronę, w tej chwili nie działa.",
    starting: "Ta witryna jest właśnie uruchamiana.",
    by_itself: "Ta strona sama spróbuje ponownie.",
    again: "Proszę spróbować ponownie {when}.",
    next: "Następna próba:",
    now: "Trwa ponowna próba",
    try_now: "Spróbuj teraz",
    unsaved: "Nic nie zostało zapisane.",
    keep: "Przycisk Wstecz w przeglądarce zwykle przywraca wpisaną treść. Proszę ją skopiować przed \
         ponownym wysłaniem.",
    unknown: "Nie wiadomo na pewno, czy wysłane dane zostały zapisane. Proszę to sprawdzić przed \
         ponownym wysłaniem.",
    again_or_tell: "Proszę spróbować ponownie. Jeśli to się powtórzy, proszę powiadomić właściciela \
         witryny.",
    app_broken: (
        "Ta witryna nie działa",
        "Nie udało się uruchomić programu, który tworzy tę stronę. Właściciel witryny znajdzie \
         przyczynę w dzienniku błędów.",
    ),
    app_failed: (
        "Coś poszło nie tak",
        "W programie, który tworzy tę stronę, wystąpił błąd.",
    ),
    bad_gateway: (
        "Coś poszło nie tak",
        "Program, który tworzy tę stronę, zakończył działanie przed udzieleniem odpowiedzi.",
    ),
    bad_request: (
        "Nie udało się odczytać żądania",
        "Żądanie nadeszło w postaci, której ta witryna nie potrafi odczytać. Proszę wrócić i \
         spróbować ponownie.",
    ),
    body_too_large: (
        "To było za dużo naraz",
        "Wysłane dane są większe, niż przyjmuje ta witryna.",
    ),
    header_too_large: (
        "Żądanie było za długie",
        "Nagłówek żądania jest większy, niż przyjmuje ta witryna. Może pomóc usunięcie plików \
         cookie tej witryny.",
    ),
    misconfigured: (
        "Ta witryna nie jest poprawnie skonfigurowana",
        "Właściciel tej witryny musi poprawić jej konfigurację; dziennik błędów wskazuje miejsce.",
    ),
    not_found: (
        "Tu niczego nie ma",
        "Ten adres nie należy do tej witryny. Proszę sprawdzić, czy jest poprawnie zapisany.",
    ),
    request_timeout: (
        "Dane nie dotarły",
        "Wysyłane dane zatrzymały się po drodze. Proszę wrócić i spróbować ponownie.",
    ),
    timed_out: (
        "To trwało zbyt długo",
        "Program, który tworzy tę stronę, nie odpowiedział na czas.",
    ),
};
