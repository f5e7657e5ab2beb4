//! Rust's text as tokens, so far as paths need it. It knows no grammar.

pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

pub(crate) fn contains(tokens: &[Token<'_>], words: &[&str]) -> bool {
    tokens.windows(words.len()).any(|window| {
        window
            .iter()
            .map(|token| token.text)
            .eq(words.iter().copied())
    })
}

/// The token at `index`; empty behind the last.
pub(crate) fn text<'a>(tokens: &[Token<'a>], index: usize) -> &'a str {
    tokens.get(index).map_or("", |token| token.text)
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Where the names stand that can come next in a path: at `index`, or if a group opens there, after `{` and each comma.
pub(crate) fn group(tokens: &[Token<'_>], index: usize) -> Vec<usize> {
    if text(tokens, index) != "{" {
        return vec![index];
    }
    let (mut names, mut depth) = (Vec::new(), 0);
    for index in index..tokens.len() {
        match text(tokens, index) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        let begins = depth == 1 && matches!(text(tokens, index), "{" | ",");
        if begins && text(tokens, index + 1) != "}" {
            names.push(index + 1);
        }
    }
    names
}

/// The inline modules around a token.
#[derive(Default)]
pub(crate) struct Inside<'a> {
    /// The name, the depth of braces at which it began, and whether it is for tests only.
    modules: Vec<(&'a str, usize, bool)>,
    depth: usize,
}

impl<'a> Inside<'a> {
    /// Goes on to the token at `index`. From its name on a module is around.
    pub(crate) fn step(&mut self, tokens: &[Token<'a>], index: usize) {
        match text(tokens, index) {
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.modules.pop_if(|(_, began, _)| *began == self.depth);
            }
            "mod" if text(tokens, index + 2) == "{" => {
                let before = &tokens[index.saturating_sub(4)..index];
                let is_for_tests = contains(before, &["(", "test", ")", "]"]);
                let name = text(tokens, index + 1);
                self.modules.push((name, self.depth, is_for_tests));
            }
            _ => {}
        }
    }

    /// The module of the token, in a file that is `file`.
    pub(crate) fn module(&self, file: &[&'a str]) -> Vec<&'a str> {
        let own = self.modules.iter().map(|(name, _, _)| *name);
        file.iter().copied().chain(own).collect()
    }

    pub(crate) fn is_for_tests(&self) -> bool {
        self.modules
            .iter()
            .any(|(_, _, is_for_tests)| *is_for_tests)
    }
}

/// Words, `::`, single characters and whole plain strings, whose quotes keep them from being taken for words; no
/// comments, other strings or character literals.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let (mut tokens, mut index, mut line) = (Vec::new(), 0, 1);
    while index < bytes.len() {
        let start = index;
        let mut code = false;
        match at(index) {
            b'/' if at(index + 1) == b'/' => {
                while index < bytes.len() && at(index) != b'\n' {
                    index += 1;
                }
            }
            b'/' if at(index + 1) == b'*' => {
                let mut depth = 0;
                while index < bytes.len() {
                    match [at(index), at(index + 1)] {
                        [b'/', b'*'] => depth += 1,
                        [b'*', b'/'] => depth -= 1,
                        _ => {
                            index += 1;
                            continue;
                        }
                    }
                    index += 2;
                    if depth == 0 {
                        break;
                    }
                }
            }
            b'"' => {
                index = end_of_string(bytes, index);
                code = true;
            }
            b'\'' if at(index + 1) == b'\\' => {
                // Past the escaped character, which may be a quote.
                index += 3;
                while index < bytes.len() && at(index) != b'\'' {
                    index += 1;
                }
                index += 1;
            }
            b'\'' => {
                let character = text[index + 1..].chars().next().map_or(0, char::len_utf8);
                // Else it is a lifetime, whose name is a harmless word.
                index += if at(index + 1 + character) == b'\'' {
                    character + 2
                } else {
                    1
                };
            }
            byte if is_word(byte) => {
                while is_word(at(index)) {
                    index += 1;
                }
                let word = &text[start..index];
                let hashes = bytes[index..]
                    .iter()
                    .take_while(|byte| **byte == b'#')
                    .count();
                if matches!(word, "r" | "br" | "cr") && at(index + hashes) == b'"' {
                    let end = format!("\"{}", "#".repeat(hashes));
                    let begin = index + hashes + 1;
                    index = text[begin..]
                        .find(&end)
                        .map_or(bytes.len(), |found| begin + found + end.len());
                } else if matches!(word, "b" | "c") && matches!(at(index), b'"') {
                    index = end_of_string(bytes, index);
                } else {
                    code = true;
                }
            }
            b':' if at(index + 1) == b':' => {
                index += 2;
                code = true;
            }
            byte => {
                index += 1;
                code = !byte.is_ascii_whitespace();
            }
        }
        index = index.min(bytes.len());
        if code {
            tokens.push(Token {
                text: &text[start..index],
                line,
            });
        }
        line += bytes[start..index]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
    }
    tokens
}

/// Past the closing quote of the string that opens at `index`.
fn end_of_string(bytes: &[u8], mut index: usize) -> usize {
    index += 1;
    while index < bytes.len() && bytes[index] != b'"' {
        index += if bytes[index] == b'\\' { 2 } else { 1 };
    }
    index + 1
}
