//! Portuguese, in words that are used on both sides of the Atlantic.

use crate::page::language::{Category, Language, Plural};

pub(super) static PORTUGUESE: Language = Language {
    tag: "pt",
    right_to_left: false,
    space: " ",
    plural: Plural::One,
    when: &[
        (Category::One, "em {n} segundo"),
        (Category::Other, "em {n} segundos"),
    ],
    one_moment: "Um momento, por favor",
    busy: "Este site está sobrecarregado neste momento.",
    away: "O programa que gera esta página não está em execução neste momento.",
    starting: "Este site está em inicialização.",
    by_itself: "Esta página tenta de novo automaticamente.",
    again: "Tente de novo {when}, por favor.",
    next: "Próxima tentativa:",
    now: "Nova tentativa em curso",
    try_now: "Tentar agora",
    unsaved: "Nada foi gravado.",
    keep: "O botão Voltar do navegador costuma recuperar o texto digitado. Copie esse texto antes \
         de um novo envio.",
    unknown: "Não é certo que o envio tenha sido gravado. Verifique antes de enviar de novo, por \
         favor.",
    again_or_tell: "Tente de novo, por favor. Se acontecer outra vez, avise o responsável pelo site.",
    app_broken: (
        "Este site está fora de serviço",
        "Não foi possível iniciar o programa que gera esta página. O responsável pelo site \
         encontra o motivo no log de erros.",
    ),
    app_failed: ("Ocorreu um erro", "O programa que gera esta página falhou."),
    bad_gateway: (
        "Ocorreu um erro",
        "O programa que gera esta página parou antes de responder.",
    ),
    bad_request: (
        "Não foi possível ler o pedido",
        "O pedido chegou num formato que este site não consegue ler. Volte e tente de novo, por \
         favor.",
    ),
    body_too_large: (
        "Foi demais de uma só vez",
        "O que foi enviado é maior do que este site aceita.",
    ),
    header_too_large: (
        "O pedido era longo demais",
        "O cabeçalho do pedido é maior do que este site aceita. Apagar os cookies deste site pode \
         ajudar.",
    ),
    misconfigured: (
        "Este site não está bem configurado",
        "O responsável por este site precisa corrigir a configuração; o log de erros indica onde.",
    ),
    not_found: (
        "Não há nada aqui",
        "Este endereço não faz parte deste site. Verifique se está escrito corretamente, por \
         favor.",
    ),
    request_timeout: (
        "O envio não chegou",
        "O que foi enviado parou no caminho. Volte e tente de novo, por favor.",
    ),
    timed_out: (
        "Demorou demais",
        "O programa que gera esta página não respondeu a tempo.",
    ),
};
