//! `breaker` of a target: when a plugin that fails again and again is given a pause.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// When the breaker trips, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Calls for as many instances have to fail, and none in between may succeed.
    pub faults: NonZeroU32,
    /// They have to do so within this time.
    pub window_ms: NonZeroU32,
    /// How long the plugin is not called then. Each call that fails on trial doubles it.
    pub pause_ms: NonZeroU32,
    /// The longest that it becomes.
    pub longest_pause_ms: NonZeroU32,
}

impl Default for Breaker {
    fn default() -> Self {
        const fn whole(number: u32) -> NonZeroU32 {
            NonZeroU32::new(number).expect("not zero")
        }
        Self {
            faults: const { whole(5) },
            window_ms: const { whole(60_000) },
            pause_ms: const { whole(1_000) },
            longest_pause_ms: const { whole(60_000) },
        }
    }
}

impl Breaker {
    /// Reads a table; or `false`, for a target that is to have none.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self>, D::Error> {
        struct Table;

        impl<'de> Visitor<'de> for Table {
            type Value = Option<Breaker>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("false, or a table with `faults`, `window_ms` and `pause_ms`")
            }

            fn visit_bool<E: Error>(self, wanted: bool) -> Result<Option<Breaker>, E> {
                Ok(wanted.then(Breaker::default))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Option<Breaker>, A::Error> {
                Breaker::deserialize(MapAccessDeserializer::new(table)).map(Some)
            }
        }

        deserializer.deserialize_any(Table)
    }

    /// That of a target whose table says nothing.
    pub(super) fn usual() -> Option<Self> {
        Some(Self::default())
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            faults,
            window_ms,
            pause_ms,
            longest_pause_ms,
        } = self;
        write!(
            formatter,
            "{faults} faults in {window_ms} ms pause it for {pause_ms} to {longest_pause_ms} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Target {
        #[serde(default = "Breaker::usual", deserialize_with = "Breaker::read")]
        breaker: Option<Breaker>,
    }

    fn read(text: &str) -> Result<Option<Breaker>, String> {
        toml::from_str::<Target>(text)
            .map(|target| target.breaker)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_breaker_is_on_unless_switched_off_and_may_be_set_in_part() {
        let usual = Breaker::default();
        assert_eq!(read(""), Ok(Some(usual)));
        assert_eq!(read("breaker = true"), Ok(Some(usual)));
        assert_eq!(read("breaker = false"), Ok(None));
        let patient = Breaker {
            faults: const { NonZeroU32::new(20).expect("not zero") },
            ..usual
        };
        assert_eq!(read("breaker = { faults = 20 }"), Ok(Some(patient)));
    }

    #[test]
    fn what_is_no_breaker_is_refused() {
        insta::assert_snapshot!(
            read("breaker = 5").expect_err("a number"),
            @"invalid type: integer `5`, expected false, or a table with `faults`, `window_ms` and `pause_ms`"
        );
        for wrong in ["breaker = { faults = 0 }", "breaker = { pause = 1 }"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
