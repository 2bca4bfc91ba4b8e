//! Compiles `proto/` with protox, a protobuf compiler in Rust: nobody has to install protoc.

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = vec!["kuvert/v1/relay.proto", "kuvert/v1/demonstration.proto"];
    if env::var_os("CARGO_FEATURE_CONTENT").is_some() {
        files.push("kuvert/v1/content.proto");
    }
    let descriptors = protox::compile(&files, [&root])?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}
