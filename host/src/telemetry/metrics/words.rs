//! The words that labels may have: closed sets, so that the number of series is known.
//!
//! Each word has a place in its `ALL`, which is its number: handles stand in an array in that order.

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheState {
    /// It was kept.
    Hit,
    /// The plugin ran, and what it said may be kept.
    Miss,
    /// Another request's run gave it.
    Coalesced,
    /// The plugin ran, and the target keeps nothing.
    None,
}

/// How a plugin's request to an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressOutcome {
    /// The upstream answered, whatever the status.
    Answered,
    /// The request is wrong as it stands.
    Invalid,
    /// No grant covers it.
    Denied,
    /// The credential does not fit.
    Credential,
    /// The name does not resolve.
    Dns,
    /// Nobody answers there.
    Connect,
    /// The peer is not who it should be.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// The answer is too long.
    TooLarge,
    /// The connection broke, or what came is no HTTP.
    Protocol,
    /// The call had used up its requests.
    TooMany,
}

/// How a plugin's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// With an answer.
    Answered,
    /// With an error of its own choice.
    Refused,
    /// It was still running at `timeout_ms`.
    Timeout,
    /// It computed for longer than `cpu_time_ms`.
    CpuTime,
    /// It died after it was refused memory, `memory_bytes`.
    Memory,
    /// It died after it was refused elements, `table_elements`.
    TableElements,
    /// It has more core instances than `instances`.
    Instances,
    /// It gave the gateway more than `host_call_bytes` at once.
    HostCallBytes,
    /// It held more resources than `handles`.
    Handles,
    /// It called itself too deep.
    Stack,
    /// It crashed for another reason.
    Trap,
    /// Its answer is longer than `response_bytes`.
    ResponseBytes,
    /// Its answer is deeper than `response_depth`.
    ResponseDepth,
    /// Its answer is none that every guest reads.
    BadAnswer,
}

/// How an operation of a plugin on its state ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateOutcome {
    /// It was done.
    Done,
    /// The key was at another revision.
    Conflict,
    /// The key cannot be one.
    InvalidKey,
    /// The target's quota has no room for it.
    Quota,
    /// The store failed, or was too slow.
    Unavailable,
    /// The target has no state.
    Denied,
}

/// What a plugin was told that looked something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookUpOutcome {
    /// What was found, or not found, before.
    Cached,
    /// What the service says now.
    Answered,
    /// That there is no such thing.
    NotFound,
    /// The service gave no answer, and what was found before still counts.
    Stale,
    /// That the service gave no answer.
    Unavailable,
    /// That the gateway's account may not see it.
    Forbidden,
    /// That its target may not look it up.
    NotGranted,
    /// That there is no such thing, since no service gives such an id.
    Invalid,
    /// That the call had used up its look-ups.
    TooMany,
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// It was known to be good.
    Cached,
    /// It was checked, and is good.
    Accepted,
    /// It is invalid or expired.
    Rejected,
    /// It is good, and whose it is may not ask.
    WrongCaller,
    /// Keystone gave no answer.
    Unreachable,
    /// Keystone gave no answer, and what was known of the token before still counts.
    Grace,
    /// Its signature was checked here, and is wrong.
    OfflineRejected,
    /// Too many tokens were being checked.
    Busy,
}

impl CacheState {
    pub(super) const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Coalesced, Self::None];

    /// The word in the label, and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Coalesced => "coalesced",
            Self::None => "none",
        }
    }
}

impl EgressOutcome {
    pub(super) const ALL: [Self; 11] = [
        Self::Answered,
        Self::Invalid,
        Self::Denied,
        Self::Credential,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::TooLarge,
        Self::Protocol,
        Self::TooMany,
    ];

    /// The word in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Credential => "credential",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::TooMany => "too_many",
        }
    }

    pub(super) fn was_tried(self) -> bool {
        !matches!(
            self,
            Self::Invalid | Self::Denied | Self::Credential | Self::TooMany
        )
    }
}

impl RunOutcome {
    pub(super) const ALL: [Self; 14] = [
        Self::Answered,
        Self::Refused,
        Self::Timeout,
        Self::CpuTime,
        Self::Memory,
        Self::TableElements,
        Self::Instances,
        Self::HostCallBytes,
        Self::Handles,
        Self::Stack,
        Self::Trap,
        Self::ResponseBytes,
        Self::ResponseDepth,
        Self::BadAnswer,
    ];

    /// The word in the label, in the log and in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::CpuTime => "cpu_time",
            Self::Memory => "memory",
            Self::TableElements => "table_elements",
            Self::Instances => "instances",
            Self::HostCallBytes => "host_call_bytes",
            Self::Handles => "handles",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::ResponseBytes => "response_bytes",
            Self::ResponseDepth => "response_depth",
            Self::BadAnswer => "bad_answer",
        }
    }

    /// Whether the guest was gone in the midst of it.
    pub(super) fn is_crash(self) -> bool {
        matches!(
            self,
            Self::Memory
                | Self::TableElements
                | Self::Instances
                | Self::HostCallBytes
                | Self::Handles
                | Self::Stack
                | Self::Trap
        )
    }
}

impl StateOutcome {
    pub(super) const ALL: [Self; 6] = [
        Self::Done,
        Self::Conflict,
        Self::InvalidKey,
        Self::Quota,
        Self::Unavailable,
        Self::Denied,
    ];

    /// The word in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::InvalidKey => "invalid_key",
            Self::Quota => "quota",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
        }
    }
}

impl LookUpOutcome {
    pub(super) const ALL: [Self; 9] = [
        Self::Cached,
        Self::Answered,
        Self::NotFound,
        Self::Stale,
        Self::Unavailable,
        Self::Forbidden,
        Self::NotGranted,
        Self::Invalid,
        Self::TooMany,
    ];

    /// The word in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Answered => "answered",
            Self::NotFound => "not_found",
            Self::Stale => "stale",
            Self::Unavailable => "unavailable",
            Self::Forbidden => "forbidden",
            Self::NotGranted => "not_granted",
            Self::Invalid => "invalid",
            Self::TooMany => "too_many",
        }
    }
}

impl Validation {
    pub(super) const ALL: [Self; 8] = [
        Self::Cached,
        Self::Accepted,
        Self::Rejected,
        Self::WrongCaller,
        Self::Unreachable,
        Self::Grace,
        Self::OfflineRejected,
        Self::Busy,
    ];

    /// The word in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::WrongCaller => "wrong_caller",
            Self::Unreachable => "unreachable",
            Self::Grace => "grace",
            Self::OfflineRejected => "offline_rejected",
            Self::Busy => "busy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_stands_at_its_own_place() {
        for (index, state) in CacheState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
        for (index, outcome) in EgressOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, outcome) in RunOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, outcome) in StateOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, outcome) in LookUpOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, outcome) in Validation::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
