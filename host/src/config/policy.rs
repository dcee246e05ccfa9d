//! Whose tokens are good: `[keystone.accept]`, and a target's own `accept`.

use serde::Deserialize;

use super::{Document, Fault};

/// A token passes with any of the roles, *and* any of the projects, *and* any of the users. A role's name alone
/// proves nothing: whoever is admin of any project holds it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Names of roles, one of which the token must hold; `service` when absent.
    pub roles: Option<Vec<String>>,
    /// Projects, one of which the token must be scoped to; `service` of domain `Default` when absent.
    pub projects: Option<Vec<Project>>,
    /// Users, one of whom the token must belong to; any when absent.
    pub users: Option<Vec<User>>,
}

/// A project, by id or by name and domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Keys")]
pub struct Project(pub Reference);

/// A user, by id or by name and domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, try_from = "Keys")]
pub struct User(pub Reference);

/// How keystone's things are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By id.
    Id(String),
    /// By name, which is unique in a domain only.
    Name {
        /// The name.
        name: String,
        /// Its domain, by name or id.
        domain: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    id: Option<String>,
    name: Option<String>,
    domain: Option<String>,
}

impl Policy {
    /// What a policy is where nothing is said: nova's own service user, as every deployment tool makes it.
    pub fn of_services() -> Self {
        let service = Reference::Name {
            name: "service".to_owned(),
            domain: default_domain(),
        };
        Self {
            roles: Some(vec!["service".to_owned()]),
            projects: Some(vec![Project(service)]),
            users: None,
        }
    }

    /// With what is absent taken from another.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            roles: self.roles.clone().or_else(|| other.roles.clone()),
            projects: self.projects.clone().or_else(|| other.projects.clone()),
            users: self.users.clone().or_else(|| other.users.clone()),
        }
    }

    /// What can be said of one policy alone. Without keystone (`offline`) a token tells ids, and nothing else.
    pub(super) fn check(&self, at: &[&str], offline: bool, document: &Document) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: &str| {
            faults.push(document.fault(&[at, &[key]].concat(), message));
        };
        let nobody = "an empty list lets nobody in";
        let names = |reference: &Reference| matches!(reference, Reference::Name { .. });
        if let Some(roles) = &self.roles {
            if roles.is_empty() {
                fault("roles", nobody);
            }
            if offline {
                fault(
                    "roles",
                    "a token that keystone is not asked about tells no roles (mode = \"only\"): list `users`",
                );
            }
        }
        let ids = "a token that keystone is not asked about tells ids, not names (mode = \"only\"): \
                   write `{ id = \"...\" }`";
        if let Some(projects) = &self.projects {
            if projects.is_empty() {
                fault("projects", nobody);
            }
            if offline && projects.iter().any(|project| names(&project.0)) {
                fault("projects", ids);
            }
        }
        if let Some(users) = &self.users {
            if users.is_empty() {
                fault("users", nobody);
            }
            if offline && users.iter().any(|user| names(&user.0)) {
                fault("users", ids);
            }
        }
        faults
    }
}

impl TryFrom<Keys> for Reference {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, &'static str> {
        match (keys.id, keys.name, keys.domain) {
            (Some(id), None, None) => Ok(Self::Id(id)),
            (None, Some(name), domain) => Ok(Self::Name {
                name,
                domain: domain.unwrap_or_else(default_domain),
            }),
            _ => Err("write `{ id = \"...\" }` or `{ name = \"...\", domain = \"...\" }`"),
        }
    }
}

impl TryFrom<Keys> for Project {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, &'static str> {
        Reference::try_from(keys).map(Self)
    }
}

impl TryFrom<Keys> for User {
    type Error = &'static str;

    fn try_from(keys: Keys) -> Result<Self, &'static str> {
        Reference::try_from(keys).map(Self)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(formatter, "{id}"),
            Self::Name { name, domain } => write!(formatter, "{name} of domain {domain}"),
        }
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(roles) = &self.roles {
            parts.push(format!("any of the roles {}", roles.join(", ")));
        }
        if let Some(projects) = &self.projects {
            let projects: Vec<String> = projects.iter().map(|one| one.0.to_string()).collect();
            parts.push(format!("any of the projects {}", projects.join(", ")));
        }
        if let Some(users) = &self.users {
            let users: Vec<String> = users.iter().map(|one| one.0.to_string()).collect();
            parts.push(format!("any of the users {}", users.join(", ")));
        }
        formatter.write_str(&parts.join(" and "))
    }
}

fn default_domain() -> String {
    "Default".to_owned()
}
