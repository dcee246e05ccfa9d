//! What cloud-init makes of YAML: what it cannot read, it drops, with one line in the guest's log that nobody sees.
//!
//! PyYAML reads YAML 1.1, and this parser 1.2 in PyYAML's manner; the checks on top are what PyYAML's safe loader refuses
//! further. An alias costs nothing here, but cloud-init writes what it has merged to a file with all aliases spelt out:
//! so it is the size without aliases that is bounded.

use granit_parser::{Event, Parser, ScalarStyle, Tag};

/// PyYAML is recursive; a guest has room for some hundred levels.
const DEEPEST: usize = 64;

/// Scalars, lists and mappings, each as often as it stands there when aliases are spelt out.
const MOST_NODES: usize = 100_000;

const NAMESPACE: &str = "tag:yaml.org,2002:";

/// Tags that PyYAML's safe loader knows.
const TAGS: [&str; 12] = [
    "null",
    "bool",
    "int",
    "float",
    "binary",
    "timestamp",
    "omap",
    "pairs",
    "set",
    "str",
    "seq",
    "map",
];

/// A value in YAML, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing, in one of its spellings.
    Null,
    /// Any other scalar, as text.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping. A key that stands there twice is there twice; to PyYAML the last one counts.
    Mapping(Vec<(String, Node)>),
    /// What stands elsewhere.
    Alias,
}

/// Why cloud-init would not read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// A list or a mapping that is not at its end.
struct Open {
    /// Of a mapping; one that has no value yet is at the end of it.
    keys: Option<Vec<String>>,
    values: Vec<Node>,
    anchor: usize,
    nodes: usize,
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node, Error> {
    let mut reader = Reader {
        open: Vec::new(),
        sizes: Vec::new(),
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            // The parser's text may repeat the content, which may hold a secret.
            let marker = error.marker();
            Error(format!(
                "it is not YAML: the fault is at line {}, column {}",
                marker.line(),
                marker.col() + 1
            ))
        })?;
        reader
            .take(event)
            .map_err(|fault| Error(format!("line {}: {fault}", span.start.line())))?;
    }
    Ok(reader.root.unwrap_or(Node::Null))
}

struct Reader {
    open: Vec<Open>,
    /// How many nodes an anchor stands for, by its number.
    sizes: Vec<Option<usize>>,
    root: Option<Node>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err("a second document begins".to_owned())
            }
            Event::Scalar(text, style, anchor, tag) => {
                known(tag.as_deref())?;
                let node = if is_null(&text, style, tag.as_deref()) {
                    Node::Null
                } else {
                    Node::Scalar(text.into_owned())
                };
                self.note(anchor, 1);
                self.add(node, 1)
            }
            Event::Alias(anchor) => {
                let size = self.sizes.get(anchor).copied().flatten();
                let size = size.ok_or("an alias stands inside of what it stands for")?;
                self.add(Node::Alias, size)
            }
            Event::SequenceStart(_, anchor, tag) => {
                known(tag.as_deref())?;
                self.begin(None, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                known(tag.as_deref())?;
                self.begin(Some(Vec::new()), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(());
                };
                self.note(open.anchor, open.nodes);
                let node = match open.keys {
                    Some(keys) => Node::Mapping(keys.into_iter().zip(open.values).collect()),
                    None => Node::List(open.values),
                };
                self.add(node, open.nodes)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, keys: Option<Vec<String>>, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEEPEST {
            return Err(format!("nested deeper than {DEEPEST}"));
        }
        if self.awaits_key() {
            return Err("a key is a list or a mapping, which Python takes for no key".to_owned());
        }
        self.open.push(Open {
            keys,
            values: Vec::new(),
            anchor,
            nodes: 1,
        });
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        let innermost = self.open.last();
        innermost.is_some_and(|open| {
            let keys = open.keys.as_ref();
            keys.is_some_and(|keys| keys.len() == open.values.len())
        })
    }

    fn add(&mut self, node: Node, nodes: usize) -> Result<(), String> {
        let awaits_key = self.awaits_key();
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes = open.nodes.saturating_add(nodes);
        if open.nodes > MOST_NODES {
            return Err(format!(
                "more than {MOST_NODES} values when aliases are spelt out"
            ));
        }
        match (&mut open.keys, node) {
            (Some(keys), Node::Scalar(text)) if awaits_key => keys.push(text),
            (Some(keys), Node::Null) if awaits_key => keys.push("null".to_owned()),
            (Some(_), _) if awaits_key => return Err("a key is an alias".to_owned()),
            (_, node) => open.values.push(node),
        }
        Ok(())
    }

    fn note(&mut self, anchor: usize, nodes: usize) {
        if anchor == 0 {
            return;
        }
        if self.sizes.len() <= anchor {
            self.sizes.resize(anchor + 1, None);
        }
        self.sizes[anchor] = Some(nodes);
    }
}

