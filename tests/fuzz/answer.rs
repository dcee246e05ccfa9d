//! A plugin's answer: what is handed on to a guest is what every guest can read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vendordock::plugin::check_object;

/// The default of `response_depth`.
const DEEPEST: usize = 32;

fuzz_target!(|answer: &str| {
    if check_object(answer, DEEPEST).is_err() {
        return;
    }
    let value: Value = serde_json::from_str(answer).expect("it is JSON");
    assert!(value.is_object(), "a guest expects an object");
    let mut members = 0;
    let depth = read(&value, &mut members);
    assert!(depth <= DEEPEST, "{depth}");
    // A `Value` keeps one of equal members.
    assert_eq!(members, colons(answer), "a member stands there twice");
});

/// Looks at each value, counts members, and returns the depth.
fn read(value: &Value, members: &mut usize) -> usize {
    let no_nul = |text: &str| assert!(!text.contains('\0'), "a NUL");
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::String(text) => {
            no_nul(text);
            0
        }
        Value::Number(number) => {
            let double = number.as_f64().expect("a number");
            assert!(double.is_finite());
            if double.fract() == 0.0 {
                // The same to those who read it as a double, and to those who do not.
                assert!(double.abs() <= (1_u64 << 53) as f64, "{number}");
            }
            0
        }
        Value::Array(values) => {
            1 + values
                .iter()
                .map(|value| read(value, members))
                .max()
                .unwrap_or(0)
        }
        Value::Object(object) => {
            *members += object.len();
            object.keys().for_each(|key| no_nul(key));
            1 + object
                .values()
                .map(|value| read(value, members))
                .max()
                .unwrap_or(0)
        }
    }
}

/// The colons outside of texts: one for each member.
fn colons(json: &str) -> usize {
    let (mut colons, mut in_text, mut escaped) = (0, false, false);
    for character in json.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_text = !in_text,
            ':' if !in_text => colons += 1,
            _ => {}
        }
    }
    colons
}
