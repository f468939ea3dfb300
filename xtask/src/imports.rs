//! Which file of a crate imports which: re-exports are followed to the file that defines the name.
//!
//! A re-export by itself is no import, and neither is the declaration of a module.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::{self, Import, Scopes, Written};

/// The imports of one file from another: the names, and the line of the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
}

/// The imports between the files of a crate, by the importing and the imported file.
pub(crate) type Imports = BTreeMap<(PathBuf, PathBuf), Names>;

/// The path of a module in its crate.
type Module = Vec<String>;

/// The files of a crate, by their paths below `src`.
pub(crate) struct Crate {
    files: BTreeMap<Module, (PathBuf, Scopes)>,
}

/// The meaning of a name: a module, or an item of a file.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    Module(Module),
    /// An item: the module of its file, and its name.
    Item(Module, String),
}

impl Crate {
    /// Reads the files of a crate, given by their paths below `src` and their texts.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let files = files.into_iter().map(|(path, text)| (module(path), (path.to_owned(), source::read(text))));
        Crate { files: files.collect() }
    }

    /// Returns all imports between the crate's files.
    pub(crate) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (file, (path, scopes)) in &self.files {
            for (inner, scope) in scopes {
                let module = [file.as_slice(), inner].concat();
                let mut add = |written: &Written, found: Option<Found>| {
                    let Some(Found::Item(to, name)) = found else { return };
                    let Some((to, _)) = self.files.get(&to).filter(|(to, _)| to != path) else { return };
                    let names = imports.entry((path.clone(), to.clone())).or_default();
                    names.line = if names.line == 0 { written.line } else { names.line };
                    if !names.names.contains(&name) {
                        names.names.push(name);
                    }
                };
                for Import { path, name, public } in &scope.imports {
                    let used = |name: &String| scope.words.contains(name);
                    match name {
                        Some(name) if !public || used(name) => add(path, self.find(&module, path, 0)),
                        None if !public => match self.find(&module, path, 0) {
                            Some(Found::Module(all)) => {
                                add(path, self.owner(&all).map(|file| Found::Item(file, "*".to_owned())))
                            }
                            found => add(path, found),
                        },
                        _ => {}
                    }
                }
                for path in &scope.paths {
                    add(path, self.find(&module, path, 0));
                }
            }
        }
        imports
    }

    /// Returns the module of the file that contains a module.
    fn owner(&self, module: &Module) -> Option<Module> {
        (0..=module.len())
            .rev()
            .filter_map(|len| module.get(..len))
            .find(|file| self.files.contains_key(*file))
            .map(<[_]>::to_vec)
    }

    fn is_module(&self, module: &Module) -> bool {
        self.owner(module).is_some_and(|file| {
            let inner = module.get(file.len()..).unwrap_or_default();
            self.files.get(&file).is_some_and(|(_, scopes)| scopes.contains_key(inner))
        })
    }

    /// Finds the meaning of a path that is written in a module. Returns `None` for another crate's.
    fn find(&self, from: &Module, path: &Written, depth: usize) -> Option<Found> {
        // Imports that name each other have no meaning, and would never end.
        if depth > 16 {
            return None;
        }
        let mut segments = path.segments.iter();
        let mut here = from.clone();
        let first = segments.as_slice().first()?;
        if matches!(first.as_str(), "crate" | "self" | "super") {
            for segment in
                segments.as_slice().iter().take_while(|segment| matches!(segment.as_str(), "crate" | "self" | "super"))
            {
                match segment.as_str() {
                    "crate" => here.clear(),
                    "super" => drop(here.pop()),
                    _ => {}
                }
                segments.next();
            }
        } else {
            match self.name(&here, first, depth)? {
                Found::Module(module) => here = module,
                item => return Some(item),
            }
            segments.next();
        }
        for segment in segments {
            match self.name(&here, segment, depth) {
                Some(Found::Module(module)) => here = module,
                Some(item) => return Some(item),
                // A macro may have defined it.
                None => return self.owner(&here).map(|file| Found::Item(file, segment.clone())),
            }
        }
        Some(Found::Module(here))
    }

    /// Finds the meaning of a name in a module.
    fn name(&self, module: &Module, name: &str, depth: usize) -> Option<Found> {
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        if self.is_module(&child) {
            return Some(Found::Module(child));
        }
        let file = self.owner(module)?;
        let (_, scopes) = self.files.get(&file)?;
        let scope = scopes.get(module.get(file.len()..)?)?;
        if scope.defined.contains(name) {
            return Some(Found::Item(file, name.to_owned()));
        }
        if let Some(import) = scope.imports.iter().find(|import| import.name.as_deref() == Some(name)) {
            // `use name::…` in the module that it is written in means another crate.
            let itself = import.path.segments.first().is_some_and(|first| first == name);
            return if itself { None } else { self.find(module, &import.path, depth + 1) };
        }
        scope.imports.iter().filter(|import| import.name.is_none()).find_map(|glob| {
            let Found::Module(all) = self.find(module, &glob.path, depth + 1)? else { return None };
            self.name(&all, name, depth + 1)
        })
    }
}

