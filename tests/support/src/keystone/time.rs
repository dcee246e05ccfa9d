//! Points in time as Python's isoformat writes them for keystone.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-20T11:21:16.000000Z`: keystone keeps whole seconds and writes the rest all the same.
pub(super) fn isoformat(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .expect("no test runs before 1970")
        .as_secs();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000000Z",
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60
    )
}

/// Year, month and day of the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let months = [
            31,
            if is_leap { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        for (index, length) in months.into_iter().enumerate() {
            if days < length {
                return (year, index + 1, days + 1);
            }
            days -= length;
        }
        year += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_keystone_writes_them() {
        let written = |seconds| isoformat(UNIX_EPOCH + Duration::from_secs(seconds));

        assert_eq!(written(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(written(1_795_173_676), "2026-11-20T11:21:16.000000Z");
        assert_eq!(written(4_107_542_399), "2100-02-28T23:59:59.000000Z");
        assert_eq!(written(4_107_542_400), "2100-03-01T00:00:00.000000Z");
    }
}
