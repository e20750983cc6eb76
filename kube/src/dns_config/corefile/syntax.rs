//! Reads a Corefile as CoreDNS does, only as far as server blocks and their directives. Owns the syntax; must not know
//! what xcc writes into a Corefile.
//!
//! The rules are those of the Caddyfile (version 1) that CoreDNS took over: tokens are separated by white space, `#`
//! starts a comment wherever it stands outside quotes, a token that starts with `"` goes on to the next `"`, braces are
//! tokens of their own. One single server may be written without braces.

use super::CorefileError;

/// One word of a Corefile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Without the quotes.
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
    quoted: bool,
}

/// The keys (`example.org:53`, `(snippet)`) and the body of one server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerBlock {
    pub(super) keys: Vec<Token>,
    /// Each with its arguments, braces of its own block included.
    pub(super) directives: Vec<Vec<Token>>,
    /// Whether the body stands in braces.
    pub(super) braced: bool,
}

/// A Corefile, or a part of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) blocks: Vec<ServerBlock>,
    /// The first comment's line.
    pub(super) comment: Option<usize>,
    /// `import` lines outside of server blocks.
    pub(super) imports: Vec<Vec<Token>>,
}

/// Reads `text`, whose first line is the file's line `first_line`.
pub(super) fn parse(text: &str, first_line: usize) -> Result<Parsed, CorefileError> {
    let (tokens, comment) = tokens(text, first_line)?;
    let mut parsed = Parsed { comment, ..Parsed::default() };
    let mut rest = tokens.as_slice();
    while let Some(first) = rest.first() {
        if first.is("import") {
            let (line, after) = rest.split_at(line_length(rest));
            parsed.imports.push(line.to_vec());
            rest = after;
        } else {
            let (block, after) = server_block(rest)?;
            parsed.blocks.push(block);
            rest = after;
        }
    }
    Ok(parsed)
}

impl Token {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

fn server_block(tokens: &[Token]) -> Result<(ServerBlock, &[Token]), CorefileError> {
    let mut keys: Vec<Token> = Vec::new();
    let mut more = false;
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        let continued = more || keys.last().is_none_or(|last| last.line == token.line);
        if token.is("{") || !continued {
            break;
        }
        if token.is("}") {
            return Err(CorefileError::Syntax { line: token.line, problem: "a } that closes nothing" });
        }
        let mut key = token.clone();
        more = key.text.ends_with(',');
        if more {
            key.text.pop();
        }
        keys.push(key);
        rest = after;
    }
    match rest.split_first() {
        Some((open, body)) if open.is("{") => {
            if keys.is_empty() {
                return Err(CorefileError::Syntax {
                    line: open.line,
                    problem: "a server block without a name",
                });
            }
            let (directives, after) = directives(body)?;
            let Some((_close, after)) = after.split_first() else {
                return Err(CorefileError::Syntax { line: open.line, problem: "a { that is never closed" });
            };
            Ok((ServerBlock { keys, directives, braced: true }, after))
        }
        _ => {
            let (directives, after) = directives(rest)?;
            match after.first() {
                Some(close) => {
                    Err(CorefileError::Syntax { line: close.line, problem: "a } that closes nothing" })
                }
                None => Ok((ServerBlock { keys, directives, braced: false }, after)),
            }
        }
    }
}

/// Directives up to the brace that closes their block, or to the end.
fn directives(tokens: &[Token]) -> Result<(Vec<Vec<Token>>, &[Token]), CorefileError> {
    let mut directives: Vec<Vec<Token>> = Vec::new();
    let mut rest = tokens;
    while let Some(first) = rest.first() {
        if first.is("}") {
            break;
        }
        let length = directive_length(rest)?;
        let (directive, after) = rest.split_at(length);
        directives.push(directive.to_vec());
        rest = after;
    }
    Ok((directives, rest))
}

/// A directive goes to the end of its line, or of the block in braces that its line opens.
fn directive_length(tokens: &[Token]) -> Result<usize, CorefileError> {
    let mut open: Vec<usize> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.is("{") {
            open.push(token.line);
        } else if open.is_empty() {
            let new_line = index > 0 && tokens[index - 1].line != token.line;
            if new_line || token.is("}") {
                return Ok(index);
            }
        } else if token.is("}") {
            open.pop();
        }
    }
    match open.first() {
        Some(line) => Err(CorefileError::Syntax { line: *line, problem: "a { that is never closed" }),
        None => Ok(tokens.len()),
    }
}

