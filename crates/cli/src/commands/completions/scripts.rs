//! What is added to the scripts that `clap_complete` makes, so that names of contacts are completed.
//!
//! An argument that takes a contact has the hint [`ValueHint::Username`]: there is no hint for a name of one's own.

use clap::{Arg, Command, ValueHint};

/// Whether an argument takes a contact.
fn takes_contact(arg: &Arg) -> bool {
    arg.get_value_hint() == ValueHint::Username
}

/// The commands whose first argument is a contact, each as the words that name it.
fn commands_with_contact(command: &Command) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut path = Vec::new();
    visit(command, &mut path, &mut |path, command| {
        if command.get_positionals().next().is_some_and(takes_contact) {
            found.push(path.to_vec());
        }
    });
    found
}

fn visit(command: &Command, path: &mut Vec<String>, each: &mut impl FnMut(&[String], &Command)) {
    each(path, command);
    for below in command.get_subcommands() {
        path.push(below.get_name().to_owned());
        visit(below, path, each);
        path.pop();
    }
}

/// The spellings of options: those that take a value, or of these those that take a contact.
fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    visit(command, &mut Vec::new(), &mut |_, command| {
        for option in command.get_opts().filter(|option| wanted(option)) {
            let long = option.get_long_and_visible_aliases().into_iter().flatten().map(|long| format!("--{long}"));
            let short = option.get_short_and_visible_aliases().into_iter().flatten().map(|short| format!("-{short}"));
            found.extend(long.chain(short));
        }
    });
    found.sort();
    found.dedup();
    found
}

/// Patterns of a shell's `case`.
fn patterns(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join("|")
}

/// Bash puts what is completed into the line as it is: it is quoted here. What the user began to quote is left alone.
pub fn bash(script: String, command: &Command) -> String {
    let words: Vec<String> = {
        let mut words = Vec::new();
        visit(command, &mut Vec::new(), &mut |path, _| words.push(path.join(" ")));
        words.into_iter().filter(|path| !path.is_empty()).collect()
    };
    let contacts: Vec<String> = commands_with_contact(command).iter().map(|path| path.join(" ")).collect();
    let with_value = patterns(&options(command, |_| true));
    let of_contact = patterns(&options(command, takes_contact));
    let (words, contacts) = (patterns(&words), patterns(&contacts));
    script
        + &format!(
            r#"
_kuvert_contacts() {{
    local typed="${{1//\\/}}" name quoted
    COMPREPLY=()
    case "$1" in \'*|\"*|\$*) return;; esac
    while IFS= read -r name; do
        if [[ "${{name:0:${{#typed}}}}" == "$typed" ]]; then
            printf -v quoted '%q' "$name"
            COMPREPLY+=("$quoted")
        fi
    done < <(kuvert __contacts "${{@:2}}" 2>/dev/null)
}}

_kuvert_or_contacts() {{
    local path="" before="" word places=0 at
    local -a home=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${{COMP_WORDS[at]}}"
        [[ "$word" == "=" ]] && continue
        case "$before" in
            --home) home=("${{word//\\/}}"); home=("${{home[0]/#\~/$HOME}}"); before=""; continue;;
            {with_value}) before=""; continue;;
        esac
        before="$word"
        case "$word" in -*) continue;; esac
        case "${{path:+$path }}$word" in
            {words}) if ((places == 0)); then path="${{path:+$path }}$word"; continue; fi;;
        esac
        ((places++))
    done
    word="${{COMP_WORDS[COMP_CWORD]}}"
    case "$before" in {of_contact}) _kuvert_contacts "$word" "${{home[@]}}"; return;; {with_value}) _kuvert "$@"; return;; esac
    case "$word" in -*) _kuvert "$@"; return;; esac
    if ((places == 0)); then
        case "$path" in {contacts}) _kuvert_contacts "$word" "${{home[@]}}"; return;; esac
    fi
    _kuvert "$@"
}}

complete -F _kuvert_or_contacts -o bashdefault -o default kuvert
"#
        )
}

/// Zsh quotes what is completed by itself.
pub fn zsh(script: &str) -> String {
    const FUNCTION: &str = r#"
_kuvert_contacts() {
    local -a names
    local home="${opt_args[--home]}"
    names=("${(@f)$(command kuvert __contacts ${home:+${~${(Q)home}}} 2>/dev/null)}")
    names=("${(@)names:#}")
    (( ${#names} )) && compadd -- "${names[@]}"
}
"#;
    let script = script.replace(":_users", ":_kuvert_contacts");
    // Before what runs when the script is loaded.
    match script.find("\n_kuvert() {") {
        Some(at) => format!("{}{FUNCTION}{}", &script[..at], &script[at..]),
        None => script,
    }
}

/// Fish quotes what is completed by itself.
pub fn fish(script: &str, command: &Command) -> String {
    let mut script = script.replace("(__fish_complete_users)", "(__kuvert_contacts)");
    script.push_str(
        r#"
function __kuvert_contacts
    set -l words (commandline -opc)
    set -l at (contains -i -- --home $words)
    if test -n "$at"; and test (count $words) -gt $at
        kuvert __contacts $words[(math $at + 1)] 2>/dev/null
    else
        kuvert __contacts 2>/dev/null
    end
end

"#,
    );
    for path in commands_with_contact(command) {
        let condition = match &path[..] {
            [command] => format!("__fish_kuvert_using_subcommand {command}"),
            [command, below] => {
                format!("__fish_kuvert_using_subcommand {command}; and __fish_seen_subcommand_from {below}")
            }
            _ => continue,
        };
        script.push_str(&format!("complete -c kuvert -n \"{condition}\" -f -a \"(__kuvert_contacts)\"\n"));
    }
    script
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn every_command_that_takes_a_contact_is_found_and_no_other() {
        let mut command = Args::command();
        command.build();
        let found: Vec<String> = commands_with_contact(&command).iter().map(|path| path.join(" ")).collect();
        let mut named = Vec::new();
        visit(&command, &mut Vec::new(), &mut |path, command| {
            let first = command.get_positionals().next();
            if first.is_some_and(|arg| arg.get_value_names().is_some_and(|names| names[0] == "WHO")) {
                named.push(path.join(" "));
            }
        });
        assert_eq!(found, named);
        assert!(found.contains(&"send".to_owned()) && found.contains(&"contact rename".to_owned()), "{found:?}");
        assert_eq!(options(&command, takes_contact), ["--with"]);
        // A hint of another kind would complete users of this machine.
        assert!(!zsh(&super::super::script(clap_complete::Shell::Zsh)).contains(":_users"));
        assert!(!super::super::script(clap_complete::Shell::Fish).contains("__fish_complete_users"));
    }
}
