//! A deserializer around another one, that believes no length and no depth.
//!
//! Formats that say how many elements follow let a peer say any number: memory is reserved for them, or, where they take no
//! bytes, a loop runs for ever. And a type that contains itself is read by recursion, as deep as the peer likes.

use std::cell::Cell;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// What may still be read.
#[derive(Clone, Copy)]
pub(super) struct Limits<'a> {
    /// Elements of sequences and maps, in the whole message.
    pub(super) elements: &'a Cell<usize>,
    /// Values within each other.
    pub(super) depth: u8,
}

impl Limits<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(E::custom("nested too deep")),
        }
    }

    fn take<E: Error>(self, counted: Counted) -> Result<(), E> {
        if counted == Counted::No {
            return Ok(());
        }
        let left = self.elements.get().checked_sub(1);
        left.map(|left| self.elements.set(left)).ok_or_else(|| E::custom("more elements than bytes"))
    }
}

/// Whether the number of elements is the peer's to say. Fields and places of tuples are the type's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

/// See the module.
pub(super) struct Bounded<'a, T> {
    inner: T,
    limits: Limits<'a>,
}

impl<'a, T> Bounded<'a, T> {
    pub(super) fn new(inner: T, limits: Limits<'a>) -> Self {
        Self { inner, limits }
    }
}

/// What is handed to the inner one in place of a visitor or of an accessor's part.
struct Counting<'a, T> {
    inner: T,
    limits: Limits<'a>,
    counted: Counted,
}

impl<'a, T> Bounded<'a, T> {
    fn visitor<'de, V: Visitor<'de>, E: Error>(
        limits: Limits<'a>,
        inner: V,
        counted: Counted,
    ) -> Result<Counting<'a, V>, E> {
        Ok(Counting { inner, limits: limits.deeper()?, counted })
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) $counted:ident;)+) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = Self::visitor(self.limits, visitor, Counted::$counted)?;
            self.inner.$method($($name,)* visitor)
        })+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any() Yes;
        deserialize_bool() No;
        deserialize_i8() No;
        deserialize_i16() No;
        deserialize_i32() No;
        deserialize_i64() No;
        deserialize_i128() No;
        deserialize_u8() No;
        deserialize_u16() No;
        deserialize_u32() No;
        deserialize_u64() No;
        deserialize_u128() No;
        deserialize_f32() No;
        deserialize_f64() No;
        deserialize_char() No;
        deserialize_str() No;
        deserialize_string() No;
        deserialize_bytes() No;
        deserialize_byte_buf() No;
        deserialize_option() No;
        deserialize_unit() No;
        deserialize_unit_struct(name: &'static str) No;
        deserialize_newtype_struct(name: &'static str) No;
        deserialize_seq() Yes;
        deserialize_tuple(len: usize) No;
        deserialize_tuple_struct(name: &'static str, len: usize) No;
        deserialize_map() Yes;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) No;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) No;
        deserialize_identifier() No;
        deserialize_ignored_any() Yes;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)+) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Counting<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Bounded { inner, limits: self.limits })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Bounded { inner, limits: self.limits })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { inner: visitor, limits, counted } = self;
        visitor.visit_seq(Counting { inner, limits, counted })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { inner: visitor, limits, counted } = self;
        visitor.visit_map(Counting { inner, limits, counted })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Bounded { inner, limits: self.limits })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Bounded { inner, limits: self.limits })
    }
}

impl<'a, A> Counting<'a, A> {
    /// So many elements may still come, whatever the peer says.
    fn hint(&self, said: Option<usize>) -> Option<usize> {
        match self.counted {
            Counted::Yes => said.map(|said| said.min(self.limits.elements.get())),
            Counted::No => said,
        }
    }

    fn seed<S>(&self, inner: S) -> Bounded<'a, S> {
        Bounded { inner, limits: self.limits }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Counting<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.seed(seed);
        let element = self.inner.next_element_seed(seed)?;
        if element.is_some() {
            self.limits.take(self.counted)?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Counting<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.seed(seed);
        let key = self.inner.next_key_seed(seed)?;
        if key.is_some() {
            self.limits.take(self.counted)?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.seed(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.hint(self.inner.size_hint())
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'a, A> {
    type Error = A::Error;
    type Variant = Bounded<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let limits = self.limits;
        let (value, inner) = self.inner.variant_seed(Bounded { inner: seed, limits })?;
        Ok((value, Bounded { inner, limits }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Bounded { inner: seed, limits: self.limits })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = Self::visitor(self.limits, visitor, Counted::No)?;
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = Self::visitor(self.limits, visitor, Counted::No)?;
        self.inner.struct_variant(fields, visitor)
    }
}
