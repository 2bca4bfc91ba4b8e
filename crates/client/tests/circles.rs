//! The files of `src` stand on each other and in no circle: a scan of the `use` lines and paths in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's path, without `crate`.
type Module = Vec<String>;

/// Every file below `directory`, by its module. Tests in files of their own are left out.
fn files(directory: &Path, module: &[String], found: &mut BTreeMap<Module, PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files(&path, &[module, &[stem]].concat(), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let is_root = matches!(stem.as_str(), "mod" | "lib");
            found.insert(if is_root { module.to_vec() } else { [module, &[stem]].concat() }, path);
        }
    }
}

/// What is compiled into the crate: without comments and without the tests at the end.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let without_comments: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
    let lines = without_comments.split(|line| line.trim() == "#[cfg(test)]").next().unwrap();
    lines.join("\n")
}

/// `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let rest = rest.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in rest.chars().chain([',']) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|part| format!("{}{part}", head.trim())).collect()
}

/// The paths that a file names: those of its `use` lines, and those within it that begin at the crate or above the file.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let line = statement.rsplit("\n\n").next().unwrap_or(statement).trim_start();
        let used = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "].iter().find_map(|word| {
            let at = statement
                .rfind(&format!("\n{word}"))
                .map(|at| at + 1)
                .or(line.starts_with(word).then(|| statement.len() - line.len()))?;
            Some(&statement[at + word.len()..])
        });
        match used {
            Some(tree) => found.extend(expand(&tree.trim_end_matches(';').replace('\n', " "))),
            None => rest.push_str(statement),
        }
    }
    for start in ["crate::", "super::"] {
        found.extend(rest.match_indices(start).map(|(at, _)| {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            rest[at..].chars().take_while(|c| is_path(*c)).collect::<String>()
        }));
    }
    found
}

/// The file that a path leads to, seen from a module.
fn target(path: &str, from: &[String], files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut segments = path.split("::").map(str::trim);
    let mut module = match segments.next()? {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from.split_last()?.1.to_vec(),
        _ => return None,
    };
    for segment in segments {
        match segment {
            "super" => drop(module.pop()),
            segment => module.push(segment.split(' ').next()?.to_owned()),
        }
    }
    while !files.contains_key(&module) {
        module.pop()?;
    }
    (module != from).then_some(module)
}

/// Everything that can be reached.
fn reachable<'a>(from: &'a Module, edges: &'a BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

fn edges() -> BTreeMap<Module, BTreeSet<Module>> {
    let mut all = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut all);
    let used = |(module, path): (&Module, &PathBuf)| {
        let paths = paths(&code(path));
        (module.clone(), paths.iter().filter_map(|path| target(path, module, &all)).collect())
    };
    // The root only says what is public.
    all.iter().filter(|(module, _)| !module.is_empty()).map(used).collect()
}

#[test]
fn no_file_stands_on_itself() {
    let edges = edges();
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(edges.len() > 50 && count > 300, "the scan finds too little: {} files, {count} edges", edges.len());
    let circle: Vec<&Module> = edges.keys().filter(|module| reachable(module, &edges).contains(module)).collect();
    assert!(circle.is_empty(), "these stand on themselves: {circle:?}");
}

#[test]
fn nothing_stands_on_the_facade() {
    let edges = edges();
    let facade = vec!["client".to_owned()];
    let above: Vec<_> = edges.iter().filter(|(_, used)| used.contains(&facade)).map(|(module, _)| module).collect();
    assert!(edges.contains_key(&facade) && above.is_empty(), "{above:?}");
    let engine = vec!["engine".to_owned()];
    assert!(reachable(&facade, &edges).contains(&engine), "the scan finds what is there");
}
