//! JSON into our own types, where an object is only ever an object, and whatever does not fit is just that. Derived code reads
//! arrays as structs too and says of every mistake what was expected; that half of it is never compiled this way, which is
//! a tenth of what the Worker has to load.

use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

/// It is not JSON, or not what the type is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch;

/// Reads one value.
///
/// # Errors
/// [`Mismatch`].
pub fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Mismatch> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Plain(&mut reader))?;
    reader.end().map_err(quiet)?;
    Ok(value)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the JSON that is expected")
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }
    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self
    }
    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self
    }
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }
    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }
    fn missing_field(_: &'static str) -> Self {
        Self
    }
    fn duplicate_field(_: &'static str) -> Self {
        Self
    }
}

fn quiet<E>(_: E) -> Mismatch {
    Mismatch
}

fn loud<E: de::Error>(_: Mismatch) -> E {
    E::custom("")
}

/// A deserializer, and all those inside it.
struct Plain<D>(D);

/// A visitor that gets what is inside as [`Plain`].
struct Through<V>(V);

/// The same for structs.
struct Fields<V>(V);

/// What is inside.
struct Inside<A>(A);

macro_rules! forward {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            self.0.$name(visitor).map_err(quiet)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Plain<D> {
    type Error = Mismatch;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_option(Through(visitor)).map_err(quiet)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_unit_struct(name, visitor).map_err(quiet)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_newtype_struct(name, Through(visitor)).map_err(quiet)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_seq(Through(visitor)).map_err(quiet)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_tuple(len, Through(visitor)).map_err(quiet)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.deserialize_tuple_struct(name, len, Through(visitor)).map_err(quiet)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.deserialize_map(Through(visitor)).map_err(quiet)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.deserialize_struct(name, fields, Fields(visitor)).map_err(quiet)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.deserialize_enum(name, variants, Through(visitor)).map_err(quiet)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Fields<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Inside(map)).map_err(loud)
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Through<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Plain(inner)).map_err(loud)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Plain(inner)).map_err(loud)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Inside(seq)).map_err(loud)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Inside(map)).map_err(loud)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Inside(variant)).map_err(loud)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Inside<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Plain(inner)).map_err(loud)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<A> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        self.0.next_element_seed(Inside(seed)).map_err(quiet)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<A> {
    type Error = Mismatch;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Mismatch> {
        self.0.next_key_seed(seed).map_err(quiet)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        self.0.next_value_seed(Inside(seed)).map_err(quiet)
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Inside<A> {
    type Error = Mismatch;
    type Variant = Inside<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Mismatch> {
        self.0.variant_seed(seed).map(|(value, variant)| (value, Inside(variant))).map_err(quiet)
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Inside<A> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        self.0.unit_variant().map_err(quiet)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Mismatch> {
        self.0.newtype_variant_seed(Inside(seed)).map_err(quiet)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.0.tuple_variant(len, Through(visitor)).map_err(quiet)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.0.struct_variant(fields, Fields(visitor)).map_err(quiet)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use super::read;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        number: u64,
        #[serde(default)]
        text: Option<String>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Every {
        Unit,
        Newtype(Inner),
        Pair(u8, Inner),
        Struct { list: Vec<Inner>, map: BTreeMap<String, Inner>, maybe: Option<Inner>, any: Value },
    }

    #[test]
    fn what_was_written_is_read() {
        let inner = |number| Inner { number, text: Some("t".into()) };
        let map = BTreeMap::from([("k".to_owned(), inner(3))]);
        for value in [
            Every::Unit,
            Every::Newtype(inner(1)),
            Every::Pair(7, inner(2)),
            Every::Struct { list: vec![inner(1), inner(2)], map, maybe: Some(inner(4)), any: json!({"a": [1, null]}) },
        ] {
            let bytes = serde_json::to_vec(&value).unwrap();
            assert_eq!(read::<Every>(&bytes).unwrap(), value);
        }
        assert_eq!(read::<Inner>(br#"{"number":1,"later":[{}]}"#).unwrap(), Inner { number: 1, text: None });
    }

    #[test]
    fn nothing_else_is_read() {
        for bad in [r#"[1,"t"]"#, r#"{"number":"1"}"#, r#"{"number":1} x"#, r#"{"text":"t"}"#, "", "null"] {
            assert!(read::<Inner>(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(read::<Every>(br#"{"Struct":[[],{},null,1]}"#).is_err());
    }
}
