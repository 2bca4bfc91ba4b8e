//! Inputs to begin with, from `tests/vectors` and from real conversations: `cargo run -p kuvert-fuzz --example seeds -- DIR`.
fn main() -> std::io::Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "fuzz/corpus".into());
    for (target, inputs) in kuvert_fuzz::seeds::all() {
        let folder = std::path::Path::new(&directory).join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:03}")), input)?;
        }
    }
    Ok(())
}
