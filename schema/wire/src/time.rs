//! Points in time: milliseconds since the Unix epoch, ISO 8601 UTC with milliseconds on the wire.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z. Order never depends on it (M3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// `9999-12-31T23:59:59.999Z`: what is later has no form that is read again.
const LAST_MS: u64 = 253_402_300_799_999;

impl Timestamp {
    /// This time plus `ms` milliseconds, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 when the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds since the epoch, as in JWT claims.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// `2026-03-01T09:30:00.000Z`.
    #[must_use]
    pub fn to_iso(self) -> String {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// Reads `YYYY-MM-DDTHH:MM[:SS[.fff]]` with `Z` or a numeric offset. `None` for anything else.
    #[must_use]
    pub fn from_iso(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = bytes.get(from..to)?;
            part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
        };
        let sep = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
        if !(sep(4, b'-') && sep(7, b'-') && (sep(10, b'T') || sep(10, b' ')) && sep(13, b':')) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute) = (number(11, 13)?, number(14, 16)?);
        let mut at = 16;
        let mut second = 0;
        let mut milli = 0;
        if sep(at, b':') {
            second = number(17, 19)?;
            at = 19;
            if sep(at, b'.') {
                let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
                if digits == 0 || digits > 9 {
                    return None;
                }
                let shown = digits.min(3);
                milli = number(at + 1, at + 1 + shown)? * [100, 10, 1][shown - 1];
                at += 1 + digits;
            }
        }
        let offset_minutes = match bytes.get(at..)? {
            b"Z" | b"z" => 0,
            rest if rest.len() == 6 && (rest[0] == b'+' || rest[0] == b'-') && rest[3] == b':' => {
                let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let total = hours * 60 + minutes;
                if rest[0] == b'-' { -total } else { total }
            }
            _ => return None,
        };
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        if day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let days = days_from_civil(year, month, day);
        let total = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60_000 + second * 1000 + milli;
        u64::try_from(total).ok().filter(|ms| *ms <= LAST_MS).map(Self)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a civil date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// The civil date of a day number since 1970-01-01 (same source).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_iso())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::from_iso(&text).ok_or_else(|| de::Error::custom("not an ISO 8601 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn times_survive_the_round_trip() {
        for ms in [0, 951_782_399_999, 1_772_357_400_123, 4_102_444_800_000, super::LAST_MS] {
            assert_eq!(Timestamp::from_iso(&Timestamp(ms).to_iso()), Some(Timestamp(ms)));
        }
        assert_eq!(Timestamp(1_772_357_400_000).to_iso(), "2026-03-01T09:30:00.000Z");
    }

    #[test]
    fn offsets_and_short_forms_are_read() {
        let wanted = Some(Timestamp(1_772_357_400_000));
        assert_eq!(Timestamp::from_iso("2026-03-01T10:30:00+01:00"), wanted);
        assert_eq!(Timestamp::from_iso("2026-03-01T09:30Z"), wanted);
        for bad in ["", "2026-02-30T00:00Z", "2026-03-01", "2026-03-01T09:30:00.Z", "9", "2026-13-01T00:00Z"] {
            assert_eq!(Timestamp::from_iso(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_could_not_be_written_again_is_not_read() {
        for bad in ["9999-12-31T23:59:59.999-00:01", "1970-01-01T00:00+00:01"] {
            assert_eq!(Timestamp::from_iso(bad), None, "{bad}");
        }
        for bad in ["2026-03-01T00:00+24:00", "2026-03-01T00:00-00:60"] {
            assert_eq!(Timestamp::from_iso(bad), None, "{bad}");
        }
    }
}
