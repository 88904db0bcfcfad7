import FoundationEssentials

/// A kind of setting: how its text is read and written, and what is accepted.
struct SettingKind<Value: Sendable>: Sendable {
    /// What is accepted, to stand after "expected".
    let accepted: String

    /// The word that stands for a value in the help.
    let placeholder: String

    /// Reads a value; nil if the text is none or is out of bounds.
    let read: @Sendable (String) -> Value?

    /// Writes a value as `read` reads it; nil if the setting is not set.
    let write: @Sendable (Value) -> String?

    /// The kind of the same values that may also be missing.
    var optional: SettingKind<Value?> {
        SettingKind<Value?>(
            accepted: accepted, placeholder: placeholder,
            read: { text in read(text).map(Optional.some) },
            write: { value in value.flatMap(write) })
    }
}

extension SettingKind where Value == Int {
    /// A number of things.
    static func count(_ bounds: ClosedRange<Int>) -> Self {
        Self(
            accepted: "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)",
            placeholder: "number",
            read: { text in Quantities.count(text).flatMap { bounds.contains($0) ? $0 : nil } },
            write: { String($0) })
    }

    /// A number of bytes.
    static func bytes(_ bounds: ClosedRange<Int>) -> Self {
        let (lower, upper) = (Quantities.text(bytes: bounds.lowerBound), Quantities.text(bytes: bounds.upperBound))
        return Self(
            accepted: "a size from \(lower) to \(upper), such as 512, 64KiB or 1MB",
            placeholder: "size",
            read: { text in Quantities.bytes(text).flatMap { bounds.contains($0) ? $0 : nil } },
            write: { Quantities.text(bytes: $0) })
    }
}

extension SettingKind where Value == Duration {
    /// A length of time.
    static func duration(_ bounds: ClosedRange<Duration>) -> Self {
        let (lower, upper) = (Quantities.text(bounds.lowerBound), Quantities.text(bounds.upperBound))
        return Self(
            accepted: "a duration from \(lower) to \(upper), such as 250ms, 10s, 5m or 1h",
            placeholder: "duration",
            read: { text in Quantities.duration(text).flatMap { bounds.contains($0) ? $0 : nil } },
            write: { Quantities.text($0) })
    }
}

extension SettingKind where Value == Bool {
    /// A truth value.
    static var truth: Self {
        Self(
            accepted: "true or false",
            placeholder: "true|false",
            read: { text in
                switch text.lowercased() {
                case "true", "yes", "on", "1": true
                case "false", "no", "off", "0": false
                default: nil
                }
            },
            write: { String($0) })
    }
}

extension SettingKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of a few words.
    static var choice: Self {
        let words = Value.allCases.map(\.rawValue)
        return Self(
            accepted: "one of " + words.joined(separator: ", "),
            placeholder: words.count > 4 ? "word" : words.joined(separator: "|"),
            read: { Value(rawValue: $0) },
            write: { $0.rawValue })
    }
}

extension SettingKind where Value == ListenAddress {
    /// An address to listen on.
    static var address: Self {
        Self(
            accepted: "host:port, where host is an IPv4 address, an IPv6 address in brackets or localhost, "
                + "and port is 0 to 65535",
            placeholder: "host:port",
            read: { ListenAddress($0) },
            write: { $0.description })
    }
}

extension SettingKind where Value == AllowedOrigin {
    /// Pages of a browser.
    static var origin: Self {
        Self(
            accepted: "an origin as browsers tell it, such as https://app.example or http://localhost:5173: scheme, "
                + "host and port, nothing behind; or \"null\", or \"*\" for all",
            placeholder: "origin",
            read: { AllowedOrigin($0) },
            write: { $0.description })
    }
}

extension SettingKind where Value == String {
    /// A file's path.
    static var file: Self {
        Self(
            accepted: "the path of a file", placeholder: "file",
            read: { $0.isEmpty || $0.utf8.contains(0) ? nil : $0 }, write: { $0 })
    }

    /// The name of a cookie (RFC 6265 §4.1.1: a token of RFC 9110 §5.6.2).
    static var cookieName: Self {
        Self(
            accepted: "a cookie's name: 1 to 64 letters, digits and !#$%&'*+-.^_`|~", placeholder: "name",
            read: { text in
                let isName =
                    (1...64).contains(text.utf8.count)
                    && text.unicodeScalars.allSatisfy { scalar in
                        switch scalar {
                        case "a"..."z", "A"..."Z", "0"..."9": true
                        default: "!#$%&'*+-.^_`|~".unicodeScalars.contains(scalar)
                        }
                    }
                return isName ? text : nil
            },
            write: { $0 })
    }

    /// Any text of some length.
    static var words: Self {
        Self(
            accepted: "a text of 1 to 1024 bytes", placeholder: "text",
            read: { (1...1024).contains($0.utf8.count) ? $0 : nil }, write: { $0 })
    }

    /// The URL of a document. A password in it would show wherever settings are printed.
    static var url: Self {
        Self(
            accepted: "a URL that begins with http:// or https://, with a host and without user, password or fragment",
            placeholder: "url",
            read: { text in
                guard text.utf8.count <= 2048, text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
                    let url = URL(string: text), ["http", "https"].contains(url.scheme?.lowercased()),
                    url.host()?.isEmpty == false, url.user() == nil, url.password() == nil, url.fragment() == nil
                else { return nil }
                return text
            },
            write: { $0 })
    }

    /// Paths that the server answers itself; none of them can be given away.
    private static var ownPaths: [String] {
        ["/", "/healthz", "/readyz", "/metrics", "/openapi.txt", "/console.js", "/console.css", "/v1"]
    }

    /// A path of a URL that the server doesn't use itself.
    static var unusedPath: Self {
        Self(
            accepted: "a path that begins with /, is made of letters, digits and -._~/, "
                + "and is none of the server's own, such as /echo",
            placeholder: "path",
            read: { text in
                let isPath =
                    text.hasPrefix("/") && text.utf8.count <= 256
                    && text.unicodeScalars.allSatisfy { scalar in
                        switch scalar {
                        case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~", "/": true
                        default: false
                        }
                    }
                return isPath && !ownPaths.contains(text) && !text.hasPrefix("/v1/") ? text : nil
            },
            write: { $0 })
    }
}
