//! What a token proves, and whether that is enough.

use std::fmt;

use crate::config::{Policy, Reference};

/// A good token, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub user: Named,
    /// What it is scoped to; none for an unscoped token.
    pub project: Option<Named>,
    /// The names of its roles there; none where keystone was not asked.
    pub roles: Vec<String>,
}

/// A user or a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Unique.
    pub id: String,
    /// Unique in its domain; none where keystone was not asked.
    pub name: Option<InDomain>,
}

/// A name with its domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InDomain {
    /// The name.
    pub name: String,
    /// The domain's name.
    pub domain_name: String,
    /// The domain's id.
    pub domain_id: String,
}

impl Token {
    /// Whether a policy lets it pass: any of the roles, and any of the projects, and any of the users.
    pub fn is_accepted(&self, policy: &Policy) -> bool {
        let role = policy
            .roles
            .as_ref()
            .is_none_or(|accepted| self.roles.iter().any(|role| accepted.contains(role)));
        let project = policy.projects.as_ref().is_none_or(|accepted| {
            let own = self.project.as_ref();
            own.is_some_and(|own| accepted.iter().any(|wanted| own.is(&wanted.0)))
        });
        let user = policy
            .users
            .as_ref()
            .is_none_or(|accepted| accepted.iter().any(|wanted| self.user.is(&wanted.0)));
        role && project && user
    }
}

impl Named {
    fn is(&self, wanted: &Reference) -> bool {
        match wanted {
            Reference::Id(id) => *id == self.id,
            Reference::Name { name, domain } => self.name.as_ref().is_some_and(|own| {
                *name == own.name && (*domain == own.domain_name || *domain == own.domain_id)
            }),
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "user {} with roles {:?} in project ",
            self.user, self.roles
        )?;
        match &self.project {
            Some(project) => project.fmt(formatter),
            None => formatter.write_str("(none)"),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(own) => write!(
                formatter,
                "{} of domain {} ({})",
                own.name, own.domain_name, self.id
            ),
            None => formatter.write_str(&self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Project, User};

    fn named(id: &str, name: &str, domain: &str) -> Named {
        Named {
            id: id.to_owned(),
            name: Some(InDomain {
                name: name.to_owned(),
                domain_name: domain.to_owned(),
                domain_id: domain.to_lowercase(),
            }),
        }
    }

    fn token(role: &str, project: Option<Named>) -> Token {
        Token {
            user: named("u1", "nova", "Default"),
            project,
            roles: vec!["reader".to_owned(), role.to_owned()],
        }
    }

    fn by_name(name: &str, domain: &str) -> Reference {
        Reference::Name {
            name: name.to_owned(),
            domain: domain.to_owned(),
        }
    }

    #[test]
    fn by_default_a_token_passes_with_role_service_in_project_service_of_the_default_domain_only() {
        let policy = Policy::of_services();
        let passes = |role, project| token(role, project).is_accepted(&policy);

        assert!(passes("service", Some(named("p1", "service", "Default"))));
        assert!(!passes("member", Some(named("p1", "service", "Default"))));
        assert!(!passes("admin", Some(named("p2", "demo", "Default"))));
        assert!(!passes("service", Some(named("p2", "demo", "Default"))));
        assert!(
            !passes("service", Some(named("p3", "service", "Tenants"))),
            "a domain's owner names projects as he likes"
        );
        assert!(!passes("service", None));
    }

    #[test]
    fn projects_and_users_are_told_by_id_or_by_name_and_domain() {
        let scoped = token("admin", Some(named("p9", "any", "Any")));
        let unnamed = Token {
            user: Named {
                id: "u1".to_owned(),
                name: None,
            },
            project: None,
            roles: Vec::new(),
        };
        let projects = |reference| Policy {
            projects: Some(vec![Project(reference)]),
            ..Policy::default()
        };
        let users = |reference| Policy {
            users: Some(vec![User(reference)]),
            ..Policy::default()
        };

        assert!(scoped.is_accepted(&projects(Reference::Id("p9".to_owned()))));
        assert!(!scoped.is_accepted(&projects(Reference::Id("any".to_owned()))));
        assert!(scoped.is_accepted(&projects(by_name("any", "any"))));
        assert!(scoped.is_accepted(&users(by_name("nova", "Default"))));
        assert!(!scoped.is_accepted(&users(by_name("nova", "Any"))));
        assert!(unnamed.is_accepted(&users(Reference::Id("u1".to_owned()))));
        assert!(!unnamed.is_accepted(&users(by_name("nova", "Default"))));
        assert!(!unnamed.is_accepted(&projects(Reference::Id("p9".to_owned()))));
    }

    #[test]
    fn all_kinds_that_are_listed_must_pass() {
        let policy = Policy {
            roles: Some(vec!["admin".to_owned()]),
            projects: Some(vec![Project(Reference::Id("p9".to_owned()))]),
            users: Some(vec![User(Reference::Id("u1".to_owned()))]),
        };
        let good = token("admin", Some(named("p9", "any", "Any")));
        let mut other_user = good.clone();
        other_user.user.id = "u2".to_owned();
        let mut no_role = good.clone();
        no_role.roles.clear();

        assert!(good.is_accepted(&policy));
        assert!(!other_user.is_accepted(&policy));
        assert!(!no_role.is_accepted(&policy));
    }
}
