import FoundationEssentials
import HeraldCore
import Logging

/// A token made readable: what it says, and on demand whether it is true.
public struct TokenInspection: Sendable {
    private let token: String

    /// What the token says, a line each; all of it escaped, as anybody can write a token.
    public let lines: [String]

    /// Reads a token. Dates are told as seen from a second since 1970.
    public init(_ token: String, now: Int64) throws(TokenToolFailure) {
        self.token = token
        let pieces = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard token.utf8.count <= TokenFault.lengthMax, pieces.count == 3,
            let head = Base64URL.decode(pieces[0]), let payload = Base64URL.decode(pieces[1]),
            case .object(let fields)? = try? JSONValue(parsing: head),
            case .object(let claims)? = try? JSONValue(parsing: payload)
        else {
            throw TokenToolFailure("That is no JSON Web Token: three parts of base64url, two of them JSON objects.")
        }
        var lines = ["header"]
        lines += fields.map { "  \(Self.padded($0.name))\(Self.text($0.value))" }
        lines.append("claims")
        for claim in claims where !["herald", "mercure"].contains(claim.name) {
            let date = ["exp", "nbf", "iat"].contains(claim.name) ? Self.date(claim.value, now) : ""
            lines.append("  \(Self.padded(claim.name))\(Self.text(claim.value))\(date)")
        }
        self.lines = lines + Self.rights(payload, claims.map(\.name))
    }

    /// Checks the token as a server with these settings would at a second since 1970; nil when it is good.
    public func problem(_ settings: ServerSettings, now: Int64) async throws(TokenToolFailure) -> String? {
        var settings = settings
        settings.tokenCache = 0
        let verifier: TokenVerifier
        do throws(StartFailure) {
            verifier = try await TokenVerifier(settings, Logger(label: "herald.token"))
        } catch {
            throw TokenToolFailure("\(error).")
        }
        guard await verifier.fetchKeys() else { throw TokenToolFailure("The keys could not be fetched.") }
        do throws(TokenFault) {
            _ = try await verifier.verify(token, at: now)
            return nil
        } catch {
            return error.text
        }
    }

    /// What the token may be used for, as a server reads it.
    private static func rights(_ payload: [UInt8], _ claims: [String]) -> [String] {
        let grant: Grant
        do throws(TokenFault) {
            grant = try TokenClaims(payload).grant
        } catch {
            return ["rights", "  none: \(error.text)"]
        }
        var lines = [claims.contains("herald") ? "rights" : "rights, by the claim mercure"]
        for (name, set) in [("publish", grant.publish), ("subscribe", grant.subscribe), ("manage", grant.manage)] {
            lines.append("  \(padded(name))\(set.isEmpty ? "-" : set.filters.map(\.text).joined(separator: " "))")
        }
        return lines
    }

    /// A value as JSON on one line, safe to print.
    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .truth(let truth): String(truth)
        case .number(let digits): digits
        case .text(let text): EscapedText.quoted(text)
        case .list(let items): "[" + items.map(text).joined(separator: ", ") + "]"
        case .object(let members):
            "{" + members.map { "\(EscapedText.quoted($0.name)): \(text($0.value))" }.joined(separator: ", ") + "}"
        }
    }

    /// A date in words; nothing for what is none.
    private static func date(_ value: JSONValue, _ now: Int64) -> String {
        guard case .number(let digits) = value, let seconds = Double(digits), (0...253_402_300_799).contains(seconds)
        else {
            return ""
        }
        let date = Date(timeIntervalSince1970: seconds.rounded(.down)).formatted(.iso8601)
        let distance = Int64(seconds.rounded(.down)) - now
        return "  \(date), \(Quantities.span(of: distance))"
    }

    private static func padded(_ name: String) -> String {
        let shown = EscapedText.inline(name)
        return shown + String(repeating: " ", count: max(11 - shown.count, 1))
    }
}

extension Quantities {
    /// A span of time from now on, e.g. `in 3h` or `2d ago`, in the largest unit of which there is one.
    static func span(of seconds: Int64) -> String {
        let length = seconds.magnitude
        let units: [(String, UInt64)] = [("d", 86_400), ("h", 3600), ("m", 60)]
        let unit = units.first { length >= $0.1 } ?? ("s", 1)
        let span = "\(length / unit.1)\(unit.0)"
        return seconds < 0 ? "\(span) ago" : "in \(span)"
    }
}
