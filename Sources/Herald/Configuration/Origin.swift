/// The origin of a page, as browsers tell it (RFC 6454 §6.1): `https://app.example`, `http://localhost:5173`.
///
/// Kept in one form, so that equal origins are equal: letters small, the scheme's own port left out.
public struct Origin: Sendable, Hashable, CustomStringConvertible {
    /// The scheme.
    public let scheme: String

    /// The host, an IPv6 address in its brackets, and the port if it is not the scheme's own.
    let authority: Authority

    /// The origin as browsers tell it.
    public var description: String { "\(scheme)://\(authority)" }

    /// Reads an origin; nil if the text is none, or has anything behind it.
    public init?(_ text: String) {
        guard let mark = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<mark.lowerBound]
        guard Self.isScheme(scheme) else { return nil }
        self.scheme = scheme.lowercased()
        let ownPort = Self.port(of: self.scheme)
        guard let authority = Authority(text[mark.upperBound...], ownPort: ownPort) else { return nil }
        self.authority = authority
    }

    /// Whether a page of this origin was served by the host that a request names in its `Host` header, and over TLS if
    /// the request came by it.
    ///
    /// Without TLS the scheme is not compared: a proxy in front may have ended TLS, and the page's origin is then of
    /// `https` though the request came without. Whoever speaks TLS with us, though, has an origin of `https`: a page of
    /// `http` on the same host may be anybody's who sits on the way.
    func isOwn(host: String, isSecure: Bool) -> Bool {
        guard scheme == "https" || (scheme == "http" && !isSecure) else { return false }
        return Authority(host[...], ownPort: Self.port(of: scheme)) == authority
    }

    /// The port that needs not be named.
    private static func port(of scheme: String) -> UInt16? {
        switch scheme {
        case "http": 80
        case "https": 443
        default: nil
        }
    }

    /// RFC 3986 §3.1
    private static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.unicodeScalars.first, ("a"..."z").contains(first) || ("A"..."Z").contains(first) else {
            return false
        }
        return text.unicodeScalars.allSatisfy { scalar in
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "+", "-", ".": true
            default: false
            }
        }
    }
}

/// A host with its port, as origins and `Host` headers name it.
struct Authority: Sendable, Hashable, CustomStringConvertible {
    /// The host in small letters, an IPv6 address in its brackets.
    let host: String

    /// The port; nil: the scheme's own.
    let port: UInt16?

    var description: String { port.map { "\(host):\($0)" } ?? host }

    /// Reads `host` or `host:port`. A port that is `ownPort` is left out.
    init?(_ text: Substring, ownPort: UInt16?) {
        let end = Self.endOfHost(text)
        let host = text[..<end]
        guard Self.isHost(host) else { return nil }
        self.host = host.lowercased()
        guard end < text.endIndex else {
            port = nil
            return
        }
        guard let number = Quantities.count(String(text[text.index(after: end)...])),
            let given = UInt16(exactly: number), given > 0
        else { return nil }
        port = given == ownPort ? nil : given
    }

    /// Where the colon before the port is, or the text's end.
    private static func endOfHost(_ text: Substring) -> Substring.Index {
        let start = text.first == "[" ? text.firstIndex(of: "]") ?? text.startIndex : text.startIndex
        return text[start...].firstIndex(of: ":") ?? text.endIndex
    }

    /// Whether it is a name as browsers tell it, or an IP address. Names beyond ASCII are told in Punycode.
    private static func isHost(_ text: Substring) -> Bool {
        var scalars = text.unicodeScalars[...]
        let isBracketed = scalars.first == "["
        if isBracketed {
            guard scalars.last == "]", scalars.count > 3 else { return false }
            scalars = scalars.dropFirst().dropLast()
        }
        return !scalars.isEmpty
            && scalars.allSatisfy { scalar in
                switch scalar {
                case "a"..."f", "A"..."F", "0"..."9", ".": true
                case ":": isBracketed
                case "g"..."z", "G"..."Z", "-", "_", "~": !isBracketed
                default: false
                }
            }
    }
}

/// An entry of the list of origins whose pages may use the server.
public enum AllowedOrigin: Sendable, Hashable, CustomStringConvertible {
    /// `*`: all pages.
    case any
    /// `null`: pages that have no origin of their own, such as files and sandboxed frames.
    case null
    /// The pages of one origin.
    case one(Origin)

    /// Reads an entry; nil if it is none.
    public init?(_ text: String) {
        switch text {
        case "*": self = .any
        case "null": self = .null
        default:
            guard let origin = Origin(text) else { return nil }
            self = .one(origin)
        }
    }

    /// The entry as it is written, and what answers to such pages say that they are allowed.
    public var description: String {
        switch self {
        case .any: "*"
        case .null: "null"
        case .one(let origin): origin.description
        }
    }

    /// How many entries the list may have.
    static let countMax = 1000
}
