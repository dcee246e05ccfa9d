//! Accounts, and the tokens that were issued to them.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use super::Bearer;
use super::time::isoformat;

/// Who may log in, and to what.
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) project: String,
    pub(super) roles: Vec<String>,
}

/// What an id is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    User,
    Project,
    Role,
}

#[derive(Clone)]
pub(super) struct Token {
    pub(super) roles: BTreeSet<String>,
    user: String,
    project: String,
    audit_id: String,
    issued_at: SystemTime,
    expires_at: SystemTime,
}

#[derive(Default)]
pub(super) struct Tokens {
    accounts: Vec<Account>,
    issued: HashMap<String, Token>,
    ids: HashMap<(Kind, String), String>,
}

/// Keystone's own default.
const LIFE: Duration = Duration::from_secs(3600);

impl Tokens {
    pub(super) fn add_account(&mut self, account: Account) {
        self.accounts.push(account);
    }

    pub(super) fn forget_password(&mut self, user: &str, password: &str) {
        self.accounts
            .retain(|account| account.user != user || account.password != password);
    }

    pub(super) fn id_of(&mut self, kind: Kind, name: &str) -> String {
        let key = (kind, name.to_owned());
        let id = self.ids.entry(key);
        id.or_insert_with(|| Uuid::new_v4().simple().to_string())
            .clone()
    }

    /// The token, when user and project are given by name or by id, and all is right.
    pub(super) fn log_in(&mut self, user: &str, password: &str, project: &str) -> Option<String> {
        let (user, project) = (
            self.name_of(Kind::User, user),
            self.name_of(Kind::Project, project),
        );
        let account = self.accounts.iter().find(|account| {
            account.user == user && account.password == password && account.project == project
        })?;
        let roles = account.roles.clone();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        Some(self.issue(&user, &project, &roles, LIFE))
    }

    pub(super) fn issue(
        &mut self,
        user: &str,
        project: &str,
        roles: &[&str],
        ttl: Duration,
    ) -> String {
        let now = SystemTime::now();
        let text = text();
        let token = Token {
            roles: expanded(roles),
            user: user.to_owned(),
            project: project.to_owned(),
            audit_id: Uuid::new_v4().simple().to_string()[..22].to_owned(),
            issued_at: now,
            expires_at: now + ttl,
        };
        self.issued.insert(text.clone(), token);
        text
    }

    pub(super) fn revoke(&mut self, token: &str) {
        self.issued.remove(token);
    }

    pub(super) fn revoke_all_of(&mut self, user: &str) {
        self.issued.retain(|_, token| token.user != user);
    }

    /// A token that is still worth something.
    pub(super) fn valid(&self, token: &str) -> Option<Token> {
        let token = self.issued.get(token)?;
        (SystemTime::now() < token.expires_at).then(|| token.clone())
    }

    /// Whose it is.
    pub(super) fn bearer(&mut self, token: &Token) -> Bearer {
        Bearer {
            project_id: self.id_of(Kind::Project, &token.project),
            user_id: self.id_of(Kind::User, &token.user),
            is_admin: token.roles.contains("admin"),
        }
    }

    /// The name of the project with this id.
    pub(super) fn project_name(&self, id: &str) -> Option<String> {
        let mut ids = self.ids.iter();
        ids.find(|(key, known)| key.0 == Kind::Project && *known == id)
            .map(|((_, name), _)| name.clone())
    }

    /// A token as both a log-in and a validation answer it.
    pub(super) fn describe(&mut self, token: &Token, with_catalog: bool) -> Value {
        let domain = json!({ "id": "default", "name": "Default" });
        let roles: Vec<Value> = token
            .roles
            .iter()
            .map(|role| json!({ "id": self.id_of(Kind::Role, role), "name": role }))
            .collect();
        let mut body = json!({
            "methods": ["password"],
            "user": {
                "id": self.id_of(Kind::User, &token.user),
                "name": token.user,
                "domain": domain,
                "password_expires_at": null,
            },
            "audit_ids": [token.audit_id],
            "expires_at": isoformat(token.expires_at),
            "issued_at": isoformat(token.issued_at),
            "project": {
                "id": self.id_of(Kind::Project, &token.project),
                "name": token.project,
                "domain": domain,
            },
            "is_domain": false,
            "roles": roles,
        });
        if with_catalog {
            body["catalog"] = json!([]);
        }
        json!({ "token": body })
    }

    fn name_of(&self, kind: Kind, name_or_id: &str) -> String {
        let by_id = self
            .ids
            .iter()
            .find(|(key, id)| key.0 == kind && *id == name_or_id);
        by_id.map_or_else(|| name_or_id.to_owned(), |((_, name), _)| name.clone())
    }
}

/// As long as a Fernet token, and as unlike a UUID.
fn text() -> String {
    let mut text = "gAAAAAB".to_owned();
    while text.len() < 183 {
        text += &Uuid::new_v4().simple().to_string();
    }
    text.truncate(183);
    text
}

/// Roles imply others, and a token shows them all.
fn expanded(roles: &[&str]) -> BTreeSet<String> {
    const LADDER: [&str; 4] = ["admin", "manager", "member", "reader"];
    let mut expanded = BTreeSet::new();
    for role in roles {
        expanded.insert((*role).to_owned());
        let implied = LADDER.iter().skip_while(|step| *step != role);
        expanded.extend(implied.map(|role| (*role).to_owned()));
    }
    expanded
}
