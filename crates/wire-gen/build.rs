//! Compiles `proto/` with protox, a protobuf compiler in Rust: no protoc has to be installed.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_build::Module;

/// The folder of the `.proto` files, below `proto/`.
const FOLDER: &str = "kuvert/v1";

/// The package whose files are put together. Files of a package below it are modules of their own in `kuvert-wire`.
const PACKAGE: &str = "kuvert.v1";

/// Files whose types are behind the feature of the same name.
const FEATURES: [&str; 1] = ["content"];

const HEADER: &str = "// Written by kuvert-wire-gen from proto/. Do not edit: see crates/wire-gen/src/lib.rs.\n";

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let generated = generate(&root)?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("generated");
    // A file whose `.proto` has gone must not stay.
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir(&out)?;
    for (name, text) in generated {
        fs::write(out.join(name).with_extension("rs"), text)?;
    }
    Ok(())
}

/// One text of Rust for each `.proto` file, by the file's name without its ending, and one that puts a package together.
fn generate(root: &Path) -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let together: Vec<String> = descriptors
        .file
        .iter()
        .filter(|file| file.package() == PACKAGE)
        .map(|file| stem(file.name()).to_owned())
        .collect();
    let requests = descriptors.file.into_iter().map(|file| (Module::from_parts([stem(file.name())]), file)).collect();
    let texts = prost_build::Config::new().bytes(["."]).generate(requests)?;
    let named = texts.into_iter().map(|(module, text)| (module.parts().collect(), format!("{HEADER}{text}")));
    Ok(named.chain([("mod".to_owned(), package(together))]).collect())
}

/// `relay` of `kuvert/v1/relay.proto`.
fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.strip_suffix(".proto").unwrap_or(file)
}

/// Puts the files into one: a protobuf package is one namespace.
fn package(mut names: Vec<String>) -> String {
    names.sort();
    let mut text = HEADER.to_owned();
    for name in names {
        if FEATURES.contains(&name.as_str()) {
            text += &format!("#[cfg(feature = \"{name}\")]\n");
        }
        text += &format!("include!(\"{name}.rs\");\n");
    }
    text
}
