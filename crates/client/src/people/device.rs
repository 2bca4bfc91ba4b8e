//! What the machine tells about itself, read from where every program may read it.

use std::fs;
use std::path::Path;

use kuvert_types::limits::{MAX_DEVICE_DETAIL_BYTES, is_valid_line};
use kuvert_wire::v1::demonstration as wire;

/// Of this machine.
pub fn details() -> wire::ReportDevice {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // In the order in which they win.
    let language = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
    read(Path::new("/"), language)
}

/// Of the machine whose files lie below `root`.
fn read(root: &Path, language: Option<String>) -> wire::ReportDevice {
    let line = |path: &str| fs::read_to_string(root.join(path)).ok().and_then(tidy);
    let kernel = line("proc/sys/kernel/osrelease").map(|release| format!("{release} {}", std::env::consts::ARCH));
    wire::ReportDevice {
        model: line("sys/class/dmi/id/product_name").or_else(|| line("proc/device-tree/model")),
        system: system(root).or_else(|| Some(std::env::consts::OS.to_owned())),
        system_version: kernel.and_then(tidy),
        app_version: Some(concat!("kuvert ", env!("CARGO_PKG_VERSION")).to_owned()),
        language: language.and_then(tidy),
        network: network(root).map(str::to_owned),
        simulated: Vec::new(),
    }
}

/// What a relay takes, or nothing.
fn tidy(text: String) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    is_valid_line(text, MAX_DEVICE_DETAIL_BYTES).then(|| text.to_owned())
}

/// <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
fn system(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("etc/os-release")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    tidy(name.trim_matches('"').to_owned())
}

/// `wireless` or `wired`, as the interfaces that are up say; those that no hardware stands behind do not count.
fn network(root: &Path) -> Option<&'static str> {
    let up = |path: &Path| fs::read_to_string(path.join("operstate")).is_ok_and(|state| state.trim() == "up");
    let interfaces: Vec<_> = fs::read_dir(root.join("sys/class/net"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| up(path) && path.join("device").exists())
        .collect();
    if interfaces.iter().any(|path| path.join("wireless").exists()) {
        return Some("wireless");
    }
    (!interfaces.is_empty()).then_some("wired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_its_files() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/class/dmi/id/product_name", "ThinkPad X1\n");
        put("proc/sys/kernel/osrelease", "6.12.1\n");
        put("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n");
        put("sys/class/net/lo/operstate", "unknown\n");
        put("sys/class/net/eth0/operstate", "down\n");
        put("sys/class/net/eth0/device/x", "");
        put("sys/class/net/wlan0/operstate", "up\n");
        put("sys/class/net/wlan0/device/x", "");
        assert_eq!(read(root.path(), None).network.as_deref(), Some("wired"));
        put("sys/class/net/wlan0/wireless/x", "");
        let found = read(root.path(), Some("de_DE.UTF-8".into()));
        let text = |part: Option<String>| part.unwrap();
        assert_eq!(text(found.model), "ThinkPad X1");
        assert_eq!(text(found.system), "Debian GNU/Linux 13");
        assert_eq!(text(found.system_version), format!("6.12.1 {}", std::env::consts::ARCH));
        assert_eq!((text(found.language), text(found.network)), ("de_DE.UTF-8".into(), "wireless".into()));
        assert!(text(found.app_version).starts_with("kuvert 0."));
    }

    #[test]
    fn what_is_not_there_is_not_told() {
        let root = tempfile::tempdir().unwrap();
        let found = read(root.path(), Some("a\nb".into()));
        assert_eq!((found.model, found.system_version, found.language, found.network), (None, None, None, None));
        assert_eq!(found.system.as_deref(), Some(std::env::consts::OS));
    }
}
