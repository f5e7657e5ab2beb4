//! The keys whose value is one word of a few. It knows the words and refuses to know what follows
//! from them.

use super::bad_value::BadValue;

/// An enum and the word for each variant.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// The word that stands for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            pub(super) fn from_word(word: &str) -> Result<$name, BadValue> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err(BadValue::NotOneOf(&[$($word),+])),
                }
            }
        }
    };
}

choice! {
    /// `mode`: when there is a daemon.
    Mode {
        /// When the app is busy.
        Auto = "auto",
        /// Never.
        Cgi = "cgi",
        /// Always.
        Daemon = "daemon",
    }
}

choice! {
    /// `handoff`: what a front does once the daemon has its descriptors.
    Handoff {
        /// Leaves where that is known to be safe, else stays.
        Auto = "auto",
        /// Leaves.
        Exit = "exit",
        /// Keeps its descriptors and copies.
        Relay = "relay",
        /// Waits until the response is complete.
        Stay = "stay",
    }
}

choice! {
    /// `reload`: what makes the daemon load the app anew.
    Reload {
        /// A change of any loaded module, of the app file or of `restart.txt`.
        Auto = "auto",
        /// Nothing but a command or a signal.
        Off = "off",
        /// A change of the app file or of `restart.txt`.
        Touch = "touch",
    }
}

choice! {
    /// `log-level`: the least that is logged. Ordered as the log crate orders its levels.
    LogLevel {
        /// A request was not served right.
        Error = "error",
        /// Trouble, recovered.
        Warn = "warn",
        /// Start, stop, reload.
        Info = "info",
        /// Each request.
        Debug = "debug",
        /// Each transition.
        Trace = "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(Mode::from_word("daemon"), Ok(Mode::Daemon));
        assert_eq!(Mode::Daemon.as_str(), "daemon");
        assert_eq!(
            Mode::from_word("Auto"),
            Err(BadValue::NotOneOf(&["auto", "cgi", "daemon"]))
        );
        assert_eq!(Handoff::from_word("stay"), Ok(Handoff::Stay));
        assert_eq!(Reload::from_word("touch"), Ok(Reload::Touch));
        assert_eq!(LogLevel::from_word("trace"), Ok(LogLevel::Trace));
    }
}
