import ArgumentParser
import Foundation
import HeraldClient

/// What the client commands show their server, and whom they trust.
struct CredentialOptions: ParsableArguments {
    @Option(
        name: .customLong("ca"),
        help: ArgumentHelp(
            "PEM file of authorities to trust instead of the system's. (environment: HERALD_CA)", valueName: "file"),
        completion: .file())
    var authorityFile: String?

    @Option(
        name: .customLong("token-file"),
        help: ArgumentHelp(
            "File of the token or API key to show the server. Read again when that runs out, but not by bench. "
                + "(environment: HERALD_TOKEN, the token itself)",
            valueName: "file"),
        completion: .file())
    var tokenFile: String?

    /// Whether anything was given by flags.
    var isGiven: Bool { authorityFile != nil || tokenFile != nil }

    func configuration() throws -> ClientConfiguration {
        var configuration = ClientConfiguration()
        configuration.token = try source()
        let variable = ProcessInfo.processInfo.environment["HERALD_CA"] ?? ""
        configuration.trustedAuthorityFile = authorityFile ?? (variable.isEmpty ? nil : variable)
        return configuration
    }

    /// The token as it is now, which is no argument: those are shown to whoever lists processes. Nil if there is none.
    func token() throws -> String? {
        let variable = ProcessInfo.processInfo.environment["HERALD_TOKEN"] ?? ""
        let text = try tokenFile.map(Self.token(inFile:)) ?? Self.token(in: variable)
        return text.isEmpty ? nil : text
    }

    private func source() throws -> TokenSource {
        guard let token = try token() else { return .none }
        guard let tokenFile else { return .fixed(token) }
        // Read again when the server asks for another token: whoever renews it writes it there.
        return .provided { try Self.token(inFile: tokenFile) }
    }

    private static func token(inFile path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw ValidationError("The token file \(path) can't be read.")
        }
        return try token(in: String(decoding: bytes, as: UTF8.self))
    }

    private static func token(in text: String) throws -> String {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValidationError("The token holds characters that no token has.")
        }
        return text
    }
}
