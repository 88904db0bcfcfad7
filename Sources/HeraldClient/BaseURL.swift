#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The address that all requests of a client begin with.
package struct BaseURL: Sendable, Equatable {
    package let isSecure: Bool
    package let host: String
    package let port: Int

    /// The path before `/v1`, without a slash at its end.
    let prefix: String

    /// Reads `http://host:port/prefix`.
    package init(_ text: String) throws(HeraldError) {
        guard let parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(),
            scheme == "http" || scheme == "https"
        else { throw .unusable("\"\(text)\" is not an http or https address") }
        guard let host = parts.host, !host.isEmpty else { throw .unusable("\"\(text)\" names no host") }
        guard parts.query == nil, parts.fragment == nil, parts.user == nil else {
            throw .unusable("\"\(text)\" has more than a host, a port and a path")
        }
        self.isSecure = scheme == "https"
        self.host = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        self.port = parts.port ?? (isSecure ? 443 : 80)
        var prefix = parts.percentEncodedPath
        while prefix.hasSuffix("/") { prefix.removeLast() }
        self.prefix = prefix
    }

    /// The host as it stands before a port: an IPv6 address in brackets.
    package var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

    /// The address without a path, for people.
    package var description: String { "\(isSecure ? "https" : "http")://\(authority)" }

    /// A request target: the path, and the query of these fields.
    package func target(_ path: String, query: [(String, String)] = []) -> String {
        var target = prefix + path
        for (index, (name, value)) in query.enumerated() {
            target += (index == 0 ? "?" : "&") + name + "=" + Self.encode(value, alsoKeeping: "/*")
        }
        return target
    }

    /// The absolute address of a request target.
    func absolute(_ target: String) -> String { description + target }

    /// Percent-encodes all but what a topic may consist of. A mistaken topic so reaches the server, which names it.
    static func encode(_ text: String, alsoKeeping kept: String = "/") -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"), UInt8(ascii: ":"), UInt8(ascii: "@"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            case _ where kept.utf8.contains(byte):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += "%" + (digits.count < 2 ? "0" : "") + digits
            }
        }
        return encoded
    }
}
