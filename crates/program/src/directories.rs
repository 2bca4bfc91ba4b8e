//! Where a user's data are kept, as the XDG Base Directory Specification says.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The user's data directory: `XDG_DATA_HOME` where that is an absolute path, else `.local/share` in the home directory. None where
/// there is no home directory.
pub fn data() -> Option<PathBuf> {
    chosen(env::var_os("XDG_DATA_HOME"), env::home_dir())
}

fn chosen(named: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let named = named.map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| home.filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".local/share")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_ignored_as_the_specification_says() {
        let chosen = |named: Option<&str>, home: Option<&str>| chosen(named.map(Into::into), home.map(Into::into));
        assert_eq!(chosen(Some("/data"), Some("/home/a")), Some("/data".into()));
        for named in [None, Some(""), Some("data")] {
            assert_eq!(chosen(named, Some("/home/a")), Some("/home/a/.local/share".into()), "{named:?}");
        }
        assert_eq!(chosen(None, None), None);
        assert_eq!(chosen(None, Some("")), None);
    }
}