/// Returns the module of a file.
fn module(path: &Path) -> Module {
    let mut parts: Module = path.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned()).collect();
    parts.pop_if(|last| matches!(last.as_str(), "mod" | "lib" | "main"));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Vec<(String, String, String)> {
        let files = files.iter().map(|(path, text)| (Path::new(*path), *text));
        let show = |path: &Path| path.display().to_string();
        let imports = Crate::new(files).imports().into_iter();
        imports.map(|((from, to), names)| (show(&from), show(&to), names.names.join(" "))).collect()
    }

    fn expected<const N: usize>(imports: [(&str, &str, &str); N]) -> Vec<(String, String, String)> {
        imports.map(|(from, to, names)| (from.to_owned(), to.to_owned(), names.to_owned())).into()
    }

    #[test]
    fn a_re_export_is_followed_to_the_file_that_defines_the_name() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::*;\npub use b::B;"),
            ("a/mod.rs", "mod deep;\npub use deep::{A, made};"),
            ("a/deep.rs", "pub struct A;\nname!(Made);"),
            ("b.rs", "use crate::A;\npub struct B;\nfn c(a: A) { crate::a::made() }"),
        ]);
        assert_eq!(found, expected([("b.rs", "a/deep.rs", "A made")]), "a macro defines the second");
    }

    #[test]
    fn paths_and_names_of_other_crates_are_no_imports() {
        let found = imports(&[
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "use std::fmt;\nuse serde_json::json;\nfn a() { fmt::b(); super::b::c() }"),
            ("b.rs", "pub fn c() {}"),
        ]);
        assert_eq!(found, expected([("a.rs", "b.rs", "c")]));
    }

    #[test]
    fn a_module_that_re_exports_a_name_and_uses_it_imports_it() {
        let files = |used| [("lib.rs", "mod a;"), ("a/mod.rs", used), ("a/b.rs", "use super::C;\npub struct B;")];
        let circle = expected([("a/b.rs", "a/mod.rs", "C"), ("a/mod.rs", "a/b.rs", "B")]);
        assert_eq!(imports(&files("mod b;\npub use b::B;\npub struct C(B);")), circle);
        assert_eq!(imports(&files("mod b;\npub use b::B;\npub struct C;")).len(), 1);
    }

    #[test]
    fn a_path_through_an_imported_module_is_an_import() {
        let found = imports(&[
            ("lib.rs", "mod json;\nmod a;"),
            ("json.rs", "pub fn size() {}"),
            (
                "a.rs",
                "use crate::json as rules;\nmod inner { fn b() { super::super::json::size() } }\nfn c() { rules::size() }",
            ),
        ]);
        assert_eq!(found, expected([("a.rs", "json.rs", "size")]));
    }
}