fn known(tag: Option<&Tag>) -> Result<(), String> {
    let Some(tag) = tag else { return Ok(()) };
    let suffix = tag.suffix_in_namespace(NAMESPACE);
    // `!` alone says "not what it looks like", and is no tag of its own.
    let plain = tag.parts() == ("", "!") || tag.parts() == ("!", "");
    if plain || suffix.is_some_and(|suffix| TAGS.contains(&&*suffix)) {
        Ok(())
    } else {
        Err("a tag that cloud-init does not know".to_owned())
    }
}

fn is_null(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    match tag {
        Some(tag) => tag.core_suffix() == Some("null"),
        None => style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        read(text).expect_err("PyYAML refuses it").to_string()
    }

    #[test]
    fn keys_and_values_are_there() {
        let text = "a: [1, x]\nb: ~\nc: {d: ''}\n? e\n: !!str null\n\"f\": &x yes\ng: *x\n<<: *x\n";
        let scalar = |text: &str| Node::Scalar(text.to_owned());
        let members = [
            ("a", Node::List(vec![scalar("1"), scalar("x")])),
            ("b", Node::Null),
            ("c", Node::Mapping(vec![("d".to_owned(), scalar(""))])),
            ("e", scalar("null")),
            ("f", scalar("yes")),
            ("g", Node::Alias),
            ("<<", Node::Alias),
        ];
        let members = members.map(|(key, node)| (key.to_owned(), node)).to_vec();

        assert_eq!(read(text), Ok(Node::Mapping(members)));
        assert_eq!(read("#cloud-config\n"), Ok(Node::Null));
    }

    #[test]
    fn what_pyyaml_refuses_is_refused_with_its_line_and_without_its_content() {
        insta::assert_snapshot!(fault("a: hunter2: b\n"), @"it is not YAML: the fault is at line 1, column 11");
        insta::assert_snapshot!(fault("a: [1, hunter2\nb: 2\n"), @"it is not YAML: the fault is at line 2, column 2");
        insta::assert_snapshot!(fault("a: b\n---\nc: d\n"), @"line 2: a second document begins");
        insta::assert_snapshot!(fault("a: !vault hunter2\n"), @"line 1: a tag that cloud-init does not know");
        insta::assert_snapshot!(fault("a: !!python/object/apply:os.system [id]\n"), @"line 1: a tag that cloud-init does not know");
        insta::assert_snapshot!(fault("a: 1\n[b]: c\n"), @"line 2: a key is a list or a mapping, which Python takes for no key");
        insta::assert_snapshot!(fault("a: &x 1\n*x : c\n"), @"line 2: a key is an alias");
        insta::assert_snapshot!(fault("a: *nowhere\n"), @"it is not YAML: the fault is at line 1, column 4");
        insta::assert_snapshot!(fault("a: &x [*x]\n"), @"line 1: an alias stands inside of what it stands for");
    }

    #[test]
    fn nothing_grows_beyond_bounds() {
        let deep = |levels| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&deep(DEEPEST - 1)).is_ok());
        assert_eq!(fault(&deep(DEEPEST)), "line 1: nested deeper than 64");
        // The parser has a limit of its own.
        assert!(read(&deep(100_000)).is_err());

        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert!(fault(&bomb).ends_with("more than 100000 values when aliases are spelt out"));
    }
}
