//! The words by which programs know what a finding is about; the manual lists them.

macro_rules! kinds {
    ($($name:ident $word:literal,)*) => {
        /// What a finding is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum FindingKind {
            $($name,)*
        }

        impl FindingKind {
            #[cfg(test)]
            pub(super) const ALL: &[FindingKind] = &[$(FindingKind::$name,)*];

            pub(super) fn word(self) -> &'static str {
                match self {
                    $(FindingKind::$name => $word,)*
                }
            }
        }
    };
}

kinds! {
    Apache "apache",
    Asgi "asgi",
    CgiPassAuth "cgi-pass-auth",
    Command "command",
    Comment "comment",
    Configuration "configuration",
    Connect "connect",
    Directory "directory",
    EnvFile "env-file",
    ExecCgi "exec-cgi",
    Factory "factory",
    FastPath "fast-path",
    FileSystem "file-system",
    FirstLine "first-line",
    Handler "handler",
    Import "import",
    ImportTime "import-time",
    Interpreter "interpreter",
    Lighttpd "lighttpd",
    Limit "limit",
    LineEnds "line-ends",
    Listen "listen",
    LogFile "log-file",
    Mode "mode",
    NoConfiguration "no-configuration",
    NoShell "no-shell",
    Noexec "noexec",
    NotWsgi "not-wsgi",
    OverloadPage "overload-page",
    Permissions "permissions",
    PhpCgi "php-cgi",
    Preload "preload",
    PrivateTmp "private-tmp",
    Python "python",
    Runs "runs",
    RuntimeDir "runtime-dir",
    Secrets "secrets",
    ServedFiles "served-files",
    ServedSecrets "served-secrets",
    Spool "spool",
    StatusPage "status-page",
    Suexec "suexec",
    Unreadable "unreadable",
    VenvVersion "venv-version",
    Way "way",
}
