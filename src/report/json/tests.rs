use super::*;
use crate::report::samples;
use insta::{assert_snapshot, with_settings};
use serde_json::Value;

#[test]
fn one_file_changed() {
    with_settings!({filters => vec![(r#""layerlift": "[^"]+""#, r#""layerlift": "VERSION""#)]}, {
        assert_snapshot!(report(&samples::one_file_changed()));
    });
}

#[test]
fn every_sample_fits_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../schema.json")).unwrap();
    assert_eq!(schema["$defs"]["one"]["properties"]["version"]["const"], VERSION);
    for outcome in [
        samples::cold(),
        samples::full_hit(),
        samples::reused(),
        samples::one_file_changed(),
        samples::failed_step(),
        samples::fork(),
        samples::hostile(),
        samples::huge(),
        samples::explained(),
    ] {
        let document: Value = serde_json::from_str(&report(&outcome)).unwrap();
        check(&schema, &schema["$defs"]["one"], &document, "report");
    }
    for group in [samples::group(), samples::failed_group()] {
        let document: Value = serde_json::from_str(&group_report(&group)).unwrap();
        check(&schema, &schema["$defs"]["group"], &document, "report");
    }
}

/// The part of JSON Schema that `schema.json` uses. Objects must have exactly the keys that are described.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    if let [nullable, null] = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice)
        && null["type"] == "null"
    {
        if !value.is_null() {
            check(root, nullable, value, place);
        }
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).expect(reference);
        return check(root, target, value, place);
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{place}: {value} is none of {choices:?}");
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &schema["type"] {
        Value::String(only) => assert_eq!(kind, only, "{place}"),
        Value::Array(kinds) => assert!(kinds.iter().any(|one| one == kind), "{place}: {kind}"),
        _ => assert!(schema["enum"].is_array() || schema["const"] == *value, "{place}: no type"),
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], item, &format!("{place}[{index}]"));
    }
    if let Some(object) = value.as_object() {
        let described = schema["properties"].as_object().expect(place);
        for (key, item) in object {
            let described = described.get(key).unwrap_or_else(|| panic!("{place}.{key} is not described"));
            check(root, described, item, &format!("{place}.{key}"));
        }
        for key in schema["required"].as_array().expect(place) {
            assert!(object.contains_key(key.as_str().unwrap()), "{place}.{key} is required");
        }
    }
}

#[test]
fn is_written_whole_and_an_unwritable_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    write(&path, &samples::hostile()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), report(&samples::hostile()));
    let missing = folder.path().join("missing/report.json");
    let error = write(&missing, &samples::cold()).unwrap_err();
    assert!(error.to_string().contains("missing/report.json"), "{error}");
}
