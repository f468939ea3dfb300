//! What the type of an output says about its JSON.

use std::any::type_name;

/// What the type of an output says about its JSON, as far as it is known before any value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputShape {
    /// Nothing: the type is `()`.
    Nothing,
    /// Never an object: a number, a text, a list. The name of the type, for messages.
    NoObject(&'static str),
    /// An object, or not known.
    Any,
}

impl OutputShape {
    /// Returns the shape of a type. Recognises the types of the standard library by their names.
    pub fn of<T: ?Sized>() -> Self {
        let name = type_name::<T>();
        if name == type_name::<()>() {
            Self::Nothing
        } else if is_scalar(name) || is_list(name) {
            Self::NoObject(name)
        } else {
            Self::Any
        }
    }
}

fn is_scalar(name: &str) -> bool {
    macro_rules! any_of {
        ($($type:ty),*) => { [$(type_name::<$type>()),*].contains(&name) };
    }
    any_of!(bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, String, &str)
}

/// Returns whether a type is a `Vec`, an array or a tuple.
fn is_list(name: &str) -> bool {
    let vec = type_name::<Vec<()>>().split('<').next().unwrap_or_default();
    name.split_once('<').is_some_and(|(head, _)| head == vec) || name.starts_with(['(', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_no_objects_are_recognised() {
        assert_eq!(OutputShape::of::<()>(), OutputShape::Nothing);
        for shape in [OutputShape::of::<u64>(), OutputShape::of::<String>(), OutputShape::of::<&'static str>()] {
            assert!(matches!(shape, OutputShape::NoObject(_)), "{shape:?}");
        }
        for shape in [OutputShape::of::<Vec<String>>(), OutputShape::of::<(u8, u8)>(), OutputShape::of::<[u8; 4]>()] {
            assert!(matches!(shape, OutputShape::NoObject(_)), "{shape:?}");
        }
    }

    #[test]
    fn what_may_be_an_object_is_accepted() {
        struct Vec<T>(T);
        struct String;
        assert_eq!(OutputShape::of::<serde_json::Value>(), OutputShape::Any);
        assert_eq!(OutputShape::of::<Option<u8>>(), OutputShape::Any);
        assert_eq!(OutputShape::of::<std::collections::HashMap<u8, u8>>(), OutputShape::Any);
        assert_eq!(OutputShape::of::<Vec<u8>>(), OutputShape::Any);
        assert_eq!(OutputShape::of::<String>(), OutputShape::Any);
    }
}
