#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An address and port to listen on: `127.0.0.1:8080`, `[::1]:8080`, `0.0.0.0:0`.
///
/// Numbers only, but for `localhost`, which is 127.0.0.1: a name that has to be looked up could be another address
/// tomorrow, and whether an address is loopback decides who may connect without a token.
public struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// The address without brackets.
    public let host: String

    /// The port; 0 lets the system choose one.
    public let port: UInt16

    /// Whether the address is IPv6.
    public let isIPv6: Bool

    /// Whether only this machine can reach the address.
    public let isLoopback: Bool

    /// The address as it is written in a configuration: an IPv6 address stands in brackets.
    public var description: String {
        with(port: port)
    }

    /// The address with the port that the system chose, as it is written in URLs.
    func with(port: UInt16) -> String {
        isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Reads `host:port`; nil unless host is an IPv4 address, an IPv6 address in brackets or `localhost`.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let number = Quantities.count(String(text[text.index(after: colon)...])),
            let port = UInt16(exactly: number)
        else { return nil }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            self.init(ipv6: String(host.dropFirst().dropLast()), port: port)
        } else {
            self.init(ipv4: host == "localhost" ? "127.0.0.1" : String(host), port: port)
        }
    }

    /// IPv4's loopback address, 127.0.0.1.
    public static func loopback(port: UInt16) -> ListenAddress {
        ListenAddress(loopbackPort: port)
    }

    private init(loopbackPort port: UInt16) {
        host = "127.0.0.1"
        self.port = port
        isIPv6 = false
        isLoopback = true
    }

    private init?(ipv4 host: String, port: UInt16) {
        guard let bytes = Self.bytes(of: host, family: AF_INET, count: 4) else { return nil }
        self.host = host
        self.port = port
        isIPv6 = false
        isLoopback = bytes[0] == 127
    }

    private init?(ipv6 host: String, port: UInt16) {
        guard let bytes = Self.bytes(of: host, family: AF_INET6, count: 16) else { return nil }
        self.host = host
        self.port = port
        isIPv6 = true
        let isOne = bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
        // ::ffff:127.0.0.1 is IPv4's loopback through an IPv6 socket (RFC 4291 §2.5.5.2).
        let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        isLoopback = isOne || (isMapped && bytes[12] == 127)
    }

    private static func bytes(of host: String, family: Int32, count: Int) -> [UInt8]? {
        // A NUL would end the text early for C: "127.0.0.1\0.example" is not an address.
        guard !host.utf8.contains(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        let result = unsafe bytes.withUnsafeMutableBytes { unsafe inet_pton(family, host, $0.baseAddress) }
        return result == 1 ? bytes : nil
    }
}
