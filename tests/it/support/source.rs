//! Reads the source of remgate: which module imports which, which crates a module uses, how long its functions are.
//!
//! It works on tokens, so it sees what stands in macros and attributes too, and nothing that stands in comments.
//! What is `#[cfg(test)]` is left out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Source file.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Path from the repository's root.
    pub(crate) path: PathBuf,
    /// Top-level module of the file.
    pub(crate) module: String,
    /// Top-level modules that the file imports, with the lines: `crate::store::x` is `store`.
    pub(crate) modules: BTreeSet<(String, usize)>,
    /// First segments of paths outside of the crate, crates among others, with their positions.
    pub(crate) names: BTreeSet<(String, usize)>,
    /// Its functions: name, first line, number of lines.
    pub(crate) functions: Vec<(String, usize, usize)>,
    /// The modules that it declares for tests only.
    test_modules: Vec<String>,
}

/// Every file under `root/src`, but for those that are modules for tests only.
pub(crate) fn files(root: &Path) -> Vec<File> {
    let mut all: Vec<(Vec<String>, File)> = rust_files(&root.join("src"))
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(root).expect("it was found there");
            let text = std::fs::read_to_string(path).expect("a source file is text");
            (module_of(relative), File::read(relative, &text))
        })
        .collect();
    let for_tests: Vec<Vec<String>> = all
        .iter()
        .flat_map(|(module, file)| {
            file.test_modules.iter().map(|name| module.iter().chain([name]).cloned().collect())
        })
        .collect();
    all.retain(|(module, _)| !for_tests.iter().any(|test| module.starts_with(test)));
    all.into_iter().map(|(_, file)| file).collect()
}

/// Every `.rs` file under `folder`, in order.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = folder.read_dir().unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
    for path in entries.map(|entry| entry.expect("a folder can be listed").path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

impl File {
    /// Parses `text`, the content of `path`.
    pub(crate) fn read(path: &Path, text: &str) -> Self {
        let path_in_crate = module_of(path);
        let module = path_in_crate
            .first()
            .cloned()
            .unwrap_or_else(|| path.file_stem().expect("a file has a name").to_string_lossy().into_owned());
        let mut file = Self { path: path.to_owned(), module, ..Self::default() };
        let tokens: TokenStream =
            text.parse().unwrap_or_else(|e| panic!("{} is not Rust: {e}", path.display()));
        file.walk(tokens, &path_in_crate);
        file
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        let mut test_only = false;
        while at < tokens.len() {
            if is_cfg_test(&tokens[at..]) {
                test_only = true;
                at += 2;
                continue;
            }
            if test_only && !is_attribute(&tokens[at..]) {
                at = self.skip_item(&tokens, at);
                test_only = false;
                continue;
            }
            at += self.step(&tokens, at, module);
        }
    }

    /// Takes what begins at `at`; how many tokens were used up.
    fn step(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "mod" => {
                if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at + 1..] {
                    let inner: Vec<_> = module.iter().cloned().chain([name.to_string()]).collect();
                    self.walk(body.stream(), &inner);
                    return 3;
                }
                1
            }
            TokenTree::Ident(word) if word == "fn" => {
                self.function(&tokens[at + 1..]);
                1
            }
            TokenTree::Ident(word) if word == "use" || word == "extern" => {
                // `use a as b` and `extern crate a` name a crate without a `::`.
                if let Some(TokenTree::Ident(name)) =
                    tokens[at + 1..].iter().find(|t| t.to_string() != "crate")
                {
                    self.names.insert((name.to_string(), name.span().start().line));
                }
                1
            }
            TokenTree::Ident(word) => {
                let continues = at >= 2 && is_path_separator(&tokens[at - 2..]);
                if continues { 1 } else { self.path(word, &tokens[at + 1..], module) }
            }
            TokenTree::Group(group) => {
                self.walk(group.stream(), module);
                1
            }
            _ => 1,
        }
    }

    /// Notes where the path that begins with `first` leads; how many tokens were used up.
    fn path(&mut self, first: &Ident, rest: &[TokenTree], module: &[String]) -> usize {
        let line = first.span().start().line;
        if !is_path_separator(rest) {
            return 1;
        }
        // The binary names the library as a crate; within the library that is `crate`.
        let mut here = match first.to_string().as_str() {
            "crate" | "remgate" => Vec::new(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            "self" => module.to_vec(),
            name => {
                self.names.insert((name.to_owned(), line));
                return 1;
            }
        };
        let mut used = 3;
        let mut rest = &rest[2..];
        while let [TokenTree::Ident(word), tail @ ..] = rest
            && word == "super"
            && is_path_separator(tail)
        {
            here.pop();
            rest = &tail[2..];
            used += 3;
        }
        match (here.first(), rest.first()) {
            (Some(module), _) => drop(self.modules.insert((module.clone(), line))),
            (None, Some(TokenTree::Ident(module))) => drop(self.modules.insert((module.to_string(), line))),
            (None, Some(TokenTree::Group(group))) => self.modules.extend(first_names(group)),
            (None, _) => {}
        }
        used
    }

    fn function(&mut self, rest: &[TokenTree]) {
        let [TokenTree::Ident(name), rest @ ..] = rest else { return };
        let end = rest.iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Some(group.span_close().end().line)
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => Some(name.span().start().line),
            _ => None,
        });
        let first = name.span().start().line;
        if let Some(last) = end {
            self.functions.push((name.to_string(), first, last + 1 - first));
        }
    }

    /// Passes over one item that is for tests only; where the next one begins.
    fn skip_item(&mut self, tokens: &[TokenTree], from: usize) -> usize {
        for (at, token) in tokens.iter().enumerate().skip(from) {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                    // `use a::{b, c};` goes on after its braces.
                    let more = matches!(tokens.get(at + 1), Some(TokenTree::Punct(p)) if p.as_char() == ';');
                    return at + 1 + usize::from(more);
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => {
                    if let [TokenTree::Ident(word), TokenTree::Ident(name)] =
                        &tokens[at.saturating_sub(2)..at]
                        && word == "mod"
                    {
                        self.test_modules.push(name.to_string());
                    }
                    return at + 1;
                }
                _ => {}
            }
        }
        tokens.len()
    }
}

/// `src/http/routes/keys.rs` is `http::routes::keys`; `src/lib.rs` and `src/main.rs` are the crate itself.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod")
        || matches!(parts.as_slice(), [only] if only == "lib" || only == "main")
    {
        parts.pop();
    }
    parts
}

/// The first word of each entry in `{a::b, c::{d, e}, f}`.
fn first_names(group: &Group) -> BTreeSet<(String, usize)> {
    let tokens: Vec<_> = group.stream().into_iter().collect();
    let entries = tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','));
    entries
        .filter_map(|entry| match entry.first() {
            Some(TokenTree::Ident(name)) => Some((name.to_string(), name.span().start().line)),
            _ => None,
        })
        .collect()
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    matches!(tokens, [first, second, ..] if is_colon(first) && is_colon(second))
}

fn is_attribute(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(hash), TokenTree::Group(_), ..] if hash.as_char() == '#')
        || matches!(tokens, [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Bracket)
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    is_attribute(tokens)
        && matches!(tokens, [_, TokenTree::Group(group), ..] if group.stream().to_string().replace(' ', "") == "cfg(test)")
}
