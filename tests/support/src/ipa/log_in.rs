//! Log-ins and the sessions they give.
//!
//! The cookie is `ipa_session=MagBearerToken=...`, with a second `=` and with percent signs: a client
//! must send back what it got, byte by byte. Every answer renews it, as mod_session does, and older ones
//! go on until their session ends.

use std::collections::HashSet;

use uuid::Uuid;

use super::Ipa;

/// Why a log-in with the right password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The password must be changed first.
    PasswordExpired,
    /// The account is past its end.
    PrincipalExpired,
    /// Too many wrong passwords, or an administrator's doing.
    UserLocked,
    /// A policy forbids it.
    Denied,
}

impl Rejection {
    /// As in `X-IPA-Rejection-Reason`.
    fn reason(self) -> &'static str {
        match self {
            Self::PasswordExpired => "password-expired",
            Self::PrincipalExpired => "krbprincipal-expired",
            Self::UserLocked => "user-locked",
            Self::Denied => "denied",
        }
    }
}

/// One user's password, and the sessions there are.
pub(super) struct LogIns {
    pub(super) password: String,
    pub(super) rejection: Option<Rejection>,
    pub(super) attempts: usize,
    sessions: HashSet<String>,
    cookies: u64,
}

impl Default for LogIns {
    fn default() -> Self {
        Self {
            password: Ipa::PASSWORD.to_owned(),
            rejection: None,
            attempts: 0,
            sessions: HashSet::new(),
            cookies: 0,
        }
    }
}

impl LogIns {
    /// The `Set-Cookie` of a new session, or the reason why there is none.
    pub(super) fn log_in(&mut self, user: &str, password: &str) -> Result<String, &'static str> {
        self.attempts += 1;
        // FreeIPA tells nobody which of the two is wrong.
        if user != Ipa::USER || password != self.password {
            return Err("invalid-password");
        }
        if let Some(rejection) = self.rejection {
            return Err(rejection.reason());
        }
        let session = Uuid::new_v4().simple().to_string();
        let cookie = self.cookie(&session);
        self.sessions.insert(session);
        Ok(cookie)
    }

    /// The `Set-Cookie` that renews a session, when the request's `Cookie` belongs to one.
    pub(super) fn renew(&mut self, cookies: &str) -> Option<String> {
        let token = cookies
            .split(';')
            .find_map(|cookie| cookie.trim().strip_prefix("ipa_session=MagBearerToken="))?;
        let (session, serial) = token.split_once("%2f")?;
        let ours = serial.strip_suffix("%3d%3d")?.parse::<u64>().is_ok();
        let session = self.sessions.get(session).filter(|_| ours)?.clone();
        Some(self.cookie(&session))
    }

    pub(super) fn expire_sessions(&mut self) {
        self.sessions.clear();
    }

    fn cookie(&mut self, session: &str) -> String {
        self.cookies += 1;
        format!(
            "ipa_session=MagBearerToken={session}%2f{}%3d%3d; path=/ipa; httponly; secure; SameSite=strict",
            self.cookies
        )
    }
}