fn line_length(tokens: &[Token]) -> usize {
    let line = tokens.first().map(|token| token.line);
    tokens.iter().take_while(|token| Some(token.line) == line).count()
}

fn tokens(text: &str, first_line: usize) -> Result<(Vec<Token>, Option<usize>), CorefileError> {
    let mut tokens = Vec::new();
    let mut first_comment = None;
    let mut line = first_line;
    let mut current: Option<Token> = None;
    let (mut comment, mut escaped) = (false, false);
    for character in text.chars() {
        if character == '\n' {
            line += 1;
        }
        if let Some(token) = current.as_mut().filter(|token| token.quoted) {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => tokens.extend(current.take()),
                _ => {
                    // Only quotes are escaped: any other backslash stands for itself.
                    if escaped && character != '"' {
                        token.text.push('\\');
                    }
                    token.text.push(character);
                    escaped = false;
                }
            }
        } else if character.is_whitespace() {
            comment &= character != '\n';
            // CoreDNS passes over carriage returns as if they were not there.
            if character != '\r' {
                tokens.extend(current.take());
            }
        } else if comment || character == '#' {
            comment = true;
            first_comment = first_comment.or(Some(line));
        } else if character == '"' && current.is_none() {
            current = Some(Token { text: String::new(), line, quoted: true });
        } else {
            current
                .get_or_insert_with(|| Token { text: String::new(), line, quoted: false })
                .text
                .push(character);
        }
    }
    if let Some(token) = current.as_ref().filter(|token| token.quoted) {
        return Err(CorefileError::Syntax { line: token.line, problem: "a quote that is never closed" });
    }
    tokens.extend(current);
    Ok((tokens, first_comment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Vec<(Vec<String>, Vec<String>)> {
        let words = |tokens: &Vec<Token>| tokens.iter().map(|token| token.text.clone()).collect::<Vec<_>>();
        let parsed = parse(text, 1).unwrap();
        parsed
            .blocks
            .iter()
            .map(|block| {
                (words(&block.keys), block.directives.iter().map(|line| words(line).join(" ")).collect())
            })
            .collect()
    }

    #[test]
    fn server_blocks_have_keys_and_directives() {
        let text = "# hello\n(snip) {\n log # why\n}\na:53 b, # more\n c {\n  forward . 1.1.1.1 {\n    max_fails 2\n  }\n reload\n}\n";
        let expected = [
            (vec!["(snip)".to_owned()], vec!["log".to_owned()]),
            (
                vec!["a:53".to_owned(), "b".to_owned(), "c".to_owned()],
                vec!["forward . 1.1.1.1 { max_fails 2 }".to_owned(), "reload".to_owned()],
            ),
        ];
        assert_eq!(shape(text), expected);
    }

    #[test]
    fn braces_in_words_are_no_braces() {
        let text = "{$ZONE}:53 {\n template IN A {\n answer \"{{ .Name }} 60 IN A { \\\" \"\n}\n}\n";
        assert_eq!(shape(text)[0].0, ["{$ZONE}:53"]);
        assert_eq!(shape(text)[0].1.len(), 1);
    }

    #[test]
    fn one_server_may_go_without_braces() {
        let parsed = parse(".:53\nforward . /etc/resolv.conf\nerrors\n", 1).unwrap();
        assert!(!parsed.blocks[0].braced);
        assert_eq!(parsed.blocks[0].directives.len(), 2);
    }

    #[test]
    fn imports_at_the_top_are_no_servers() {
        let parsed = parse("import custom/*.server\n. {\n import x\n}\nimport y\n", 1).unwrap();
        assert_eq!(parsed.imports.len(), 2);
        assert_eq!(parsed.blocks.len(), 1);
    }

    #[test]
    fn what_is_left_open_is_refused_with_its_line() {
        for (text, line) in [
            (". {\n errors\n", 1),
            (". {\n forward . 1 {\n", 2),
            ("}\n", 1),
            (". {\n}\n}\n", 3),
            ("{\n}\n", 1),
            (". {\n log \"x\n}\n", 2),
            (". {\n health {\n }\n\n", 1),
        ] {
            let error = parse(text, 1).unwrap_err();
            assert!(
                matches!(error, CorefileError::Syntax { line: found, .. } if found == line),
                "{text:?}: {error}"
            );
        }
    }
}
