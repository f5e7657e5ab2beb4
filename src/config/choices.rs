//! The keys whose value is one of a few words. It knows the words and not what they do.

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
            /// Its word in the configuration.
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
    /// `mode`: when the app has a daemon.
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
    /// `accept`: what accepts connections for a WSGI application.
    Accept {
        /// The daemon's loop, which gives them to workers.
        Loop = "loop",
        /// Workers themselves, while requests are many and none has to wait.
        Workers = "workers",
    }
}

choice! {
    /// `handoff`: what a front does once the daemon has its descriptors.
    Handoff {
        /// It exits if that is known to be safe; if not, it stays.
        Auto = "auto",
        /// It exits.
        Exit = "exit",
        /// It keeps its descriptors and copies.
        Relay = "relay",
        /// It waits until the response is complete.
        Stay = "stay",
    }
}

choice! {
    /// `reload`: what makes the daemon load the app anew.
    Reload {
        /// A change to any loaded module or template, the app file, `restart.txt`, or what `watch` names.
        Auto = "auto",
        /// Only a command or a signal.
        Off = "off",
        /// A change to the app file, `restart.txt`, or what `watch` names.
        Touch = "touch",
    }
}

choice! {
    /// `log-level`: the lowest level that is logged. In the log crate's order.
    LogLevel {
        /// A request was not served correctly.
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
